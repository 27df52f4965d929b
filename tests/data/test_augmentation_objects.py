"""Crops with the numbers of their objects: warped as the labels are, and never those of two images mixed up."""

from dataclasses import replace

import numpy as np
import pytest

from atrous.contract import Sample
from atrous.data import open_dataset, read_sample
from atrous.data.augmentation import LIGHT, NONE, STRONG, copy_paste, crop_sample, cropped, joined, mosaic, pasted

BENT = replace(STRONG, elastic=8.0, vertical_flip=0.5, rotation=180.0)


def disks(seed, size=(60, 70), *, start=1, instances=True):
    """Return a sample of disks with numbers from `start`, whose pixels hold the number."""
    random = np.random.default_rng(seed)
    numbers = np.zeros(size, np.int32)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for number in range(start, start + 9):
        row, column, radius = random.integers(0, size[0]), random.integers(0, size[1]), random.integers(3, 10)
        numbers[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    labels = (numbers > 0).astype(np.uint8)
    labels[:3] = 255
    return Sample(
        image=(numbers % 251).astype(np.uint8)[..., None], labels=labels, instances=numbers if instances else None
    )


def fits(crop):
    """Say whether labels and instances agree: objects are where the class is 1."""
    known = crop.labels != 255
    return bool(((crop.labels == 1) == (crop.instances != 0))[known].all())


@pytest.mark.parametrize("augmentation", [NONE, LIGHT, STRONG, BENT], ids=["none", "light", "strong", "bent"])
@pytest.mark.parametrize("seed", range(6))
def test_numbers_are_warped_as_the_labels(augmentation, seed):
    sample = disks(seed)
    crop = cropped(sample, (48, 52), np.random.default_rng(seed), augmentation=augmentation, margin=4)
    image, labels = crop_sample(sample, (48, 52), np.random.default_rng(seed), augmentation=augmentation, margin=4)
    assert crop.image.tolist() == image.tolist()
    assert crop.labels.tolist() == labels.tolist()
    assert fits(crop)
    assert set(np.unique(crop.instances)) <= set(np.unique(sample.instances))
    assert crop.instances.any()
    assert (crop.instances.dtype, crop.instances.shape) == (np.int32, (48, 52))


@pytest.mark.parametrize("number", [1, 255, 65_536, 16_777_217, 2**31 - 1])
def test_no_number_is_interpolated(number):
    sample = disks(0)
    sample = replace(sample, instances=np.where(sample.labels == 1, np.int32(number), np.int32(0)))
    crops = [cropped(sample, (40, 40), np.random.default_rng(seed), augmentation=BENT) for seed in range(5)]
    assert {int(each) for crop in crops for each in np.unique(crop.instances)} == {0, number}


def test_without_instances_there_are_none():
    sample, random = disks(0, instances=False), np.random.default_rng(0)
    assert cropped(sample, (20, 20), random).instances is None
    assert joined([sample] * 4, (20, 20), random).instances is None
    assert pasted(cropped(sample, (20, 20), random), disks(1), random).instances is None


@pytest.mark.parametrize("seed", range(5))
def test_a_mosaic_mixes_up_no_numbers(seed):
    four = [disks(each) for each in range(3)] + [disks(3, start=2**31 - 20)]  # the same numbers, and the largest
    crop = joined(four, (80, 90), np.random.default_rng(seed), augmentation=NONE)
    image, labels = mosaic(four, (80, 90), np.random.default_rng(seed), augmentation=NONE)
    assert (crop.image.tolist(), crop.labels.tolist()) == (image.tolist(), labels.tolist())
    assert fits(crop)
    assert crop.instances.min() == 0
    alone = [joined([one] * 4, (80, 90), np.random.default_rng(seed), augmentation=NONE) for one in four]
    assert all(fits(each) for each in alone)
    parts = quarters(np.random.default_rng(seed), (80, 90))
    seen = [set(np.unique(crop.instances[part])) - {0} for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert all(seen)


def quarters(random, size):
    """Return the four parts of a mosaic, whose meeting point is drawn first."""
    row, column = (int(side * random.uniform(0.25, 0.75)) for side in size)
    return [
        np.s_[rows, columns]
        for rows in (slice(0, row), slice(row, None))
        for columns in (slice(0, column), slice(column, None))
    ]


def test_a_mosaic_of_samples_with_and_without():
    four = [disks(0), disks(1, instances=False), disks(2), disks(3, instances=False)]
    crop = joined(four, (80, 90), np.random.default_rng(1), augmentation=NONE)
    assert fits(crop)


@pytest.mark.parametrize("instances", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_pasted_gets_new_numbers(seed, instances):
    base = cropped(disks(seed), (50, 50), np.random.default_rng(seed), augmentation=NONE)
    other = disks(seed + 50, instances=instances)
    before = base.instances.copy()
    done = pasted(base, other, np.random.default_rng(seed), augmentation=NONE)
    image, labels = copy_paste((base.image, base.labels), other, np.random.default_rng(seed), augmentation=NONE)
    assert (done.image.tolist(), done.labels.tolist()) == (image.tolist(), labels.tolist())
    assert (base.instances == before).all()
    changed = done.instances != before
    assert changed.any()
    assert not set(np.unique(done.instances[changed])) & set(np.unique(before))
    assert (done.labels[changed] == 1).all()
    assert fits(done)


def test_nothing_to_paste_leaves_the_crop():
    base = cropped(disks(0), (50, 50), np.random.default_rng(0))
    empty = replace(disks(1), labels=np.zeros((60, 70), np.uint8), instances=np.zeros((60, 70), np.int32))
    assert pasted(base, empty, np.random.default_rng(0)) is base


def test_real_nuclei(data_dir):
    data = open_dataset(data_dir / "dsb2018")
    for seed, pair in enumerate(data.splits["train"][:6]):
        sample = read_sample(pair, data.space)
        crop = cropped(sample, (512, 512), np.random.default_rng(seed), augmentation=BENT)
        assert fits(crop)
        assert set(np.unique(crop.instances)) <= set(np.unique(sample.instances))
