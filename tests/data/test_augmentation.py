"""Crops: image and labels stay together, nothing is touched that need not be, and colour keeps grey grey."""

from dataclasses import replace

import numpy as np
import pytest

from atrous.contract import Sample
from atrous.data.augmentation import (
    LIGHT,
    NONE,
    STRONG,
    Augmentation,
    crop_sample,
    placement,
    recoloured,
    warped,
    warped_labels,
)

DTYPES = (np.uint8, np.uint16, np.int16, np.float32)
STRONGEST = Augmentation(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.09, gamma=0.9)


def noise(*shape, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return (values * (1 if dtype == np.uint8 else 100)).astype(dtype)


def speckle(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 7, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_identity_leaves_every_pixel(dtype, channels):
    image, labels = noise(11, 17, channels, dtype=dtype), speckle(11, 17)
    warp = placement(image.shape, (11, 17), factor=1, flip=False, at=(0.2, 0.7))
    out = warped(image, warp, (11, 17), fill=(0.0,))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(warped_labels(labels, warp, (11, 17)), labels)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_flip_is_exact(channels):
    image, labels = noise(11, 18, channels), speckle(11, 18)
    warp = placement(image.shape, (11, 18), factor=1, flip=True, at=(0, 0))
    np.testing.assert_array_equal(warped(image, warp, (11, 18), fill=(0.0,)), image[:, ::-1])
    np.testing.assert_array_equal(warped_labels(labels, warp, (11, 18)), labels[:, ::-1])


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_without_scaling_is_a_piece_of_the_image(flip):
    image, labels = noise(20, 30, 3), speckle(20, 30)
    warp = placement(image.shape, (6, 8), factor=1, flip=flip, at=(0.5, 0.95))
    step = -1 if flip else 1
    np.testing.assert_array_equal(warped(image, warp, (6, 8), fill=(0.0,)), image[7:13, 21:29][:, ::step])
    np.testing.assert_array_equal(warped_labels(labels, warp, (6, 8)), labels[7:13, 21:29][:, ::step])


def test_corners_of_where_a_crop_may_lie():
    image = noise(20, 30, 3)
    for at, piece in (((0, 0), image[:6, :8]), ((1, 1), image[-6:, -8:])):
        warp = placement(image.shape, (6, 8), factor=1, flip=False, at=at)
        np.testing.assert_array_equal(warped(image, warp, (6, 8), fill=(0.0,)), piece)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("factor", [0.5, 0.77, 1.0, 1.3, 2.0])
def test_image_and_labels_stay_together(factor, flip):
    blocks = np.kron(np.random.default_rng(3).integers(0, 5, (6, 8)), np.ones((8, 8), int)).astype(np.uint8)
    image = np.repeat(blocks[..., None] * np.uint8(50), 3, 2)
    warp = placement(blocks.shape, (33, 49), factor=factor, flip=flip, at=(0.4, 0.6))
    pixels = warped(image, warp, (33, 49), fill=(255.0,) * 3)[..., 0]
    labels = warped_labels(blocks, warp, (33, 49))
    flat = np.isin(pixels, [0, 50, 100, 150, 200, 255])  # away from borders, where values are mixed
    expected = np.where(labels == 255, 255, labels * np.uint8(50))
    assert flat.mean() > 0.3
    inside = flat & (labels != 255)
    assert (np.abs(pixels.astype(int) - expected)[inside] <= 0).mean() > 0.97
    # A shift of half a pixel would show as a bias of one side: the nearest class must lie within half a step.
    assert (np.abs(pixels.astype(int) - expected)[labels != 255] <= 101).all()


def test_where_a_pixel_comes_from():
    ramp = np.tile(np.arange(40, dtype=np.float32), (40, 1))[..., None]
    warp = placement(ramp.shape, (20, 20), factor=2, flip=False, at=(0.5, 0.5))
    columns = warped(ramp, warp, (20, 20), fill=(0.0,))[5, :, 0]
    np.testing.assert_allclose(columns, (30 + np.arange(20) + 0.5) / 2 - 0.5, atol=1 / 32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_outside_is_fill_and_ignore(dtype, channels):
    fill = tuple(float(10 * (channel + 1)) for channel in range(channels))
    sample = Sample(image=noise(5, 4, channels, dtype=dtype), labels=np.ones((5, 4), np.uint8))
    random = np.random.default_rng(0)
    image, labels = crop_sample(sample, (33, 35), random, augmentation=NONE, fill=fill)
    assert (image.dtype, image.shape, labels.dtype) == (dtype, (33, 35, channels), np.uint8)
    assert (labels == 1).sum() == 20
    np.testing.assert_array_equal(image[labels == 255], np.tile(np.array(fill, dtype), (33 * 35 - 20, 1)))
    np.testing.assert_array_equal(image[labels == 1], sample.image.reshape(-1, channels))


@pytest.mark.parametrize("seed", range(5))
def test_none_takes_the_middle_as_it_is(seed):
    sample = Sample(image=noise(11, 15, 3), labels=speckle(11, 15))
    image, labels = crop_sample(sample, (5, 5), np.random.default_rng(seed), augmentation=NONE, margin=seed)
    np.testing.assert_array_equal(image, sample.image[3:8, 5:10])
    np.testing.assert_array_equal(labels, sample.labels[3:8, 5:10])


def test_light_keeps_its_pixels():
    """A run that is resumed must see the crops that it would have seen."""
    rows, columns = np.mgrid[:40, :50]
    image = np.stack([rows * 5, columns * 5, rows + columns], 2).astype(np.uint8)
    sample = Sample(image=image, labels=((rows // 7 + columns // 9) % 5).astype(np.uint8))
    pixels, labels = crop_sample(sample, (24, 32), np.random.default_rng(7), fill=(9.0, 8.0, 7.0))
    seen = pixels[[12, 20], [5, 30]].astype(int)  # of other versions of OpenCV up to rounding
    np.testing.assert_allclose(seen, [[101, 45, 27], [147, 149, 77]], atol=1)
    assert int(labels.sum()) == 1447


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (23, 31)])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_the_same_generator_gives_the_same_pixels(dtype, shape, channels):
    sample = Sample(image=noise(*shape, channels, dtype=dtype), labels=speckle(*shape))
    before = sample.image.copy(), sample.labels.copy()
    first = crop_sample(sample, (17, 19), np.random.default_rng(5), fill=(1.0,) * channels)
    second = crop_sample(sample, (17, 19), np.random.default_rng(5), fill=(1.0,) * channels)
    other = crop_sample(sample, (17, 19), np.random.default_rng(6), fill=(1.0,) * channels)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], other[0])
    assert (first[0].dtype, first[0].shape, first[1].shape) == (dtype, (17, 19, channels), (17, 19))
    np.testing.assert_array_equal(sample.image, before[0])
    np.testing.assert_array_equal(sample.labels, before[1])


def test_scales_are_even_in_their_logarithm_and_half_are_flipped():
    plain = replace(NONE, scale=(0.5, 2.0), flip=0.5, crops="anywhere")
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))[..., None]
    sample = Sample(image=ramp, labels=np.zeros((64, 64), np.uint8))
    slopes, random = [], np.random.default_rng(0)
    for _ in range(1000):
        image, _ = crop_sample(sample, (8, 16), random, augmentation=plain)
        slopes.append((image[4, 12, 0] - image[4, 3, 0]) / 9)  # the image's edge is mixed with fill
    scales = -np.log2(np.abs(slopes))
    assert 0.42 < np.mean(np.array(slopes) < 0) < 0.58
    assert -1.01 < scales.min() < -0.95
    assert 0.95 < scales.max() < 1.01
    np.testing.assert_allclose(np.quantile(scales, (0.25, 0.5, 0.75)), (-0.5, 0, 0.5), atol=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_stays_grey(dtype):
    grey = np.repeat(noise(9, 9, 1, dtype=dtype), 3, 2)
    for seed in range(10):
        changed = recoloured(grey, np.random.default_rng(seed))
        assert changed.dtype == dtype
        spread = np.ptp(changed.astype(np.float64), 2).max()
        assert spread <= (1 if dtype != np.float32 else 1e-2)
        assert not np.array_equal(changed, grey)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_colour_keeps_type_and_range(dtype, channels):
    image = noise(9, 9, channels, dtype=dtype)
    before = image.copy()
    for seed in range(10):
        changed = recoloured(image, np.random.default_rng(seed), STRONGEST)
        assert changed.dtype == dtype
        assert changed.shape == image.shape
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(recoloured(image, np.random.default_rng(0), NONE), image)


def test_bright_values_are_clipped_not_wrapped():
    for dtype, high in ((np.uint8, 255), (np.uint16, 65535), (np.int16, 32767)):
        for channels in (1, 3):
            image = np.full((4, 4, channels), high, dtype)
            image[0] = 0
            for seed in range(8):
                changed = recoloured(image, np.random.default_rng(seed))
                assert changed[1:].min() > high // 3


def test_sides_that_opencv_refuses():
    sample = Sample(image=noise(2, 40_000, 1), labels=speckle(2, 40_000))
    for augmentation in (NONE, LIGHT, replace(STRONG, elastic=3.0)):
        image, labels = crop_sample(sample, (17, 17), np.random.default_rng(0), augmentation=augmentation)
        assert (image.shape, labels.shape) == ((17, 17, 1), (17, 17))
        assert (labels != 255).any()


def test_training_needs_masks():
    with pytest.raises(
        ValueError, match=r"^a.png: a sample without labels came; training needs a mask for every image"
    ):
        crop_sample(Sample(image=noise(4, 4, 3), path="a.png"), (4, 4), np.random.default_rng(0))
