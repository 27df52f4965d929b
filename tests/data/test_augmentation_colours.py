"""Colour and what follows: one matrix and one table, noise of the size that was asked for, JPEG where it can be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from atrous.data.augmentation import LIGHT, NONE, STRONG, recoloured
from atrous.data.augmentation.degrading import varied

DTYPES = (np.uint8, np.uint16, np.int16, np.float32)
GAMMA = replace(NONE, gamma=1.0)


def ramp(dtype, channels, *, low=0.0, high=255.0, side=300):
    values = np.linspace(low, high, side * side).reshape(side, side, 1)
    return np.repeat(values, channels, 2).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_gamma_is_the_power_of_the_share_of_the_range(dtype, channels):
    low, high = (0.0, 255.0) if dtype == np.uint8 else (100.0, 4000.0)
    image = ramp(dtype, channels, low=low, high=high)
    changed = recoloured(image, np.random.default_rng(3), GAMMA, limits=(low, high))
    random = np.random.default_rng(3)
    random.uniform(-1, 1, 3), random.uniform(-1, 1)
    exponent = np.exp(random.uniform(-1, 1))
    expected = low + (high - low) * ((image.astype(float) - low) / (high - low)) ** exponent
    assert changed.dtype == dtype
    np.testing.assert_allclose(changed, expected, atol=0.51 if dtype != np.float32 else 1e-2)
    assert not np.array_equal(changed, image)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_values_outside_the_limits_are_not_bent(dtype):
    image = ramp(dtype, 1, low=-900 if dtype != np.uint16 else 0, high=5000)
    changed = recoloured(image, np.random.default_rng(0), GAMMA, limits=(1000.0, 4000.0))
    outside = (image <= 1000) | (image >= 4000)
    np.testing.assert_array_equal(changed[outside], image[outside])
    assert (np.diff(changed.astype(float), axis=1) >= 0).all()


def test_without_limits_the_range_is_the_image_s_own():
    image = ramp(np.uint16, 1, low=500, high=3000)
    one = recoloured(image, np.random.default_rng(0), GAMMA)
    two = recoloured(image, np.random.default_rng(0), GAMMA, limits=(500.0, 3000.0))
    np.testing.assert_array_equal(one, two)
    flat = np.full((9, 9, 1), 700, np.uint16)
    np.testing.assert_array_equal(recoloured(flat, np.random.default_rng(0), GAMMA), flat)
    for amount in (GAMMA, replace(NONE, noise=0.5, noise_chance=1.0)):
        np.testing.assert_array_equal(varied(flat, np.random.default_rng(0), amount), flat)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_large_image_s_table_is_the_small_one_s_arithmetic(dtype, channels):
    image = np.random.default_rng(0).integers(0, 30_000, (300, 300, channels)).astype(dtype)
    augmentation = replace(LIGHT, gamma=0.5)
    limits = (0.0, 30_000.0)
    whole = recoloured(image, np.random.default_rng(1), augmentation, limits=limits)
    again = np.random.default_rng(1)
    brightness, contrast, _ = 1 + 0.3 * again.uniform(-1, 1, 3)
    again.uniform(-1, 1)
    exponent = np.exp(0.5 * again.uniform(-1, 1))
    mean = image[:: 300 // 32, :: 300 // 32].mean()
    changed = (image * contrast + (1 - contrast) * mean) * brightness
    share = np.clip(changed / 30_000, 0, 1)
    expected = np.clip(changed + 30_000 * (share**exponent - share), np.iinfo(dtype).min, np.iinfo(dtype).max)
    np.testing.assert_allclose(whole, expected, atol=0.6)


def test_saturation_and_hue_are_those_of_the_matrix():
    image = np.random.default_rng(0).integers(60, 180, (40, 40, 3)).astype(np.float32)
    grey = image @ [0.299, 0.587, 0.114]
    changed = recoloured(image, np.random.default_rng(1), replace(NONE, saturation=0.5))
    random = np.random.default_rng(1)
    factor = 1 + 0.5 * random.uniform(-1, 1, 3)[2]
    np.testing.assert_allclose(changed, factor * image + (1 - factor) * grey[..., None], atol=1e-2)
    turned = recoloured(image, np.random.default_rng(1), replace(NONE, hue=0.1))
    np.testing.assert_allclose(turned.sum(2), image.sum(2), rtol=1e-4)
    np.testing.assert_allclose(turned.std(2), image.std(2), rtol=1e-3)
    assert np.abs(turned - image).max() > 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 150])
def test_noise_has_the_deviation_that_was_drawn(dtype, channels):
    image = np.full((200, 200, channels), 100, dtype)
    noisy = varied(image, np.random.default_rng(2), replace(NONE, noise=0.1, noise_chance=1.0), limits=(0.0, 255.0))
    random = np.random.default_rng(2)
    random.random()
    sigma = 255 * 0.1 * random.uniform(0.1, 1)
    difference = noisy.astype(float) - 100
    assert noisy.dtype == dtype
    np.testing.assert_allclose(difference.std(), sigma, rtol=0.03)
    assert abs(difference.mean()) < 0.2
    assert abs(np.corrcoef(difference[:, 1:, 0].ravel(), difference[:, :-1, 0].ravel())[0, 1]) < 0.03


def test_noise_does_not_wrap():
    for value in (0, 255):
        image = np.full((50, 50, 3), value, np.uint8)
        noisy = varied(image, np.random.default_rng(0), replace(NONE, noise=0.1, noise_chance=1.0))
        assert np.abs(noisy.astype(int) - value).max() < 100


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 6, 150])
def test_blur_smooths_and_keeps_the_mean(dtype, channels):
    image = np.random.default_rng(0).integers(0, 255, (60, 70, channels)).astype(dtype)
    blurred = varied(image, np.random.default_rng(0), replace(NONE, blur=3.0, blur_chance=1.0))
    assert (blurred.dtype, blurred.shape) == (dtype, image.shape)
    assert blurred.std() < 0.7 * image.std()
    assert abs(float(blurred.mean()) - float(image.mean())) < 1


def test_jpeg_leaves_its_traces_in_8_bits_and_nothing_elsewhere():
    random = np.random.default_rng(0)
    only = replace(NONE, jpeg=10, jpeg_chance=1.0)
    for channels in (1, 3):
        image = cv2.GaussianBlur(random.integers(0, 255, (64, 64, channels), dtype=np.uint8), (0, 0), 1)
        image = image.reshape(64, 64, channels)
        changed = varied(image, np.random.default_rng(5), only)
        difference = np.abs(changed.astype(int) - image)
        assert changed.shape == image.shape
        assert difference.any()
        assert difference.mean() < 20
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert varied(red, np.random.default_rng(0), only)[8, 8].argmax() == 0
    for image in (np.full((9, 9, 4), 7, np.uint8), np.full((9, 9, 3), 7, np.uint16), np.full((9, 9, 3), 7, np.float32)):
        np.testing.assert_array_equal(varied(image, np.random.default_rng(0), only), image)


def test_chances_are_chances():
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    rarely = replace(NONE, noise=0.5, noise_chance=0.25)
    random = np.random.default_rng(0)
    changed = [not np.array_equal(varied(image, random, rarely), image) for _ in range(400)]
    assert 0.18 < np.mean(changed) < 0.32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 1), (1, 4), (17, 13)])
def test_strong_takes_any_image_and_leaves_it_as_it_was(dtype, channels, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, channels)).astype(dtype)
    before = image.copy()
    always = replace(STRONG, noise_chance=1.0, blur_chance=1.0, jpeg_chance=1.0)
    for seed in range(4):
        one = varied(image, np.random.default_rng(seed), always, limits=(0.0, 255.0))
        two = varied(image, np.random.default_rng(seed), always, limits=(0.0, 255.0))
        assert (one.dtype, one.shape) == (dtype, image.shape)
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(image, before)
