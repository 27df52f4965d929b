"""How far points are from the nearest of others on a grid: exact, with a spacing for each axis."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def distances_to(points: NDArray[np.bool_], others: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the distance of each True of `points`, in their order, to the nearest True of `others`.

    Both are bool of one shape with two or three axes; `spacing` has the distance of neighbours along each. Where
    `others` is empty every distance is infinite.

    Squared distances are a sum over axes, so the nearest is found one axis after the other; the last axis is followed
    from the points only. The middle one is followed as far as a limit first, and further only for points whose nearest
    is beyond it: most lie close to one another.

    Source: Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 2012.

    >>> distances_to(np.array([[1, 0, 1]]) > 0, np.array([[0, 0, 1]]) > 0, (1.0, 2.0)).tolist()
    [4.0, 0.0]
    """
    if not points.any():
        return np.empty(0)
    box = _box(points | others)
    cut = others[box]
    if cut.ndim == 2 and spacing[0] == spacing[1] and cut.any():
        squares = _squares_by_opencv(points[box], cut)
        if squares.max() < _WHOLE:
            return spacing[0] * np.sqrt(np.rint(squares))
    order = _order(cut.shape)
    steps = [spacing[axis] for axis in order]
    places = np.nonzero(points[box])
    squares = _along_first(np.ascontiguousarray(cut.transpose(order)), steps[0])
    ordered = [places[axis] for axis in order]
    if cut.ndim == 2:
        return np.sqrt(_from_points(squares, ordered, steps[-1]))
    return np.sqrt(_through_middle(squares, ordered, steps))


_NEAR = 4
"""As far as so many of the largest steps the nearest is looked for first."""


def _through_middle(
    squares: NDArray[np.float64], places: list[NDArray[np.intp]], steps: list[float]
) -> NDArray[np.float64]:
    """Return the same along the middle axis and the last: at each limit those are final that lie within it."""
    whole = (squares.shape[1] * steps[1]) ** 2
    limit = (_NEAR * max(steps)) ** 2
    found = np.full(len(places[0]), np.inf)
    open_ = np.arange(len(found))
    while True:
        near = _along(squares, 1, steps[1], limit)
        found[open_] = _from_points(near, [each[open_] for each in places], steps[-1])
        open_ = open_[found[open_] > limit]
        if not len(open_) or limit >= whole:
            return found
        limit *= 4


_WHOLE = 1 << 18
"""Below this OpenCV's squares, in single precision, are less than a half beside the whole numbers that they are."""


def _squares_by_opencv(points: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return about the squared distances in pixels (h, w), by OpenCV, which is faster and knows no spacings."""
    rounded = cv2.distanceTransform((~others).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.square(rounded[points].astype(np.float64))


def _box(present: NDArray[np.bool_]) -> tuple[slice, ...]:
    places = np.nonzero(present)
    return tuple(slice(int(each.min()), int(each.max()) + 1) for each in places)


def _order(shape: tuple[int, ...]) -> list[int]:
    """Put the shortest axis in the middle, which costs its length for every pixel of the grid."""
    axes = list(range(len(shape)))
    if len(axes) < 3:
        return axes
    middle = int(np.argmin(shape))
    first, last = (axis for axis in axes if axis != middle)
    return [first, middle, last]


def _along_first(others: NDArray[np.bool_], step: float) -> NDArray[np.float64]:
    """Return the squared distance to the nearest True of the same line along the first axis."""
    index = np.arange(len(others), dtype=np.float64).reshape(-1, *(1,) * (others.ndim - 1))
    before = np.maximum.accumulate(np.where(others, index, -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(others, index, np.inf)[::-1], axis=0)[::-1]
    return np.square(np.minimum(index - before, after - index) * step)


def _along(squares: NDArray[np.float64], axis: int, step: float, limit: float) -> NDArray[np.float64]:
    """Return the least of each square and of those further along the axis, more by the squared distance to them.

    Those whose squared distance is more than the limit are left out.
    """
    given = np.moveaxis(squares, axis, 0)
    least = given.copy()
    for shift in range(1, len(given)):
        rise = (shift * step) ** 2
        if rise > limit:
            break
        np.minimum(least[shift:], given[:-shift] + rise, out=least[shift:])
        np.minimum(least[:-shift], given[shift:] + rise, out=least[:-shift])
    return np.moveaxis(least, 0, axis)


def _from_points(squares: NDArray[np.float64], places: list[NDArray[np.intp]], step: float) -> NDArray[np.float64]:
    """Return the same along the last axis, at the places only."""
    *lines, columns = places
    least = squares[tuple(places)]
    last = squares.shape[-1] - 1
    open_ = np.arange(len(least))
    for shift in range(1, last + 1):
        rise = (shift * step) ** 2
        open_ = open_[least[open_] > rise]
        if not len(open_):
            break
        line = tuple(each[open_] for each in lines)
        for column in (columns[open_] - shift, columns[open_] + shift):
            # Beyond the border the border's pixel is taken as if it were further away, which changes no minimum.
            beyond = squares[(*line, np.clip(column, 0, last))] + rise
            least[open_] = np.minimum(least[open_], beyond)
    return least
