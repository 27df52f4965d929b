"""Masks as tiled TIFF, written tile by tile in pieces that arrive from top to bottom; the georeference is kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.data.writers import atomic

_TILE = 256
_CLASSIC = 2**32 - 2**26  # bytes that 32-bit offsets reach, less what the tags take
_NODATA = 42113
_ASCII = 2

Piece = tuple[NDArray[np.uint8], int, int]
"""Labels (h, w) with the row and column of their first pixel in the whole mask."""


def write_tiled_mask(
    path: Path,
    size: tuple[int, int],
    pieces: Iterable[Piece],
    space: LabelSpace,
    *,
    geo_tags: Sequence[tuple[int, int, int, Any, bool]] = (),
    nodata: bool = False,
) -> Path:
    """Write labels of `size` (height, width) as an index TIFF with the colours of `space`, and return the file.

    `pieces` arrive in rows from top to bottom and cover each pixel once; what is held at a time is a row of tiles.
    Tiles have 256 x 256 pixels and are deflated; files that may pass 4 GB are BigTIFF. `geo_tags` are copied from the
    source; `nodata` says that 255 stands for no data. The file appears once it is whole.

    Raises `AtrousError` when the disk refuses, and `ValueError` where the pieces leave pixels out.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mask.tif"
    >>> _ = write_tiled_mask(path, (2, 3), [(np.ones((2, 3), np.uint8), 0, 0)], LabelSpace(names=("a", "b")))
    >>> from atrous.data import read_mask
    >>> read_mask(path).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    from tifffile import TiffWriter

    height, width = size
    across, down = -(-width // _TILE), -(-height // _TILE)
    tags = [*geo_tags, *([(_NODATA, _ASCII, 0, str(IGNORE), True)] if nodata else [])]
    with atomic(path) as temporary, TiffWriter(temporary, bigtiff=across * down * _TILE**2 > _CLASSIC) as file:
        file.write(
            _tiles(size, pieces),
            shape=size,
            dtype=np.uint8,
            tile=(_TILE, _TILE),
            compression="adobe_deflate",
            photometric="palette",
            colormap=_colour_map(space),
            extratags=tags,
            metadata=None,
            software=False,
        )
    return path


def _colour_map(space: LabelSpace) -> NDArray[np.uint16]:
    colours = np.zeros((256, 3), np.uint16)
    colours[: len(space)] = space.colours
    return np.ascontiguousarray(colours.T * np.uint16(257))


def _tiles(size: tuple[int, int], pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the compressed tiles of a mask in order, each as soon as it and those before it are covered."""
    height, width = size
    across, down = -(-width // _TILE), -(-height // _TILE)
    open_tiles: dict[int, tuple[NDArray[np.uint8], int]] = {}
    done: dict[int, bytes] = {}
    following = 0
    for labels, top, left in pieces:
        for index, part, rows, columns in _parts(labels, top, left, across):
            tile, covered = open_tiles.pop(index) if index in open_tiles else (np.zeros((_TILE, _TILE), np.uint8), 0)
            tile[rows, columns] = part
            covered += part.size
            if covered == _pixels(index, across, size):
                done[index] = zlib.compress(tile.tobytes(), 6)
            else:
                open_tiles[index] = (tile, covered)
        while following in done:
            yield done.pop(following)
            following += 1
    if following != across * down:
        raise ValueError(f"{across * down - following:,} of {across * down:,} tiles were not covered by the pieces")


def _pixels(index: int, across: int, size: tuple[int, int]) -> int:
    """Return how many pixels of a tile lie in the image."""
    row, column = divmod(index, across)
    return min(size[0] - row * _TILE, _TILE) * min(size[1] - column * _TILE, _TILE)


def _parts(
    labels: NDArray[np.uint8], top: int, left: int, across: int
) -> Iterator[tuple[int, NDArray[np.uint8], slice, slice]]:
    """Yield what a piece has of each tile: its index, the part, and the rows and columns within the tile."""
    bottom, right = top + labels.shape[0], left + labels.shape[1]
    for row in range(top // _TILE, -(-bottom // _TILE)):
        first, last = max(top, row * _TILE), min(bottom, (row + 1) * _TILE)
        for column in range(left // _TILE, -(-right // _TILE)):
            start, stop = max(left, column * _TILE), min(right, (column + 1) * _TILE)
            part = labels[first - top : last - top, start - left : stop - left]
            rows = slice(first - row * _TILE, last - row * _TILE)
            yield row * across + column, part, rows, slice(start - column * _TILE, stop - column * _TILE)
