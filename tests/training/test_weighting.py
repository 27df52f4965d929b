"""The weights of a crop's pixels: U-Net's equation, by classes, with what is ignored left out."""

from functools import partial

import numpy as np
import pytest

from atrous.data import open_dataset, read_sample
from atrous.data.augmentation import STRONG, cropped
from atrous.data.cache import cached
from atrous.data.parting import parted
from atrous.training.weighting import crop_weights


def by_hand(labels, objects, separation, class_weights):
    """Return equation 2 with the distances to all pixels of every object."""
    weights = np.zeros(labels.shape)
    places = [np.argwhere(objects == number) for number in np.unique(objects[objects != 0])]
    for place in np.ndindex(labels.shape):
        if labels[place] == 255:
            continue
        weights[place] = class_weights[labels[place]]
        if labels[place] == 0 and len(places) > 1:
            first, second = sorted(np.sqrt(((each - place) ** 2).sum(1)).min() for each in places)[:2]
            weights[place] += separation * np.exp(-((first + second) ** 2) / (2 * 5.0**2))
    return weights


def cells():
    """Return labels of two classes and object numbers: three cells, two of which touch, and a pixel of ignore."""
    numbers = np.zeros((14, 17), np.int32)
    numbers[2:6, 2:6], numbers[2:6, 6:9], numbers[9:13, 4:12] = 40, 7, 12
    labels = (numbers != 0).astype(np.uint8)
    labels[numbers == 12] = 2
    labels[0, 0] = labels[3, 3] = labels[7, 7] = 255
    return labels, numbers


@pytest.mark.parametrize("class_weights", [None, (0.5, 2.0, 3.0)])
def test_the_equation(class_weights):
    labels, numbers = cells()
    labels = parted(labels, numbers)
    found = crop_weights(labels, numbers, separation=10, class_weights=class_weights)
    objects = np.where((labels == 0) | (labels == 255), 0, numbers)
    np.testing.assert_allclose(found, by_hand(labels, objects, 10, class_weights or (1, 1, 1)), rtol=1e-5)
    assert (found.dtype, found.shape) == (np.float32, labels.shape)
    assert found[4, 5] > 9  # the line that was taken between those that touch
    assert (found[labels == 255] == 0).all()


def test_without_instances_regions_are_objects():
    labels, numbers = cells()
    labels = parted(labels, numbers)
    with_numbers = crop_weights(labels, numbers, separation=10)
    np.testing.assert_array_equal(crop_weights(labels, None, separation=10), with_numbers)


def test_a_number_in_two_places_is_one_object():
    labels = np.uint8([[1, 0, 1]])
    assert crop_weights(labels, np.int32([[3, 0, 3]]), separation=10).tolist() == [[1, 1, 1]]
    assert crop_weights(labels, np.int32([[3, 0, 4]]), separation=10)[0, 1] > 10


def test_a_class_without_objects_is_no_border():
    found = crop_weights(np.uint8([[1, 0, 2, 1]]), np.int32([[1, 0, 0, 2]]), separation=10)
    assert found[0, [0, 2, 3]].tolist() == [1, 1, 1]
    assert found[0, 1] > 5


def test_numbers_of_any_kind():
    labels, numbers = np.uint8([[1, 0, 1, 255]]), np.int32([[1, 0, 2, 3]])
    wanted = crop_weights(labels, numbers, separation=10)
    for strange in ([[-1, 0, 2**31 - 1, -5]], [[2, 9, 1, 9]]):  # also numbers where the class is 0 or ignored
        np.testing.assert_array_equal(crop_weights(labels, np.int32(strange), separation=10), wanted)


@pytest.mark.parametrize(
    "labels", [np.zeros((3, 4), np.uint8), np.full((3, 4), 255, np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_nothing_to_separate(labels):
    found = crop_weights(labels, None, separation=10)
    assert (found == (labels != 255)).all()


def test_no_separation_is_the_weights_of_classes():
    labels, numbers = cells()
    assert (crop_weights(labels, numbers, separation=0) == (labels != 255)).all()
    found = crop_weights(labels, numbers, separation=0, class_weights=[1, 2, 3])
    assert (found == np.float32([1, 2, 3] + 252 * [0] + [0])[labels]).all()


def test_what_cannot_be():
    labels, numbers = cells()
    with pytest.raises(ValueError, match=r"instances are \(2, 2\) and labels \(14, 17\); one size"):
        crop_weights(labels, np.zeros((2, 2), np.int32), separation=10)
    with pytest.raises(ValueError, match="2 class weights came, and there is a class 2; give one each"):
        crop_weights(labels, numbers, separation=10, class_weights=(1, 2))
    for separation in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="w0 is 0 or more"):
            crop_weights(labels, numbers, separation=separation)


def test_real_nuclei_have_the_same_weights_from_a_cache(data_dir, tmp_path):
    data = open_dataset(data_dir / "dsb2018")
    pairs = data.splits["train"][:6]
    plain = partial(read_sample, space=data.space)
    kept = cached(tmp_path / "cache", pairs, data.space, instances=True)

    def weights(read):
        for seed, pair in enumerate(pairs):
            crop = cropped(read(pair), (256, 256), np.random.default_rng(seed), augmentation=STRONG)
            labels = parted(crop.labels, crop.instances)
            yield labels, crop_weights(labels, crop.instances, separation=10)

    wanted = list(weights(plain))
    assert max(each.max() for _, each in wanted) > 9
    for _ in range(2):  # decoded, then from the cache
        for (labels, each), (others, other) in zip(weights(kept), wanted, strict=True):
            np.testing.assert_array_equal(labels, others)
            np.testing.assert_array_equal(each, other)
