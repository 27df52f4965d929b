"""Enlargement fused with argmax against a loop and against torch, its properties, and its words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atrous._core import enlarge_argmax

pytestmark = pytest.mark.usefixtures("kernels")
# The fixture only sets an environment variable, which is the same for every example.
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_logits(seed: int, *shape: int) -> NDArray[np.float32]:
    """Return normal logits of this shape."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def sample(source: int, target: int, index: int, align_corners: bool) -> tuple[int, int, float]:
    """Return the two source cells of a position, and how far it lies towards the second."""
    if align_corners:
        position = index * (source - 1) / (target - 1) if target > 1 else 0.0
    else:
        position = max((index + 0.5) * source / target - 0.5, 0.0)
    first = min(math.floor(position), source - 1)
    return first, min(first + 1, source - 1), position - first


def by_loop(logits: NDArray[np.float32], size: tuple[int, int], align_corners: bool) -> NDArray[np.float64]:
    """Return the enlarged logits, one pixel after the other."""
    enlarged = np.empty((len(logits), *size))
    for row in range(size[0]):
        top, bottom, down = sample(logits.shape[1], size[0], row, align_corners)
        for column in range(size[1]):
            left, right, across = sample(logits.shape[2], size[1], column, align_corners)
            upper = logits[:, top, left] * (1 - across) + logits[:, top, right] * across
            lower = logits[:, bottom, left] * (1 - across) + logits[:, bottom, right] * across
            enlarged[:, row, column] = upper * (1 - down) + lower * down
    return enlarged


def assert_names_the_largest(labels: NDArray[np.uint8], enlarged: NDArray[np.float64], margin: float) -> None:
    """Compare with the argmax wherever the best two are further apart than rounding."""
    if len(enlarged) == 1:
        np.testing.assert_array_equal(labels, 0)
        return
    second, best = np.partition(enlarged, -2, axis=0)[-2:]
    clear = best - second > margin
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], enlarged.argmax(0)[clear])


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    align_corners=st.booleans(),
    threads=st.integers(1, 4),
)
def test_equals_the_loop(
    seed: int, shape: tuple[int, int, int], size: tuple[int, int], align_corners: bool, threads: int
) -> None:
    logits = random_logits(seed, *shape)
    labels = enlarge_argmax(logits, size, align_corners=align_corners, threads=threads)
    enlarged = by_loop(logits.astype(np.float64), size, align_corners)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    chosen = np.take_along_axis(enlarged, labels[None].astype(np.intp), 0)[0]
    np.testing.assert_allclose(chosen, enlarged.max(0), atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((11, 91, 121), (361, 481)),
        ((150, 9, 11), (65, 1100)),
        ((21, 40, 50), (17, 23)),
        ((255, 1, 1), (5, 7)),
        ((3, 30, 1), (30, 1)),
    ],
)
def test_equals_torch(shape: tuple[int, int, int], size: tuple[int, int], align_corners: bool) -> None:
    import torch

    logits = random_logits(1, *shape)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None].double(), size, mode="bilinear", align_corners=align_corners
    )[0].numpy()
    labels = enlarge_argmax(logits, size, align_corners=align_corners, threads=3)
    assert_names_the_largest(labels, enlarged, 1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
def test_both_implementations_are_equal_to_the_bit(monkeypatch: pytest.MonkeyPatch, align_corners: bool) -> None:
    # Few different values, so that rounding decides between classes that would tie.
    logits = np.round(random_logits(2, 7, 13, 17)) / np.float32(10)
    results = []
    for threads in (1, 4):
        results.append(enlarge_argmax(logits, (71, 1083), align_corners=align_corners, threads=threads))
        monkeypatch.setenv("ATROUS_CORE", "numpy")
    np.testing.assert_array_equal(*results)


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 20), st.integers(1, 600)),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    align_corners=st.booleans(),
)
def test_a_crop_is_the_top_left_part(
    seed: int, size: tuple[int, int], part: tuple[float, float], align_corners: bool
) -> None:
    logits = random_logits(seed, 4, 5, 6)
    height, width = max(round(size[0] * part[0]), 1), max(round(size[1] * part[1]), 1)
    whole = enlarge_argmax(logits, size, align_corners=align_corners)
    crop = enlarge_argmax(logits, size, align_corners=align_corners, crop=(height, width))
    np.testing.assert_array_equal(crop, whole[:height, :width])


def test_the_same_size_is_argmax_and_leaves_views_unchanged() -> None:
    logits = random_logits(4, 20, 30, 5).transpose(2, 0, 1)
    before = logits.copy()
    np.testing.assert_array_equal(enlarge_argmax(logits, (20, 30), align_corners=True), logits.argmax(0))
    np.testing.assert_array_equal(enlarge_argmax(logits, (20, 30), align_corners=False), logits.argmax(0))
    np.testing.assert_array_equal(logits, before)


def test_the_lowest_class_wins_a_tie() -> None:
    logits = random_logits(5, 3, 6, 7)
    doubled = np.concatenate([logits, logits])
    labels = enlarge_argmax(doubled, (31, 535), align_corners=False)
    np.testing.assert_array_equal(labels, enlarge_argmax(logits, (31, 535), align_corners=False))
    assert enlarge_argmax(np.zeros((4, 2, 2), np.float32), (9, 9), align_corners=True).max() == 0


def test_nan_never_wins() -> None:
    logits = random_logits(6, 4, 5, 5)
    logits[1] = np.nan
    expected = enlarge_argmax(np.delete(logits, 1, axis=0), (19, 19), align_corners=True)
    labels = enlarge_argmax(logits, (19, 19), align_corners=True)
    np.testing.assert_array_equal(labels, np.where(expected > 0, expected + 1, 0))
    logits[:] = np.nan
    np.testing.assert_array_equal(enlarge_argmax(logits, (19, 19), align_corners=True), 0)


def test_minus_infinity_everywhere_is_the_lowest_class() -> None:
    logits = np.full((3, 2, 2), -np.inf, np.float32)
    np.testing.assert_array_equal(enlarge_argmax(logits, (4, 4), align_corners=False), 0)


def test_wrong_arguments_are_refused() -> None:
    good = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="logits have dtype float64; float32 is needed: convert with astype"):
        enlarge_argmax(good.astype(np.float64), (6, 8), align_corners=True)
    for bad in (good[0], good[:0], good[:, :0]):
        with pytest.raises(ValueError, match=r"logits have shape \(.*\); \(classes, h, w\) is needed, each at least 1"):
            enlarge_argmax(bad, (6, 8), align_corners=True)
    with pytest.raises(ValueError, match="logits have 256 classes; 255 is the most"):
        enlarge_argmax(np.zeros((256, 1, 1), np.float32), (6, 8), align_corners=True)
    with pytest.raises(ValueError, match=r"size is \(0, 8\); \(height, width\) is needed, each at least 1"):
        enlarge_argmax(good, (0, 8), align_corners=True)
    for crop in ((7, 8), (6, 9), (0, 1)):
        with pytest.raises(ValueError, match=r"crop \(.*\) is not within size \(6, 8\); give \(height, width\) from 1"):
            enlarge_argmax(good, (6, 8), align_corners=True, crop=crop)
