"""Where crops lie and what is mixed into them: rare classes are seen, objects keep their labels, seeds decide all."""

from dataclasses import replace

import numpy as np
import pytest

from atrous.contract import Recipe, Sample
from atrous.data.augmentation import (
    LIGHT,
    NONE,
    PRESETS,
    STRONG,
    augmentation_of,
    copy_paste,
    crop_sample,
    mosaic,
)

STILL = replace(NONE, scale=(0.7, 1.5), flip=0.5, crops="anywhere")
TURNING = replace(STILL, rotation=60.0, shear=20.0, perspective=0.1, vertical_flip=0.5)


def rare(seed=0):
    """A large image of class 0 with a little of class 3 in a corner and one pixel of class 5; 255 all around."""
    labels = np.zeros((120, 160), np.uint8)
    labels[:4] = 255
    labels[5:9, 5:9] = 3
    labels[110, 150] = 5
    return Sample(image=np.repeat(labels[..., None], 3, 2), labels=labels)


@pytest.mark.parametrize("augmentation", [STILL, TURNING, replace(NONE)])
@pytest.mark.parametrize("margin", [0, 6])
def test_balanced_crops_hold_every_class_alike(augmentation, margin):
    chosen = replace(augmentation, crops="balanced")
    held = np.zeros(256)
    for seed in range(300):
        _, labels = crop_sample(
            rare(), (32, 40), np.random.default_rng(seed), augmentation=chosen, margin=margin, mirror=True
        )
        inner = labels[margin : 32 - margin, margin : 40 - margin]
        held[np.unique(inner)] += 1
    # A single pixel may fall between those that a smaller scale looks at.
    assert held[3] / 300 > 0.27
    assert held[5] / 300 > 0.2
    assert (held[3] + held[5]) / 300 > 0.5


def test_without_scaling_the_pixel_is_always_there():
    chosen = replace(NONE, crops="balanced", flip=0.5, vertical_flip=0.5, class_weights=(0, 0, 0, 0, 0, 1))
    for seed in range(60):
        _, labels = crop_sample(rare(), (9, 11), np.random.default_rng(seed), augmentation=chosen)
        assert (labels == 5).sum() == 1
    turned = replace(chosen, rotation=180.0, shear=10.0)
    found = [
        (crop_sample(rare(), (9, 11), np.random.default_rng(s), augmentation=turned)[1] == 5).any() for s in range(60)
    ]
    assert np.mean(found) > 0.95


def test_a_turn_keeps_the_pixel_of_a_corner_in_the_crop():
    labels = np.zeros((60, 60), np.uint8)
    labels[-1, -1] = 5
    sample = Sample(image=labels[..., None], labels=labels)
    chosen = replace(NONE, crops="foreground", foreground_share=1.0, rotation=180.0, shear=20.0, perspective=0.1)
    found = [
        (crop_sample(sample, (31, 41), np.random.default_rng(seed), augmentation=chosen)[1] == 5).any()
        for seed in range(100)
    ]
    assert np.mean(found) > 0.95


def test_weights_choose_the_classes():
    chosen = replace(STILL, crops="balanced", class_weights=(1, 0, 0, 3))
    held = [
        (crop_sample(rare(), (20, 20), np.random.default_rng(s), augmentation=chosen)[1] == 3).any() for s in range(300)
    ]
    assert 0.67 < np.mean(held) < 0.85


def test_a_third_of_the_crops_has_foreground():
    chosen = replace(STILL, crops="foreground")
    held = [
        np.isin(crop_sample(rare(), (20, 20), np.random.default_rng(s), augmentation=chosen)[1], [3, 5]).any()
        for s in range(600)
    ]
    anywhere = [
        np.isin(crop_sample(rare(), (20, 20), np.random.default_rng(s), augmentation=STILL)[1], [3, 5]).any()
        for s in range(600)
    ]
    assert 1 / 3 - 0.06 < np.mean(held) - np.mean(anywhere) < 1 / 3 + 0.06


@pytest.mark.parametrize("labels", [np.full((9, 9), 255, np.uint8), np.zeros((9, 9), np.uint8)])
@pytest.mark.parametrize("crops", ["balanced", "foreground"])
def test_where_no_class_is_to_choose_the_crop_lies_anywhere(labels, crops):
    chosen = replace(STILL, crops=crops, foreground_share=1.0)
    image, found = crop_sample(
        Sample(image=labels[..., None], labels=labels), (5, 30), np.random.default_rng(0), augmentation=chosen
    )
    assert (image.shape, found.shape) == ((5, 30, 1), (5, 30))


@pytest.mark.parametrize("crops", ["balanced", "foreground"])
def test_crops_for_a_pixel_stay_within_the_image(crops):
    chosen = replace(NONE, crops=crops, foreground_share=1.0, scale=(0.9, 1.4))
    for seed in range(40):
        sample = Sample(image=np.zeros((60, 50, 1), np.uint8), labels=np.ones((60, 50), np.uint8))
        _, labels = crop_sample(sample, (30, 30), np.random.default_rng(seed), augmentation=chosen)
        assert (labels == 1).all()


def test_a_mosaic_is_of_four():
    samples = [
        Sample(image=np.full((50, 60, 3), 40 * n, np.uint8), labels=np.full((50, 60), n, np.uint8)) for n in range(4)
    ]
    still = replace(NONE, crops="anywhere")
    for seed in range(20):
        image, labels = mosaic(samples, (30, 40), np.random.default_rng(seed), augmentation=still)
        np.testing.assert_array_equal(image, np.repeat(labels[..., None] * np.uint8(40), 3, 2))
        corners = labels[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.tolist() == [0, 1, 2, 3]
        row, column = (labels[:, 0] == 0).sum(), (labels[0] == 0).sum()
        assert 7 <= row <= 23
        assert 10 <= column <= 30


def test_mosaics_of_other_images_are_refused_or_made_alike():
    grey = Sample(image=np.full((9, 9, 1), 7, np.uint8), labels=np.zeros((9, 9), np.uint8))
    colour = Sample(image=np.zeros((9, 9, 3), np.uint16), labels=np.ones((9, 9), np.uint8))
    image, _ = mosaic([grey, colour, colour, grey], (12, 12), np.random.default_rng(0), augmentation=NONE)
    assert (image.dtype, image.shape) == (np.uint16, (12, 12, 3))
    four = Sample(image=np.zeros((9, 9, 4), np.uint8), labels=np.zeros((9, 9), np.uint8), path="four.png")
    with pytest.raises(ValueError, match="images of 1 and 4 channels came; only images of one kind can be mixed"):
        mosaic([grey, four, four, four], (12, 12), np.random.default_rng(0))
    with pytest.raises(ValueError, match="3 samples came for a crop of"):
        mosaic([grey] * 3, (12, 12), np.random.default_rng(0))
    with pytest.raises(ValueError, match="a sample without labels came"):
        mosaic([replace(grey, labels=None)] * 4, (12, 12), np.random.default_rng(0))
    mixed = [replace(grey, image=np.zeros((9, 9, 1), dtype)) for dtype in (np.uint16, np.int16, np.uint16, np.uint16)]
    assert mosaic(mixed, (12, 12), np.random.default_rng(0), augmentation=STRONG)[0].dtype == np.float32


def scene():
    labels = np.zeros((40, 40), np.uint8)
    numbers = np.zeros((40, 40), np.int32)
    for number, (top, left) in enumerate([(3, 3), (3, 25), (25, 3), (25, 25)]):
        labels[top : top + 9, left : left + 9] = 1 + number % 2
        numbers[top : top + 9, left : left + 9] = 1000 * (number + 1)
    labels[3:12, 12:14] = 255
    numbers[3:12, 12:14] = 9
    return labels, numbers


@pytest.mark.parametrize("with_numbers", [True, False])
def test_objects_are_pasted_whole_and_with_their_labels(with_numbers):
    labels, numbers = scene()
    other = Sample(
        image=np.repeat(labels[..., None] * np.uint8(50), 3, 2),
        labels=labels,
        instances=numbers if with_numbers else None,
    )
    base = np.full((40, 40, 3), 7, np.uint8), np.full((40, 40), 4, np.uint8)
    counts = []
    for seed in range(40):
        image, mixed = copy_paste(base, other, np.random.default_rng(seed), augmentation=NONE)
        new = mixed != 4
        np.testing.assert_array_equal(mixed[new], labels[new])
        np.testing.assert_array_equal(image[new][:, 0], labels[new] * 50)
        assert (image[~new] == 7).all()
        assert not (mixed == 255).any()
        objects = [(new & (numbers == number)).sum() for number in (1000, 2000, 3000, 4000)]
        assert set(objects) <= {0, 81}
        counts.append(sum(size > 0 for size in objects))
        if not with_numbers:
            assert counts[-1] in (2, 4)
    assert min(counts) == (1 if with_numbers else 2)
    assert max(counts) == 4
    assert (base[0] == 7).all()
    assert (base[1] == 4).all()


def test_where_there_is_no_object_nothing_is_pasted():
    base = np.full((20, 20, 1), 7, np.uint8), np.full((20, 20), 4, np.uint8)
    empty = Sample(image=np.zeros((20, 20, 1), np.uint8), labels=np.zeros((20, 20), np.uint8))
    image, labels = copy_paste(base, empty, np.random.default_rng(0))
    np.testing.assert_array_equal(image, base[0])
    np.testing.assert_array_equal(labels, base[1])


def test_the_recipe_chooses():
    assert {name: augmentation_of(Recipe(augment=name)) for name in PRESETS} == PRESETS
    assert augmentation_of(Recipe(scale=(1, 1.5))) == replace(LIGHT, scale=(1, 1.5))
    assert augmentation_of(Recipe(augment="none", scale=(1, 1.5))) == NONE
    mixed = augmentation_of(Recipe(augment="none", crops="balanced", elastic=10, mosaic=0.1, copy_paste=0.2))
    assert mixed == replace(NONE, crops="balanced", elastic=10, mosaic=0.1, copy_paste=0.2)
