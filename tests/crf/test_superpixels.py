"""Superpixels, and the vote within them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from atrous.crf import GuidedFilter, Superpixels
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
    for compactness in (0, 1e6):
        with pytest.raises(ValueError, match=r"compactness is \S+; a finite number above 0 and below 1e\+06 is needed"):
            Superpixels(compactness=compactness)
    with pytest.raises(TypeError, match="positional argument"):
        Superpixels(3)  # type: ignore[misc]
    with pytest.raises(ValueError, match="must sum to 1"):
        Superpixels()(halves(), np.ones((2, 40, 60), np.float32))
    with pytest.raises(ValueError, match="probabilities have shape"):
        Superpixels()(halves(), np.full((2, 60, 40), 0.5, np.float32))
    with pytest.raises(ValueError, match="image holds NaN"):
        Superpixels()(np.full((4, 4), np.nan, np.float32), np.full((2, 4, 4), 0.5, np.float32))


@pytest.mark.parametrize("refiner", [Superpixels(), GuidedFilter()])
@pytest.mark.parametrize(
    ("low", "high", "words"), [(0, 1e18, "0 to 1e\\+18"), (-3, 250, "-3 to 250"), (0, 256, "0 to 256")]
)
def test_images_out_of_range_are_refused(
    refiner: Superpixels | GuidedFilter, low: float, high: float, words: str
) -> None:
    image = np.full((4, 5, 3), low, np.float32)
    image[2, 3] = high
    with pytest.raises(
        ValueError, match=f"^image holds values from {words}; 0 to 255 is accepted, whatever the dtype: "
    ):
        refiner(image, np.full((2, 4, 5), 0.5, np.float32))


@pytest.mark.parametrize("refiner", [Superpixels(), GuidedFilter()])
def test_channels_that_come_first_are_named(refiner: Superpixels | GuidedFilter) -> None:
    words = (
        r"^image has shape \(3, 4, 5\); axis 0, of length 3, looks like the channels, which come last: give "
        r"image.transpose\(1, 2, 0\)$"
    )
    with pytest.raises(ValueError, match=words):
        refiner(np.zeros((3, 4, 5), np.uint8), np.full((2, 4, 5), 0.5, np.float32))


def test_more_channels_than_the_library_takes_are_refused() -> None:
    probabilities = np.full((2, 20, 20), 0.5, np.float32)
    assert Superpixels()(np.zeros((20, 20, 128), np.uint8), probabilities).shape == (2, 20, 20)
    with pytest.raises(
        ValueError, match=r"^image has 600 channels; 128 or less is accepted for superpixels: choose som"
    ):
        Superpixels()(np.zeros((20, 20, 600), np.uint8), probabilities)


@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (3, 64), (64, 7), (11, 64)])
def test_thin_images_are_cut_by_their_colours(shape: tuple[int, int]) -> None:
    place = np.arange(64).reshape((1, 64) if shape[1] == 64 else (64, 1)) * np.ones(shape, int)
    for border in range(4, 61):
        truth = place >= border
        image = np.where(truth[..., None], np.uint8([220, 200, 40]), np.uint8([30, 30, 30]))
        exact = np.stack([~truth, truth]).astype(np.float32)
        assert (Superpixels()(image, exact).argmax(0) == truth).all(), border
