"""Pixels and regions counted class by class, of a picture in blocks or of a volume slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.data.grids import Spacing
from atrous.prediction.pixel_sizes import Unit, pixel_sizes
from atrous.prediction.regions import Numbers, RegionCounter
from atrous.prediction.statistics import Statistics


class Tally:
    """The statistics of a picture of this width that arrives in blocks, row after row of them, from the left.

    `place` is where the whole picture lies. Memory is that of a row of pixels and of a block.

    >>> tally = Tally(LabelSpace(names=("a", "b")), 4)
    >>> tally.add(np.array([[0, 1]], np.uint8), 0, 0)
    >>> tally.add(np.array([[1, 0]], np.uint8), 0, 2)
    >>> tally.statistics().pixels, tally.statistics().regions
    ((2, 2), (2, 1))
    """

    def __init__(self, space: LabelSpace, width: int, *, place: Any = None) -> None:
        self._classes, self._place = len(space), place
        self._pixels, self._sizes = np.zeros(256, np.int64), np.zeros(256)
        self._unit: Unit = ""
        self._regions = RegionCounter()
        self._above, self._below = _edge(width), _edge(width)
        self._left, self._corner = _edge(0), (0, 0)

    def add(self, labels: NDArray[np.uint8], top: int, left: int) -> None:
        """Count a block (h, w) whose first pixel is at row `top` and column `left`; 255 is not counted.

        Raises `ValueError` for a block that comes before the last one, or reaches beyond the width.
        """
        right = left + labels.shape[1]
        if right > len(self._below[0]) or (top, left) < self._corner:
            raise ValueError(
                f"a block at row {top} and column {left}, {labels.shape[1]} wide, came after {self._corner}; blocks "
                f"come row after row, from the left, within a width of {len(self._below[0])}"
            )
        if top != self._corner[0]:
            self._begin_row()
        self._count(labels, top)
        numbers = self._regions.number(labels)
        self._regions.touch(labels[0], numbers[0], self._above[0][left:right], self._above[1][left:right])
        if left == self._corner[1] and len(self._left[0]) == len(labels):
            self._regions.touch(labels[:, 0], numbers[:, 0], *self._left)
        self._below[0][left:right], self._below[1][left:right] = labels[-1], numbers[-1]
        self._left, self._corner = (labels[:, -1].copy(), numbers[:, -1].copy()), (top, right)

    def _begin_row(self) -> None:
        self._above, self._below = self._below, _edge(len(self._below[0]))
        self._left = _edge(0)
        self._regions.settle(self._above[1])

    def _count(self, labels: NDArray[np.uint8], top: int) -> None:
        rows = np.arange(len(labels))
        sizes, self._unit = pixel_sizes(self._place, rows + top)
        if not len(sizes) or (sizes == sizes[0]).all():
            counts = np.bincount(labels.ravel(), minlength=256)
            self._sizes += counts * (sizes[0] if len(sizes) else 0)
        else:
            by_row = np.bincount((labels + 256 * rows[:, None]).ravel(), minlength=256 * len(labels)).reshape(-1, 256)
            counts = by_row.sum(0)
            self._sizes += sizes @ by_row
        self._pixels += counts

    def statistics(self) -> Statistics:
        """Return the statistics of the blocks so far."""
        return _statistics(self._classes, self._pixels, self._regions, self._sizes, self._unit)


class VolumeTally:
    """The statistics of a volume that arrives slice by slice, in order; sizes are in ml where the place tells them."""

    def __init__(self, space: LabelSpace, *, place: Spacing | None = None) -> None:
        self._classes, self._place = len(space), place
        self._pixels = np.zeros(256, np.int64)
        self._regions = RegionCounter()
        self._before: tuple[NDArray[np.uint8], Numbers] | None = None

    def add(self, labels: NDArray[np.uint8]) -> None:
        """Count the next slice (h, w); 255 is not counted."""
        self._pixels += np.bincount(labels.ravel(), minlength=256)
        numbers = self._regions.number(labels)
        if self._before is not None:
            self._regions.touch(labels, numbers, *self._before)
        self._regions.settle(numbers)
        self._before = labels.copy(), numbers

    def statistics(self) -> Statistics:
        """Return the statistics of the slices so far."""
        place = self._place
        millilitres = 0.0 if place is None else place.pixel[0] * place.pixel[1] * place.slice / 1000
        sizes = self._pixels.astype(np.float64) * millilitres
        return _statistics(self._classes, self._pixels, self._regions, sizes, "" if place is None else "ml")


def _edge(length: int) -> tuple[NDArray[np.uint8], Numbers]:
    """Return labels and numbers of pixels that are not there."""
    return np.full(length, IGNORE, np.uint8), np.zeros(length, np.int64)


def _statistics(
    classes: int, pixels: NDArray[np.int64], regions: RegionCounter, sizes: NDArray[np.float64], unit: Unit
) -> Statistics:
    return Statistics(
        pixels=tuple(pixels[:classes].tolist()),
        regions=tuple(regions.counts[:classes].tolist()),
        sizes=tuple(sizes[:classes].tolist()) if unit else None,
        unit=unit,
    )


def statistics_of(labels: NDArray[np.uint8], space: LabelSpace, *, place: Any = None) -> Statistics:
    """Return the statistics of labels (h, w) that are held whole; 255 is not counted."""
    tally = Tally(space, labels.shape[1], place=place)
    tally.add(labels, 0, 0)
    return tally.statistics()


def volume_statistics(labels: NDArray[np.uint8], space: LabelSpace, *, place: Spacing | None = None) -> Statistics:
    """Return the statistics of labels (slices, h, w) that are held whole; 255 is not counted."""
    tally = VolumeTally(space, place=place)
    for picture in labels:
        tally.add(picture)
    return tally.statistics()
