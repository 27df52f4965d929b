"""The tiles and strips of one page of a TIFF, decoded one by one with tifffile."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.prediction.raster_readers import conversion

_COMPRESSIONS = frozenset({1, 8, 32773, 32946, 34925})  # none, deflate twice, PackBits, LZMA: Python has them
_PREDICTORS = frozenset({1, 2})  # none, differences of whole numbers
_LARGEST = 1 << 26  # bytes of one tile or strip, decoded
_REMEMBERED = 1 << 24  # bytes of tiles and strips that are kept, since neighbouring windows share them


def can_decode(page: Any) -> bool:
    """Say whether tifffile itself decodes a page; some compressions it leaves to another package."""
    if page.compression not in _COMPRESSIONS or page.predictor not in _PREDICTORS:
        return False
    whole = page.dtype is not None and page.bitspersample == page.dtype.itemsize * 8
    return whole or page.bitspersample == 1


class Segments:
    """A page of which windows (h, w, samples) are read as stored."""

    def __init__(self, path: Path, file: Any, page: Any) -> None:
        self.path, self._file, self._page = path, file.filehandle, page
        self._planes, _, self._height, self._width, self._contiguous = page.shaped
        if page.is_tiled:
            self._sides = (int(page.tilelength), int(page.tilewidth))
        else:
            self._sides = (min(int(page.rowsperstrip), self._height), self._width)
        self._down, self._across = (
            -(-side // part) for side, part in zip((self._height, self._width), self._sides, strict=True)
        )
        self._plain = page.compression == 1 and not page.is_tiled and page.bitspersample >= 8
        self._kept: OrderedDict[int, NDArray[Any] | None] = OrderedDict()
        self._check()

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, samples); raises what tifffile raises for a damaged part."""
        samples = self._planes * self._contiguous
        shape = (rows.stop - rows.start, columns.stop - columns.start, samples)
        window = np.full(shape, self._page.nodata, self._page.dtype)
        high, wide = self._sides
        for plane in range(self._planes):
            part = window[..., plane * self._contiguous : (plane + 1) * self._contiguous]
            for down in range(rows.start // high, -(-rows.stop // high)):
                for across in range(columns.start // wide, -(-columns.stop // wide)):
                    index = (plane * self._down + down) * self._across + across
                    if self._plain:
                        self._copy_rows(part, index, down * high, rows, columns)
                    else:
                        _copy(part, self._segment(index), (down * high, across * wide), rows, columns)
        return window

    def close(self) -> None:
        """Forget what was decoded; the file is the caller's."""
        self._kept.clear()

    def _check(self) -> None:
        """Raise for a page whose tiles or strips are not as many as its size needs, or too large."""
        count = self._planes * self._down * self._across
        if len(self._page.dataoffsets) < count or len(self._page.databytecounts) < count:
            raise ValueError(f"{len(self._page.dataoffsets):,} tiles or strips of {count:,} are in the file")
        decoded = self._sides[0] * self._sides[1] * self._contiguous * self._page.dtype.itemsize
        if self._plain or max(decoded, *self._page.databytecounts[:count], 0) <= _LARGEST:
            return
        kind = "tiles" if self._page.is_tiled else "strips"
        raise AtrousError(
            f"{self.path}: its compressed {kind} are {self._sides[0]:,} x {self._sides[1]:,} pixels, and each of them "
            f"is decoded whole. Make its tiles smaller: {conversion(self.path)}"
        )

    def _bytes(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) != count:
            raise ValueError(f"{len(data):,} bytes of {count:,} are left at {offset:,}")
        return data

    def _segment(self, index: int) -> NDArray[Any] | None:
        """Return a decoded tile or strip (h, w, samples), None for one that the file leaves out."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
        found = None
        if count:
            decoded = self._page.decode(self._bytes(offset, count), index, _fullsize=self._page.is_tiled)[0]
            found = None if decoded is None else decoded[0]
        self._kept[index] = found
        most = max(_REMEMBERED // max(1 if found is None else found.nbytes, 1 << 12), 1)
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        return found

    def _copy_rows(self, part: NDArray[Any], index: int, top: int, rows: slice, columns: slice) -> None:
        """Copy rows of an uncompressed strip, of which no more than the window is read, however long it is."""
        if not self._page.databytecounts[index]:
            return
        dtype = self._page.dtype.newbyteorder(self._page.parent.byteorder)
        pixel = self._contiguous * dtype.itemsize
        for row in range(max(top, rows.start), min(top + self._sides[0], rows.stop)):
            offset = (row - top) * self._width + columns.start
            if (offset + columns.stop - columns.start) * pixel > self._page.databytecounts[index]:
                raise ValueError(f"row {row:,} is not in the file")
            data = self._bytes(self._page.dataoffsets[index] + offset * pixel, part.shape[1] * pixel)
            part[row - rows.start] = np.frombuffer(data, dtype).reshape(part.shape[1:])


def _copy(
    part: NDArray[Any], segment: NDArray[Any] | None, corner: tuple[int, int], rows: slice, columns: slice
) -> None:
    """Copy what a decoded tile or strip has of the window."""
    if segment is None:
        return
    top, left = max(corner[0], rows.start), max(corner[1], columns.start)
    bottom = min(corner[0] + segment.shape[0], rows.stop)
    right = min(corner[1] + segment.shape[1], columns.stop)
    part[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = segment[
        top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]
    ]
