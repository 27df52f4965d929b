"""Where windows lie: one plan for arrays and for files that are read window by window.

A network without padding needs `margin` pixels of the image around what it labels. Inside the image they are read with
the window, at its border they are mirrored: Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, section 2 (the
overlap-tile strategy). A scorer that offers `surrounded` is told which part of a window is such context, and the
network runs on the window alone. Any other, such as an exported file, mirrors a margin around every window by itself:
what it makes of the context is thrown away, and the network runs on the window and a margin more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import lcm
from numbers import Real
from operator import index

from atrous.contract import Geometry

_FINEST, _ENOUGH = 32, 256
"""Windows of a network that names no grid start at multiples of the first, where they are at least the second apart."""

Region = tuple[slice, slice]
"""Rows and columns of an image or of a window."""


@dataclass(frozen=True)
class Span:
    """A window along one axis, in pixels of the image, each pair half-open.

    `start`..`stop` is read. `kept_start`..`kept_stop` is what the scorer says of the middle, without the margin except
    at the image's own border; what windows keep may overlap. Of that, `own_start`..`own_stop` is given by no other
    window. `context` is how many pixels are read before and after those that a scorer which offers `surrounded` labels;
    None for any other.
    """

    start: int
    stop: int
    kept_start: int
    kept_stop: int
    own_start: int
    own_stop: int
    context: tuple[int, int] | None = None

    @property
    def inside(self) -> slice:
        """What is read, without the context."""
        before, after = self.context or (0, 0)
        return slice(self.start + before, self.stop - after)


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

    @property
    def inside(self) -> Region:
        """What a scorer labels that is told of the context: all that is read where there is none."""
        return self.rows.inside, self.columns.inside

    @property
    def context(self) -> tuple[int, int, int, int] | None:
        """What `surrounded` is told: how many pixels are context above, below, on the left and on the right."""
        if self.rows.context is None or self.columns.context is None:
            return None
        return *self.rows.context, *self.columns.context

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
    surrounded: bool = False,
) -> tuple[Window, ...]:
    """Return the windows of an image, row by row: a grid that covers it.

    `size` is a side or (height, width) in pixels. It is rounded down to what the network takes without padding, and no
    window is larger. Windows start where the network's grid has a point, at multiples of `geometry.multiple` and of its
    stride; the last of a row or column ends at the image's border and may for that be smaller by less than a multiple.
    Networks that name neither may have a grid all the same, as the FCNs of VGG16 have, which pad and crop by
    themselves: theirs start at multiples of 32 where that makes them overlap by an eighth of a step more at most.
    An image that is not larger than a window, along either axis, is one window along it.

    `overlap` is the share of a window that the next one has too, 0 to 0.9. Where the geometry has a margin it is not
    used: windows overlap by their margins, what they keep abuts, and together it is what the network says of the whole
    image. No geometry is that of a pointwise network.

    With a margin, `surrounded` plans for scorers that offer it. `size` is then the side of the network's input, the
    margin included, wherever the window lies, and an image is one window where it and its margin are no larger. Of 572
    pixels U-Net labels 388, of which 384, a multiple of 16, are kept. For other scorers `size` is what is read: they
    label 388 of 576 pixels, and run the network on 764.

    Raises `ValueError` for a size below what the geometry needs, an overlap out of range, an image without pixels, and
    `surrounded` windows of another stride than 1.

    Source: U-Net, section 2 and figure 2.

    >>> plan = windows(20, 10, size=12, overlap=0.25)
    >>> [window.read[0] for window in plan]
    [slice(0, 12, None), slice(8, 20, None)]
    >>> [window.own[0] for window in plan]
    [slice(0, 10, None), slice(10, 20, None)]
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} came; windows need at least 1 x 1")
    if not isinstance(overlap, Real) or not 0 <= overlap <= 0.9:
        raise ValueError(f"overlap {overlap!r} came; a share of a window from 0 to 0.9 is accepted")
    geometry, lengths = geometry or Geometry(), (height, width)
    if surrounded and geometry.margin:
        if geometry.stride != 1:
            raise ValueError(f"surrounded windows of stride {geometry.stride} came; only those of stride 1 are exact")
        rows, columns = (_tiles(*each, geometry) for each in zip(lengths, sides(size), strict=True))
    else:
        ways = [_way(side, overlap, geometry) for side in sides(size)]
        rows, columns = (_spans(*each) for each in zip(lengths, ways, strict=True))
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
    _check_least(size, least, geometry)
    room = size + margin - before
    taken = room - (room - geometry.offset) % geometry.multiple
    given = taken - 2 * margin
    share = given if margin else int(given * (1 - overlap) + 1e-6)
    if grid == 1 and not margin and share >= _ENOUGH:
        grid = _FINEST
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


def _tiles(side: int, size: int, geometry: Geometry) -> tuple[Span, ...]:
    """Return the spans of one axis for a scorer that is told of its surroundings, in order."""
    margin, grid = geometry.margin, geometry.multiple
    # What the last window mirrors must be in it: the margin and all but one of a multiple's pixels, which it reads
    # where its own part has a multiple or more. That part may then have two, less one, and must fit.
    _check_least(size, geometry.valid(2 * grid - 1 + 2 * margin), geometry)
    given = size - (size - geometry.offset) % grid - 2 * margin
    starts = list(range(0, max(side - given, 0) + given // grid * grid, given // grid * grid))
    if len(starts) > 1:
        starts[-1] = min(starts[-1], (side - grid) // grid * grid)
    stops = [*starts[1:], side]
    return tuple(_tile(start, stop, side, given, margin) for start, stop in zip(starts, stops, strict=True))


def _tile(start: int, stop: int, side: int, given: int, margin: int) -> Span:
    """Return the span whose own part is `start`..`stop`, of the `given` pixels from `start` that the network labels."""
    # The last few of these may be another window's own, and their context is needed too.
    labelled = min(start + given, side)
    before, after = min(margin, start), min(margin, side - labelled)
    return Span(start - before, labelled + after, start, stop, start, stop, (before, after))


def _check_least(size: int, least: int, geometry: Geometry) -> None:
    if size < least:
        raise ValueError(
            f"windows of {size} pixels came; this network needs {least} or more "
            f"(margin {geometry.margin}, multiples of {lcm(geometry.multiple, geometry.stride)}): take larger windows"
        )
