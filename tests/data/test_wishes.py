"""Names of several sources: the caller's, classes.json's, the layout's; and what classes.json may hold."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.data import decode, open_dataset, read_sample
from atrous.data.spaces import label_outside

SQUARE = [[3, 2], [7, 2], [7, 5], [3, 5]]


def shapes(root, *labels):
    """Write a folder of LabelMe's files, an image with one shape for each label."""
    root.mkdir(exist_ok=True)
    for number, label in enumerate(labels):
        Image.new("RGB", (10, 8)).save(root / f"{number}.jpg")
        shape = {"label": label, "points": SQUARE, "shape_type": "polygon", "group_id": None, "flags": {}}
        (root / f"{number}.json").write_text(
            json.dumps({
                "version": "5", "flags": {}, "shapes": [shape], "imagePath": f"{number}.jpg", "imageData": None,
                "imageHeight": 8, "imageWidth": 10,
            })
        )  # fmt: skip
    return root


def masks(root, *rows):
    for number, row in enumerate(rows):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array([row], np.uint8)).save(root / kind / f"{number}.png")
    return root


def drawn(dataset):
    """Return the names that each pair's labels have, without the first and what is ignored."""
    found = {}
    for pair in (pair for pairs in dataset.splits.values() for pair in pairs):
        labels = set(np.unique(read_sample(pair, dataset.space).labels).tolist()) - {0, 255}
        found[pair.name] = {dataset.space.names[label] for label in labels}
    return found


def test_names_are_matched_by_name_and_not_by_position(tmp_path):
    root = shapes(tmp_path, "car", "tree")
    dataset = open_dataset(root, classes=["_background_", "car", "person", "tree"])
    assert drawn(dataset) == {"0": {"car"}, "1": {"tree"}}
    assert dataset.space.names == ("_background_", "car", "person", "tree")
    swapped = open_dataset(root, classes=["_background_", "tree", "car"])
    assert (swapped.space.names, swapped.space.values) == (("_background_", "tree", "car"), (0, 2, 1))
    assert drawn(swapped) == {"0": {"car"}, "1": {"tree"}}


def test_classes_file_over_a_layout_that_holds_a_part_of_them(tmp_path):
    root = shapes(tmp_path, "tree", "tree")
    (root / "classes.json").write_text('{"names": ["_background_", "car", "tree"]}')
    dataset = open_dataset(root)
    assert drawn(dataset) == {"0": {"tree"}, "1": {"tree"}}
    space = dataset.space
    with pytest.raises(AtrousError, match=r"label 7 is outside 0..1 and is not the ignore value 255"):
        decode(np.array([[7]], np.uint8), space, root)
    with pytest.raises(AtrousError, match=r"label 7 is outside 0..1"):
        decode(np.array([[7]], np.int64), space, root)


def test_new_names_for_all_go_by_position_and_it_is_said(tmp_path, caplog):
    root = shapes(tmp_path, "auto", "baum")
    with caplog.at_level(logging.WARNING, "atrous"):
        dataset = open_dataset(root, classes=["ground", "car", "tree"])
    assert drawn(dataset) == {"0": {"car"}, "1": {"tree"}}
    assert "the classes are renamed in their order: _background_ is ground, auto is car, baum is tree" in caplog.text


@pytest.mark.parametrize("classes", [["_background_", "car", "person"], ["ground", "a", "b", "c"], ["ground", "car"]])
def test_names_that_do_not_say_which_class_is_meant(tmp_path, classes):
    root = shapes(tmp_path, "car", "tree")
    words = r"given classes: .* came, and the folder has _background_, car, tree. It is not clear which is '\w+'; use"
    with pytest.raises(AtrousError, match=words):
        open_dataset(root, classes=classes)


def test_a_class_that_is_not_named_is_refused_where_a_pixel_has_it(tmp_path):
    dataset = open_dataset(shapes(tmp_path, "car", "tree"), classes=["_background_", "car"])
    with pytest.raises(AtrousError, match=r"label 2 is outside 0..1 and is not the ignore value 255. 12 pixels"):
        drawn(dataset)


def test_the_ignored_value_of_a_told_class_takes_the_class_out(tmp_path, caplog):
    root = shapes(tmp_path, "car", "tree")
    with caplog.at_level(logging.WARNING, "atrous"):
        dataset = open_dataset(root, ignore=2)
    assert (dataset.space.names, dataset.space.values, dataset.space.ignore) == (("_background_", "car"), (0, 1), 2)
    labels = [read_sample(pair, dataset.space).labels for pairs in dataset.splits.values() for pair in pairs]
    assert sorted(int((each == 255).sum()) for each in labels) == [0, 12]
    assert "tree is ignored, as its value 2 is" in caplog.text
    (root / "classes.json").write_text('{"names": ["a"], "values": [2]}')
    with pytest.raises(AtrousError, match=r"classes.json: a is the only class, and its value is ignored"):
        open_dataset(root, ignore=2)


def test_spread_grey_levels_up_to_255_are_classes(tmp_path, caplog):
    root = masks(tmp_path, [0, 128, 255], [0, 0, 0])
    with caplog.at_level(logging.WARNING, "atrous"):
        space = open_dataset(root).space
    assert (space.values, space.ignore) == ((0, 128, 255), None)
    assert "255 is a class, since the masks hold grey levels that are spread; --ignore 255 makes it none" in caplog.text
    caplog.clear()
    assert open_dataset(root, classes=["a", "b", "c"]).space.values == (0, 128, 255)
    assert not caplog.records
    for wishes in ({"ignore": 255}, {"classes": ["a", "b"]}):
        space = open_dataset(root, **wishes).space
        assert (space.values, space.ignore) == ((0, 128), 255)
    indices = open_dataset(masks(tmp_path / "indices", [0, 15, 255], [0, 0, 0])).space
    assert (len(indices), indices.ignore) == (16, 255)


def test_255_among_three_values_of_classes_file_is_a_class(tmp_path):
    root = masks(tmp_path, [0, 7, 255], [0, 0, 0])
    (root / "classes.json").write_text('{"names": ["a", "b", "c"], "values": [0, 7, 255]}')
    assert open_dataset(root).space.ignore is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"names": [1, 2]}, r"names \[1, 2\] came; a list of words is accepted"),
        ({"names": []}, "0 names came; 1 to 255 are possible"),
        ({"names": ["a", "a"]}, "names repeat 'a'; every class needs its own"),
        ({"values": 5}, "values 5 came; a list with one entry per name is accepted"),
        ({"values": [0]}, "2 names and 1 values came; give as many of each"),
        ({"values": [0, [1, 2, 3]]}, r"values .* came; a list of whole numbers, or one of \[red, green, blue\] is"),
        ({"values": [0, 1.5]}, "a list of whole numbers, or one of"),
        ({"values": [0, True]}, "a list of whole numbers, or one of"),
        ({"values": [0, 10**25]}, "a list of whole numbers, or one of"),
        ({"values": [0, 0]}, "values repeat 0"),
        ({"values": [[1, 2, 3], [1, 2, 300]]}, "a list of whole numbers, or one of"),
        ({"colours": "red"}, 'colours "red" came; a list with one entry per name is accepted'),
        ({"colours": [[1, 2, 3], [1, 2, 300]]}, r"colours .* came; a list of \[red, green, blue\], each 0 to 255"),
        ({"colours": [[1, 2, 3], [1, 2]]}, r"a list of \[red, green, blue\], each 0 to 255"),
        ({"ignore": True}, r"ignore true came; a whole number, \[red, green, blue\] or null is accepted"),
        ({"ignore": "255"}, "ignore .255. came; a whole number"),
        ({"ignore": [1, 2, 3], "values": [0, 1]}, r"values are numbers and ignore is the colour \[1, 2, 3\]"),
        ({"ignore": 1, "values": [0, 1]}, "1 is the value of a class and is ignored. Take the class out"),
        ({"labels": "colours", "values": [0, 1]}, "labels 'colours' and the values 0 came, which are not of that"),
        ({"labels": ["indices"]}, r"labels \['indices'\] came; indices, colours and instances are possible"),
    ],
)  # fmt: skip
def test_classes_file_is_checked(tmp_path, fields, words):
    root = masks(tmp_path, [0, 1])
    (root / "classes.json").write_text(json.dumps({"names": ["a", "b"], **fields}))
    with pytest.raises(AtrousError, match=rf"classes.json: .*{words}|classes.json: {words}"):
        open_dataset(root)


def test_classes_file_that_cannot_be_read(tmp_path):
    root = masks(tmp_path, [0, 1])
    for data in (b"[" * 100_000, b"\xff\xfe\x00", b"", b'{"names": ' + b"9" * 5000 + b"}"):
        (root / "classes.json").write_bytes(data)
        with pytest.raises(AtrousError, match=r"classes.json: this is not JSON .* An example: "):
            open_dataset(root)


def test_errors_name_where_the_names_come_from(tmp_path):
    root = masks(tmp_path / "m", [0, 1])
    with pytest.raises(ValueError, match="classes repeat 'a'; every class needs its own name"):
        open_dataset(root, classes=["a", "a"])
    with pytest.raises(AtrousError, match=r"^the given classes: 256 classes came; 1 to 255 are possible"):
        open_dataset(shapes(tmp_path / "s", "car"), classes=["_background_", "car", *map(str, range(254))])


def test_label_outside_of_any_values():
    words = "label 3 is none of 1, 200000000 and is not the ignore value 255. 1 pixel has it"
    assert words in str(label_outside("m.png", 3, 1, [1, 200_000_000], 255))
    assert "label 3 is none of the classes." in str(label_outside("m.png", 3, 1, [], None))
    assert "label 3 is outside 0..1 and" in str(label_outside("m.png", 3, 1, [0, 1], 255))
    huge = LabelSpace(names=("a", "b"), values=(0, 10**25), ignore=10**30)
    for dtype in (np.uint8, np.int64):
        with pytest.raises(AtrousError, match=r"label 3 is outside 0..0"):
            decode(np.array([[0, 3]], dtype), huge, "m.png")
    with pytest.raises(AtrousError, match="label -1 is "):
        decode(np.array([[0, -1]], np.int64), huge, "m.png")
    colours = LabelSpace(names=("a",), values=((0, 0, 0),))
    with pytest.raises(AtrousError, match=r"^m.png: indices came, and the classes are colours. Give their numbers"):
        decode(np.zeros((1, 2), np.uint8), colours, "m.png")
