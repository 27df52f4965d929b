"""Where windows lie: one plan for arrays and for files that are read window by window.

A network without padding needs `margin` pixels of the image around what it labels. A scorer mirrors them by itself,
which is right at the image's border only; inside the image they are read with the window, and what a scorer makes of
them is thrown away: Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, section 2 (the overlap-tile strategy).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import lcm
from operator import index

from atrous.contract import Geometry

Region = tuple[slice, slice]
"""Rows and columns of an image or of a window."""


@dataclass(frozen=True)
class Span:
    """A window along one axis, in pixels of the image, each pair half-open.

    `start`..`stop` is read. `kept_start`..`kept_stop` is what the scorer says of the middle, without the margin except
    at the image's own border; what windows keep may overlap. Of that, `own_start`..`own_stop` is given by no other
    window.
    """

    start: int
    stop: int
    kept_start: int
    kept_stop: int
    own_start: int
    own_stop: int


@dataclass(frozen=True)
class Window:
    """A window: where it reads, what it keeps, and what of that is its own; all as (rows, columns) of the image."""

    rows: Span
    columns: Span

    @property
    def read(self) -> Region:
        """What a scorer is given."""
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)

    @property
    def kept(self) -> Region:
        """What can be trusted; where that of several windows overlaps, it is blended."""
        return slice(self.rows.kept_start, self.rows.kept_stop), slice(self.columns.kept_start, self.columns.kept_stop)

    @property
    def own(self) -> Region:
        """What no other window gives: the own parts cover every pixel exactly once, and need no blending."""
        return slice(self.rows.own_start, self.rows.own_stop), slice(self.columns.own_start, self.columns.own_stop)

    def within(self, region: Region) -> Region:
        """Return a region of the image in the window's own coordinates."""
        top, left = self.rows.start, self.columns.start
        rows, columns = region
        return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)


def windows(
    height: int,
    width: int,
    *,
    size: int | tuple[int, int],
    overlap: float = 0.25,
    geometry: Geometry | None = None,
) -> tuple[Window, ...]:
    """Return the windows of an image, row by row: a grid that covers it.

    `size` is a side or (height, width) in pixels. It is rounded down to what the network takes without padding, and no
    window is larger. Windows start where the network's grid has a point, at multiples of `geometry.multiple` and of its
    stride; the last of a row or column ends at the image's border and may for that be smaller by less than a multiple.
    An image that is not larger than a window, along either axis, is one window along it.

    `overlap` is the share of a window that the next one has too, 0 to 0.9. Where the geometry has a margin it is not
    used: windows overlap by their margins, what they keep abuts, and together it is what the network says of the whole
    image. Of U-Net's window of 576 it says so of 388, of which 384, a multiple of 16, are kept. No geometry is that of
    a pointwise network.

    Raises `ValueError` for a size below what the geometry needs, an overlap out of range and an image without pixels.

    Source: U-Net, section 2 and figure 2.

    >>> plan = windows(20, 10, size=12, overlap=0.25)
    >>> [window.read[0] for window in plan]
    [slice(0, 12, None), slice(8, 20, None)]
    >>> [window.own[0] for window in plan]
    [slice(0, 10, None), slice(10, 20, None)]
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} came; windows need at least 1 x 1")
    if not 0 <= overlap <= 0.9:
        raise ValueError(f"overlap {overlap} came; a share of a window from 0 to 0.9 is accepted")
    ways = [_way(side, overlap, geometry or Geometry()) for side in sides(size)]
    rows, columns = (_spans(side, way) for side, way in zip((height, width), ways, strict=True))
    return tuple(Window(row, column) for row in rows for column in columns)


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return a window's (height, width), from both or from one number for both.

    Raises `ValueError` for anything else, and for sides below 1.

    >>> sides(512)
    (512, 512)
    """
    try:
        pair = (index(size), index(size)) if not isinstance(size, tuple | list) else tuple(map(index, size))
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < 1 or isinstance(size, bool):
        raise ValueError(
            f"window size {size!r} came; one side in pixels or (height, width), each 1 or more, is accepted"
        )
    return pair[0], pair[1]


@dataclass(frozen=True)
class _Way:
    """How windows go along an axis: their side, the step between them, and what they lose before and after."""

    side: int
    step: int
    before: int
    after: int
    grid: int


def _way(size: int, overlap: float, geometry: Geometry) -> _Way:
    margin, grid = geometry.margin, lcm(geometry.multiple, geometry.stride)
    # A window's pixels that depend on real ones only are those of a valid input that starts on the grid, whose first
    # real point is `before`.
    before = -(-margin // grid) * grid
    least = geometry.valid(grid + 2 * margin) + before - margin
    if size < least:
        raise ValueError(
            f"windows of {size} pixels came; this network needs {least} or more "
            f"(margin {margin}, multiples of {grid}): take larger windows"
        )
    room = size + margin - before
    taken = room - (room - geometry.offset) % geometry.multiple
    given = taken - 2 * margin
    share = given if margin else int(given * (1 - overlap) + 1e-6)
    step = max(share // grid * grid, grid)
    return _Way(side=taken + before - margin, step=step, before=before, after=margin, grid=grid)


def _spans(side: int, way: _Way) -> tuple[Span, ...]:
    """Return the spans of one axis, in order."""
    if side <= way.side:
        return (Span(0, side, 0, side, 0, side),)
    last = -(-(side - way.side) // way.grid) * way.grid
    starts = [*range(0, last, way.step), last]
    stops = [*(start + way.side for start in starts[:-1]), side]
    kept_starts = [0, *(start + way.before for start in starts[1:])]
    kept_stops = [*(stop - way.after for stop in stops[:-1]), side]
    seams = [
        0,
        *((stop + start) // 2 for stop, (_, start) in zip(kept_stops, pairwise(kept_starts), strict=False)),
        side,
    ]
    own_starts, own_stops = seams[:-1], seams[1:]
    if way.before:
        kept_starts, kept_stops = own_starts, own_stops
    found = zip(starts, stops, kept_starts, kept_stops, own_starts, own_stops, strict=True)
    return tuple(Span(*each) for each in found)
