"""The permutohedral lattice against a dictionary and matrices, its properties, and its words."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from atrous._core import Lattice, build_lattice, filtered, lattice_twin
from atrous._core.lattice import Normalisation

pytestmark = pytest.mark.usefixtures("kernels")
SHAPES = [(1, 23), (23, 1), (7, 13), (1, 1)]
NORMALISATIONS: list[Normalisation] = ["symmetric", "before", "after", "none"]
Key = tuple[int, ...]


def random_features(seed: int, dimensions: int, shape: tuple[int, int], scale: float = 1.0) -> NDArray[np.float32]:
    """Return normal features of this standard deviation."""
    return np.random.default_rng(seed).standard_normal((dimensions, *shape), np.float32) * np.float32(scale)


def photo_features(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return positions and whole-numbered colours, many of which lie on the border of two simplices."""
    rows, columns = np.indices(shape, np.float32)
    colours = np.random.default_rng(1).integers(0, 40, (3, *shape)).astype(np.float32)
    return np.concatenate([np.stack([columns, rows]) / np.float32(3), colours / np.float32(13)])


def random_values(channels: int, points: int) -> NDArray[np.float32]:
    """Return values of 0 to 1."""
    return np.random.default_rng(2).random((channels, points), np.float32)


def owned(lattice: Lattice) -> NDArray[np.int32]:
    """Return the vertices with every ghost's owner in its place."""
    return np.append(np.arange(lattice.size, dtype=np.int32), lattice.owners)[lattice.vertices]


def neighbours(lattice: Lattice, axis: int) -> list[tuple[int, int]]:
    """Return the pairs of neighbours that an axis' chains hold."""
    chain = lattice.chains[lattice.axes[axis] : lattice.axes[axis + 1]].tolist()
    return [(one, other if other >= 0 else ~other) for one, other in pairwise(chain) if one >= 0]


def simplex_by_loop(point: list[float]) -> dict[Key, float]:
    """Return the vertices around one point and their weights, remainder after remainder, in double precision."""
    corners = len(point) + 1
    scaled = [
        value * corners * math.sqrt(2 / 3) / math.sqrt((axis + 1) * (axis + 2)) for axis, value in enumerate(point)
    ]
    elevated = [sum(scaled[axis:]) - (axis * scaled[axis - 1] if axis else 0) for axis in range(corners)]
    origin = [corners * round(value / corners) for value in elevated]
    while sum(origin):
        step = -int(math.copysign(corners, sum(origin)))
        differences = [(value - at) * step for value, at in zip(elevated, origin, strict=True)]
        origin[differences.index(max(differences))] += step
    differences = [value - at for value, at in zip(elevated, origin, strict=True)]
    order = sorted(range(corners), key=lambda axis: -differences[axis])
    vertices = {}
    for remainder in range(corners):
        lowered = order[corners - remainder :]
        key = tuple(at + remainder - corners * (axis in lowered) for axis, at in enumerate(origin))
        if remainder:
            weight = differences[order[corners - 1 - remainder]] - differences[order[corners - remainder]]
        else:
            weight = corners + differences[order[-1]] - differences[order[0]]
        vertices[key] = weight / corners
    return vertices


def as_matrix(lattice: Lattice) -> NDArray[np.float64]:
    """Return the filter as the product of its matrices: slice, blur along every axis, splat."""
    rows = owned(lattice)
    splat, slice_ = np.zeros((2, lattice.points, lattice.size))
    for point in range(lattice.points):
        splat[point, rows[point]] = lattice.splat[point]
        slice_[point, rows[point]] = lattice.slice[point]
    blur = np.eye(lattice.size)
    for axis in range(lattice.dimensions + 1):
        step = np.eye(lattice.size)
        for one, other in neighbours(lattice, axis):
            step[one, other] = step[other, one] = 0.5
        blur = step @ blur
    return slice_ @ blur @ splat.T / (1 + 2.0**-lattice.dimensions)


def test_a_constant_image_is_one_simplex_and_its_filter_the_mean() -> None:
    lattice = build_lattice(np.full((5, 9, 11), 0.3, np.float32))
    assert (lattice.size, lattice.points, lattice.dimensions, lattice.shape) == (6, 99, 5, (9, 11))
    np.testing.assert_array_equal(lattice.vertices, np.broadcast_to(lattice.vertices[0], (99, 6)))
    values = random_values(3, 99)
    means = np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)
    np.testing.assert_allclose(filtered(lattice, values), means, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("threads", [1, 3])
def test_vertices_weights_and_neighbours_equal_the_dictionary(dimensions: int, threads: int) -> None:
    features = random_features(dimensions, dimensions, (24, 3), 0.7)
    lattice = build_lattice(features, normalisation="none", threads=threads)
    simplices = [simplex_by_loop(point) for point in features.reshape(dimensions, -1).T.tolist()]
    row_of: dict[Key, int] = {}
    for rows, weights, simplex in zip(owned(lattice).tolist(), lattice.splat, simplices, strict=True):
        assert [row_of.setdefault(key, row) for key, row in zip(simplex, rows, strict=True)] == rows
        np.testing.assert_allclose(weights, list(simplex.values()), atol=2e-6)
    assert sorted(row_of.values()) == list(range(lattice.size))
    for axis in range(dimensions + 1):
        expected = set()
        for key, row in row_of.items():
            neighbour = tuple(at + 1 - (dimensions + 1) * (place == axis) for place, at in enumerate(key))
            if neighbour in row_of:
                expected.add((row, row_of[neighbour]))
        pairs = neighbours(lattice, axis)
        assert set(pairs) == expected
        assert len(pairs) == len(expected)
        chain = lattice.chains[lattice.axes[axis] : lattice.axes[axis + 1]]
        assert sorted(np.where(chain < 0, ~chain, chain)) == sorted({row for pair in pairs for row in pair})


@pytest.mark.parametrize("dimensions", [*range(1, 9), 20])
def test_weights_are_shares(dimensions: int) -> None:
    for scale in (0.0, 1.0, 300.0):
        lattice = build_lattice(random_features(3, dimensions, (7, 13), scale), normalisation="none")
        assert lattice.slice is lattice.splat
        np.testing.assert_allclose(lattice.splat.sum(axis=1), 1, atol=1e-6)
        assert lattice.splat.min() >= -1e-6
        assert lattice.vertices.shape == lattice.splat.shape == (91, dimensions + 1)


@pytest.mark.parametrize("shape", [*SHAPES, (25, 6)])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_filter_equals_its_matrices(shape: tuple[int, int], normalisation: Normalisation) -> None:
    lattice = build_lattice(photo_features(shape), normalisation=normalisation, threads=3)
    matrix, values = as_matrix(lattice), random_values(4, lattice.points)
    np.testing.assert_allclose(filtered(lattice, values), values @ matrix.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(filtered(lattice, values, transposed=True), values @ matrix, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dimensions", range(1, 9))
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_transposed_filter_is_the_adjoint(dimensions: int, normalisation: Normalisation) -> None:
    lattice = build_lattice(random_features(4, dimensions, (17, 13)), normalisation=normalisation, threads=2)
    one, other = random_values(2, lattice.points)[:, None]
    forth = np.vdot(one.astype(np.float64), filtered(lattice, other))
    back = np.vdot(filtered(lattice, one, transposed=True).astype(np.float64), other)
    assert forth == pytest.approx(back, rel=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 5, 8])
def test_normalisations_divide_by_the_filter_of_ones(dimensions: int) -> None:
    features = random_features(5, dimensions, (5, 7))
    plain = as_matrix(build_lattice(features, normalisation="none"))
    norm = plain.sum(axis=1)
    expected = {
        "symmetric": plain / np.sqrt(np.outer(norm, norm)),
        "before": plain / norm,
        "after": plain / norm[:, None],
    }
    for normalisation in NORMALISATIONS[:3]:
        matrix = as_matrix(build_lattice(features, normalisation=normalisation))
        np.testing.assert_allclose(matrix, expected[normalisation], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_ones_stay_ones_where_the_filter_is_normalised_after(shape: tuple[int, int]) -> None:
    lattice = build_lattice(photo_features(shape), normalisation="after")
    ones = np.ones((1, lattice.points), np.float32)
    np.testing.assert_allclose(filtered(lattice, ones), 1, atol=1e-5)


def rows_of_strips(lattice: Lattice) -> list[set[int]]:
    """Return the rows that the points of each strip touch."""
    rows, width = lattice.shape
    bounds = [rows * strip // lattice.strips * width for strip in range(lattice.strips + 1)]
    return [set(lattice.vertices[start:end].ravel().tolist()) for start, end in pairwise(bounds)]


def test_a_strip_without_vertices_of_its_own_does_not_disturb_the_next() -> None:
    features = photo_features((24, 5))
    features[:, 8:16] = features[:, :1, :1]
    features[:, 16:] = features[:, :8]
    lattice = build_lattice(features, threads=3)
    first, second, third = rows_of_strips(lattice)
    assert len(first | second | third) == len(first) + len(second) + len(third)
    assert max(first) == lattice.size - 1
    assert (len(second), len(third)) == (6, len(first))


def test_strips_have_rows_of_their_own_and_the_same_filter() -> None:
    features, values = photo_features((29, 17)), random_values(5, 29 * 17)
    alone = build_lattice(features, threads=1)
    assert (alone.strips, len(alone.owners)) == (1, 0)
    for strips in (2, 3):
        lattice = build_lattice(features, threads=strips)
        assert (lattice.strips, lattice.size, lattice.ghosts[-1]) == (strips, alone.size, len(lattice.owners))
        assert np.all(lattice.owners < lattice.size)
        parts = rows_of_strips(lattice)
        for strip, part in enumerate(parts):
            ghosts = {row - lattice.size for row in part if row >= lattice.size}
            assert ghosts == set(range(lattice.ghosts[strip], lattice.ghosts[strip + 1]))
            assert not any(part & other for other in parts[:strip])
        assert len(lattice.owners) > 0
        for transposed in (False, True):
            np.testing.assert_allclose(
                filtered(lattice, values, transposed=transposed),
                filtered(alone, values, transposed=transposed),
                atol=1e-6,
            )


def test_few_rows_are_one_strip() -> None:
    assert build_lattice(np.zeros((2, 15, 4), np.float32), threads=8).strips == 1
    assert build_lattice(np.zeros((2, 16, 4), np.float32), threads=8).strips == 2


@pytest.mark.parametrize("sigma", [2.5, 5.0])
def test_a_point_spreads_to_a_gaussian_of_this_sigma(sigma: float) -> None:
    side = 61
    rows, columns = np.indices((side, side), np.float32)
    lattice = build_lattice(np.stack([columns, rows]) / np.float32(sigma), normalisation="none")
    variances = []
    for centre in np.ndindex(4, 4):
        at = np.add(centre, 28)
        impulse = np.zeros((1, side * side), np.float32)
        impulse[0, at[0] * side + at[1]] = 1
        spread = filtered(lattice, impulse).reshape(side, side)
        variances += [
            (spread * (index - middle) ** 2).sum() / spread.sum() for index, middle in ((rows, at[0]), (columns, at[1]))
        ]
    assert np.sqrt(np.mean(variances)) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("dimensions", [2, 5, 8, 17, 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_points_far_apart_keep_their_values(dimensions: int, threads: int) -> None:
    features = random_features(6, dimensions, (24, 5), 3e4)
    lattice = build_lattice(features, threads=threads)
    values = random_values(3, 120)
    np.testing.assert_allclose(filtered(lattice, values), values, atol=1e-5)
    assert lattice.size == 120 * (dimensions + 1)


@pytest.mark.parametrize("dimensions", [5, 8, 20])
def test_two_distant_groups_are_filtered_each_alone(dimensions: int) -> None:
    near = np.round(random_features(7, dimensions, (16, 2), 2.0)) / np.float32(4)
    features = np.concatenate([near, near + np.float32(4096)], axis=1)
    apart = build_lattice(features, threads=3)
    values = random_values(2, 64)
    values[:, 32:] = 0
    result = filtered(apart, values)
    np.testing.assert_allclose(result[:, :32], values[:, :32] @ as_matrix(build_lattice(near)).T, atol=1e-3)
    np.testing.assert_array_equal(result[:, 32:], 0)


@pytest.mark.parametrize("dimensions", range(1, 9))
@pytest.mark.parametrize("shape", [*SHAPES, (33, 19)])
def test_both_implementations_agree(monkeypatch: pytest.MonkeyPatch, dimensions: int, shape: tuple[int, int]) -> None:
    positions = photo_features(shape)
    features = np.concatenate([positions, random_features(8, 3, shape)])[:dimensions]
    values = random_values(9, shape[0] * shape[1])
    found = []
    for core in ("", "numpy"):
        monkeypatch.setenv("ATROUS_CORE", core)
        lattice = build_lattice(features, threads=2, normalisation="none")
        normalised = build_lattice(features, threads=2)
        filters = [filtered(each, values, transposed=back) for each in (lattice, normalised) for back in (False, True)]
        found.append((lattice, filters))
    (one, ones), (other, others) = found
    assert (one.size, one.strips) == (other.size, other.strips)
    assert len(np.unique(np.stack([owned(one), owned(other)], axis=-1).reshape(-1, 2), axis=0)) == one.size
    np.testing.assert_allclose(one.splat, other.splat, atol=1e-6)
    for left, right in zip(ones, others, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 16, 17, 33])
def test_channels_do_not_mix(channels: int) -> None:
    lattice = build_lattice(photo_features((17, 9)), threads=2)
    values = random_values(channels, 153)
    together = filtered(lattice, values)
    assert (together.shape, together.dtype) == (values.shape, np.float32)
    for channel in range(channels):
        np.testing.assert_allclose(together[channel], filtered(lattice, values[channel : channel + 1])[0], atol=1e-6)


def test_views_are_filtered_and_left_unchanged() -> None:
    features = photo_features((20, 18))[:, ::2, ::-1]
    lattice = build_lattice(features)
    np.testing.assert_array_equal(lattice.splat, build_lattice(features.copy()).splat)
    values = random_values(180, 6).T[:, ::-1]
    before = values.copy()
    np.testing.assert_array_equal(filtered(lattice, values), filtered(lattice, before))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(wrong: float) -> None:
    for place in ((0, 0, 0), (4, 18, 16), (2, 9, 5)):
        features = photo_features((19, 17))
        features[place] = wrong
        with pytest.raises(
            ValueError,
            match=r"^features hold NaN or infinity; every feature of every point must be a finite number$",
        ):
            build_lattice(features)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
@pytest.mark.parametrize("size", [1e8, 3e38])
def test_features_beyond_single_precision_are_refused(dimensions: int, size: float) -> None:
    features = np.zeros((dimensions, 3, 4), np.float32)
    features[-1, 1, 2] = -size
    words = (
        f"features reach {size:.4g}, too far from 0 for single precision to tell them apart in a lattice: take off "
        "their mean, or divide by a larger sigma"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        build_lattice(features)


def test_wrong_arguments_are_refused() -> None:
    good = np.zeros((2, 3, 4), np.float32)
    for bad in (good.astype(np.float64), good[0], good[:0], good[:, :0], good[:, :, :0]):
        words = (
            f"features are {bad.dtype} of shape {bad.shape}; float32 of shape (d, rows, width) is needed, each at "
            "least 1"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            build_lattice(bad)
    with pytest.raises(ValueError, match=r"^normalisation is 'both'; symmetric, before, after or none is accepted$"):
        build_lattice(good, normalisation="both")  # type: ignore[arg-type]
    lattice = build_lattice(good)
    for values in (np.zeros((1, 12)), np.zeros(12, np.float32), np.zeros((1, 11), np.float32)):
        words = f"values are {values.dtype} of shape {values.shape}; float32 of shape (channels, 12) is needed"
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            filtered(lattice, values)  # type: ignore[arg-type]


def test_no_channels_are_no_values() -> None:
    lattice = build_lattice(photo_features((7, 13)))
    assert filtered(lattice, np.empty((0, 91), np.float32)).shape == (0, 91)


def test_weights_may_be_replaced() -> None:
    lattice = build_lattice(photo_features((7, 13)), normalisation="none")
    doubled, values = replace(lattice, slice=lattice.slice * 2), random_values(2, 91)
    np.testing.assert_allclose(filtered(doubled, values), 2 * filtered(lattice, values), rtol=1e-6)


def test_codes_follow_each_other_in_the_last_column_only() -> None:
    codes = lattice_twin._codes(np.array([(0, 3), (1, 0), (1, 1), (1, 3)]).T)
    np.testing.assert_array_equal(np.diff(codes) == 1, [False, True, False])


def test_codes_of_wide_columns_neither_collide_nor_lose_their_order() -> None:
    columns = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**32 - 2,) * 3]).T
    codes = lattice_twin._codes(columns)
    np.testing.assert_array_equal(np.diff(codes) > 0, True)
    np.testing.assert_array_equal(np.diff(codes) == 1, [True, False, False, False])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dimensions", [63, 64, 70])
def test_gain_of_very_many_features(dimensions: int) -> None:
    lattice = build_lattice(np.zeros((dimensions, 2, 3), np.float32), normalisation="none")
    ones = np.ones((1, 6), np.float32)
    np.testing.assert_allclose(filtered(lattice, ones), 6, rtol=1e-5)


@pytest.mark.usefixtures("kernels")
def test_features_too_far_from_zero() -> None:
    features = random_features(9, 5, (4, 6), 1.0)
    features[4] += 2e6
    with pytest.raises(ValueError, match="too far from 0 for single precision"):
        build_lattice(features)
