"""U-Net's weights of pixels: equal to a distance transform per cell, to the twin bit for bit, and to the equation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from atrous._core import separation_weights

EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def by_cell(instances: NDArray[np.int32], w0: float, sigma: float) -> NDArray[np.float64]:
    """Take the two smallest of one distance transform per cell."""
    cells = [number for number in np.unique(instances) if number]
    if len(cells) < 2:
        return np.ones(instances.shape)
    distances = np.sort([distance_transform_edt(instances != number) for number in cells], 0)
    return 1 + w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))


def cells(seed: int, height: int, width: int, count: int) -> NDArray[np.int32]:
    """Return rectangles that overlap, some of them parts of one cell."""
    random = np.random.default_rng(seed)
    instances = np.zeros((height, width), np.int32)
    for _ in range(count):
        top, left = random.integers(height), random.integers(width)
        sides = random.integers(1, 12, 2)
        instances[top : top + sides[0], left : left + sides[1]] = random.choice([1, 2, 3, 7, 900, 2**31 - 1])
    return instances


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 50),
    width=st.integers(1, 80),
    count=st.integers(0, 9),
    sigma=st.sampled_from([0.3, 1.0, 5.0, 60.0, 1e4]),
    threads=st.integers(1, 4),
)
def test_equals_a_distance_transform_per_cell(
    kernels: str, seed: int, height: int, width: int, count: int, sigma: float, threads: int
) -> None:
    instances = cells(seed, height, width, count)
    weights = separation_weights(instances, sigma=sigma, inside=True, threads=threads)
    assert (weights.dtype, weights.shape) == (np.float32, instances.shape)
    np.testing.assert_allclose(weights, by_cell(instances, 10, sigma), atol=3e-5)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("w0", [1e-3, 10.0, 1e6])
def test_the_twin_is_equal_bit_for_bit(monkeypatch: pytest.MonkeyPatch, seed: int, w0: float) -> None:
    instances = cells(seed, 37 + seed, 90 - seed, 7)
    results = []
    for core in ("compiled", "numpy"):
        monkeypatch.setenv("ATROUS_CORE", core)
        try:
            results.append(separation_weights(instances, w0=w0, sigma=0.5 + seed, inside=True))
        except ImportError:
            pytest.skip("atrous was installed without a compiler")
    np.testing.assert_array_equal(*results)


def test_the_paper_s_numbers(kernels: str) -> None:
    row = np.array([[1, 0, 2]])
    gap = 10 * np.exp(-4 / 50)  # one pixel from each
    np.testing.assert_allclose(separation_weights(row), [[1, 1 + gap, 1]], rtol=1e-6)
    np.testing.assert_allclose(separation_weights(row, inside=True), [[1 + gap] * 3], rtol=1e-6)
    wide = np.zeros((1, 11), int)
    wide[0, 0], wide[0, -1] = 1, 2
    np.testing.assert_allclose(separation_weights(wide, inside=True), np.full((1, 11), 1 + 10 * np.exp(-2)), rtol=1e-6)
    touching = separation_weights(np.array([[1, 1, 2, 2]]), inside=True)
    np.testing.assert_allclose(touching[0, 1], 1 + 10 * np.exp(-1 / 50), rtol=1e-6)


def test_fewer_than_two_cells_have_nothing_to_separate(kernels: str) -> None:
    instances = np.zeros((9, 9), np.uint16)
    assert (separation_weights(instances) == 1).all()
    instances[2:4, 2:8] = 6
    instances[6:8, 2:8] = 6
    assert (separation_weights(instances) == 1).all()
    assert separation_weights(np.zeros((0, 5), np.int32)).shape == (0, 5)


def test_classes_have_weights(kernels: str) -> None:
    instances = np.zeros((10, 10), np.int32)
    instances[:2, :5] = 1
    instances[5:7, :5] = 2
    flat = separation_weights(instances, w0=0, class_weights=(0.5, 2))
    np.testing.assert_array_equal(flat, np.where(instances, np.float32(2), np.float32(0.5)))
    balanced = separation_weights(instances, w0=0, class_weights="balanced")
    np.testing.assert_allclose([balanced[instances == 0].sum(), balanced[instances != 0].sum()], 50)
    only = separation_weights(np.ones((3, 3), np.int32), class_weights="balanced")
    assert (only == 1).all()
    whole = separation_weights(instances, inside=True)
    outside = separation_weights(instances)
    np.testing.assert_array_equal(outside, np.where(instances, np.float32(1), whole))


def test_views_and_other_integers_are_taken_and_left_as_they_were(kernels: str) -> None:
    instances = cells(0, 40, 60, 6)
    before = instances.copy()
    for view in (instances[::2, ::-3], instances.T, instances.astype(np.int64), instances.astype(np.uint32)):
        np.testing.assert_allclose(
            separation_weights(view, inside=True), by_cell(np.asarray(view, np.int32), 10, 5), atol=3e-5
        )
    np.testing.assert_array_equal(instances, before)


def test_other_arguments_are_refused() -> None:
    fine = np.zeros((4, 4), np.int32)
    for wrong in (fine[0], fine[None], fine.astype(np.float32), fine.astype(bool)):
        with pytest.raises(ValueError, match=r"instances are \w+ of shape .*; integers \(h, w\) are needed, 0 for"):
            separation_weights(wrong)
    with pytest.raises(ValueError, match="instances hold -1 to 0; 0 is background, and cells are numbered from 1"):
        separation_weights(np.array([[-1, 0]]))
    with pytest.raises(ValueError, match="instances hold 0 to 4294967295; 0 is background"):
        separation_weights(np.array([[0, 2**32 - 1]]))
    for options in ({"sigma": 0}, {"sigma": float("nan")}, {"w0": -1}, {"w0": float("inf")}):
        with pytest.raises(ValueError, match=r"w0 is .* and sigma .*; w0 is 0 or more, and sigma, in pixels, above 0"):
            separation_weights(fine, **options)
    for weights in ((1,), (1, -1), "even", (1, float("nan")), None):
        with pytest.raises(
            ValueError, match=r"class_weights are .*; \(background, cells\) of 0 or more, or 'balanced'"
        ):
            separation_weights(fine, class_weights=weights)


def test_nuclei(data_dir: Path) -> None:
    from PIL import Image

    for path in sorted((data_dir / "dsb2018" / "labels").iterdir())[:6]:
        with Image.open(path) as opened:
            instances = np.asarray(opened).astype(np.int32)[:256, :256]
        np.testing.assert_allclose(separation_weights(instances, inside=True), by_cell(instances, 10, 5), atol=3e-5)
