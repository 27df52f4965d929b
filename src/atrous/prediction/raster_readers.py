"""Rasters: images of which a window is read at a time, so that their size does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data import decoders, read_image
from atrous.data.images import MAX_PIXELS
from atrous.data.places import Georeference
from atrous.prediction import memory

_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")

GeoTag = tuple[int, int, int, Any, bool]
"""A tag as tifffile writes it: its code, type, count and value, and that it belongs to the first page only."""

_DECODED = 4  # bytes of each pixel that Pillow holds while it decodes, whatever the channels


class Raster(Protocol):
    """An image of which windows are read: (h, w, c) as `read_image` gives it, without ever holding it whole.

    `valid` is the same window's pixels that hold data, None where the file says nothing of it; pixels without data are
    0 in every channel. `place` and `geo_tags` tell where the image lies, None and empty where the file does not.
    """

    path: Path
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    place: Georeference | None
    geo_tags: tuple[GeoTag, ...]
    marks: bool
    """Whether some pixels may hold no data."""

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, c); raises `AtrousError` for a part of the file that is damaged."""
        ...

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Return (h, w), True where a pixel of the window holds data; None where all do."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class ArrayRaster:
    """An image in memory as a raster, such as a decoded PNG or JPEG."""

    geo_tags: tuple[GeoTag, ...] = ()
    marks = False
    place: Georeference | None = None

    def __init__(self, image: NDArray[Any], path: Path = Path("image")) -> None:
        self.image, self.path = image, path
        self.height, self.width, self.channels = image.shape
        self.dtype = image.dtype

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a view of the window (h, w, c)."""
        return self.image[rows, columns]

    def valid(self, rows: slice, columns: slice) -> None:
        """Return None: all pixels hold data."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def open_raster(path: Path, *, max_pixels: int = MAX_PIXELS, max_memory: int | None = None) -> Raster:
    """Open a TIFF, a JPEG 2000 or a Zarr array to be read in windows, or decode any other image whole.

    `max_pixels` and `max_memory`, in bytes, bound what is decoded whole only.

    Raises `AtrousError` for a file that is missing, damaged or not an image, for one that cannot be read in windows
    and passes the limits, and where a package that it takes is missing.
    """
    from atrous.prediction.raster_gdal import open_with_gdal
    from atrous.prediction.raster_tiffs import open_tiff
    from atrous.prediction.raster_zarr import open_zarr

    if path.is_dir() or path.suffix.lower() == ".zarr":
        return open_zarr(path)
    beginning = decoders.file_bytes(path, first=8)
    if beginning.startswith(_JPEG_2000):
        return open_with_gdal(path)
    if decoders.is_tiff(beginning):
        raster = open_tiff(path)
        if raster is not None:
            return raster
    return decoded_whole(path, max_pixels=max_pixels, max_memory=max_memory)


def decoded_whole(path: Path, *, max_pixels: int = MAX_PIXELS, max_memory: int | None = None) -> ArrayRaster:
    """Return an image that is decoded whole, as a raster.

    Raises `AtrousError` where it passes `max_pixels`, or the memory left below `max_memory`: then with the commands
    that convert it.
    """
    if max_memory is not None:
        _check_fits(path, max_pixels, max_memory)
    return ArrayRaster(read_image(path, max_pixels=max_pixels), path)


def conversion(path: Path) -> str:
    """Return the commands that make a file one that is read in windows, for messages."""
    new = path.with_name(f"{path.stem}-tiled.tif").name
    return (
        f'gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER "{path.name}" "{new}", or '
        f'vips tiffsave "{path.name}" "{new}" --tile --compression deflate --bigtiff'
    )


def _check_fits(path: Path, max_pixels: int, max_memory: int) -> None:
    """Raise `AtrousError` where decoding would pass the limit of memory; the header alone is decoded."""
    if path.suffix.lower() == ".npy":
        return
    data = decoders.file_bytes(path)
    if decoders.is_tiff(data[:4]):
        height, width, needed = _of_tiff(path)
    else:
        image = decoders.opened(path, data, max_pixels=max_pixels)
        height, width = image.height, image.width
        deep = 2 if decoders.has_deep_colour(image, data) or image.mode.startswith("I") else 1
        needed = height * width * (_DECODED + len(image.getbands()) * deep) + len(data)
    least = memory.resident() + needed
    if least > max_memory:
        raise AtrousError(
            f"{path}: {height:,} x {width:,} pixels are decoded whole, which takes {memory.in_words(least)} in all, "
            f"and --max-memory is {memory.in_words(max_memory)}. Convert it to a tiled TIFF, which is read in windows: "
            f"{conversion(path)}"
        )


def _of_tiff(path: Path) -> tuple[int, int, int]:
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            page: Any = file.pages.first
            bytes_of_all = page.imagelength * page.imagewidth * page.samplesperpixel * max(page.bitspersample // 8, 1)
            return page.imagelength, page.imagewidth, 3 * bytes_of_all
    except Exception as error:  # tifffile raises whatever its parser met
        raise decoders.damaged(path, error) from error
