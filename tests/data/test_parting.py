"""Objects told apart: regions get numbers, and touching objects a line of background."""

import numpy as np
import pytest

from atrous.data import open_dataset, read_sample
from atrous.data.parting import compacted, numbered, parted


def meeting(labels, instances):
    """Return how many pairs of pixels that meet at a side or a corner are of two objects of one class."""
    count = 0
    padded = np.pad(np.where((labels == 0) | (labels == 255), 0, instances).astype(np.int64), 1)
    classes = np.pad(labels, 1)
    height, width = labels.shape
    here = padded[1:-1, 1:-1]
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        alike = classes[1 + down : 1 + down + height, 1 + right : 1 + right + width] == labels
        count += int(((here != there) & (here != 0) & (there != 0) & alike).sum())
    return count


def cells(seed, size=(40, 50), *, classes=1):
    """Return labels and numbers of rectangles over each other, many of which touch, and some ignored pixels."""
    random = np.random.default_rng(seed)
    labels, numbers = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    for number in random.permutation(14) + 1:
        top, left = random.integers(0, size[0] - 6), random.integers(0, size[1] - 6)
        place = np.s_[top : top + random.integers(1, 15), left : left + random.integers(1, 15)]
        labels[place], numbers[place] = 1 + number % classes, number
    labels[random.random(size) < 0.02] = 255
    return labels, numbers


def test_two_cells_get_one_line_between_them():
    labels = np.ones((4, 6), np.uint8)
    numbers = np.repeat(np.int32([[5, 5, 5, 9, 9, 9]]), 4, 0)
    assert parted(labels, numbers).tolist() == [[1, 1, 1, 0, 1, 1]] * 4
    assert parted(labels, numbers[:, ::-1]).tolist() == [[1, 1, 0, 1, 1, 1]] * 4
    assert labels.all()  # what came is not changed


def test_cells_that_meet_at_a_corner():
    labels, numbers = np.uint8([[1, 0], [0, 1]]), np.int32([[1, 0], [0, 2]])
    assert parted(labels, numbers).tolist() == [[1, 0], [0, 0]]
    labels, numbers = np.uint8([[0, 1], [1, 0]]), np.int32([[0, 1], [2, 0]])
    assert parted(labels, numbers).tolist() == [[0, 1], [0, 0]]


def test_other_classes_and_what_is_ignored_keep_their_border():
    labels, numbers = np.uint8([[1, 1, 2, 2, 255, 1]]), np.int32([[1, 1, 2, 2, 3, 3]])
    assert parted(labels, numbers) is labels
    labels = np.uint8([[1, 255, 1], [255, 1, 255]])
    assert parted(labels, np.int32([[1, 2, 3], [4, 5, 6]])).tolist() == [[1, 255, 1], [255, 0, 255]]


def test_a_class_between_does_not_hide_a_neighbour():
    # The lowest number around the 3s is that of another class.
    labels, numbers = np.uint8([[2, 1, 1], [2, 1, 1]]), np.int32([[1, 3, 2], [1, 3, 2]])
    assert parted(labels, numbers).tolist() == [[2, 0, 1], [2, 0, 1]]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_no_two_objects_touch_afterwards(seed, classes):
    labels, numbers = cells(seed, classes=classes)
    result = parted(labels, numbers)
    assert meeting(labels, numbers) > 0
    assert meeting(result, numbers) == 0
    lost = result != labels
    assert not result[lost].any()
    assert lost.sum() <= 2 * meeting(labels, numbers)


@pytest.mark.parametrize("scale", [1, 100_003, -7])
def test_numbers_of_any_size(scale):
    labels, numbers = cells(3)
    several = numbers * np.int32(scale)
    if scale > 0:
        assert parted(labels, several).tolist() == parted(labels, numbers).tolist()
    assert meeting(parted(labels, several), several) == 0
    dense = compacted(np.where(numbers == 3, np.int32(2**31 - 1), several))
    assert dense.min() >= 0
    assert dense.max() < 1 << 24
    assert ((dense == 0) == (numbers == 0)).all()


def test_nothing_to_part():
    for shape in ((0, 0), (1, 1), (3, 0), (3, 4)):
        labels = np.zeros(shape, np.uint8)
        assert parted(labels, np.zeros(shape, np.int32)) is labels
        assert numbered(labels).shape == shape


def test_regions_of_a_slanting_stroke_are_one():
    assert numbered(np.eye(5, dtype=np.uint8)).max() == 1
    labels = np.uint8([[1, 1, 0, 2], [0, 0, 255, 2], [1, 0, 0, 1]])
    assert numbered(labels).tolist() == [[1, 1, 0, 4], [0, 0, 0, 4], [2, 0, 0, 3]]


def test_parted_objects_are_regions():
    labels, numbers = cells(1)
    labels[labels == 255] = 0
    result = parted(labels, numbers)
    for region in range(1, numbered(result).max() + 1):
        assert len(np.unique(numbers[numbered(result) == region])) == 1


def test_real_nuclei_that_touch(data_dir):
    data = open_dataset(data_dir / "dsb2018")
    touching = 0
    for pair in data.splits["val"][:20]:
        sample = read_sample(pair, data.space)
        touching += meeting(sample.labels, sample.instances) > 0
        result = parted(sample.labels, sample.instances)
        assert meeting(result, sample.instances) == 0
        kept = np.unique(sample.instances[result == 1])
        assert len(kept) > 0.98 * len(np.unique(sample.instances)) - 1
    assert touching >= 5
