"""LabelMe's files: every shape it draws, where its images are, and what is wrong with them."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import labelme, recognise

SQUARE = [[1, 1], [5, 1], [5, 4], [1, 4]]


def shape(label, points=SQUARE, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def write(root, name, *shapes, image=None, size=(20, 30), file=None):
    """Write an image and its JSON file, which says that the image is `image`."""
    path = root / (file or f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(root / f"{name}.jpg")
    content = {
        "version": "5.2.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image or f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return root


def kinds(found):
    return [(problem.kind, problem.path.name) for problem in found.problems]


def mask_of(root):
    return recognise(root).splits["train"].pairs[0].mask.read()


def test_labels_are_classes(tmp_path):
    write(tmp_path, "a", shape("dog"), shape("__ignore__", [[10, 10], [12, 10], [12, 12], [10, 12]]))
    write(tmp_path, "b 한", shape("cat"), shape("_background_", [[2, 2], [3, 2], [3, 3], [2, 3]]))
    write(tmp_path, "c")
    found = recognise(tmp_path)
    assert (found.layout, found.problems, found.notes) == ("labelme", (), ())
    assert (found.told.classes, found.told.values, found.told.ignore) == (
        ("_background_", "cat", "dog"),
        (0, 1, 2),
        255,
    )
    masks = {pair.name: pair.mask.read() for pair in found.splits["train"].pairs}
    assert {name: np.unique(mask).tolist() for name, mask in masks.items()} == {
        "a": [0, 2, 255],
        "b 한": [0, 1],
        "c": [0],
    }
    assert int((masks["a"] == 2).sum()) == 12
    assert int((masks["b 한"] == 1).sum()) == 11
    dataset = open_dataset(tmp_path)
    (pair,) = (pair for pairs in dataset.splits.values() for pair in pairs if pair.name == "a")
    sample = read_sample(pair, dataset.space)
    assert np.unique(sample.labels).tolist() == [0, 2, 255]
    assert np.unique(sample.instances).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("points", "kind", "pixels"),
    [
        ([[5, 4], [1, 1]], "rectangle", 12),
        ([[15, 10], [15, 13]], "circle", 32),
        ([[10, 10], [20, 10]], "line", 180),
        ([[10, 10], [20, 10], [10, 10]], "linestrip", 180),
        ([[15, 10]], "point", 80),
    ],
)
def test_kinds_of_shapes(tmp_path, points, kind, pixels):
    assert int((mask_of(write(tmp_path, "a", shape("x", points, kind))) == 1).sum()) == pixels


def test_masks_in_the_file(tmp_path):
    picture = BytesIO()
    Image.fromarray(np.eye(3, dtype=np.uint8) * 255).save(picture, "PNG")
    text = base64.b64encode(picture.getvalue()).decode()
    mask = mask_of(write(tmp_path, "a", shape("x", [[4, 2], [7, 5]], "mask", mask=text)))
    assert np.argwhere(mask).tolist() == [[2, 4], [3, 5], [4, 6]]
    write(tmp_path, "a", shape("x", [[4, 2], [7, 5]], "mask", mask=text[:40]))
    with pytest.raises(AtrousError, match=r"a.json: a.jpg: the picture of a shape is damaged") as caught:
        mask_of(tmp_path)
    assert caught.value.kind == "broken-annotation"


@pytest.mark.parametrize(
    ("name", "file", "image"),
    [
        ("a", "a.json", "a.jpg"),
        ("images/a", "labels/a.json", "../images/a.jpg"),
        ("images/a", "labels/a.json", "..\\images\\a.jpg"),
        ("images/a", "labels/a.json", "C:\\home\\me\\a.jpg"),
        ("images/a", "labels/a.json", "/somewhere/else/other.jpg"),
        ("train/a", "train/a.json", "a.jpg"),
    ],
)
def test_where_images_are(tmp_path, name, file, image):
    found = recognise(write(tmp_path, name, shape("x"), file=file, image=image))
    assert [pair.name for pair in found.splits["train"].pairs] == [name]


def test_splits_and_equal_names(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, f"{split}/a", shape("x"))
    splits = recognise(tmp_path).splits
    assert {name: [pair.name for pair in matched.pairs] for name, matched in splits.items()} == {
        "train": ["train/a"],
        "val": ["val/a"],
    }


@pytest.mark.parametrize(
    ("broken", "kind", "match"),
    [
        (shape(None), "broken-annotation", "shape 2 of a.jpg: it has no label: left out"),
        (shape("x", SQUARE[:2]), "broken-annotation", "a polygon of 2 corners came"),
        (shape("x", [[1, 1]], "circle"), "broken-annotation", "a polygon of 1 corners came; 2 or more"),
        (shape("x", None), "broken-annotation", "no list of numbers"),
        (shape("x", [[1, "2"], [3, 4], [5, 6]]), "broken-annotation", "no list of numbers"),
        (shape("x", [[1, 2, 3], [4, 5, 6]]), "broken-annotation", "6 numbers came, which are no pairs"),
        (shape("x", SQUARE, "spline"), "broken-annotation", "the shape type 'spline' came"),
        (shape("x", SQUARE, ["polygon"]), "broken-annotation", "the shape type ['polygon'] came"),
        (shape("x", SQUARE, "mask"), "broken-annotation", "its mask is no picture in base64"),
        (shape("x", SQUARE, "mask", mask="한"), "broken-annotation", "its mask is no picture in base64"),
        (shape("x", [[1, 1], [50, 1], [5, 5]]), "shape-outside", "20.0 pixels beyond the image"),
        ("nonsense", "broken-annotation", "it has no label"),
    ],
)
def test_broken_shapes_become_problems(tmp_path, broken, kind, match):
    found = recognise(write(tmp_path, "a", shape("x"), broken))
    assert kinds(found) == [(kind, "a.json")]
    assert match in found.problems[0].detail
    assert found.splits["train"].pairs[0].mask.read().max() == 1


def test_broken_files_become_problems(tmp_path):
    write(tmp_path, "a", shape("x"))
    write(tmp_path, "b", shape("x"))
    (tmp_path / "b.json").write_text((tmp_path / "b.json").read_text()[:-9])
    write(tmp_path, "c", shape("x"))
    (tmp_path / "c.json").write_text('{"shapes": 3, "imagePath": "c.jpg"}')
    write(tmp_path, "d", shape("x"))
    (tmp_path / "d.json").write_text("")
    found = recognise(tmp_path)
    assert kinds(found)[:3] == [("broken-annotation", f"{name}.json") for name in "bcd"]
    assert kinds(found)[3:] == [("image-without-mask", f"{name}.jpg") for name in "bcd"]
    assert [pair.name for pair in found.splits["train"].pairs] == ["a"]


def test_images_without_file_and_files_without_image(tmp_path):
    write(tmp_path, "a", shape("x"))
    write(tmp_path, "b", shape("x"))
    (tmp_path / "a.json").unlink()
    assert kinds(recognise(tmp_path)) == [("image-without-mask", "a.jpg")]
    write(tmp_path, "c", shape("x"))
    (tmp_path / "c.jpg").unlink()
    assert recognise(tmp_path).splits["train"].missing == ("c.jpg (of c.json)",)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(
        AtrousError, match=r"2 JSON files of LabelMe came, and none of their images; the first is 'b.jpg'"
    ):
        recognise(tmp_path)


def test_a_size_that_is_not_the_files(tmp_path):
    write(tmp_path, "a", shape("x"))
    Image.new("RGB", (20, 30)).save(tmp_path / "a.jpg")
    with pytest.raises(AtrousError, match=r"a.json: it says that a.jpg is 20 x 30 .*swapped"):
        mask_of(tmp_path)


def test_too_many_labels(tmp_path):
    write(tmp_path, "a", *(shape(f"x{number}") for number in range(255)))
    with pytest.raises(AtrousError, match=r"255 labels are used, and 254 are possible beside the background"):
        recognise(tmp_path)
    write(tmp_path, "a", *(shape(number) for number in range(254)))
    assert len(recognise(tmp_path).told.classes) == 255


def test_other_files_are_none_of_this_layout(tmp_path):
    for content in ({}, [], {"images": []}, {"imagePath": "a.jpg"}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        assert labelme.recognise(tmp_path) is None


def test_shapes_of_a_group_are_one_object(tmp_path):
    far = [[10, 10], [14, 10], [14, 14], [10, 14]]
    other = [[20, 1], [24, 1], [24, 4], [20, 4]]
    shapes = (shape("cat", group_id=1), shape("cat", far, group_id=1), shape("dog", other, group_id=1))
    write(tmp_path, "a", *shapes)
    mask = recognise(tmp_path).splits["train"].pairs[0].mask
    numbers = mask.instances()
    assert (numbers[2, 2], numbers[11, 11], numbers[2, 22]) == (1, 1, 3)
    assert np.unique(mask.read()).tolist() == [0, 1, 2]


def test_turned_rectangles(tmp_path):
    write(tmp_path, "a", shape("cat", [[5, 0], [10, 5], [5, 10], [0, 5]], "rotation"))
    found = recognise(tmp_path)
    mask = found.splits["train"].pairs[0].mask.read()
    assert (found.problems, mask[5, 5], mask[1, 1], mask[8, 8]) == ((), 1, 0, 0)


def test_a_folder_called_like_a_split_comes_before_words(tmp_path):
    write(tmp_path, "train/val street/a", shape("cat"))
    assert list(recognise(tmp_path).splits) == ["train"]


def test_labels_in_other_letters_are_the_same(tmp_path):
    write(tmp_path, "a", shape("\ubcf4"))
    write(tmp_path, "b", shape("\u1107\u1169"))
    assert recognise(tmp_path).told.classes == ("_background_", "\ubcf4")


def test_two_files_of_one_image_and_masks_beside(tmp_path):
    write(tmp_path, "images/a", shape("cat"), file="json/a.json", image="../images/a.jpg")
    write(tmp_path, "images/a", shape("dog"), file="old/b.json", image="../images/a.jpg")
    (tmp_path / "masks").mkdir()
    Image.new("L", (30, 20), 1).save(tmp_path / "masks" / "a.png")
    found = recognise(tmp_path)
    assert kinds(found) == [("name-twice", "a.jpg")]
    assert found.problems[0].detail == (
        "a.json and b.json both annotate it, as where an export is there twice: a.json counts"
    )
    assert any("masks/ holds masks too" in note for note in found.notes)
    assert found.splits["train"].doubles == ()
