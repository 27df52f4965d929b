"""Polygons and pixels: rings filled by pixel centres, and the rings along the pixel edges of a mask.

A pixel at column x and row y covers x to x + 1 and y to y + 1, and belongs to a ring when its centre, at a half, lies
inside; a centre on a left or upper edge does, one on a right or lower edge does not. So two polygons that share an edge
share no pixel and leave none out, and `filled(outlines(mask), ...)` is the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[Any]
"""The corners of a closed line, (n, 2) in the order x, y; the last is joined to the first."""


def filled(rings: Sequence[Ring], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of the pixels that lie inside an odd number of rings, so a ring in a ring is a hole.

    Parts of rings outside the image are cut off. Fewer than three corners enclose nothing.

    >>> filled([np.array([[1, 0], [3, 0], [3, 2], [1, 2]])], (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    mask = np.zeros(size, bool)
    top, left, window = filled_window(rings, size)
    mask[top : top + window.shape[0], left : left + window.shape[1]] = window
    return mask


def filled_window(rings: Sequence[Ring], size: tuple[int, int]) -> tuple[int, int, NDArray[np.bool_]]:
    """Return the row and column where the rings begin and the mask from there on, no larger than they are.

    The edges that cross the middle of a row toggle all pixels to their right, so the parity of the toggles, summed up
    along the row, says which pixels are inside.
    """
    starts = np.concatenate([np.asarray(ring, np.float64) for ring in rings] or [np.empty((0, 2))])
    if not len(starts):
        return 0, 0, np.zeros((0, 0), bool)
    ends = np.concatenate([np.roll(np.asarray(ring, np.float64), -1, axis=0) for ring in rings])
    rows, columns = _crossings(starts, ends, size)
    if not len(rows):
        return 0, 0, np.zeros((0, 0), bool)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - top + 1, int(columns.max()) - left
    toggles = np.bincount((rows - top) * (width + 1) + columns - left, minlength=height * (width + 1))
    odd = (toggles & 1).astype(bool).reshape(height, width + 1)[:, :width]
    return top, left, np.logical_xor.accumulate(odd, axis=1)


def _crossings(
    starts: NDArray[np.float64], ends: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every edge and row whose middle it crosses, the row and the first column to its right."""
    height, width = size
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    count = np.maximum(np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first, 0)
    edge = np.repeat(np.arange(len(starts)), count)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    begin, slope = starts[edge], ends[edge] - starts[edge]
    x = begin[:, 0] + (rows + 0.5 - begin[:, 1]) * (slope[:, 0] / slope[:, 1])
    return rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)


def outlines(mask: NDArray[Any]) -> list[Ring]:
    """Return the rings along the pixel edges of a mask (h, w), outer ones and those of holes: (n, 2) int32 x, y.

    Every ring is simple: it has only corners, and no corner twice. Pixels that touch at a corner only are apart.
    Outer rings run counterclockwise as seen, holes clockwise. `filled(rings, mask.shape)` is the mask.

    >>> [ring.tolist() for ring in outlines(np.ones((1, 2)))]
    [[[0, 0], [0, 1], [2, 1], [2, 0]]]
    """
    return [ring for polygon in polygons(mask) for ring in polygon]


def polygons(mask: NDArray[Any]) -> list[tuple[Ring, ...]]:
    """Return the rings of `outlines` by connected region: the outer ring, then those of its holes.

    A region is connected over the sides of its pixels, so no ring crosses or covers itself or another, as GeoJSON
    demands; a hole may touch the outer ring, or another hole, in a point.

    >>> mask = np.ones((3, 3))
    >>> mask[1, 1] = 0
    >>> [len(polygon) for polygon in polygons(mask)]
    [2]
    """
    import cv2  # slow to import

    on: NDArray[np.uint8] = (np.asarray(mask) != 0).astype(np.uint8)
    _, regions = cv2.connectedComponents(on, connectivity=4)
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for corners in _closed_lines(on):
        first = min(range(len(corners)), key=lambda index: corners[index][::-1])
        x, y = corners[first]
        # The pixel below and right of a ring's first corner is inside it, the one above is outside.
        if on[y, x]:
            outer[int(regions[y, x])] = _turning(corners, first, clockwise=False)
        else:
            holes.setdefault(int(regions[y - 1, x]), []).append(_turning(corners, first, clockwise=True))
    return [(ring, *holes.get(region, ())) for region, ring in sorted(outer.items())]


def _turning(corners: list[tuple[int, int]], first: int, *, clockwise: bool) -> Ring:
    """Return the ring in the wanted direction as seen, beginning at its upper left corner, the `first`.

    From there a line goes to the right, which is clockwise, or down. A mask of noise has 100,000 rings of four corners,
    for which arrays are slow.
    """
    line = corners[first:] + corners[:first]
    if (line[1][1] == line[0][1]) != clockwise:
        line[1:] = line[:0:-1]
    return np.array(line, np.int32)


def _closed_lines(on: NDArray[np.uint8]) -> Iterator[list[tuple[int, int]]]:
    """Yield the corners of every simple closed line between pixels that are on and off."""
    x, y, row_partner, column_partner = _joined_corners(on)
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    partners = (row_partner.tolist(), column_partner.tolist())
    unused = bytearray(b"\1") * len(points)
    for start in range(len(points)):
        walk, node, step = [], start, 0
        while unused[node]:
            unused[node] = 0
            walk.append(points[node])
            node, step = partners[step][node], 1 - step
        yield from _simple(walk)


def _simple(walk: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield a closed line in pieces that pass no point twice."""
    line: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for point in walk:
        if point in place:
            piece = line[place[point] :]
            del line[place[point] :]
            for passed in piece:
                del place[passed]
            yield piece
        place[point] = len(line)
        line.append(point)
    if line:
        yield line


def _joined_corners(on: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the corners' x and y, and which corner each is joined to along its row and along its column.

    Sorted along a row of the grid, the corners are joined in pairs, and so they are along a column. Where two pixels
    meet at a point, there are two corners, one of each pixel.
    """
    padded = np.pad(on, 1)
    code = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    y, x = np.nonzero(_IS_CORNER[code])
    kind = code[y, x]
    falling, rising = np.flatnonzero(kind == 9), np.flatnonzero(kind == 6)
    # The first of two corners at a point is the one that is joined to the left.
    rightward = np.concatenate([np.zeros(len(kind), int), np.ones(len(falling) + len(rising), int)])
    downward = np.concatenate([kind == 6, np.ones(len(falling), bool), np.zeros(len(rising), bool)])
    x, y = np.concatenate([x, x[falling], x[rising]]), np.concatenate([y, y[falling], y[rising]])
    return x, y, _paired(np.lexsort((rightward, x, y))), _paired(np.lexsort((downward, y, x)))


def _paired(order: NDArray[np.int64]) -> NDArray[np.int64]:
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


_IS_CORNER = np.array([code not in (0, 3, 5, 10, 12, 15) for code in range(16)])
"""Of the four pixels around a point, 1 above left, 2 above right, 4 below left, 8 below right, whether a line turns."""
