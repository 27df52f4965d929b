"""Where the voxels of a volume lie, and how a volume is turned so that its slices are upright pictures.

Pictures of axial slices have the front of the body (A) above and its right (R) at the left, and the first slice is the
lowest (I). Coronal pictures have the head above and the right at the left, sagittal ones the head above and the front
at the left; their first slices are the foremost and the rightmost. A volume's slices are those of its only voxel where
it has a single one along an axis, else those across its coarsest axis, else, where two or three axes are about as
coarse, the axial ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Affine = tuple[tuple[float, float, float, float], ...]
Axes = tuple[int, int, int]
Backwards = tuple[bool, bool, bool]
_COARSER = 1.25  # how much larger than the next a spacing is that decides which slices are cut
_AXIAL = 2


@dataclass(frozen=True)
class VolumeHeader:
    """What a file says of its volume, in the order (slices, rows, columns), which is that of the file's bytes.

    `spacing` is in mm along the three axes. `affine` takes an index (slice, row, column) to mm in a frame whose axes
    point to the right, the front and the head (RAS); None where the file does not tell. With `as_stored` the file's
    own slices are the pictures, as in DICOM, and nothing is turned. `patient` and `series` name what the volume is of,
    where the file says; slices in files of their own are kept together by them.
    """

    shape: tuple[int, int, int]
    channels: int = 1
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    affine: Affine | None = None
    as_stored: bool = False
    patient: str = ""
    series: str = ""


@dataclass(frozen=True)
class Spacing:
    """The `place` of a slice: mm between its pixels as (row, column), mm to the next slice, and the volume's affine.

    `affine` takes (slice, row, column) of the pictures, as they are turned, to mm in RAS; None where it is not known.
    """

    pixel: tuple[float, float]
    slice: float
    affine: Affine | None = None


@dataclass(frozen=True)
class View:
    """How an array (slices, rows, columns[, c]) is turned: the axis that each of the three comes from, and whether
    it runs backwards.

    >>> View((2, 1, 0), (False, True, False)).turned(np.zeros((3, 4, 5))).shape
    (5, 4, 3)
    """

    axes: Axes = (0, 1, 2)
    backwards: Backwards = (False, False, False)

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the array in the order of the pictures."""
        array = array.transpose(*self.axes, *range(3, array.ndim))
        return array[tuple(slice(None, None, -1) if back else slice(None) for back in self.backwards)]

    def stored(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return a view of pictures (slices, rows, columns) in the order of the file: `turned` undone."""
        array = pictures[tuple(slice(None, None, -1) if back else slice(None) for back in self.backwards)]
        return array.transpose(*np.argsort(self.axes))

    def shape(self, stored: Sequence[int]) -> tuple[int, int, int]:
        """Return (slices, rows, columns) of the pictures."""
        return stored[self.axes[0]], stored[self.axes[1]], stored[self.axes[2]]

    def matrix(self, stored: Sequence[int]) -> NDArray[np.float64]:
        """Return the 4 x 4 matrix that takes an index of the pictures to one of the stored array."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for picture, (axis, back) in enumerate(zip(self.axes, self.backwards, strict=True)):
            matrix[axis, picture] = -1 if back else 1
            matrix[axis, 3] = stored[axis] - 1 if back else 0
        return matrix


def sound_affine(matrix: ArrayLike) -> Affine | None:
    """Return a 4 x 4 matrix as nested tuples, or None for one that no space has: not finite, or flat."""
    array = np.asarray(matrix, np.float64)
    if array.shape != (4, 4) or not np.isfinite(array).all():
        return None
    lengths = np.linalg.norm(array[:3, :3], axis=0)
    if not lengths.min() > 0 or abs(np.linalg.det(array[:3, :3] / lengths)) < 1e-3:
        return None
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in array)


def sound_length(length: float) -> float:
    """Return a spacing in mm without its sign; 1 for what is no length.

    >>> sound_length(-2.5), sound_length(0.0), sound_length(float("nan"))
    (2.5, 1.0, 1.0)
    """
    return abs(length) if math.isfinite(length) and length != 0 else 1.0


def upright(header: VolumeHeader) -> View:
    """Return the view in which the slices of a volume are upright pictures.

    >>> upright(VolumeHeader((5, 6, 7), affine=sound_affine(np.eye(4)[[2, 1, 0, 3]]))).backwards
    (False, True, True)
    """
    if header.as_stored:
        return View()
    if header.affine is None:
        cut = _cut(header, (2, 1, 0))
        first, second = (axis for axis in range(3) if axis != cut)
        return View((cut, first, second))
    axes, backwards = _nearest(np.asarray(header.affine)[:3, :3])
    cut = axes.index(_cut(header, [axes.index(axis) for axis in range(3)]))
    first, second = (world for world in (2, 1, 0) if world != cut)
    return View(
        (axes[cut], axes[first], axes[second]),
        (backwards[cut] != (cut != _AXIAL), not backwards[first], not backwards[second]),
    )


def _cut(header: VolumeHeader, worlds: Sequence[int]) -> int:
    """Return the stored axis across which slices are cut; `worlds` has the axis of the body for each stored one."""
    single = [axis for axis in range(3) if header.shape[axis] == 1]
    if len(single) == 1:
        return single[0]
    coarse = np.argsort(header.spacing, kind="stable")
    if header.spacing[coarse[2]] > _COARSER * header.spacing[coarse[1]]:
        return int(coarse[2])
    return list(worlds).index(_AXIAL)


def _nearest(matrix: NDArray[np.float64]) -> tuple[Axes, Backwards]:
    """Return for every row of a 3 x 3 matrix the column that points along it most nearly, and whether backwards."""
    matrix = matrix / np.linalg.norm(matrix, axis=0)
    best = max(permutations(range(3)), key=lambda order: sum(abs(matrix[row, order[row]]) for row in range(3)))
    signs = [bool(matrix[row, column] < 0) for row, column in enumerate(best)]
    return (best[0], best[1], best[2]), (signs[0], signs[1], signs[2])


def alike(header: VolumeHeader, view: View, other: VolumeHeader) -> View:
    """Return the view that turns `other` as `view` turns `header`, by what the two files say of where they lie.

    Where one of them does not say, both are taken to be stored alike.
    """
    if header.affine is None or other.affine is None:
        return view
    turned = np.asarray(header.affine) @ view.matrix(header.shape)
    return View(*_nearest((np.linalg.inv(turned) @ np.asarray(other.affine))[:3, :3]))


def displacement(header: VolumeHeader, view: View, other: VolumeHeader, other_view: View) -> float:
    """Return how far apart the corners of two turned volumes lie, in voxels of the first; 0 where one is not placed."""
    if header.affine is None or other.affine is None:
        return 0.0
    first = np.asarray(header.affine) @ view.matrix(header.shape)
    second = np.asarray(other.affine) @ other_view.matrix(other.shape)
    ends = np.array(other_view.shape(other.shape)) - 1
    corners = np.array([[*(ends * bits), 1] for bits in np.ndindex(2, 2, 2)], np.float64).T
    return float(np.abs((np.linalg.inv(first) @ second - np.eye(4)) @ corners).max())


def spacing(header: VolumeHeader, view: View) -> Spacing:
    """Return the place of the pictures that a view makes of a volume."""
    between = [header.spacing[axis] for axis in view.axes]
    affine = None if header.affine is None else sound_affine(np.asarray(header.affine) @ view.matrix(header.shape))
    return Spacing((between[1], between[2]), between[0], affine)


def plane(place: Spacing) -> str:
    """Return whether a slice is axial, coronal or sagittal, whichever it is most nearly.

    >>> plane(Spacing((1, 1), 3, sound_affine(np.eye(4))))
    'sagittal'
    """
    across = np.abs(np.asarray(place.affine)[:3, 0])
    return ("sagittal", "coronal", "axial")[int(across.argmax())]
