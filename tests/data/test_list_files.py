"""Lists of images with their masks, as they come from any machine."""

import pytest

from atrous.contract import AtrousError
from atrous.data import open_dataset
from atrous.data.layouts import list_files, recognise

LINES = {
    "space": "pictures/{0}.jpg truth/{0}_t.png",
    "tab": "pictures/{0}.jpg\ttruth/{0}_t.png",
    "comma": "pictures/{0}.jpg, truth/{0}_t.png",
    "semicolon": "pictures/{0}.jpg;truth/{0}_t.png",
    "quotes": '"pictures/{0}.jpg","truth/{0}_t.png"',
    "dots": "./pictures/{0}.jpg ./x/../truth/{0}_t.png",
    "voc": "/pictures/{0}.jpg /truth/{0}_t.png",
    "three columns": "pictures/{0}.jpg truth/{0}_t.png 7",
    "three by comma": "pictures/{0}.jpg,truth/{0}_t.png,7",
}
FOREIGN = {
    "unix": "/home/me/data/pictures/{0}.jpg /home/me/data/truth/{0}_t.png",
    "windows": "D:\\my data\\pictures\\{0}.jpg D:\\my data\\truth\\{0}_t.png",
    "mixed": "C:/x\\pictures\\{0}.jpg\tC:/x\\truth\\{0}_t.png",
    "relative": "../data/pictures/{0}.jpg ../data/truth/{0}_t.png",
}


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def folder(root, line, stems=("a", "b", "c d", "한국 🙂")):
    touch(root, *(f"pictures/{stem}.jpg" for stem in stems), *(f"truth/{stem}_t.png" for stem in stems))
    (root / "train.txt").write_text("".join(line.format(stem) + "\n" for stem in stems[:-1]), encoding="utf-8")
    (root / "val.txt").write_text("\n" + line.format(stems[-1]), encoding="utf-8-sig")
    return root


@pytest.mark.parametrize("line", [*LINES, *FOREIGN])
def test_lines(tmp_path, line):
    stems = ("a", "b", "한국🙂") if "three columns" in line else ("a", "b", "c d", "한국 🙂")
    found = recognise(folder(tmp_path, {**LINES, **FOREIGN}[line], stems))
    assert found.layout == "lists"
    assert [pair.name for pair in found.splits["train"].pairs] == [f"pictures/{stem}" for stem in stems[:-1]]
    assert [pair.mask.name for pair in found.splits["val"].pairs] == [f"{stems[-1]}_t.png" for stem in stems[-1:]]
    assert not any(each.missing for each in found.splits.values())
    said = (
        f"{2 * len(stems) - 2} paths of train.txt were of another machine and were found by their endings",
        "2 paths of val.txt were of another machine and were found by their endings",
    )
    assert found.notes == (said if line in FOREIGN else ())


@pytest.mark.parametrize("name", ["train_list.txt", "lists/train.lst", "splits/train.csv", "ImageSets/train.txt"])
def test_files(tmp_path, name):
    touch(tmp_path, "pictures/a.jpg", "truth/a_t.png", name)
    (tmp_path / name).write_text("image,mask\n# a comment\npictures/a.jpg,truth/a_t.png\n")
    found = recognise(tmp_path).splits["train"]
    assert (len(found.pairs), found.missing) == (1, ())


def test_paths_beside_the_list_and_elsewhere(tmp_path):
    touch(tmp_path, "data/lists/a.jpg", "data/lists/a_t.png", "far/b.jpg", "far/b_t.png")
    lines = f"a.jpg a_t.png\n../../far/b.jpg {tmp_path}/far/b_t.png\n"
    (tmp_path / "data/lists/train.txt").write_text(lines)
    found = recognise(tmp_path / "data")
    names = [pair.name for pair in found.splits["train"].pairs]
    assert names[0] == "lists/a"
    assert names[1].endswith("far/b")
    assert not {"..", ""} & set(names[1].split("/"))
    assert found.notes == ()


def test_images_without_mask(tmp_path):
    root = folder(tmp_path, LINES["space"], ("a", "b", "c", "d"))
    (root / "test.txt").write_text("pictures/c.jpg\n")
    assert [(pair.name, pair.mask) for pair in recognise(root).splits["test"].pairs] == [("pictures/c", None)]
    (root / "val.txt").write_text("pictures/d.jpg\n")
    with pytest.raises(AtrousError, match=r"1 image \(pictures/d\.jpg\) has no mask"):
        open_dataset(root)


def test_what_is_missing_or_unclear(tmp_path):
    root = folder(tmp_path, LINES["space"], ("a", "b"))
    lines = ["pictures/a.jpg truth/gone.png", "gone.jpg truth/b_t.png", "/x/b.jpg /x/b_t.png", "far.jpg far.png"]
    (root / "train.txt").write_text("\n".join(lines))
    found = list_files.recognise(root).splits["train"]
    assert found.missing == ("truth/gone.png", "gone.jpg", "far.jpg", "far.png")
    assert [pair.name for pair in found.pairs] == ["pictures/b"]
    with pytest.raises(AtrousError, match=r"4 of the listed files are not there, first truth/gone\.png\. Copy them"):
        open_dataset(root)
    touch(root, "copy/b.jpg")
    assert recognise(root).splits["train"].missing[2] == "/x/b.jpg"


def test_an_image_with_two_masks(tmp_path):
    root = folder(tmp_path, LINES["space"], ("a", "b"))
    (root / "train.txt").write_text("pictures/a.jpg truth/a_t.png\npictures/a.jpg truth/b_t.png\n" * 2)
    with pytest.raises(AtrousError, match=r"names are used by several files, first truth/a_t.png and truth/b_t.png"):
        open_dataset(root)


def test_lists_of_nothing(tmp_path):
    root = folder(tmp_path, LINES["space"], ("a", "b"))
    for name in ("train", "val"):
        (root / f"{name}.txt").write_text("/x/1.jpg /x/2.png\n" * 3 + "y" * 5000 + ".jpg z.png\n")
    with pytest.raises(
        AtrousError, match=r"none of the files that train\.txt and val\.txt list is below this folder, fi"
    ):
        recognise(root)
    for text in ("", "a\nb\n", "some words\n", "pictures/a.jpg\n", "cat 1\n", "\x00\n"):
        for name in ("train", "val"):
            (root / f"{name}.txt").write_text(text)
        assert list_files.recognise(root) is None
    (root / "train.txt").write_bytes(b"\xff\x00\x81")
    with pytest.raises(AtrousError, match=r"train\.txt: this is not text in UTF-8"):
        recognise(root)


def test_lists_come_before_names_of_folders(tmp_path):
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/one.png", "masks/two.png")
    (tmp_path / "train.txt").write_text("images/1.jpg masks/two.png\nimages/2.jpg masks/one.png\n")
    found = recognise(tmp_path)
    assert found.layout == "lists"
    assert [pair.mask.name for pair in found.splits["train"].pairs] == ["two.png", "one.png"]


def test_a_pair_is_not_made_of_two_splits(tmp_path):
    root = touch(tmp_path, "val/img/a.jpg", "val/lbl/a.png", "train/lbl/a.png", "train/img/b.jpg", "train/lbl/b.png")
    lines = "{0}train/img/a.jpg {0}train/lbl/a.png\n{0}train/img/b.jpg {0}train/lbl/b.png\n"
    (root / "val.txt").write_text("val/img/a.jpg val/lbl/a.png\n")
    for prefix in ("", "/home/me/"):
        (root / "train.txt").write_text(lines.format(prefix))
        found = recognise(root)
        assert [pair.name for pair in found.splits["train"].pairs] == ["train/img/b"]
        assert found.splits["train"].missing == (f"{prefix}train/img/a.jpg",)
        assert [pair.mask.parent.parent.name for pair in found.splits["val"].pairs] == ["val"]
    touch(root, "train/lbl/c.png", "val/img/c.jpg")
    (root / "train.txt").write_text("/x/c.jpg /y/c.png\n")
    assert recognise(root).splits["train"].missing == ("/x/c.jpg", "/y/c.png")


@pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
def test_a_table_that_cannot_be_read_is_no_list(tmp_path, name):
    (touch(tmp_path, "a.jpg") / name).write_bytes("이름,값\n".encode("cp949"))
    assert list_files.recognise(tmp_path) is None
