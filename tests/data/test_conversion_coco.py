"""COCO's files as COCO's own tools read them: sizes, areas, boxes, run lengths and polygons."""

import json

import numpy as np
import pytest

from atrous.contract import IGNORE, LabelSpace
from atrous.data import Dataset, open_dataset, write_image
from atrous.data.conversion import convert
from atrous.data.conversion.coco import run_lengths, runs_of
from atrous.data.conversion.coco_polygons import outlines

# pycocotools 2.0 gives NumPy 2 an array in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
CLASSES = ("background", "고양이", "dog")


def made_set(root, labels, names=CLASSES):
    for split in ("train", "val"):
        write_image(root / "images" / split / "a b.png", np.zeros(labels.shape, np.uint8))
        write_image(root / "masks" / split / "a b.png", labels)
    (root / "classes.json").write_text(json.dumps({"names": names, "values": list(range(len(names))), "ignore": 255}))
    return open_dataset(root)


def random_labels(random, noise):
    height, width = random.integers(1, 30, 2)
    if noise:
        return random.integers(0, 3, (height, width)).astype(np.uint8)
    coarse = random.integers(0, 3, (height // 3 + 1, width // 3 + 1)).astype(np.uint8)
    return coarse.repeat(3, 0).repeat(3, 1)[:height, :width]


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("numbered", [False, True])
def test_codes_are_those_of_pycocotools(noise, numbered):
    masks = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for _ in range(60):
        labels = random_labels(random, noise)
        labels[random.random(labels.shape) < 0.1] = IGNORE
        instances = random.integers(0, 3, labels.shape).astype(np.int32) if numbered else None
        seen = np.zeros(labels.shape, int)
        for runs in runs_of(labels, instances):
            coded = run_lengths(runs)
            mask = masks.decode(coded["segmentation"]).astype(bool)
            assert (labels[mask] == runs.label).all()
            assert instances is None or len(np.unique(instances[mask])) == 1
            assert (coded["area"], coded["bbox"]) == (mask.sum(), masks.toBbox(coded["segmentation"]).tolist())
            left, top, width, height = coded["bbox"]
            assert np.array_equal(mask[top : top + height, left : left + width], runs.pixels())
            rings = outlines(runs)["segmentation"]
            if isinstance(rings, list):
                floats = [[float(number) for number in ring] for ring in rings]
                filled = masks.decode(masks.merge(masks.frPyObjects(floats, *labels.shape)))
                assert np.array_equal(filled.astype(bool), mask)
            seen += mask
        assert (seen == 1).all()


def test_holes_keep_run_lengths_and_that_is_said(tmp_path):
    labels = np.zeros((8, 9), np.uint8)
    labels[1:6, 1:6] = 1
    labels[3, 3] = 0
    labels[2:4, 7:9] = 2
    made = convert(made_set(tmp_path / "old", labels), tmp_path / "new", to="coco-polygons")
    content = json.loads((tmp_path / "new" / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    by_class = {entry["category_id"]: entry for entry in content["annotations"]}
    assert isinstance(by_class[1]["segmentation"], dict)
    assert by_class[2]["segmentation"] == [[7, 2, 7, 4, 9, 4, 9, 2]]
    assert made.notes == ("2 annotations with holes kept as run lengths, since a COCO polygon has none",)


def test_the_json(tmp_path):
    labels = np.array([[0, 1, 1], [2, 2, IGNORE]], np.uint8)
    convert(made_set(tmp_path / "old", labels), tmp_path / "new", to="coco")
    content = json.loads((tmp_path / "new" / "annotations" / "instances_val.json").read_text(encoding="utf-8"))
    assert content["images"] == [{"id": 1, "file_name": "a b.png", "width": 3, "height": 2}]
    assert [(entry["id"], entry["name"]) for entry in content["categories"]] == [
        (1, "고양이"),
        (2, "dog"),
        (3, "ignore"),
    ]
    shown = [
        (entry["id"], entry["image_id"], entry["category_id"], entry["iscrowd"]) for entry in content["annotations"]
    ]
    assert shown == [(1, 1, 1, 0), (2, 1, 2, 0), (3, 1, 3, 1)]
    assert content["annotations"][0]["segmentation"] == {"size": [2, 3], "counts": "21100"}
    assert (tmp_path / "new" / "images" / "val" / "a b.png").is_file()


def test_opens_in_pycocotools(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    labels = np.random.default_rng(0).integers(0, 3, (12, 9)).astype(np.uint8)
    convert(made_set(tmp_path / "old", labels), tmp_path / "new", to="coco")
    opened = coco.COCO(tmp_path / "new" / "annotations" / "instances_train.json")
    drawn = np.zeros(labels.shape, int)
    for entry in opened.loadAnns(opened.getAnnIds()):
        drawn[opened.annToMask(entry).astype(bool)] = entry["category_id"]
    assert np.array_equal(drawn, labels)


def test_objects_are_annotations_of_their_own(tmp_path):
    numbers = np.zeros((8, 8), np.uint16)
    for number, (row, column) in enumerate([(0, 0), (0, 3), (3, 0), (3, 2), (6, 6)], start=1):
        numbers[row : row + 2, column : column + 2] = number
    for split in ("train", "val"):
        write_image(tmp_path / "old" / "images" / split / "a.png", np.zeros((8, 8), np.uint8))
        write_image(tmp_path / "old" / "masks" / split / "a.png", numbers)
    old = open_dataset(tmp_path / "old", labels="instances", classes=("background", "cell"))
    made = convert(old, tmp_path / "new", to="coco-polygons")
    content = json.loads((tmp_path / "new" / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    assert [entry["area"] for entry in content["annotations"]] == [4] * 5
    assert made.notes == ()


@pytest.mark.parametrize(
    "names", [("a", "background", "b"), ("Background", "bg", "b"), ("a", "a ", "ignore"), ("x", "", "b")]
)
def test_names_that_mean_background(tmp_path, names):
    labels = np.array([[0, 1, 1], [2, 2, IGNORE]], np.uint8)
    old = made_set(tmp_path / "old", labels, names)
    for to in ("coco", "yolo"):
        convert(old, tmp_path / to, to=to)
    assert open_dataset(tmp_path / "coco").space.names == names


def test_too_many_classes(tmp_path):
    space = LabelSpace(names=tuple(f"c{index}" for index in range(255)))
    old = made_set(tmp_path / "old", np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"255 classes came, none called background; beside it 254 are possible"):
        convert(Dataset(old.root, old.layout, old.splits, space, made_split=False), tmp_path / "new", to="coco")
    assert not (tmp_path / "new").exists()
