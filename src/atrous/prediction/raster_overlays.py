"""Overlays of rasters, painted block by block: in full where a JPEG holds them well, else as a reduced preview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.data.writers import write_image
from atrous.draw import displayed, overlay
from atrous.prediction.raster_blocks import Block, looked_at
from atrous.prediction.raster_readers import Raster
from atrous.prediction.window_plan import Region

_FULL = 16_800_000  # pixels: 4096 x 4096
_LARGEST, _SMALLEST, _LONGEST = 4096, 512, 65_000
_COPIES = 4  # how often the picture is in memory while it is encoded


def reduction(height: int, width: int, room: int | None = None) -> int:
    """Return by how much the sides of an overlay are divided: 1 up to 16 Mpixel, else so that they are up to 4096.

    Where there is `room` for so many bytes only, its encoding takes no more than half of them, but the longer side need
    not be below 512.

    >>> reduction(4000, 4000), reduction(20_000, 10_000)
    (1, 5)
    """
    whole = height * width <= _FULL and max(height, width) <= _LONGEST
    factor = 1 if whole else -(-max(height, width) // _LARGEST)
    while (
        room is not None
        and _COPIES * bytes_of_overlay(height, width, factor) > room // 2
        and max(height, width) // (factor + 1) >= _SMALLEST
    ):
        factor += 1
    return factor


def bytes_of_overlay(height: int, width: int, factor: int) -> int:
    """Return how much memory an overlay takes while it is painted, in bytes."""
    return 3 * -(-height // factor) * -(-width // factor)


class OverlayCanvas:
    """An overlay that is painted block by block; reduced, a pixel is the mean of the image and the label in the middle.

    The image's range, where it is not of 8 bits, is that of windows from all over it.
    """

    def __init__(self, raster: Raster, space: LabelSpace, factor: int) -> None:
        self.space, self.sides, self.factor = space, (raster.height, raster.width), factor
        self.picture = np.zeros((*(-(-side // self.factor) for side in self.sides), 3), np.uint8)
        self._limits = None if raster.dtype == np.uint8 else _limits(looked_at(raster))
        self._present: set[int] = set()

    def paint(self, block: Block) -> None:
        """Paint the pixels whose first pixel in the raster is one that the block calls its own."""
        rows = _cells(block.window.own[0], self.factor)
        columns = _cells(block.window.own[1], self.factor)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        around, covered = self._around(block.window.read, (rows, columns))
        within = block.window.within(covered)
        image = displayed(block.image[within], limits=self._limits)
        labels = block.labels[within]
        if self.factor > 1:
            size = (around[0].stop - around[0].start, around[1].stop - around[1].start)
            image, labels = _reduced(image, labels, size, self.factor)
        top, left = rows.start - around[0].start, columns.start - around[1].start
        painted = overlay(image, labels, self.space, legend=False)[top:, left:]
        self.picture[rows, columns] = painted[: rows.stop - rows.start, : columns.stop - columns.start]
        self._present |= set(np.unique(block.own).tolist()) - {IGNORE}

    def write(self, path: Path) -> Path:
        """Write the picture with a legend of the classes present; raises `AtrousError` when the disk refuses."""
        write_image(path, np.vstack([self.picture, self._legend()]))
        return path

    def _around(self, read: Region, cells: Region) -> tuple[Region, Region]:
        """Return one more cell on every side, as far as it was read, and the pixels of them.

        A border is drawn where the next pixel is of another class, and that may be the next block's.
        """
        first, second = (
            slice(max(part.start - 1, -(-span.start // self.factor)), min(part.stop + 1, -(-span.stop // self.factor)))
            for part, span in zip(cells, read, strict=True)
        )
        rows, columns = (
            slice(part.start * self.factor, min(part.stop * self.factor, span.stop))
            for part, span in zip((first, second), read, strict=True)
        )
        return (first, second), (rows, columns)

    def _legend(self) -> NDArray[np.uint8]:
        """Return the rows that `overlay` adds below a picture of this width on which these classes are."""
        width, present = self.picture.shape[1], sorted(self._present)
        rows = max(-(-len(present) // width), 1)
        labels = np.full((rows, width), IGNORE, np.uint8)
        labels.flat[: len(present)] = present
        return overlay(np.zeros((rows, width), np.uint8), labels, self.space)[rows:]


def _cells(own: slice, factor: int) -> slice:
    """Return the cells of `factor` pixels that begin in a span."""
    return slice(-(-own.start // factor), -(-own.stop // factor))


def _reduced(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], size: tuple[int, int], factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the mean of an image and the label in the middle of each cell; what lies outside repeats the border."""
    missing = [count * factor - side for count, side in zip(size, labels.shape, strict=True)]
    if any(missing):
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    mean: Any = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    rows, columns = (
        np.minimum(np.arange(count) * factor + factor // 2, side - 1)
        for count, side in zip(size, labels.shape, strict=True)
    )
    return mean.astype(np.uint8, copy=False), np.ascontiguousarray(labels[np.ix_(rows, columns)])


def _limits(image: NDArray[Any]) -> tuple[float, float] | None:
    values = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(low), float(high)
