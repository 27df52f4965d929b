"""CVAT's labels as CVAT reads them: black is background, colours and names differ, objects are kept apart."""

import json

import numpy as np
import pytest

from atrous.contract import IGNORE, LabelSpace
from atrous.data import open_dataset, read_image, write_image
from atrous.data.conversion import convert
from atrous.data.conversion.cvat import coloured_space


def made_set(root, mask, classes, **options):
    for split in ("train", "val"):
        write_image(root / "images" / split / "city" / "a.png", np.zeros(mask.shape[:2], np.uint8))
        write_image(root / "masks" / split / "city" / "a.png", mask)
    if classes:
        (root / "classes.json").write_text(json.dumps(classes))
    return open_dataset(root, **options)


def test_the_files(tmp_path):
    classes = {"names": ["background", "고양이"], "values": [0, 1], "colours": [[9, 9, 9], [128, 0, 0]]}
    old = made_set(tmp_path / "old", np.uint8([[0, 1, IGNORE]]), classes)
    made = convert(old, tmp_path / "new", to="cvat")
    text = (tmp_path / "new" / "labelmap.txt").read_text(encoding="utf-8")
    assert text.splitlines() == [
        "# label:color_rgb:parts:actions", "background:0,0,0::", "고양이:128,0,0::", "ignore:224,224,192::",
    ]  # fmt: skip
    assert (tmp_path / "new" / "ImageSets" / "Segmentation" / "train.txt").read_text() == "city_a\n"
    mask = read_image(tmp_path / "new" / "SegmentationClass" / "city_a.png")
    assert mask.tolist() == [[[0, 0, 0], [128, 0, 0], [224, 224, 192]]]
    assert made.notes == (
        "1 colour changed: in CVAT black is background, and colours differ",
        '2 ignored pixels in 2 images: CVAT has no such pixels, and shows them as label "ignore"',
    )
    assert open_dataset(tmp_path / "new").layout == "cvat"


def test_colours_and_names_that_a_label_map_can_hold():
    told = []
    colours = ((0, 0, 0), (0, 0, 0), (224, 224, 192), (1, 2, 3))
    space = coloured_space(LabelSpace(names=("a:b", "#a  b", "background", "a b"), colours=colours), told.append)
    assert space.names == ("a b", "a b 2", "background", "a b 3")
    assert space.colours[2:] == ((0, 0, 0), (1, 2, 3))
    assert len({*space.colours, space.ignore}) == 5
    assert told[0] == "class 'a:b' is named 'a b', since a label of CVAT's file has no colon and no break"
    assert told[-1] == "3 colours changed: in CVAT black is background, and colours differ"


@pytest.mark.parametrize("count", [5, 254, 255])
def test_objects(tmp_path, count):
    old = made_set(tmp_path / "old", np.arange(count + 1, dtype=np.uint16)[None] * 7, None, labels="instances")
    made = convert(old, tmp_path / "new", to="cvat")
    drawn = tmp_path / "new" / "SegmentationObject" / "city_a.png"
    assert drawn.exists() == (count <= 254)
    if count > 254:
        assert made.notes[-1] == "2 images with more than 254 objects, whose objects are not kept apart"
        return
    colours = read_image(drawn)[0]
    assert colours[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert len(np.unique(colours, axis=0)) == count + 1
