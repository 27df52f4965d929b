"""The permutohedral lattice and mean field in NumPy: what the compiled kernels compute, and what runs without them.

Results agree with the compiled kernels up to the rounding of sums, whose order differs; the simplices are the same.
Sparse products are SciPy's where it is installed.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from atrous._core.lattice import Lattice

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
LatticeArrays = tuple[
    NDArray[np.int32], Floats, NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], int
]

_FARTHEST = 1 << 22  # beyond, neighbouring float32 numbers are half or more apart, and a simplex is d + 1 wide
_PACKED = 1 << 62
_LEAST_PROBABILITY = 1e-5
_SUM_TOLERANCE = 0.01
_SETTLING_ITERATION = 2
_SAMPLED = 16


def lattice_of(features: Floats, strips: int, /) -> LatticeArrays | None:
    """Return vertices, weights, chains, axes, owners, ghosts and size of a `Lattice`; None if a feature is not finite.

    Vertices are numbered as the points touch them, row after row. So those that an earlier strip owns are the ones
    whose number is below all that the strip brings, and each gets one private row in every later strip that touches it.

    Raises `ValueError` for features so large that single precision cannot tell where in a simplex a point lies.
    """
    _, rows, width = features.shape
    points = features.reshape(len(features), -1)
    if not np.isfinite(points).all():
        return None
    origins, ranks, weights = _simplices(points)
    vertices, keys = _numbered(origins, ranks)
    size = keys.shape[1]
    starts = [rows * strip // strips * width for strip in range(strips + 1)]
    return vertices, weights, *_chains(keys), *_private_rows(vertices, starts, size), size


def filtered(lattice: Lattice, values: Floats, transposed: bool, out: Floats, /) -> None:
    """Write the filtered values (channels, points) to `out`."""
    out[:] = _filter_of(lattice, transposed)(np.ascontiguousarray(values.T)).T


def mean_field(
    unary: Floats,
    lattices: list[Lattice],
    weights: list[float],
    iterations: int,
    from_probabilities: bool,
    kept: NDArray[np.int32] | None,
    compatibility: Floats | None,
    self_responses: list[Floats] | None,
    half: bool,
    settle: float,
    tolerance: float,
    out: Floats,
    /,
) -> bool:
    """Write the marginals (labels, points) to `out`; return False where `unary` cannot be used. `half` is ignored.

    Points settle once, after the second iteration.
    """
    _tell_the_cost()
    logits = _logits(unary, from_probabilities)
    if logits is None:
        return False
    rest = np.setdiff1d(np.arange(len(unary)), np.arange(len(unary)) if kept is None else kept)
    if len(rest):
        merged = np.concatenate([unary[kept], unary[rest].sum(axis=0, keepdims=True)])
        logits = np.log(np.clip(merged, _LEAST_PROBABILITY, 1)).T
    message = _message(lattices, weights, self_responses)
    marginals = _softmax(logits)
    settled = np.zeros(len(marginals), bool)
    iteration = 0
    while iteration < iterations:
        iteration += 1
        updated = _softmax(logits + _compatible(message(marginals), compatibility))
        updated[settled] = marginals[settled]
        change = np.abs(updated - marginals)[::_SAMPLED].mean(dtype=np.float64) if tolerance > 0 else np.inf
        marginals = updated
        if change < tolerance:
            iterations = min(iterations, iteration + 1)
        if settle > 0 and iteration == _SETTLING_ITERATION:
            settled = marginals.max(axis=1) > 1 - settle
    if len(rest):
        weights_of_rest = unary[rest] + _LEAST_PROBABILITY
        out[kept] = marginals[:, :-1].T
        out[rest] = weights_of_rest * (marginals[:, -1] / weights_of_rest.sum(axis=0))
    else:
        out[:] = marginals.T
    return True


def peaks(values: Floats, threads: int, largest: Floats, /) -> None:
    """Write the largest value of every row to `largest`."""
    np.max(values, axis=1, out=largest)


def _message(
    lattices: list[Lattice], weights: list[float], self_responses: list[Floats] | None
) -> Callable[[Floats], Floats]:
    """Return a function from marginals (points, labels) to the weighted sum of what every filter makes of them."""
    filters = [_filter_of(lattice) for lattice in lattices]
    responses = self_responses or [np.zeros(1, np.float32) for _ in lattices]

    def message(marginals: Floats) -> Floats:
        total = np.zeros_like(marginals)
        for apply, weight, response in zip(filters, weights, responses, strict=True):
            total += np.float32(weight) * (apply(marginals) - response[:, None] * marginals)
        return total

    return message


def _simplices(points: Floats) -> tuple[Integers, Integers, Floats]:
    """Return the simplex of every point of (d, points): origin and ranks (d + 1, points), weights (points, d + 1).

    The origin is the vertex of remainder 0. A coordinate of rank r is d + 1 lower at the vertices of remainders above
    d - r. Every operation is one of float32 in this order, so that the compiled kernel finds the same simplices.

    Source: Adams et al. 2010, section 3.1 (the elevation, the nearest vertex, the barycentric weights).
    """
    corners = len(points) + 1
    elevated = _elevated(points)
    nearest = np.rint(elevated * np.float32(1 / corners))
    remainders = elevated - nearest * np.float32(corners)
    ranks = np.argsort(np.argsort(-remainders, axis=0, kind="stable"), axis=0)
    # The rounded coordinates may not sum to 0; those that were rounded the farthest are rounded the other way.
    origins = nearest.astype(np.int64)
    ranks += origins.sum(axis=0)
    wraps = ranks // corners
    ranks -= wraps * corners
    remainders = (remainders + wraps.astype(np.float32) * np.float32(corners)) * np.float32(1 / corners)
    descending = np.empty_like(remainders)
    np.put_along_axis(descending, ranks, remainders, axis=0)
    weights = np.empty_like(points, shape=(points.shape[1], corners))
    weights[:, 0] = (descending[-1] - descending[0]) + np.float32(1)
    weights[:, 1:] = (descending[:-1] - descending[1:])[::-1].T
    return (origins - wraps) * corners, ranks, weights


def _elevated(points: Floats) -> Floats:
    """Return the points (d + 1, points) in the hyperplane of coordinates that sum to 0."""
    dimensions = len(points)
    above = np.arange(1, dimensions + 1)
    # Rounded twice, as in the authors' program: where points lie on the border of two simplices, one bit decides.
    spread = np.float32(np.sqrt(2 / 3) * (dimensions + 1))
    scale = np.float64(spread) / np.sqrt(above * (above + 1))
    elevated = np.empty_like(points, shape=(dimensions + 1, points.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = points * scale.astype(np.float32)[:, None]
        total = np.zeros_like(points[0])
        for axis in range(dimensions, 0, -1):
            elevated[axis] = total - np.float32(axis) * scaled[axis - 1]
            total += scaled[axis - 1]
    elevated[0] = total
    if not np.abs(elevated).max() < _FARTHEST:
        raise ValueError(
            f"features reach {np.abs(points).max():.4g}, too far from 0 for single precision to tell them apart in a "
            "lattice: take off their mean, or divide by a larger sigma"
        )
    return elevated


def _numbered(origins: Integers, ranks: Integers) -> tuple[NDArray[np.int32], Integers]:
    """Return the vertices (points, d + 1) in order of first touch, and the coordinates (d + 1, vertices) of each."""
    corners, points = origins.shape
    remainders = np.arange(corners)

    def coordinates(axis: int) -> Integers:
        lower = ranks[axis, :, None] > corners - 1 - remainders
        return (origins[axis, :, None] + remainders - corners * lower).ravel()

    _, first, sorted_rows = np.unique(
        _codes(coordinates(axis) for axis in range(corners - 1)), return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    row_of = np.empty(len(order), np.int32)
    row_of[order] = np.arange(len(order))
    point, remainder = np.divmod(first[order], corners)
    keys = origins[:, point] + remainder - corners * (ranks[:, point] > corners - 1 - remainder)
    return row_of[sorted_rows].reshape(points, corners), keys


def _private_rows(
    vertices: NDArray[np.int32], starts: list[int], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give each strip of points its own rows for the vertices of earlier strips; `vertices` is changed in place."""
    owners: list[NDArray[np.int32]] = []
    ghosts = np.zeros(len(starts), np.int64)
    known = 0
    for strip, (start, end) in enumerate(pairwise(starts)):
        part = vertices[start:end]
        foreign = part < known
        owned_before, ghost = np.unique(part[foreign], return_inverse=True)
        known = max(known, int(part.max(initial=-1)) + 1)
        part[foreign] = size + ghosts[strip] + ghost
        owners.append(owned_before)
        ghosts[strip + 1] = ghosts[strip] + len(owned_before)
    return np.concatenate(owners), ghosts


def _chains(keys: Integers) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the runs of neighbours on every axis, and where each axis begins.

    A step on axis j adds 1 to every coordinate but the j-th. So the differences of the others name a line of the
    lattice, and any one of them the place on it.
    """
    parts = [np.empty(0, np.int32)]
    for axis in range(len(keys)):
        place, *others = np.delete(keys, axis, axis=0)
        codes = _codes((*(other - place for other in others), place))
        order = np.argsort(codes).astype(np.int32)
        goes_on = np.diff(codes[order]) == 1
        has_next, has_previous = np.append(goes_on, False), np.insert(goes_on, 0, False)
        parts.append(np.where(has_next, order, ~order)[has_next | has_previous])
    return np.concatenate(parts), np.cumsum([len(part) for part in parts])


def _codes(columns: Iterable[Integers]) -> Integers:
    """Return one number for each row of the columns: equal for equal rows, in the rows' order.

    Numbers that follow each other are rows that differ by 1 in the last column, since one value is left unused there.
    """
    codes, bound = np.zeros(1, np.int64), 1
    for column in columns:
        lowest = int(column.min())
        span = int(column.max()) - lowest + 2
        if bound * span >= _PACKED:
            codes = np.unique(codes, return_inverse=True)[1]
            bound = int(codes.max()) + 1
        codes, bound = codes * span + (column - lowest), bound * span
    return codes


def _filter_of(lattice: Lattice, transposed: bool = False) -> Callable[[Floats], Floats]:
    """Return a function that filters values (points, channels)."""
    rows = np.append(np.arange(lattice.size, dtype=np.int32), lattice.owners)[lattice.vertices]
    splat, slice_ = (lattice.slice, lattice.splat) if transposed else (lattice.splat, lattice.slice)
    to_vertices = _interpolation(rows, splat, lattice.size)[0]
    to_points = _interpolation(rows, slice_, lattice.size)[1]
    chains = [lattice.chains[start:end] for start, end in pairwise(lattice.axes)]
    gain = np.float32(lattice.gain)

    def apply(values: Floats) -> Floats:
        table = to_vertices(values)
        for chain in reversed(chains) if transposed else chains:
            _blur(table, chain)
        return to_points(table) * gain

    return apply


def _blur(table: Floats, chain: NDArray[np.int32]) -> None:
    """Add to every row of a chain half of the row before and half of the one behind, in place."""
    rows = np.where(chain < 0, ~chain, chain)
    values = table[rows]
    shares = values * np.float32(0.5)
    links = (chain[:-1] >= 0).astype(np.float32)[:, None]
    values[:-1] += links * shares[1:]
    values[1:] += links * shares[:-1]
    table[rows] = values


def _interpolation(
    rows: NDArray[np.int32], weights: Floats, size: int
) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Return the functions from values of the points to values of the vertices, and back."""
    points, corners = rows.shape
    try:
        from scipy.sparse import csr_array
    except ImportError:
        return functools.partial(_splat, rows, weights, size), functools.partial(_slice, rows, weights)
    starts = np.arange(0, points * corners + 1, corners)
    matrix = csr_array((weights.ravel(), rows.ravel(), starts), shape=(points, size))
    return matrix.T.__matmul__, matrix.__matmul__


def _splat(rows: NDArray[np.int32], weights: Floats, size: int, values: Floats) -> Floats:
    table = np.empty((size, values.shape[1]), np.float32)
    for channel, of_points in enumerate(values.T):
        table[:, channel] = np.bincount(rows.ravel(), (weights * of_points[:, None]).ravel(), size)
    return table


def _slice(rows: NDArray[np.int32], weights: Floats, table: Floats) -> Floats:
    values = np.zeros((len(rows), table.shape[1]), np.float32)
    for row, weight in zip(rows.T, weights.T, strict=True):
        values += weight[:, None] * table[row]
    return values


def _logits(unary: Floats, from_probabilities: bool) -> Floats | None:
    """Return the logits (points, labels), or None where there are none to be had."""
    if not np.isfinite(unary).all():
        return None
    if not from_probabilities:
        return np.ascontiguousarray(unary.T)
    sums = unary.sum(axis=0, dtype=np.float64)
    if unary.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        return None
    return np.log(np.clip(unary.T, _LEAST_PROBABILITY, 1, order="C"))


def _softmax(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _compatible(message: Floats, compatibility: Floats | None) -> Floats:
    """Return what the logits gain from a message: Potts, a number for each label, or minus a matrix of penalties."""
    if compatibility is None:
        return message
    return message * compatibility if compatibility.ndim == 1 else -message @ compatibility.T


@functools.cache
def _tell_the_cost() -> None:
    """Say once how slow this is, where it was not asked for; that the compiled kernels are missing is said already."""
    if os.environ.get("ATROUS_CORE") != "numpy" and find_spec("atrous._core._kernels") is None:
        logging.getLogger("atrous").warning(
            "a fully connected CRF takes seconds for an image in NumPy: about 1.5 s for 500 x 375 pixels and 21 labels "
            "on one processor, 3.5 s without SciPy"
        )
