"""The one resampling: image bilinear, labels from the nearest pixel, at places given by a matrix or by a map.

Where a crop's pixel (x, y) lies in the image is said by a matrix 2 x 3 (affine) or 3 x 3 (perspective), or by a map
(2, h, w) of x and y, which holds elastic displacements as well. Pixels are at whole numbers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, mirrored

_SIDE = 32_000  # OpenCV refuses sides of 32,767 pixels and more


def warped(
    image: NDArray[Any],
    where: NDArray[Any],
    size: tuple[int, int],
    *,
    fill: tuple[float, ...],
    mirror: bool = False,
) -> NDArray[Any]:
    """Return the image (h, w, c) resampled bilinearly at `where`; outside it holds `fill`, or its mirror image."""
    image, where = _needed(image, where, size, mirror=mirror)
    channels = image.shape[2]
    fill = tuple(fill) if len(fill) == channels else tuple(fill[:1]) * channels
    if channels in (1, 3, 4):
        return _resampled(image, where, size, cv2.INTER_LINEAR, fill).reshape(*size, channels)
    out = np.empty((*size, channels), image.dtype)
    for first in range(0, channels, 4):  # OpenCV fills borders of up to four channels
        part = np.ascontiguousarray(image[:, :, first : first + 4])
        done = _resampled(part, where, size, cv2.INTER_LINEAR, fill[first : first + 4])
        out[:, :, first : first + 4] = done.reshape(*size, -1)
    return out


def warped_labels(labels: NDArray[np.uint8], where: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the labels (h, w) of the nearest pixel at `where`; outside it is 255."""
    labels, where = _needed(labels, where, size)
    return _resampled(labels, where, size, cv2.INTER_NEAREST, (IGNORE,))


def warped_numbers(numbers: NDArray[np.int32], where: NDArray[Any], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return the object numbers (h, w) of the nearest pixel at `where`; outside it is 0."""
    numbers, where = _needed(numbers, where, size)
    # As four bytes a pixel: OpenCV does not warp 32-bit integers everywhere, and the nearest is copied as it is.
    parts = np.ascontiguousarray(numbers, np.int32).view(np.uint8).reshape(*numbers.shape, 4)
    done = _resampled(parts, where, size, cv2.INTER_NEAREST, (0.0,) * 4)
    return np.ascontiguousarray(done).view(np.int32)[:, :, 0]


def source_map(matrix: NDArray[np.float64], bend: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return where the crop's pixels lie in the image, (2, h, w): displaced by `bend` first, then by the matrix.

    `bend` (2, 3, 3) is the displacement in x and in y, in pixels of the crop, at its corners, the middles of its sides
    and its centre; between them it is bicubic (Keys, a = -1/2), and beyond the outermost nothing is asked for.

    The displaced grid and the matrix together are a sum of five products of a column and a row, so the map is one
    matrix product. Source: U-Net (arXiv 1505.04597), section 3.1.

    >>> source_map(np.eye(3), np.zeros((2, 3, 3)), (2, 3))[0].tolist()
    [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """
    terms = np.zeros((3, 5, 5))  # of x, y and 1, each displaced: nine points of the grid, then 1 and the position
    terms[:2, :3, :3] = bend
    terms[0, 3, 4] = terms[1, 4, 3] = terms[2, 3, 3] = 1
    rows, columns = _axis(size[0]), _axis(size[1])
    matrix = np.vstack([matrix, [0, 0, 1]]) if len(matrix) == 2 else matrix
    factors = rows @ np.tensordot(matrix, terms, 1)  # (3, h, 5)
    straight = not matrix[2, :2].any()
    map_ = np.matmul(factors[: 2 if straight else 3].astype(np.float32), columns.T.astype(np.float32))
    return map_ if straight else map_[:2] / map_[2]


@lru_cache(maxsize=16)
def _axis(side: int) -> NDArray[np.float64]:
    """Return per pixel of a side the weights of three points along it, 1, and the pixel's position."""
    position = np.arange(side, dtype=np.float64)
    along = 2 * position / max(side - 1, 1)
    # Beyond the ends the outermost point is repeated.
    weights = [sum(_keys(along - place) for place in places) for places in ((0, -1), (1,), (2, 3))]
    return np.stack([*weights, np.ones(side), position], 1)


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of a point so far away in bicubic interpolation (Keys 1981, a = -1/2)."""
    d = np.abs(distance)
    near, far = 1 - d**2 * (2.5 - 1.5 * d), 2 - d * (4 - d * (2.5 - 0.5 * d))
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _resampled(
    array: NDArray[Any], where: NDArray[Any], size: tuple[int, int], how: int, fill: tuple[float, ...]
) -> NDArray[Any]:
    if where.ndim == 3:
        return cv2.remap(array, where[0], where[1], how, None, cv2.BORDER_CONSTANT, fill)
    warp = cv2.warpAffine if len(where) == 2 else cv2.warpPerspective
    return warp(array, where, size[::-1], None, how | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT, fill)


def _needed(
    array: NDArray[Any], where: NDArray[Any], size: tuple[int, int], *, mirror: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut out what `where` looks at, with two pixels around it: OpenCV refuses long sides.

    With `mirror` the cut reaches beyond the array and holds its mirror image there.
    """
    if where.ndim == 3 and not mirror and max(array.shape[:2]) < _SIDE:
        return array, where
    smallest, largest = _bounds(where, size)
    first = (np.floor(smallest) - 2).astype(int)
    last = np.ceil(largest).astype(int) + 3
    if mirror:
        return _mirrored_cut(array, first, last), _moved(where, first)
    first = np.maximum(first, 0)
    left, top = (min(int(edge), side - 1) for edge, side in zip(first, array.shape[1::-1], strict=True))
    cut = array[top : max(last[1], top + 1), left : max(last[0], left + 1)]
    return cut, _moved(where, (left, top))


def _bounds(where: NDArray[Any], size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest (x, y) that is looked at."""
    if where.ndim == 3:
        return where.min((1, 2)).astype(np.float64), where.max((1, 2)).astype(np.float64)
    corners = where @ np.array([[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1], [1, 1, 1, 1]])
    if len(where) == 3:
        corners = corners[:2] / corners[2]
    return corners.min(1), corners.max(1)


def _moved(where: NDArray[Any], by: Any) -> NDArray[Any]:
    """Return `where` for an array whose first pixel (x, y) is `by`."""
    if where.ndim == 3:
        return where - np.asarray(by, np.float32)[:, None, None]
    if len(where) == 3:
        return np.array([[1, 0, -by[0]], [0, 1, -by[1]], [0, 0, 1]]) @ where
    moved = where.copy()
    moved[:, 2] -= by
    return moved


def _mirrored_cut(array: NDArray[Any], first: NDArray[Any], last: NDArray[Any]) -> NDArray[Any]:
    """Return the part from `first` to before `last`, (x, y), of an array that goes on as its mirror image."""
    (columns, left, right, across), (rows, top, bottom, down) = (
        _mirrored_side(int(start), int(stop), side)
        for start, stop, side in zip(first, last, array.shape[1::-1], strict=True)
    )
    part = array[rows, columns]
    if not (left or right or top or bottom):
        return part[down, across]
    if part.ndim == 3 and part.shape[2] > 4:  # OpenCV's channels are limited
        indices = (
            mirrored(side, *ends) for side, ends in zip(part.shape, ((top, bottom), (left, right)), strict=False)
        )
        down_indices, across_indices = indices
        return part[down_indices[down]][:, across_indices[across]]
    part = cv2.copyMakeBorder(np.ascontiguousarray(part), top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return part.reshape(*part.shape[:2], *array.shape[2:])[down, across]


def _mirrored_side(first: int, last: int, side: int) -> tuple[slice, int, int, slice]:
    """Return what of a side is needed, how far its mirror image goes before and after it, and what of that is asked."""
    before, after = max(0, -first), max(0, last - side)
    start = 0 if before else max(0, min(first, side - 1 - after))
    stop = side if after else min(side, max(last, before + 1))
    from_ = first + before - start
    return slice(start, stop), before, after, slice(from_, from_ + last - first)
