"""The permutohedral lattice of a set of points: Gaussian filtering in time linear in their number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads, kernels

Normalisation = Literal["symmetric", "before", "after", "none"]
_ROWS_PER_STRIP = 8
_STRIPS_PER_PROCESSOR = 4
_TINY = np.float32(1e-20)


@dataclass(frozen=True, eq=False)
class Lattice:
    """Where points lie in the lattice: every array that a filter needs, and nothing of the values it filters.

    `vertices` (points, d + 1) int32 are the rows of the corners of each point's simplex, `splat` and `slice`, both
    (points, d + 1) float32, its barycentric weights with the normalisation in them. `chains` lists, one axis after the
    other from `axes[j]` to `axes[j + 1]`, the vertices that have neighbours on that axis, neighbour after neighbour;
    the last of a chain is stored as its complement, `~vertex`.

    Points are the pixels of a `shape` of (rows, width). They are cut into strips of whole rows, one for each thread:
    a vertex that an earlier strip owns has a private row in a later one, `size + ghost`, whose values are added to
    those of `owners[ghost]`. Strip t has the ghosts from `ghosts[t]` to `ghosts[t + 1]`.

    Source: Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
    """

    vertices: NDArray[np.int32]
    splat: NDArray[np.float32]
    slice: NDArray[np.float32]
    chains: NDArray[np.int32]
    axes: NDArray[np.int64]
    owners: NDArray[np.int32]
    ghosts: NDArray[np.int64]
    size: int
    shape: tuple[int, int]

    @property
    def points(self) -> int:
        """How many points there are."""
        return len(self.vertices)

    @property
    def dimensions(self) -> int:
        """How many features a point has."""
        return self.vertices.shape[1] - 1

    @property
    def strips(self) -> int:
        """In how many strips, and so by how many threads, the points are filtered."""
        return len(self.ghosts) - 1

    @property
    def gain(self) -> float:
        """What a blurred value is multiplied by: blurring enlarges it where every neighbour is there."""
        return 1 / (1 + 2.0**-self.dimensions)


def build_lattice(
    features: NDArray[np.float32], *, normalisation: Normalisation = "symmetric", threads: int | None = None
) -> Lattice:
    """Find the simplex of every point, and the vertices' neighbours.

    `features` are (d, rows, width) float32, divided by their standard deviations already. With K the filter and n = K1
    what it makes of ones, `normalisation` gives the filter n^-1/2 K n^-1/2 ("symmetric"), K n^-1 ("before"), n^-1 K
    ("after") or K itself ("none"), whose gain depends on the data. `threads` defaults to one per processor, and is at
    most four for each; fewer for few rows.

    Raises `ValueError` for another dtype, number of axes or normalisation, no points, and features that are not finite.

    Source: Adams et al. 2010, section 3; Krahenbuhl and Koltun, "Parameter Learning and Convergent Inference for Dense
    Random Fields", ICML 2013, section 5 (the symmetric normalisation).

    >>> lattice = build_lattice(np.zeros((2, 3, 4), np.float32))
    >>> lattice.points, lattice.dimensions, lattice.size
    (12, 2, 3)
    """
    features = np.asarray(features)
    _check_features(features, normalisation)
    _, rows, width = features.shape
    # More strips than processors only wait for each other; a few more than there are cost little.
    most = min(rows // _ROWS_PER_STRIP, _STRIPS_PER_PROCESSOR * available_threads(None))
    strips = max(1, min(available_threads(threads), most))
    arrays = lattice_arrays(np.ascontiguousarray(features), strips)
    if arrays is None:
        raise ValueError("features hold NaN or infinity; every feature of every point must be a finite number")
    vertices, weights, chains, axes, owners, ghosts, size = arrays
    lattice = Lattice(vertices, weights, weights, chains, axes, owners, ghosts, size, (rows, width))
    return lattice if normalisation == "none" else _normalised(lattice, normalisation)


def lattice_arrays(features: NDArray[np.float32], strips: int) -> Any:
    """Return the arrays of a lattice, from NumPy where the compiled kernel's packed vertices would overflow."""
    try:
        return kernels().lattice_of(features, strips)
    except OverflowError:
        from atrous._core import twins

        return twins.lattice_of(features, strips)


def filtered(lattice: Lattice, values: NDArray[np.float32], *, transposed: bool = False) -> NDArray[np.float32]:
    """Filter values (channels, points) float32 with the lattice's Gaussian, and return as many.

    Splat, blur along every axis, slice. `transposed` is the adjoint, which the backward pass of a network needs: the
    axes are blurred in reverse, and `splat` and `slice` change places. The two differ by a few per cent, since
    vertices that no point touches are absent and the order of the axes then matters.

    Raises `ValueError` for another dtype, or values that are not (channels, points).

    Source: Adams et al. 2010, section 3.

    >>> lattice = build_lattice(np.zeros((2, 3, 4), np.float32))
    >>> filtered(lattice, np.ones((1, 12), np.float32)).round(4).tolist()[0][:3]
    [1.0, 1.0, 1.0]
    """
    values = np.asarray(values)
    if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != lattice.points:
        raise ValueError(
            f"values are {values.dtype} of shape {values.shape}; float32 of shape (channels, {lattice.points}) is "
            "needed"
        )
    out = np.empty(values.shape, np.float32)
    kernels().filtered(lattice, np.ascontiguousarray(values), transposed, out)
    return out


def _normalised(lattice: Lattice, normalisation: Normalisation) -> Lattice:
    """Fold the normalisation into the weights, so that filtering costs no more for it."""
    norm = filtered(lattice, np.ones((1, lattice.points), np.float32))[0] + _TINY
    if normalisation == "symmetric":
        lattice.splat[:] *= (1 / np.sqrt(norm))[:, None]
        return lattice
    scaled = lattice.splat / norm[:, None]
    return replace(lattice, splat=scaled) if normalisation == "before" else replace(lattice, slice=scaled)


def _check_features(features: NDArray[Any], normalisation: str) -> None:
    if features.dtype != np.float32 or features.ndim != 3 or 0 in features.shape:
        raise ValueError(
            f"features are {features.dtype} of shape {features.shape}; float32 of shape (d, rows, width) is needed, "
            "each at least 1"
        )
    if normalisation not in get_args(Normalisation):
        raise ValueError(f"normalisation is {normalisation!r}; symmetric, before, after or none is accepted")
