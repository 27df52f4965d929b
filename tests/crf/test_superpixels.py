"""Superpixels, and the vote within them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from atrous.crf import Superpixels
from atrous.crf.superpixels import segments


def halves(height: int = 40, width: int = 60) -> np.ndarray:
    """Return a picture that is dark to the left and light to the right."""
    image = np.full((height, width, 3), 30, np.uint8)
    image[:, width // 2 :] = (220, 200, 40)
    return image


def noisy(shape: tuple[int, int], share: float, seed: int = 0) -> np.ndarray:
    """Return two classes, left and right, of which a share of the pixels is wrong."""
    truth = np.zeros(shape, int)
    truth[:, shape[1] // 2 :] = 1
    wrong = np.random.default_rng(seed).random(shape) < share
    labels = truth ^ wrong
    return np.stack([1 - 0.8 * labels, 0.8 * labels]).astype(np.float32)


def test_every_superpixel_has_one_distribution_and_its_mean() -> None:
    image, probabilities = halves(), noisy((40, 60), 0.3)
    found = Superpixels(size=10)(image, probabilities)
    regions = segments(image, size=10)
    for region in range(regions.max() + 1):
        inside = regions == region
        np.testing.assert_allclose(found[:, inside].max(1), found[:, inside].min(1), atol=1e-7)
        np.testing.assert_allclose(found[:, inside][:, 0], probabilities[:, inside].mean(1), atol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_the_vote_removes_noise_and_keeps_the_edge() -> None:
    probabilities = noisy((40, 60), 0.25)
    truth = np.arange(60) >= 30
    before = (probabilities.argmax(0) == truth).mean()
    after = (Superpixels(size=10)(halves(), probabilities).argmax(0) == truth).mean()
    assert before < 0.8
    assert after == 1


def test_superpixels_are_connected_numbered_and_of_the_size() -> None:
    image = halves(70, 90)
    regions = segments(image, size=10)
    assert np.unique(regions).tolist() == list(range(regions.max() + 1))
    assert 30 < regions.max() < 130
    assert all(ndimage.label(regions == region)[1] == 1 for region in range(regions.max() + 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 50), (13, 12), (25, 26)])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 5])
def test_any_size_number_of_channels_and_depth(shape: tuple[int, int], channels: int | None) -> None:
    random = np.random.default_rng(2)
    image = random.integers(0, 256, shape if channels is None else (*shape, channels))
    probabilities = random.dirichlet([1, 1, 1], shape).transpose(2, 0, 1).astype(np.float32)
    for dtype in (np.uint8, np.float32):
        for size in (1, 2, 12):
            found = Superpixels(size=size)(image.astype(dtype), probabilities)
            assert found.dtype == np.float32
            assert found.shape == probabilities.shape
            np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_logits_are_taken_and_inputs_are_left_alone() -> None:
    image, probabilities = halves(), noisy((40, 60), 0.3).clip(0.01, 0.99)
    probabilities /= probabilities.sum(0)
    kept = image.copy(), probabilities.copy()
    np.testing.assert_allclose(
        Superpixels()(image, logits=np.log(probabilities)), Superpixels()(image, probabilities), atol=1e-5
    )
    assert (image == kept[0]).all()
    assert (probabilities == kept[1]).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 0; 1 or more is needed"):
        Superpixels(size=0)
    with pytest.raises(ValueError, match="compactness is 0"):
        Superpixels(compactness=0)
    with pytest.raises(TypeError, match="positional argument"):
        Superpixels(3)  # type: ignore[misc]
    with pytest.raises(ValueError, match="must sum to 1"):
        Superpixels()(halves(), np.ones((2, 40, 60), np.float32))
    with pytest.raises(ValueError, match="probabilities have shape"):
        Superpixels()(halves(), np.full((2, 60, 40), 0.5, np.float32))
    with pytest.raises(ValueError, match="image holds NaN"):
        Superpixels()(np.full((4, 4), np.nan, np.float32), np.full((2, 4, 4), 0.5, np.float32))
