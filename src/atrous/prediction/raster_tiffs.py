"""TIFF and GeoTIFF in windows, tile by tile or strip by strip: each pixel as reading the file whole gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import damaged, turned
from atrous.data.geotiff import holds_nodata
from atrous.data.geotiff_tags import Tags, read_tags
from atrous.data.images import as_image
from atrous.data.tiff import interpreted
from atrous.prediction.raster_gdal import Pixels, pixels_with_gdal
from atrous.prediction.raster_readers import GeoTag, Raster
from atrous.prediction.raster_segments import Segments, can_decode

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
_PASS = 1024  # rows and columns of the windows in which a channel is looked through
_ORIENTATION = 274


def open_tiff(path: Path) -> Raster | None:
    """Open a TIFF to be read in windows; None for a form that is only read whole, such as channels in a stack of pages.

    Raises `AtrousError` for a damaged file, for strips or tiles too large to be decoded one by one, and for a
    compression that takes rasterio where that is missing.
    """
    from tifffile import TiffFile

    tags = read_tags(path)
    try:
        file = TiffFile(path)
    except Exception as error:  # tifffile raises whatever its parser met
        raise damaged(path, error) from error
    try:
        series: Any = file.series[0]
        page = series.keyframe
        if not _is_one_page(series, page):
            file.close()
            return None
        pixels: Pixels = Segments(path, file, page) if can_decode(page) else pixels_with_gdal(path)
        return TiffRaster(path, file, page, tags, pixels)
    except AtrousError:
        file.close()
        raise
    except Exception as error:  # as above
        file.close()
        raise damaged(path, error) from error


def _is_one_page(series: Any, page: Any) -> bool:
    """Say whether the image is one page: rows, columns and perhaps samples."""
    if len(series.pages) != 1 or page.imagedepth != 1 or not (page.imagelength and page.imagewidth):
        return False
    return int(np.prod(series.shape)) == int(np.prod(page.shaped))


class TiffRaster:
    """A TIFF of one page, and perhaps a page that marks its pixels with data; see `raster_readers.Raster`."""

    def __init__(self, path: Path, file: Any, page: Any, tags: Tags, pixels: Pixels) -> None:
        self.path, self.place, self._file, self._page, self._tags, self._pixels = (
            path, tags.place, file, page, tags, pixels,
        )  # fmt: skip
        self._turn = int(page.tags.valueof(_ORIENTATION, default=1))
        self._georeferenced = tags.place is not None or tags.nodata is not None or tags.floating
        says = tags.nodata is not None or tags.alpha or tags.floating or tags.mask_page is not None
        self.marks = self._georeferenced and says
        self._mask = Segments(path, file, file.pages[tags.mask_page]) if self.marks and tags.mask_page else None
        self._alpha = self._has_alpha()
        sides = (page.imagelength, page.imagewidth)
        self.height, self.width = sides[::-1] if self._turn >= 5 else sides
        self.geo_tags = tuple(_geo_tags(page)) if self._turn == 1 else ()
        self._valid: tuple[slice, slice, NDArray[np.bool_] | None] | None = None
        first = self.read(slice(0, 1), slice(0, 1))
        self.channels, self.dtype = first.shape[2], first.dtype

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the window (h, w, c); raises `AtrousError` for a part of the file that is damaged."""
        stored = _source(rows, columns, (self._page.imagelength, self._page.imagewidth), self._turn)
        try:
            image, valid = self._window(*stored)
        except AtrousError:
            raise
        except Exception as error:  # tifffile raises whatever its decoders met
            raise damaged(self.path, error) from error
        self._valid = (rows, columns, None if valid is None else turned(valid, self._turn))
        return as_image(turned(image, self._turn))

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Return (h, w), True where a pixel of the window holds data; None where all do."""
        if not self.marks:
            return None
        if self._valid is None or self._valid[:2] != (rows, columns):
            self.read(rows, columns)
        return self._valid[2] if self._valid is not None else None

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()
        self._file.close()

    def _window(self, rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        raw = self._pixels.read(rows, columns)
        colours = interpreted(_squeezed(raw[..., :-1] if self._alpha else raw), self._page, colours=True)
        if not self.marks:
            return colours, None
        values = interpreted(_squeezed(raw), self._page, colours=False)
        values = values if values.ndim == 3 else values[..., None]
        image = values[..., :-1] if self._alpha else values
        valid = self._marked(rows, columns, image, values[..., -1])
        if image.dtype.kind == "f":
            valid &= np.isfinite(image).all(axis=2)
        if self._tags.palette:
            return colours, valid
        return np.where(valid[..., None], image, image.dtype.type(0)), valid

    def _marked(self, rows: slice, columns: slice, image: NDArray[Any], last: NDArray[Any]) -> NDArray[np.bool_]:
        if self._mask is not None:
            return np.asarray(self._mask.read(rows, columns)[..., 0] != 0)
        if self._alpha:
            return np.asarray(last != 0)
        if self._tags.nodata is None:
            return np.ones(image.shape[:2], bool)
        return np.asarray(~holds_nodata(image, self._tags.nodata).all(axis=2))

    def _has_alpha(self) -> bool:
        """Say whether the last channel is transparency; GDAL marks others too, so that of rasters is looked at."""
        if not self._tags.alpha or self._page.samplesperpixel < 2:
            return False
        georeferenced = self._tags.place is not None if self.marks else self._page.is_geotiff
        return not georeferenced or self._is_transparency()

    def _is_transparency(self) -> bool:
        """Say what `data.tiff.is_transparency` says of the whole last channel, window by window."""
        height, width, extreme = self._page.imagelength, self._page.imagewidth, 0
        for top in range(0, height, _PASS):
            for left in range(0, width, _PASS):
                rows, columns = slice(top, min(top + _PASS, height)), slice(left, min(left + _PASS, width))
                channel = self._pixels.read(rows, columns)[..., -1]
                largest = np.iinfo(channel.dtype).max if channel.dtype.kind == "u" else 1
                extreme += int(np.count_nonzero((channel == 0) | (channel == largest)))
        return 2 * extreme > height * width


def _squeezed(raw: NDArray[Any]) -> NDArray[Any]:
    return raw[..., 0] if raw.shape[2] == 1 else raw


def _source(rows: slice, columns: slice, sides: tuple[int, int], turn: int) -> tuple[slice, slice]:
    """Return which stored rows and columns become those of the image as it is to be seen."""
    swapped = turn >= 5
    first, second = (columns, rows) if swapped else (rows, columns)
    upside = turn in (3, 4, 6, 7)
    mirrored = turn in (2, 3, 7, 8)
    return _flipped(first, sides[0], upside), _flipped(second, sides[1], mirrored)


def _flipped(span: slice, side: int, flip: bool) -> slice:
    return slice(side - span.stop, side - span.start) if flip else span


def _geo_tags(page: Any) -> list[GeoTag]:
    found = [page.tags.get(code) for code in _GEO_TAGS]
    return [(tag.code, int(tag.dtype), int(tag.count), tag.value, True) for tag in found if tag is not None]
