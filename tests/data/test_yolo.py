"""YOLO's polygons in text files, the YAML file beside them, and what is wrong with either."""

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import recognise, yolo
from atrous.data.rings import outlines
from atrous.data.shapes import polygon
from atrous.data.yaml_keys import read_keys

SQUARE = "1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8"
NAMES = "names: [cat, dog]\n"


def place(root, name, text=SQUARE, size=(10, 20)):
    """Write an image and, unless its text is None, the text file that belongs to it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)
    if text is not None:
        folder, _, rest = name.rpartition("images")
        label = (root / (folder + "labels" + rest)).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text, encoding="utf-8")
    return root


def kinds(found):
    return [(problem.kind, problem.path.name) for problem in found.problems]


def names_of(found):
    return {split: [pair.name for pair in matched.pairs] for split, matched in found.splits.items()}


@pytest.mark.parametrize(
    ("names", "yaml"),
    [
        (("images/train/a.jpg", "images/val/b 한.jpg"), "path: ../datasets/x\ntrain: images/train\nval: images/val\n"),
        (("train/images/a.jpg", "valid/images/b 한.jpg"), "train: ../train/images\nval: ../valid/images\n"),
        (("images/train/a.jpg", "images/val/b 한.jpg"), ""),
        (("images/x/a.jpg", "images/y/b 한.jpg"), "train: [images/x]\nval:\n  - ./images/y\n"),
        (("images/a.jpg", "images/b 한.jpg"), "train: train.txt\nval: val.txt\n"),
        (("images/a.jpg", "images/b 한.jpg"), "train: /home/me/x/train.txt\nvalidation: val.txt\n"),
    ],
)
def test_folders_and_splits(tmp_path, names, yaml):
    for name in names:
        place(tmp_path, name)
    (tmp_path / "data.yaml").write_text(NAMES + yaml)
    (tmp_path / "train.txt").write_text("./images/a.jpg\n")
    (tmp_path / "val.txt").write_text("C:\\data\\images\\b 한.jpg\n", encoding="utf-8")
    found = recognise(tmp_path)
    assert (found.layout, found.problems, found.notes) == ("yolo", (), ())
    assert names_of(found) == {"train": [names[0][:-4]], "val": [names[1][:-4]]}
    assert (found.told.classes, found.told.values) == (("background", "cat", "dog"), (0, 1, 2))
    dataset = open_dataset(tmp_path)
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    wanted = np.zeros((10, 20), int)
    wanted[2:8, 2:10] = 2
    np.testing.assert_array_equal(sample.labels, wanted)
    np.testing.assert_array_equal(sample.instances, wanted > 0)


def test_outlines_survive_the_shares(tmp_path):
    mask = np.random.default_rng(0).random((37, 53)) < 0.6
    parts = polygon([ring / (53, 37) for ring in outlines(mask)], united=False, relative=True)
    top, left, window = parts.window((37, 53))
    np.testing.assert_array_equal(window, mask[top : top + window.shape[0], left : left + window.shape[1]])


def test_images_without_text_or_with_an_empty_one_are_background(tmp_path):
    place(tmp_path, "images/train/a.jpg")
    place(tmp_path, "images/train/b.jpg", "\n")
    place(tmp_path, "images/train/c.jpg", None)
    place(tmp_path, "images/val/d.jpg", None)
    place(tmp_path, "images/test/e.jpg", None)
    found = recognise(tmp_path)
    assert found.notes == ("1 images have no label file: they are taken for background, as YOLO does.",)
    assert kinds(found) == [("image-without-mask", "d.jpg")]
    assert names_of(found) == {"train": [f"images/train/{name}" for name in "abc"], "test": ["images/test/e"]}
    assert [int(pair.mask.read().max()) for pair in found.splits["train"].pairs] == [2, 0, 0]
    assert all(pair.mask.path.is_file() for pair in found.splits["train"].pairs)
    assert found.splits["test"].pairs[0].mask is None


def test_texts_without_image(tmp_path):
    place(tmp_path, "images/a.jpg")
    (tmp_path / "labels" / "b.txt").write_text(SQUARE)
    assert kinds(recognise(tmp_path)) == [("mask-without-image", "b.txt")]
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(AtrousError, match="2 label files came and none of their images"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("line", "kind", "match"),
    [
        ("cat 0.1 0.1 0.2 0.2 0.3 0.3", "broken-annotation", "line 2: 'cat 0.1 0.1 0.2 0.2 0.3 0.3' is no class and"),
        (f"{'9' * 400} 0.1 0.1 0.2 0.2 0.3 0.3", "broken-annotation", "is no class and numbers"),
        ("1 0.1 0.1 0.2 0.2 0.3 1e999", "broken-annotation", "a coordinate of inf"),
        ("-1 0.1 0.1 0.2 0.2 0.3 0.3", "broken-annotation", "is no class and numbers"),
        ("1 0.1 0.1 0.2 0.2 0.3 nan", "broken-annotation", "is no class and numbers"),
        ("1 0.1 0.1 0.2 0.2 0.3", "broken-annotation", "5 numbers after the class, which are no pairs"),
        ("1 0.1 0.1", "broken-annotation", "is no class and numbers"),
        ("1 10 10 200 20 30 30", "broken-annotation", "a coordinate of 200, and shares of the image are 0 to 1"),
        ("1 0.1 0.1 1.2 0.2 0.3 0.3", "shape-outside", "reaches 20.0% of the image's side beyond it"),
        ("1 0.1 0.1 0.5 -0.1 0.3 0.3", "shape-outside", "reaches 10.0% of the image's side beyond it"),
        ("1 0.5 0.5 0.2 0.2", "broken-annotation", "1 of 2 objects are boxes: left out"),
    ],
)
def test_broken_lines_become_problems(tmp_path, line, kind, match):
    found = recognise(place(tmp_path, "images/a.jpg", f"{SQUARE}\n{line}\n"))
    assert kinds(found) == [(kind, "a.txt")]
    assert match in found.problems[0].detail
    assert found.splits["train"].pairs[0].mask.read().max() == 2


def test_texts_that_are_none(tmp_path):
    place(tmp_path, "images/a.jpg")
    place(tmp_path, "images/b.jpg")
    (tmp_path / "labels" / "b.txt").write_bytes(b"1 0.1 \xff\xfe")
    assert kinds(recognise(tmp_path)) == [("broken-annotation", "b.txt")]


def test_boxes_are_no_segmentation(tmp_path):
    place(tmp_path, "images/a.jpg", "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.2 0.2\n")
    with pytest.raises(AtrousError, match=r"all 2 objects of its 1 label files are boxes .* is data for detection"):
        recognise(tmp_path)


def test_other_texts_are_none_of_this_layout(tmp_path):
    place(tmp_path, "images/a.jpg", "Car 0.00 0 1.85 387.63 181.54")
    assert yolo.recognise(tmp_path) is None
    place(tmp_path, "images/a.jpg", "")
    assert yolo.recognise(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, 'hot dog']", ("cat", "hot dog")),
        ('names: ["cat",\n  dog ,]  # two', ("cat", "dog")),
        ("names:\n- cat\n- dog # good\n", ("cat", "dog")),
        ("names:\n  0: cat\n  1: 'it''s'\nnc: 2\n", ("cat", "it's")),
        ("names: {0: cat, 1: dog}\n", ("cat", "dog")),
        ("\ufeff# set\r\nnames:\r\n  0: cat\r\n  1: 개\r\ndownload: |\r\n  names: x\r\n", ("cat", "개")),
    ],
)
def test_names(tmp_path, text, names):
    place(tmp_path, "images/a.jpg")
    (tmp_path / "my set.yml").write_text(text, encoding="utf-8", newline="")
    assert recognise(tmp_path).told.classes == ("background", *names)


def test_names_from_elsewhere(tmp_path):
    place(tmp_path, "images/a.jpg")
    assert recognise(tmp_path).told.classes == ("background", "class 0", "class 1")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert recognise(tmp_path).told.classes == ("background", "cat", "dog")
    (tmp_path / "a.yaml").write_text("names:\n  0: cat\n")
    found = recognise(tmp_path)
    assert kinds(found) == [("class-unknown", "a.yaml")]
    assert "1 objects are of class 1" in found.problems[0].detail
    (tmp_path / "a.yaml").write_text("names: {x: cat}\n")
    with pytest.raises(AtrousError, match=r"a.yaml: the name number 'x' came; names are numbered 0, 1"):
        recognise(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"names: [\xff]")
    with pytest.raises(AtrousError, match=r"a.yaml: this is no text in UTF-8"):
        recognise(tmp_path)


def test_numbers_of_classes_that_no_byte_holds(tmp_path):
    place(tmp_path, "images/a.jpg", SQUARE.replace("1", "999999999", 1))
    found = recognise(tmp_path)
    assert (found.told.classes, found.told.values) == (("background", "class 999999999"), (0, 1))
    assert found.splits["train"].pairs[0].mask.read().max() == 1


def test_a_class_called_background(tmp_path):
    place(tmp_path, "images/a.jpg")
    (tmp_path / "data.yaml").write_text("names: [background, cat]\n")
    found = recognise(tmp_path)
    assert (found.told.classes, found.told.values) == (("background", "cat"), (0, 1))
    assert np.unique(found.splits["train"].pairs[0].mask.read()).tolist() == [0, 1]


def test_places_that_are_not_there(tmp_path):
    place(tmp_path, "images/train/a.jpg")
    (tmp_path / "data.yaml").write_text(NAMES + "train: images/train\nval: images/val\ntest: # none\n")
    found = recognise(tmp_path)
    assert kinds(found) == [("listed-missing", "data.yaml")]
    assert found.problems[0].detail == "val: there is no images/val"
    (tmp_path / "data.yaml").write_text(NAMES + "train: list.txt\n")
    (tmp_path / "list.txt").write_text("images/train/a.jpg\nimages/train/gone.jpg\n")
    assert recognise(tmp_path).splits["train"].missing == ("images/train/gone.jpg",)


def test_keys_of_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('a: x#y # z\nb: "q # r"\nc:\n  d: 1\n  e:\n    - f\ng: C:\\x\nh:\nb-2: it\'s\n')
    assert read_keys(path, ("a", "b", "c", "g", "h", "b-2")) == {
        "a": "x#y", "b": "q # r", "c": None, "g": "C:\\x", "h": None, "b-2": "it's",
    }  # fmt: skip


@pytest.mark.parametrize("other", ["images/{}.jpg", "labels/{}.txt"])
def test_names_in_other_letters_are_the_same(tmp_path, other):
    place(tmp_path, "images/b.jpg")
    place(tmp_path, "images/\ubcf4.jpg")
    (tmp_path / other.format("\ubcf4")).rename(tmp_path / other.format("\u1107\u1169"))
    found = recognise(tmp_path)
    assert (found.problems, found.notes) == ((), ())
    assert all(pair.mask.shapes for pair in found.splits["train"].pairs)


def test_images_without_text_are_no_background_where_texts_have_no_image(tmp_path):
    place(tmp_path, "images/a.jpg")
    place(tmp_path, "images/IMG 1.jpg", None)
    (tmp_path / "labels" / "IMG_1.txt").write_text(SQUARE)
    found = recognise(tmp_path)
    assert sorted(kinds(found)) == [("image-without-mask", "IMG 1.jpg"), ("mask-without-image", "IMG_1.txt")]
    assert found.problems[1].detail == (
        "it has no label file, and 1 label files have no image, first IMG_1.txt: left out"
    )
    assert (names_of(found), found.notes) == ({"train": ["images/a"]}, ())


def test_read_mes_and_dangling_links_among_the_texts(tmp_path):
    place(tmp_path, "images/b.jpg")
    place(tmp_path, "images/c.jpg", None)
    (tmp_path / "labels" / "README.txt").write_text("made by hand\n")
    (tmp_path / "labels" / "a.txt").symlink_to(tmp_path / "gone.txt")
    found = recognise(tmp_path)
    assert (found.layout, found.problems) == ("yolo", ())
    assert found.notes == (
        "labels/README.txt holds no labels: left out.",
        "labels/a.txt holds no labels: left out.",
        "1 images have no label file: they are taken for background, as YOLO does.",
    )


def test_boxes_do_not_hide_a_folder_of_masks(tmp_path):
    place(tmp_path, "images/a.jpg", "0 0.5 0.5 0.2 0.2")
    (tmp_path / "masks").mkdir()
    Image.new("L", (20, 10), 1).save(tmp_path / "masks" / "a.png")
    assert recognise(tmp_path).layout == "folders"
    (tmp_path / "labels" / "a.txt").write_text(SQUARE)
    found = recognise(tmp_path)
    assert found.layout == "yolo"
    assert any("masks/ holds masks too" in note for note in found.notes)


def test_a_folder_called_like_a_split_comes_before_words(tmp_path):
    place(tmp_path, "images/train/test_cam/a.jpg")
    assert names_of(recognise(tmp_path)) == {"train": ["images/train/test_cam/a"]}
