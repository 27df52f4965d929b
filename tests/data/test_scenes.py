"""Synthetic scenes: the same every time, labelled to the last pixel, and true to their geometry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data.cells import cell_image, cell_space
from atrous.data.scenes import street_scene, street_space, write_scenes

NAMES = street_space().names
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PEDESTRIAN, POLE = range(8)
SIZES = [(1, 1), (1, 40), (40, 1), (2, 3), (37, 53), (120, 160)]


@pytest.mark.parametrize("make", [street_scene, cell_image])
def test_same_seed_gives_the_same_pixels_and_another_seed_does_not(make) -> None:
    first, again, other = make(5, size=(60, 80)), make(5, size=(60, 80)), make(6, size=(60, 80))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).mean() > 0.02
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("make", "space"), [(street_scene, street_space()), (cell_image, cell_space())])
def test_every_pixel_of_any_size_has_a_class(make, space, size) -> None:
    sample = make(1, size=size)
    assert sample.image.shape == (*size, 3)
    assert sample.image.dtype == sample.labels.dtype == np.uint8
    assert sample.labels.shape == size
    assert sample.labels.max() < len(space)
    assert sample.image.flags["C_CONTIGUOUS"]
    assert sample.labels.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("make", [street_scene, cell_image])
def test_sizes_and_seeds_that_are_refused(make) -> None:
    with pytest.raises(ValueError, match=r"size \(0, 4\) came; it is \(height, width\), each at least 1"):
        make(0, size=(0, 4))
    with pytest.raises(ValueError, match="seed -1 came; it must be 0 or more"):
        make(-1)


def test_every_class_has_its_share_and_is_in_most_scenes() -> None:
    counts = np.array([np.bincount(street_scene(seed).labels.ravel(), minlength=8) for seed in range(40)])
    share = dict(zip(NAMES, counts.sum(0) / counts.sum(), strict=True))
    assert min(share.values()) > 0.015, share
    assert max(share.values()) < 0.5, share
    often = dict(zip(NAMES, (counts > 40).mean(0), strict=True))
    assert min(often.values()) > 0.6, often


@pytest.mark.parametrize("seed", range(12))
def test_sky_is_above_and_road_below(seed: int) -> None:
    labels = street_scene(seed).labels
    rows = np.arange(120)[:, None] * np.ones((1, 160))
    assert rows[labels == SKY].mean() + 30 < rows[labels == ROAD].mean()
    assert rows[labels == SKY].max() < rows[labels == ROAD].max()
    assert not np.isin(labels[0], (ROAD, PAVEMENT)).any()
    assert (labels[-1] != SKY).all()
    assert not (labels[60:] == SKY)[-40:].any()


def test_poles_and_people_are_thick_enough_to_learn() -> None:
    for label in (POLE, PEDESTRIAN):
        whole = core = 0
        for seed in range(20):
            mask = (street_scene(seed).labels == label).astype(np.uint8)
            whole += int(mask.sum())
            core += int(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).sum())
        assert core / whole > 0.85


def test_a_larger_size_shows_the_same_street() -> None:
    small, large = street_scene(3, size=(60, 80)), street_scene(3, size=(180, 240))
    assert (large.labels[1::3, 1::3] == small.labels).mean() > 0.97


def test_labels_lie_where_the_image_shows_them() -> None:
    """Colour changes sharply where labels change, and much less elsewhere or at shifted labels."""

    def contrast(shift: int) -> float:
        across = []
        for seed in range(20):
            scene = street_scene(seed)
            step = np.abs(np.diff(scene.image.astype(int), axis=1)).sum(-1)
            edge = scene.labels[:, 1:] != scene.labels[:, :-1]
            across.append(step[np.roll(edge, shift, axis=1)].mean())
        return float(np.mean(across))

    assert contrast(0) > 1.3 * max(contrast(-3), contrast(3))
    assert contrast(0) > max(contrast(-1), contrast(1))


def test_grey_houses_roads_and_cars_overlap_in_colour() -> None:
    """No class can be told by its mean colour alone: the nearest mean is wrong for many pixels."""
    scenes = [street_scene(seed) for seed in range(30)]
    colours = np.concatenate([scene.image.reshape(-1, 3) for scene in scenes]).astype(np.float32)
    labels = np.concatenate([scene.labels.ravel() for scene in scenes])
    means = np.stack([colours[labels == label].mean(0) for label in range(8)])
    guess = ((colours[:, None] - means) ** 2).sum(-1).argmin(1)
    assert 0.1 < (guess == labels).mean() < 0.6


@pytest.mark.parametrize("seed", range(12))
def test_instances_are_the_nuclei(seed: int) -> None:
    sample = cell_image(seed)
    assert sample.instances.dtype == np.int32
    np.testing.assert_array_equal(sample.instances > 0, sample.labels == 1)
    numbers = np.unique(sample.instances)
    np.testing.assert_array_equal(numbers, np.arange(numbers.size))
    assert numbers.size > 6
    assert 0.05 < sample.labels.mean() < 0.6
    for number in numbers[1:]:
        parts, _ = cv2.connectedComponents((sample.instances == number).astype(np.uint8))
        assert parts == 2, f"nucleus {number} is in pieces"


def test_some_nuclei_touch() -> None:
    sample = cell_image(0)
    parts, _ = cv2.connectedComponents(sample.labels)
    assert parts - 1 < sample.instances.max()


@pytest.mark.parametrize(
    ("kind", "make", "space"), [("street", street_scene, street_space()), ("cells", cell_image, cell_space())]
)
def test_written_scenes_are_what_was_made(tmp_path: Path, kind, make, space) -> None:
    root = write_scenes(tmp_path / "made", train=2, val=1, size=(30, 41), seed=4, kind=kind)
    for split, number, seed in (("train", "0000", 4), ("train", "0001", 5), ("val", "0000", 6)):
        scene = make(seed, size=(30, 41))
        with Image.open(root / "images" / split / f"{number}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), scene.image)
        with Image.open(root / "masks" / split / f"{number}.png") as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.asarray(mask), scene.labels)
            assert tuple(mask.getpalette()[:3]) == space.colours[0]
    classes = json.loads((root / "classes.json").read_text("utf-8"))
    assert classes == {
        "names": list(space.names),
        "colours": [list(colour) for colour in space.colours],
        "values": list(range(len(space))),
        "ignore": 255,
    }
    assert len([path for path in root.rglob("*") if path.is_file()]) == 7


def test_occupied_places_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AtrousError, match=r"the folder is not empty \(it holds mine.txt\).*Name another folder"):
        write_scenes(tmp_path, train=1, val=0, size=(8, 8))
    with pytest.raises(AtrousError, match=r"mine.txt: this is a file; scenes are written into a new or empty folder"):
        write_scenes(tmp_path / "mine.txt", train=1, val=0, size=(8, 8))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(AtrousError, match=r"it holds 0.txt, 1.txt, 2.txt and 2 more"):
        write_scenes(tmp_path, train=1, val=0, size=(8, 8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "galaxies"}, "kind 'galaxies' came; it is 'street', 'quiet street' or 'cells'"),
        ({"train": 0}, "train 0 and val 0 came; both are 0 or more, and one of them above 0"),
        ({"val": -1}, "train 1 and val -1 came"),
        ({"size": (4, 0)}, r"size \(4, 0\) came"),
        ({"seed": -3}, "seed -3 came"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_scenes(tmp_path / "made", **{"train": 1, "val": 0, "size": (8, 8), **changes})
    assert not (tmp_path / "made").exists()
