"""YOLO's lines enclose the pixels that they should, holes too, and its YAML can hold every name."""

import json

import numpy as np
import pytest

from atrous.contract import IGNORE
from atrous.data import open_dataset, write_image
from atrous.data.conversion import convert
from atrous.data.rings import filled


def made_set(root, labels, names):
    for split in ("train", "val"):
        write_image(root / "images" / split / "a b.png", np.zeros(labels.shape, np.uint8))
        write_image(root / "masks" / split / "a b.png", labels)
    (root / "classes.json").write_text(json.dumps({"names": names, "values": list(range(len(names))), "ignore": 255}))
    return open_dataset(root)


def drawn(path, size, empty):
    """Return the labels that the lines of a file enclose, checking that no pixel is enclosed twice."""
    labels = np.full(size, empty, np.uint8)
    for line in path.read_text().splitlines():
        number, *corners = line.split()
        mask = filled([np.array(corners, float).reshape(-1, 2) * size[::-1]], size)
        assert (labels[mask] == empty).all()
        labels[mask] = int(number)
    return labels


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_the_pixels_holes_included(tmp_path, seed):
    random = np.random.default_rng(seed)
    size = tuple(random.integers(1, 40, 2))
    labels = random.integers(0, 3, size).astype(np.uint8)
    if seed % 2:
        labels = labels[: size[0] // 4 + 1, : size[1] // 4 + 1].repeat(4, 0).repeat(4, 1)
    labels[random.random(labels.shape) < 0.05] = IGNORE
    convert(made_set(tmp_path / "old", labels, ["a", "b", "c"]), tmp_path / "new", to="yolo")
    assert np.array_equal(drawn(tmp_path / "new" / "labels" / "train" / "a b.txt", labels.shape, IGNORE), labels)


def test_background_has_no_polygons(tmp_path):
    labels = np.zeros((5, 6), np.uint8)
    labels[1:4, 2:5] = 2
    labels[2, 3] = 0
    made = convert(made_set(tmp_path / "old", labels, ["background", "a", "b"]), tmp_path / "new", to="yolo")
    lines = (tmp_path / "new" / "labels" / "val" / "a b.txt").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("1 0.333333 0.2 ")
    assert np.array_equal(drawn(tmp_path / "new" / "labels" / "val" / "a b.txt", (5, 6), 255) == 1, labels == 2)
    assert made.notes == ()


def test_an_image_of_background_alone_has_an_empty_file(tmp_path):
    old = made_set(tmp_path / "old", np.zeros((2, 2), np.uint8), ["background", "a"])
    convert(old, tmp_path / "new", to="yolo")
    assert (tmp_path / "new" / "labels" / "train" / "a b.txt").read_bytes() == b""


def test_names_in_yaml(tmp_path):
    names = ["it's", 'a "b": c', "고양이 🙂", "yes", "#1", "background (2)"]
    old = made_set(tmp_path / "old", np.zeros((2, 2), np.uint8), names)
    convert(old, tmp_path / "new", to="yolo")
    text = (tmp_path / "new" / "data.yaml").read_text(encoding="utf-8")
    assert text.splitlines()[:3] == ["train: images/train", "val: images/val", "names:"]
    yaml = pytest.importorskip("yaml")
    assert list(yaml.safe_load(text)["names"].values()) == names


def test_an_object_in_pieces_is_one_line(tmp_path):
    numbers = np.zeros((9, 9), np.uint16)
    numbers[1:4, 1:4] = numbers[6:8, 6:9] = 5
    numbers[2, 2] = 0
    numbers[4, 0] = 7
    for split in ("train", "val"):
        write_image(tmp_path / "old" / "images" / split / "a.png", np.zeros((9, 9), np.uint8))
        write_image(tmp_path / "old" / "masks" / split / "a.png", numbers)
    old = open_dataset(tmp_path / "old", labels="instances", classes=("background", "cell"))
    convert(old, tmp_path / "new", to="yolo")
    path = tmp_path / "new" / "labels" / "train" / "a.txt"
    assert len(path.read_text().splitlines()) == 2
    assert np.array_equal(drawn(path, (9, 9), 255) == 0, numbers > 0)
