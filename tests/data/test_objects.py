"""Crops of single objects and of proposals: what is in them, what is left out, and that a network trains on them."""

import json
from functools import partial

import cv2
import numpy as np
import pytest

import atrous
from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data import object_crops, open_dataset, read_sample, write_image, write_mask
from atrous.data.objects import _numbered
from atrous.data.pairs import Pair
from atrous.data.scenes import write_scenes
from atrous.prediction import selective_search
from atrous.verbs import scores_of

SPACE = LabelSpace(names=("background", "cat", "dog"))
CAT, OTHER_CAT, DOG = (10, 10, 30, 40), (60, 60, 80, 80), (30, 20, 50, 60)


def labels(*, ignore=True):
    """Return a mask with two cats and a dog that touches one of them, a speck, and a row that is ignored."""
    mask = np.zeros((100, 90), np.uint8)
    for (top, left, bottom, right), label in ((CAT, 1), (OTHER_CAT, 1), (DOG, 2)):
        mask[top:bottom, left:right] = label
    mask[90:93, 5:8] = 2
    if ignore:
        mask[29] = 255
    return mask


def image_of(mask, dtype=np.uint8, channels=3):
    """Return an image whose every channel holds 40 per class, so that a crop shows where it came from."""
    return (np.repeat(mask[..., None], channels, 2) * np.float32(40)).astype(dtype)


def dataset(root, *, count=2, ending="png", **options):
    names = {"names": SPACE.names, "values": [0, 1, 2], "ignore": 255}
    for split in ("train", "val"):
        for index in range(count):
            mask = labels()
            write_image(root / "images" / split / f"{index}.{ending}", image_of(mask, **options))
            write_mask(root / "masks" / split / f"{index}.png", mask, SPACE)
    (root / "classes.json").write_text(json.dumps(names))
    return root


def samples(folder):
    """Return the crops of the training images by name: where nothing else is there, some are split off for val."""
    data = open_dataset(folder)
    pairs = [pair for split in data.splits.values() for pair in split if pair.image.parent.name == "train"]
    return {pair.image.stem: read_sample(pair, data.space) for pair in sorted(pairs, key=lambda pair: pair.name)}


def boxes(*rows):
    return lambda image, *, count: np.array(rows)[:count]


# Stage 1 --------------------------------------------------------------------------------------------------------------


def test_stage_one_has_a_crop_for_every_object(tmp_path):
    crops = object_crops(dataset(tmp_path / "data"), tmp_path / "crops", stage=1, size=50)
    data = open_dataset(crops)
    assert (data.space.names, data.space.values, data.space.ignore) == (SPACE.names, (0, 1, 2), 255)
    assert {split: len(pairs) for split, pairs in data.splits.items()} == {"train": 6, "val": 6}
    found = samples(crops)
    assert sorted(found) == [f"0000{image}-{image}-0{crop}" for image in (0, 1) for crop in (0, 1, 2)]
    assert {sample.image.shape for sample in found.values()} == {(50, 50, 3)}
    assert [set(np.unique(found[f"00000-0-0{crop}"].labels)) for crop in (0, 1, 2)] == [
        {0, 1, 255},
        {0, 1},
        {0, 2, 255},
    ]


def test_boxes_are_enlarged_and_cut_off_at_the_border(tmp_path):
    mask = np.zeros((100, 100), np.uint8)
    mask[20:60, 30:70] = 1
    mask[80:100, 0:40] = 2
    write_image(tmp_path / "data" / "images" / "a.png", np.indices(mask.shape).sum(0).astype(np.uint8))
    write_mask(tmp_path / "data" / "masks" / "a.png", mask, SPACE)
    data = open_dataset(tmp_path / "data", classes=SPACE.names)
    found = samples(object_crops(data, tmp_path / "crops", stage=1, size=48, enlarge=1.2))
    cat, dog = found["00000-a-00"], found["00000-a-01"]
    assert np.flatnonzero(cat.labels[24])[[0, -1]].tolist() == [4, 43]  # 4 pixels of 48 on either side
    assert np.flatnonzero(cat.labels[:, 24])[[0, -1]].tolist() == [4, 43]
    np.testing.assert_array_equal(cat.image[..., 0], np.indices((48, 48)).sum(0) + 16 + 26)
    rows, columns = (np.flatnonzero((dog.labels == 2).any(axis)) for axis in (1, 0))
    assert rows[[0, -1]].tolist() == [round(48 * 2 / 22), 47]
    assert columns[[0, -1]].tolist() == [0, round(48 * 40 / 44) - 1]


def test_other_classes_become_background_and_ignored_pixels_stay(tmp_path):
    crops = object_crops(dataset(tmp_path / "data"), tmp_path / "crops", stage=1, size=90, enlarge=1.5)
    cat = samples(crops)["00000-0-00"]
    top, left, bottom, right = 5, 2, 34, 48  # the row that is ignored cuts off the last row of the cat's own 20
    expected = labels()[top:bottom, left:right]
    expected[expected == 2] = 0
    nearest = cv2.resize(expected, (90, 90), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(cat.labels, nearest)
    assert (cat.image[cat.labels == 1] == 40).mean() > 0.9


def instances_beside(root, numbers):
    write_mask(root / "SegmentationObject" / "0.png", numbers, LabelSpace(names=tuple("abcdef")))


def test_numbered_objects_are_told_apart(tmp_path):
    root, mask = tmp_path / "voc", np.zeros((60, 90), np.uint8)
    mask[10:40, 10:70] = 1
    numbers = mask.copy()
    numbers[:, 40:] *= 2
    write_image(root / "JPEGImages" / "0.png", image_of(mask))
    write_mask(root / "SegmentationClass" / "0.png", mask, SPACE)
    data = open_dataset(root, classes=SPACE.names)
    together = samples(object_crops(data, tmp_path / "regions", stage=1, size=30))
    assert list(together) == ["00000-0-00"]
    instances_beside(root, numbers)
    apart = samples(object_crops(data, tmp_path / "objects", stage=1, size=30))
    assert list(apart) == ["00000-0-00", "00000-0-01"]
    first, second = (apart[name].labels for name in apart)
    assert first[15, 2:].argmin() + 2 == pytest.approx(27.5, abs=1.5)
    np.testing.assert_array_equal(first, second[:, ::-1])
    instances_beside(root, np.zeros((3, 4), np.uint8))
    with pytest.raises(AtrousError, match=r"0.png: \(3, 4\) came, and the classes are \(60, 90\). Make them equal"):
        object_crops(data, tmp_path / "wrong", stage=1)


def test_object_numbers_of_the_masks_themselves(tmp_path):
    numbers = np.zeros((80, 80), np.uint16)
    numbers[0:40, 0:40], numbers[40:80, 0:40], numbers[10:14, 60:64] = 300, 7, 9
    write_image(tmp_path / "data" / "images" / "a.png", image_of(np.uint8(numbers > 0)))
    write_image(tmp_path / "data" / "masks" / "a.png", numbers)
    data = open_dataset(tmp_path / "data", labels="instances")
    found = samples(object_crops(data, tmp_path / "crops", stage=1, size=40, enlarge=1))
    assert [sample.labels.mean() for sample in found.values()] == [1, 1]
    pair = Pair("a", tmp_path, None)
    assert _numbered(pair, Sample(image=np.zeros((2, 2, 1)))) is None


def test_small_objects_are_left_out(tmp_path):
    data = dataset(tmp_path / "data", count=1)
    crops = object_crops(data, tmp_path / "crops", stage=1, size=20, minimum=3)
    assert len(samples(crops)) == 4
    assert len(samples(object_crops(data, tmp_path / "more", stage=1, size=20, minimum=20))) == 2


# Stage 2 --------------------------------------------------------------------------------------------------------------


def test_stage_two_keeps_the_proposals_that_overlap_and_all_their_labels(tmp_path):
    rows = (
        (0, 0, 100, 90),
        (8, 8, 36, 44),
        (60, 60, 80, 80),
        (60, 60, 80, 100 - 10),
        (85, 0, 100, 12),
        (60, 0, 95, 50),
    )
    propose = boxes(*rows)
    crops = object_crops(dataset(tmp_path / "data"), tmp_path / "crops", stage=2, size=40, propose=propose)
    found = samples(crops)
    assert sorted(found) == [f"0000{image}-{image}-0{crop}" for image in (0, 1) for crop in (0, 1, 2)]
    expected = cv2.resize(labels()[8:36, 8:44], (40, 40), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(found["00000-0-00"].labels, expected)
    assert set(np.unique(expected)) == {0, 1, 2, 255}
    assert (found["00000-0-01"].labels == 1).all()
    fewer = object_crops(dataset(tmp_path / "data"), tmp_path / "fewer", stage=2, propose=propose, overlap=0.9, count=3)
    assert len(samples(fewer)) == 2


def test_no_proposals_are_asked_for_where_there_is_no_object(tmp_path):
    root = dataset(tmp_path / "data", count=1)
    write_image(root / "images" / "train" / "empty.png", np.zeros((50, 50, 3), np.uint8))
    write_mask(root / "masks" / "train" / "empty.png", np.zeros((50, 50), np.uint8), SPACE)
    asked = []

    def propose(image, *, count):
        asked.append(image.shape)
        return np.array([CAT])

    object_crops(root, tmp_path / "crops", stage=2, propose=propose, overlap=0.8)
    assert asked == [(100, 90, 3)] * 2


@pytest.mark.parametrize("row", [(0, 0, 101, 90), (0, 0, 0, 5), (-1, 0, 5, 5), (1, 2, 3), (0.5, 0, 9, 9), 7], ids=str)
def test_proposals_that_are_no_boxes(tmp_path, row):
    with pytest.raises(ValueError, match=r"propose returned .*, which is not \(top, left, bottom, right\) in an image"):
        object_crops(
            dataset(tmp_path / "data"), tmp_path / "crops", stage=2, propose=lambda image, *, count: np.array([row])
        )


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "channels", "ending", "written"),
    [
        (np.uint8, 1, "png", ".png"),
        (np.uint16, 3, "png", ".png"),
        (np.uint16, 3, "tif", ".png"),
        (np.int16, 1, "tif", ".tif"),
        (np.float32, 1, "tif", ".tif"),
        (np.uint8, 6, "tif", ".tif"),
    ],
)
def test_depth_and_channels_are_kept(tmp_path, dtype, channels, ending, written):
    data = dataset(tmp_path / "data", count=1, ending=ending, dtype=dtype, channels=channels)
    crops = object_crops(data, tmp_path / "crops", stage=1, size=33)
    pair = open_dataset(crops).splits["train"][1]
    sample = read_sample(pair, SPACE)
    assert (sample.image.dtype, sample.image.shape, pair.image.suffix) == (dtype, (33, 33, channels), written)
    assert (sample.image[sample.labels == 1] == 40).mean() > 0.9


def test_progress_is_told(tmp_path):
    told = []
    object_crops(
        dataset(tmp_path / "data"), tmp_path / "crops", stage=1, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)] * 2


def test_images_of_one_name_do_not_meet(tmp_path):
    root = tmp_path / "data"
    for folder in ("a", "b"):
        write_image(root / "images" / folder / "x.png", image_of(labels()))
        write_mask(root / "masks" / folder / "x.png", labels(), SPACE)
    data = open_dataset(root, classes=SPACE.names, split={"train": ["images/a/x", "images/b/x"]})
    assert len(samples(object_crops(data, tmp_path / "crops", stage=1))) > 3
    assert len(list((tmp_path / "crops" / "masks").rglob("*.png"))) == 6


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stage": 3}, r"stage 3 came; it is 1 \(single objects\) or 2 \(proposals\)"),
        ({"stage": 2}, "stage 2 is made of proposals: give propose, such as atrous.prediction.selective_search"),
        ({"stage": 1, "propose": selective_search}, "stage 1 is made of the objects' own boxes: leave propose out"),
        ({"stage": 1, "size": 0}, "size 0 came; it is 1 or more"),
        ({"stage": 1, "minimum": 0}, "minimum 0 came; it is 1 or more"),
        ({"stage": 1, "count": 0}, "count 0 came; it is 1 or more"),
        ({"stage": 1, "enlarge": 0.9}, r"enlarge 0.9 came; it is 1 \(the object's own box\) or more"),
        ({"stage": 1, "overlap": 1.1}, "overlap 1.1 came; it is an intersection over union"),
    ],
)
def test_arguments_out_of_range(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        object_crops(tmp_path / "nowhere", tmp_path / "crops", **options)


def test_datasets_that_will_not_do(tmp_path):
    with pytest.raises(AtrousError, match="nowhere: no such folder"):
        object_crops(tmp_path / "nowhere", tmp_path / "crops", stage=1)
    street = write_scenes(tmp_path / "street", train=1, val=1, size=(24, 32))
    words = "street: no class is called 'background'; there are sky, .*name it with background="
    with pytest.raises(AtrousError, match=words):
        object_crops(street, tmp_path / "crops", stage=1)
    assert not (tmp_path / "crops").exists()
    data = dataset(tmp_path / "data")
    with pytest.raises(AtrousError, match=r"2 images to train on hold no object of 70 x 70 pixels or more\. Check"):
        object_crops(data, tmp_path / "crops", stage=1, minimum=70)
    words = (
        "2 images to train on have no proposal that overlaps an object of 16 x 16 pixels or more by 0.5. Raise count"
    )
    with pytest.raises(AtrousError, match=words):
        object_crops(data, tmp_path / "crops", stage=2, propose=boxes((0, 0, 100, 90)))
    with pytest.raises(AtrousError, match="data: is there already, and crops are written into a new or empty folder"):
        object_crops(data, data, stage=1)


def test_another_class_may_be_the_background(tmp_path):
    street = write_scenes(tmp_path / "street", train=2, val=1, size=(60, 80))
    crops = object_crops(street, tmp_path / "crops", stage=1, size=32, background="road")
    assert open_dataset(crops).space.names[2] == "road"
    assert all(len(np.unique(sample.labels)) <= 2 for sample in samples(crops).values())


# The whole way --------------------------------------------------------------------------------------------------------


def test_deconvnet_trains_in_two_stages(tmp_path):
    cells = write_scenes(tmp_path / "cells", train=2, val=1, size=(64, 64), kind="cells")
    small_boxes = partial(selective_search, minimum=12)
    first = object_crops(cells, tmp_path / "crops1", stage=1, minimum=12)
    second = object_crops(cells, tmp_path / "crops2", stage=2, minimum=12, count=10, propose=small_boxes)
    small = {"model": "deconvnet", "width": 1 / 32, "crop": 224, "scale": (1, 1), "batch": 4, "epochs": 1}
    options = {**small, "device": "cpu", "workers": 0, "precision": "float32", "learning_rate": 0.01}
    one = atrous.train(first, out=tmp_path / "one", **options)
    notes = []
    two = atrous.train(second, out=tmp_path / "two", pretrained=str(one), listener=notes.append, **options)
    texts = [note.text for note in notes if hasattr(note, "text")]
    assert any(str(one) in text and "tensors" in text for text in texts), texts
    scores = scores_of(two)
    assert [item["name"] for item in scores["classes"]] == ["background", "nucleus"]
