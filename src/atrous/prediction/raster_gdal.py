"""Rasters through GDAL: JPEG 2000, and the compressions of TIFF that tifffile leaves to another package."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import damaged
from atrous.data.geotiff import holds_nodata
from atrous.data.images import as_image
from atrous.data.places import Georeference
from atrous.prediction.raster_readers import GeoTag, conversion

_CACHE = 1 << 24  # bytes of blocks that GDAL may keep; its default is a twentieth of the machine
_LARGEST = 1 << 26  # bytes of one block, decoded
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)


class Pixels(Protocol):
    """What gives windows of stored values."""

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, samples)."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def pixels_with_gdal(path: Path) -> GdalPixels:
    """Open a file that only rasterio reads in windows.

    Raises `AtrousError` where rasterio is missing, the file is damaged, or its parts are too large.
    """
    return GdalPixels(path)


class GdalPixels:
    """A file of which windows (h, w, samples) are read as stored, through rasterio."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, _opened(path)
        rows, columns = self.file.block_shapes[0]
        size = rows * columns * np.dtype(self.file.dtypes[0]).itemsize
        if size > _LARGEST:
            self.file.close()
            raise AtrousError(
                f"{path}: its parts are {rows:,} x {columns:,} pixels, and each of them is decoded whole. "
                f"Make its tiles smaller: {conversion(path)}"
            )

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, samples); raises `AtrousError` for a damaged part."""
        import rasterio
        from rasterio.windows import Window

        window = Window.from_slices((rows.start, rows.stop), (columns.start, columns.stop))
        try:
            with rasterio.Env(GDAL_CACHEMAX=_CACHE):
                return np.moveaxis(self.file.read(window=window), 0, -1)
        except rasterio.errors.RasterioError as error:
            raise damaged(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_with_gdal(path: Path) -> GdalRaster:
    """Open any raster that GDAL knows, such as JPEG 2000, to be read in windows.

    Raises `AtrousError` as `pixels_with_gdal` does.
    """
    return GdalRaster(path)


class GdalRaster:
    """A raster read through rasterio; see `raster_readers.Raster`."""

    def __init__(self, path: Path) -> None:
        from rasterio.enums import ColorInterp

        self.path, self._pixels = path, GdalPixels(path)
        file = self._pixels.file
        self.height, self.width = file.height, file.width
        self._alpha = file.count > 1 and file.colorinterp[-1] == ColorInterp.alpha
        self._nodata, self._palette = file.nodata, _palette(file)
        floating = np.dtype(file.dtypes[0]).kind == "f"
        self.marks = self._alpha or self._nodata is not None or floating
        self.place = _place(file)
        self.geo_tags = () if self.place is None else _tags_of(file)
        first = self.read(slice(0, 1), slice(0, 1))
        self.channels, self.dtype = first.shape[2], first.dtype

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, c); raises `AtrousError` for a part of the file that is damaged."""
        raw = self._pixels.read(rows, columns)
        valid = self._valid_of(raw)
        if self._palette is not None:
            return np.ascontiguousarray(self._palette[raw[..., 0]])
        image = raw[..., :-1] if self._alpha else raw
        return as_image(image if valid is None else np.where(valid[..., None], image, image.dtype.type(0)))

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Return (h, w), True where a pixel of the window holds data; None where all do."""
        return self._valid_of(self._pixels.read(rows, columns)) if self.marks else None

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()

    def _valid_of(self, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
        if not self.marks:
            return None
        if self._alpha:
            return np.asarray(raw[..., -1] != 0)
        valid = np.isfinite(raw).all(axis=2)
        return valid if self._nodata is None else valid & ~holds_nodata(raw, self._nodata).all(axis=2)


def _opened(path: Path) -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise AtrousError(f'{path}: this kind of file needs rasterio: pip install "atrous[geo]"') from error
    import warnings

    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise damaged(path, error) from error


def _palette(file: Any) -> NDArray[np.uint8] | None:
    try:
        table = file.colormap(1)
    except ValueError:
        return None
    colours = np.zeros((max(table) + 1, 3), np.uint8)
    for index, colour in table.items():
        colours[index] = colour[:3]
    return colours


def _place(file: Any) -> Georeference | None:
    if file.transform.is_identity:
        return None
    a, b, c, d, e, f = tuple(file.transform)[:6]
    return Georeference((a, b, c, d, e, f), file.crs.to_string() if file.crs else None)


def _tags_of(file: Any) -> tuple[GeoTag, ...]:
    """Return a raster's georeference as the tags that GDAL gives a TIFF at the same place."""
    from rasterio.io import MemoryFile
    from tifffile import TiffFile

    profile = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": "uint8"}
    with MemoryFile() as memory:
        with memory.open(**profile, transform=file.transform, crs=file.crs) as written:
            written.write(np.zeros((1, 1, 1), np.uint8))
        memory.seek(0)
        with TiffFile(memory) as tiff:
            page: Any = tiff.pages.first
            found = [page.tags.get(code) for code in _GEO_TAGS]
            return tuple((tag.code, int(tag.dtype), int(tag.count), tag.value, True) for tag in found if tag)
