"""The guided filter against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from atrous.crf import GuidedFilter
from atrous.crf.guided import by_the_library, by_windows


def defined(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Return the filtered values (h, w) by a regression in every window, as the paper defines it."""
    height, width, channels = guide.shape
    guides = np.pad(guide.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), "symmetric")
    padded = np.pad(values.astype(np.float64), radius, "symmetric")
    side = 2 * radius + 1
    slopes, offsets = np.zeros((height, width, channels)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            inside = guides[row : row + side, column : column + side].reshape(-1, channels)
            targets = padded[row : row + side, column : column + side].ravel()
            apart = inside - inside.mean(0)
            covariance = apart.T @ apart / len(inside) + epsilon * np.eye(channels)
            slopes[row, column] = np.linalg.solve(covariance, apart.T @ (targets - targets.mean()) / len(inside))
            offsets[row, column] = targets.mean() - slopes[row, column] @ inside.mean(0)

    def boxed(plane: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, radius, "symmetric"), (side, side))
        return windows.mean((2, 3))

    return sum(boxed(slopes[..., each]) * guide[..., each] for each in range(channels)) + boxed(offsets)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_both_forms_are_the_papers(channels: int) -> None:
    random = np.random.default_rng(0)
    guide = (random.random((14, 17, channels)) * 255).astype(np.float32)
    values = random.random((2, 14, 17)).astype(np.float32)
    wanted = np.stack([defined(guide, each, 3, 65.0) for each in values])
    np.testing.assert_allclose(by_windows(guide, values, 3, 65.0), wanted, atol=2e-5)
    if channels in (1, 3):
        np.testing.assert_allclose(by_the_library(guide, values, 3, 65.0), wanted, atol=2e-5)


def test_a_border_moves_to_the_edge_of_the_image() -> None:
    image = np.full((20, 40, 3), 20, np.uint8)
    image[:, 20:] = (240, 180, 30)
    sure = np.where(np.arange(40) < 23, 0.9, 0.1) * np.ones((20, 1))
    probabilities = np.stack([sure, 1 - sure]).astype(np.float32)
    found = GuidedFilter(radius=6)(image, probabilities)
    assert (probabilities.argmax(0) != (np.arange(40) >= 20)).sum() == 60
    assert (found.argmax(0) != (np.arange(40) >= 20)).sum() <= 20
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    assert found.min() >= 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 50), (13, 12)])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 5])
def test_any_size_number_of_channels_and_depth(shape: tuple[int, int], channels: int | None) -> None:
    random = np.random.default_rng(2)
    image = random.integers(0, 256, shape if channels is None else (*shape, channels))
    probabilities = random.dirichlet([1, 1, 1], shape).transpose(2, 0, 1).astype(np.float32)
    for dtype in (np.uint8, np.float32):
        found = GuidedFilter(radius=2)(image.astype(dtype), probabilities)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="radius is 0; 1 or more is needed"):
        GuidedFilter(radius=0)
    for epsilon in (0, 1e-8, 1e40):
        with pytest.raises(ValueError, match=r"epsilon is \S+; a finite number of at least 1e-06 and below 1e\+06 is"):
            GuidedFilter(epsilon=epsilon)
    with pytest.raises(ValueError, match="below 0 are"):
        GuidedFilter()(np.zeros((3, 3), np.uint8), np.full((2, 3, 3), -1, np.float32))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("epsilon", [1e-6, 9e5])
def test_whatever_is_accepted_gives_probabilities(channels: int, epsilon: float) -> None:
    random = np.random.default_rng(3)
    probabilities = random.dirichlet([0.1] * 3, (20, 30)).transpose(2, 0, 1).astype(np.float32)
    for image in (np.full((20, 30, channels), 255), random.integers(0, 256, (20, 30, channels))):
        found = GuidedFilter(radius=3, epsilon=epsilon)(image.astype(np.float32), probabilities)
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("radius", [31, 100_000, 2_000_000_000])
@pytest.mark.parametrize("channels", [2, 3])
def test_a_radius_beyond_the_image_is_its_larger_side(radius: int, channels: int) -> None:
    random = np.random.default_rng(4)
    image = random.integers(0, 256, (20, 30, channels), np.uint8)
    probabilities = random.dirichlet([1] * 3, (20, 30)).transpose(2, 0, 1).astype(np.float32)
    found = GuidedFilter(radius=radius)(image, probabilities)
    np.testing.assert_array_equal(found, GuidedFilter(radius=30)(image, probabilities))
