"""Index masks open as they are, in the colours of the classes, and hold the source's own numbers on request."""

import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import IGNORE, LabelSpace
from atrous.data import open_dataset, read_mask, read_sample, write_image, write_mask
from atrous.data.conversion import convert


def made_set(root, mask, classes):
    for split in ("train", "val"):
        write_image(root / "images" / split / "a.png", np.zeros(mask.shape[:2], np.uint8))
        write_image(root / "masks" / split / "a.png", mask)
    (root / "classes.json").write_text(json.dumps(classes))
    return open_dataset(root)


def test_masks_are_indices_with_a_palette(tmp_path):
    classes = {"names": ["길", "car"], "values": [7, 26], "colours": [[128, 64, 128], [0, 0, 142]], "ignore": 3}
    old = made_set(tmp_path / "old", np.array([[7, 26, 3]], np.uint8), classes)
    made = convert(old, tmp_path / "new", to="masks")
    assert (made.files, made.notes) == (5, ())
    with Image.open(tmp_path / "new" / "masks" / "val" / "a.png") as file:
        assert file.mode == "P"
        assert np.array_equal(np.array(file), [[0, 1, IGNORE]])
        assert np.array(file.convert("RGB")).tolist() == [[[128, 64, 128], [0, 0, 142], [0, 0, 0]]]
    new = open_dataset(tmp_path / "new")
    assert new.space == LabelSpace(names=("길", "car"), colours=((128, 64, 128), (0, 0, 142)))


def test_the_numbers_of_the_source(tmp_path):
    classes = {"names": ["road", "car"], "values": [7, 26], "ignore": 3}
    old = made_set(tmp_path / "old", np.array([[7, 26, 3]], np.uint8), classes)
    convert(old, tmp_path / "new", to="masks", values=True)
    assert read_mask(tmp_path / "new" / "masks" / "train" / "a.png").tolist() == [[7, 26, 3]]
    new = open_dataset(tmp_path / "new")
    assert new.space == old.space
    assert read_sample(new.splits["val"][0], new.space).labels.tolist() == [[0, 1, IGNORE]]


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [
        (np.uint16([[0, 300]]), {"names": ["a", "b"], "values": [0, 300]}, "hold 0 to 300, and a byte 0 to 255"),
        (np.uint8([[[0, 0, 0], [9, 0, 0]]]), {"names": ["a", "b"], "values": [[0, 0, 0], [9, 0, 0]]}, "hold colours"),
    ],
)
def test_numbers_that_no_index_mask_holds(tmp_path, mask, classes, message):
    old = made_set(tmp_path / "old", mask, classes)
    with pytest.raises(ValueError, match=f"the source's masks {message}.*leave values out"):
        convert(old, tmp_path / "new", to="masks", values=True)
    assert not (tmp_path / "new").exists()


def test_zero_and_255_are_kept_as_values(tmp_path):
    space = LabelSpace(names=("off", "on"), values=(0, 255), ignore=None)
    write_mask(tmp_path / "m.png", np.uint8([[0, 1]]), space, values=True)
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 255]]


def test_object_numbers_are_said_to_be_lost(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / "old" / "images" / split / "a.png", np.zeros((1, 4), np.uint8))
        write_image(tmp_path / "old" / "masks" / split / "a.png", np.uint16([[0, 1, 2, 2]]))
    old = open_dataset(tmp_path / "old", labels="instances")
    made = convert(old, tmp_path / "new", to="masks")
    assert made.notes == ("4 numbered objects: masks hold classes only; coco keeps objects apart",)
    assert read_mask(tmp_path / "new" / "masks" / "val" / "a.png").tolist() == [[0, 1, 1, 1]]


def test_a_test_split_alone_is_refused(tmp_path):
    old = made_set(tmp_path / "old", np.uint8([[0, 1]]), {"names": ["a", "b"], "values": [0, 1]})
    alone = type(old)(old.root, old.layout, {"test": old.splits["val"]}, old.space, made_split=False)
    with pytest.raises(ValueError, match=r"there is only test, and folders of masks need train or val. Try voc"):
        convert(alone, tmp_path / "new", to="masks")
    convert(alone, tmp_path / "new", to="voc")
    assert len(open_dataset(tmp_path / "new").splits["test"]) == 1
