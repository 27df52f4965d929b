"""Lists that the caller names: what their lines may be, what is left for the other split, and what is refused."""

import logging

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import fingerprint, open_dataset, write_image

NAMES = ("a", "b", "c 1", "d.v2", "가", "e🙂")


def folder(root, names=NAMES, *, images="images", masks="masks", ending=""):
    """Write an image and a mask of two classes for every name; no two images are alike."""
    for number, name in enumerate(names):
        write_image(root / images / f"{name}.png", np.full((4, 5, 3), number, np.uint8))
        write_image(root / masks / f"{name}{ending}.png", np.tile(np.uint8([0, 1, 1, 0, 1]), (4, 1)))
    return root


def listed(path, *lines, end="\n", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    return path


def names_of(data):
    return {split: [pair.name.removeprefix("images/") for pair in pairs] for split, pairs in data.splits.items()}


def split_of(root, *train, **options):
    return names_of(open_dataset(root, train_list=listed(root.parent / "lists" / "mine.txt", *train), **options))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("images/a.png", "a"),
        ("images/a", "a"),
        ("a", "a"),
        ("a.png", "a"),
        ("./images/../images/a.png", "a"),
        ("images\\a.png", "a"),
        ('"images/c 1.png"', "c 1"),
        ("c 1", "c 1"),
        ("d.v2", "d.v2"),
        ("images/d.v2.png", "d.v2"),
        ("가", "가"),
        ("\u1100\u1161", "가"),  # its letters stored apart
        ("e🙂.png", "e🙂"),
        ("../data/images/b.png", "b"),
        ("{root}/images/b.png", "b"),
        ("/home/somebody/set/images/b.png", "b"),
        ("D:\\set\\images\\c 1.png", "c 1"),
        ("images/a.png masks/a.png", "a"),
        ("images/a.png\tmasks/a.png", "a"),
        ("images/a.png,masks/a.png,", "a"),
        ("/SegNet/images/a.png /SegNet/masks/a.png;", "a"),
        ("images/c 1.png masks/c 1.png", "c 1"),
        ('"images/c 1.png" "masks/c 1.png"', "c 1"),
        ("images/a masks/a", "a"),
        ("masks/a.png", "a"),
    ],
)
def test_what_a_line_may_be(tmp_path, line, name):
    root = folder(tmp_path / "data")
    split = split_of(root, "# mine", "", line.format(root=root), "  ")
    assert split == {"train": [name], "val": sorted({*NAMES} - {name})}


@pytest.mark.parametrize(
    ("end", "encoding"), [("\r\n", "utf-8-sig"), ("\r\n", "utf-16"), ("\n", "utf-8"), ("\r", "utf-8")]
)
def test_how_a_list_is_stored(tmp_path, end, encoding):
    root = folder(tmp_path / "data")
    path = listed(tmp_path / "my list 가.txt", "images/가.png", "a", end=end, encoding=encoding)
    assert names_of(open_dataset(root, train_list=path))["train"] == ["가", "a"]


def test_paths_from_the_lists_own_folder(tmp_path):
    root = folder(tmp_path / "data")
    beside = listed(root / "lists" / "one.txt", "../images/a.png ../masks/a.png")
    assert names_of(open_dataset(root, train_list=beside))["train"] == ["a"]
    inside = listed(root / "images" / "one.txt", "b.png")
    assert names_of(open_dataset(root, train_list=inside, layout="folders"))["train"] == ["b"]


def test_both_lists_and_what_is_in_none(tmp_path, caplog):
    root = folder(tmp_path / "data")
    train, val = listed(tmp_path / "t.txt", "b", "a", "b"), listed(tmp_path / "v.txt", "c 1")
    with caplog.at_level(logging.WARNING, "atrous"):
        data = open_dataset(root, train_list=train, val_list=val)
    assert names_of(data) == {"train": ["b", "a"], "val": ["c 1"]}
    assert not data.made_split
    assert "left out, since in no list: 3 of the images, first images/d.v2" in caplog.text


def test_only_the_list_of_val(tmp_path):
    root = folder(tmp_path / "data")
    val = listed(tmp_path / "v.txt", "a", "b")
    assert names_of(open_dataset(root, val_list=val)) == {"val": ["a", "b"], "train": sorted(NAMES[2:])}


def divided(root):
    for split, names in (("train", "abc"), ("val", "de"), ("test", "fg")):
        folder(root, names, images=f"images/{split}", masks=f"masks/{split}")
    return root


def test_a_folder_that_is_divided(tmp_path, caplog):
    root = divided(tmp_path / "data")
    one = listed(tmp_path / "one.txt", "a", "b")
    assert names_of(open_dataset(root, train_list=one)) == {
        "train": ["train/a", "train/b"], "val": ["val/d", "val/e"], "test": ["test/f", "test/g"],
    }  # fmt: skip
    assert names_of(open_dataset(root, val_list=one)) == {
        "train": ["train/c"], "val": ["train/a", "train/b"], "test": ["test/f", "test/g"],
    }  # fmt: skip
    other = listed(tmp_path / "other.txt", "d", "f")
    with caplog.at_level(logging.WARNING, "atrous"):
        assert names_of(open_dataset(root, train_list=other)) == {
            "train": ["val/d", "test/f"], "val": ["val/e"], "test": ["test/g"],
        }  # fmt: skip
    assert "1 images of its own val are trained on, as the list says" in caplog.text


def test_classes_are_those_of_the_whole_folder(tmp_path):
    root = folder(tmp_path / "data", "abc")
    Image.fromarray(np.full((4, 5), 2, np.uint8)).save(root / "masks" / "c.png")
    both = {name: listed(tmp_path / name, line) for name, line in (("train_list", "a"), ("val_list", "b"))}
    assert len(open_dataset(root, **both).space) == 3


def test_all_in_train_leaves_nothing_to_score(tmp_path, caplog):
    root = folder(tmp_path / "data", "ab")
    with caplog.at_level(logging.WARNING, "atrous"):
        assert split_of(root, "a", "b") == {"train": ["a", "b"]}
    assert "nothing is left for val, so the run is not scored" in caplog.text


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a", "", "imgs/d.v3.png"], r"line 3: 'imgs/d.v3.png' is none of the 6 .*; the nearest name is images/d.v2"),
        (["zzz"], r"mine.txt, line 1: 'zzz' is none of the 6 images of .*; its names are like images/a"),
        (["# only this", ""], r"mine.txt: the list is empty. Name an image on every line"),
        ([], r"mine.txt: the list is empty"),
        (["images/a.png masks/b.png"], r"line 1: 'masks/b.png' is not the mask of images/a; that is .*masks/a.png"),
        (["a\tb"], r"line 1: 'b' is not the mask of images/a; that is"),
        (["a 1"], r"line 1: '1' is not the mask of images/a"),
        (["images/a.png masks/a_gone.png"], r"'masks/a_gone.png' is not the mask of images/a"),
        (["old/a.png"], r"line 1: 'old/a.png' is another file than images/a of .*data; name files of the latter"),
        (["old/zzz.png"], r"line 1: 'old/zzz.png' is none of the 6 .*; the file is there, but no image with a mask by"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line(tmp_path, lines, words):
    root = folder(tmp_path / "data")
    for name in ("a", "zzz"):
        write_image(root / "old" / f"{name}.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(AtrousError, match=words):
        split_of(root, *lines, layout="folders")


def test_an_image_in_both_lists(tmp_path):
    root = folder(tmp_path / "data")
    train, val = listed(tmp_path / "t.txt", "b", "a", "c 1"), listed(tmp_path / "v.txt", "images/c 1.png", "#", "a.png")
    words = r"v.txt, line 3: images/a is in .*t.txt, line 2, too, and 1 more. Take each image off one of the lists"
    with pytest.raises(AtrousError, match=words):
        open_dataset(root, train_list=train, val_list=val)


def test_lists_that_cannot_be(tmp_path):
    root = folder(tmp_path / "data", "ab")
    with pytest.raises(AtrousError, match=r"gone.txt: the list cannot be read: No such file"):
        open_dataset(root, train_list=tmp_path / "gone.txt")
    with pytest.raises(AtrousError, match=r"data: the list cannot be read: Is a directory"):
        open_dataset(root, val_list=root)
    with pytest.raises(AtrousError, match=r"a.png: this is not text in UTF-8"):
        open_dataset(root, val_list=root / "images" / "a.png")
    with pytest.raises(AtrousError, match=r"v.txt: names all images of .*data, and none is left to train on. Name few"):
        open_dataset(root, val_list=listed(tmp_path / "v.txt", "a", "b"))
    with pytest.raises(ValueError, match="both a split and lists came"):
        open_dataset(root, val_list=tmp_path / "v.txt", split={"train": ["images/a"]})


def test_a_name_of_several_images(tmp_path):
    root = divided(tmp_path / "data")
    folder(root, "a", images="images/val", masks="masks/val")
    with pytest.raises(
        AtrousError, match=r"line 1: 'a' is the name of 2 images, .*train/a and .*val/a; give the folder"
    ):
        split_of(root, "a")
    assert split_of(root, "val/a")["train"] == ["val/a"]


def test_a_file_of_another_folder_is_not_taken_for_ours(tmp_path):
    root, other = folder(tmp_path / "data"), folder(tmp_path / "other")
    with pytest.raises(AtrousError, match=r"'.*other/images/a.png' is another file than images/a of .*data; name"):
        split_of(root, f"{other}/images/a.png")
    (tmp_path / "link").symlink_to(root)
    assert split_of(root, f"{tmp_path}/link/images/a.png")["train"] == ["a"]


def test_an_image_without_mask(tmp_path):
    root = divided(tmp_path / "data")
    (root / "masks" / "test" / "f.png").unlink()
    with pytest.raises(AtrousError, match=r"line 1: images/test/f has no mask, and is no use to training"):
        split_of(root, "f")


def test_a_volume_is_all_its_slices(tmp_path):
    nib = pytest.importorskip("nibabel")
    for name in ("one", "two"):
        for kind, dtype in (("images", np.int16), ("masks", np.uint8)):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            array = np.zeros((6, 5, 3), dtype)
            array[2:4] = 1
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "data" / kind / f"{name}.nii.gz")
    for line in ("two", "images/two.nii.gz", "two.nii.gz"):
        split = split_of(tmp_path / "data", line)
        assert {name.partition("/")[0] for name in split["train"]} == {"two"}
        assert len(split["train"]) == len(split["val"]) == 3


def test_images_that_the_folders_own_lists_leave_out(tmp_path):
    for layout in ("folders", "voc"):
        root = tmp_path / layout / "data"
        images, masks = ("images", "masks") if layout == "folders" else ("JPEGImages", "SegmentationClass")
        folder(root, "abcd", images=images, masks=masks)
        place = root / "ImageSets" / "Segmentation" if layout == "voc" else root
        listed(place / "train.txt", "a")
        listed(place / "val.txt", "b")
        data = open_dataset(root, train_list=listed(place / "trainaug.txt", "a", "c", "d"))
        assert (data.layout, {split: [pair.name[-1] for pair in pairs] for split, pairs in data.splits.items()}) == (
            layout,
            {"train": ["a", "c", "d"], "val": ["b"]},
        )
        assert fingerprint(data)["splits"] == {"train": 3, "val": 1}
        stored = {split: [pair.name for pair in pairs] for split, pairs in data.splits.items()}
        assert open_dataset(root, split=stored).splits == data.splits


def test_camvids_own_lists(tmp_path):
    root = tmp_path / "CamVid"
    for split, names in (("train", "abc"), ("val", "de")):
        folder(root, names, images=split, masks=f"{split}annot")
    lines = [
        f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png"
        for split, name in (("train", "a"), ("val", "d"))
    ]
    data = open_dataset(root, train_list=listed(tmp_path / "mine.txt", *lines))
    assert data.layout == "camvid"
    assert names_of(data) == {"train": ["train/a", "val/d"], "val": ["val/e"]}


def test_real_membranes(data_dir, tmp_path):
    root = data_dir / "isbi2012"
    names = sorted(path.stem for path in (root / "image").iterdir())
    lists = {
        "train_list": listed(tmp_path / "t.txt", *(f"image/{name}.png" for name in names[:24])),
        "val_list": listed(tmp_path / "v.txt", *names[24:]),
    }
    data = open_dataset(root, **lists)
    assert [pair.name for pair in data.splits["train"]] == [f"image/{name}" for name in names[:24]]
    assert [pair.name for pair in data.splits["val"]] == [f"image/{name}" for name in names[24:]]


def test_real_nuclei(data_dir, tmp_path):
    root = data_dir / "dsb2018"
    own = open_dataset(root)
    swapped = open_dataset(root, train_list=root / "val.txt", val_list=root / "train.txt")
    assert swapped.splits["train"] == own.splits["val"]
    assert swapped.splits["val"] == own.splits["train"]
    assert (swapped.space, swapped.layout) == (own.space, own.layout)
