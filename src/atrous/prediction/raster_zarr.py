"""Zarr arrays in windows: chunk by chunk, formats 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.geotiff import holds_nodata
from atrous.data.images import as_image
from atrous.data.places import Georeference
from atrous.prediction.raster_readers import GeoTag

_LARGEST = 1 << 26  # bytes of one chunk, decoded
_MOST_CHANNELS, _COLOURS = 16, 4
_ROWS = frozenset({"y", "row", "rows", "h", "height", "lat", "latitude"})
_COLUMNS = frozenset({"x", "column", "columns", "col", "w", "width", "lon", "longitude"})
_FORMS = "(h, w), (h, w, c) and (c, h, w) are read"


def open_zarr(path: Path) -> ZarrRaster:
    """Open a Zarr array, or a group that holds one, to be read in windows; of a pyramid the finest level is taken.

    Rows and columns are told from channels by the names of the dimensions (`dimension_names`, or xarray's
    `_ARRAY_DIMENSIONS`), and without names by their lengths: channels are the axis of up to 16 that is shorter than
    both others.

    Raises `AtrousError` where zarr is missing, no array or several are there, the axes cannot be told, or a chunk is
    too large to be decoded on its own.
    """
    try:
        import zarr
    except ImportError as error:
        raise AtrousError(f'{path}: Zarr arrays need zarr: pip install "atrous[geo]"') from error
    if not path.exists():
        raise AtrousError(f"{path}: no such file. Check the path and its capital letters.")
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # zarr's errors have no class in common
        raise AtrousError(f"{path}: no Zarr array can be opened ({error}). Copy it again from its source.") from error
    return ZarrRaster(path, found if isinstance(found, zarr.Array) else _array_in(path, found))


class ZarrRaster:
    """A Zarr array of two or three axes; see `raster_readers.Raster`."""

    place: Georeference | None = None
    geo_tags: tuple[GeoTag, ...] = ()

    def __init__(self, path: Path, array: Any) -> None:
        self.path, self._array = path, array
        if array.dtype.kind not in "buif":
            raise AtrousError(f"{path}: an array of {array.dtype} came; booleans, integers and floats are read.")
        self._axis = _channel_axis(path, array)
        sides = [side for axis, side in enumerate(array.shape) if axis != self._axis]
        self.height, self.width = sides
        _check_chunks(path, array)
        self._nodata = _nodata(array)
        self.marks = self._nodata is not None or array.dtype.kind == "f"
        first = self.read(slice(0, 1), slice(0, 1))
        self.channels, self.dtype = first.shape[2], first.dtype

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, c); raises `AtrousError` for a chunk that is damaged."""
        raw = self._stored(rows, columns)
        valid = self._valid_of(raw)
        return as_image(raw if valid is None else np.where(valid[..., None], raw, raw.dtype.type(0)))

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Return (h, w), True where a pixel of the window holds data; None where all do."""
        return self._valid_of(self._stored(rows, columns)) if self.marks else None

    def close(self) -> None:
        """Do nothing: chunks are files of their own, and none stays open."""

    def _stored(self, rows: slice, columns: slice) -> NDArray[Any]:
        window: list[slice] = [rows, columns]
        if self._axis is not None:
            window.insert(self._axis, slice(None))
        try:
            array = np.asarray(self._array[tuple(window)])
        except Exception as error:  # the codecs' errors have no class in common
            raise AtrousError(
                f"{self.path}: a chunk is truncated or damaged ({error}). Copy the array again from its source."
            ) from error
        if array.dtype == bool:
            array = array.astype(np.uint8) * np.uint8(255)
        return array[..., None] if self._axis is None else np.moveaxis(array, self._axis, -1)

    def _valid_of(self, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
        if not self.marks:
            return None
        valid = np.isfinite(raw).all(axis=2)
        return valid if self._nodata is None else valid & ~holds_nodata(raw, self._nodata).all(axis=2)


def _array_in(path: Path, group: Any) -> Any:
    """Return the one array of a group, or the finest of a pyramid."""
    levels = dict(group.attrs).get("multiscales") or dict(group.attrs).get("ome", {}).get("multiscales")
    if levels:
        return group[levels[0]["datasets"][0]["path"]]
    arrays = [array for _, array in group.arrays() if array.ndim in (2, 3)]
    if len(arrays) != 1:
        names = ", ".join(sorted(array.path for array in arrays)) or "none"
        raise AtrousError(
            f"{path}: a group with {len(arrays)} images came ({names}), and one is wanted. Name the folder of one."
        )
    return arrays[0]


def _channel_axis(path: Path, array: Any) -> int | None:
    """Return which axis holds the channels, None for two axes."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise AtrousError(f"{path}: an array of shape {array.shape} came; {_FORMS}.")
    names = _dimension_names(array)
    rows = [axis for axis, name in enumerate(names) if name in _ROWS]
    columns = [axis for axis, name in enumerate(names) if name in _COLUMNS]
    if len(rows) == len(columns) == 1:
        return _by_names(path, names, rows[0], columns[0])
    if array.ndim == 2:
        return None
    return _by_lengths(path, array.shape)


def _by_names(path: Path, names: Sequence[str], row: int, column: int) -> int | None:
    axis = next((axis for axis in range(len(names)) if axis not in (row, column)), None)
    if row > column or axis == 1:
        raise AtrousError(f"{path}: dimensions {', '.join(names)} came; {_FORMS}. Transpose the array.")
    return axis


def _by_lengths(path: Path, shape: Sequence[int]) -> int:
    first, second, last = shape
    if last <= _COLOURS:
        return 2
    leading = first <= _MOST_CHANNELS and first < min(second, last)
    trailing = last <= _MOST_CHANNELS and last < min(first, second)
    if leading == trailing:
        raise AtrousError(
            f"{path}: of shape {tuple(shape)} it cannot be told which axis holds the channels; {_FORMS}. "
            'Name the dimensions, for instance ("channel", "y", "x").'
        )
    return 0 if leading else 2


def _dimension_names(array: Any) -> list[str]:
    names = getattr(array.metadata, "dimension_names", None) or dict(array.attrs).get("_ARRAY_DIMENSIONS") or ()
    return [str(name).lower() for name in names]


def _check_chunks(path: Path, array: Any) -> None:
    size = int(np.prod(array.chunks)) * array.dtype.itemsize
    if size > _LARGEST:
        raise AtrousError(
            f"{path}: its chunks are {' x '.join(f'{side:,}' for side in array.chunks)}, and one of them is decoded "
            "whole. Write the array in smaller chunks, such as 512 x 512."
        )


def _nodata(array: Any) -> float | None:
    value = dict(array.attrs).get("_FillValue")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
