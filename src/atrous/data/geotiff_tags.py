"""What the tags of a GeoTIFF say: where it lies, and which value stands for no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import damaged, file_bytes, is_tiff, turned
from atrous.data.places import Georeference, Transform

_SCALE, _TIEPOINTS, _MATRIX, _KEYS, _TEXTS, _NODATA = 33550, 33922, 34264, 34735, 34737, 42113
_RASTER_TYPE, _CITATION, _GEOGRAPHIC, _GEOGRAPHIC_CITATION, _PROJECTED, _PROJECTED_CITATION = (
    1025, 1026, 2048, 2049, 3072, 3073,
)  # fmt: skip
_PIXEL_IS_POINT = 2
_EPSG = range(1024, 32767)  # above are codes of users, below none
_USERS_OWN = 32767


@dataclass(frozen=True)
class Tags:
    """What the header of a TIFF says of its place and its values.

    `nodata` is NaN where NaN stands for no data, None where nothing does. `alpha` says that a last channel is marked
    as transparency, `mask_page` is the page that marks the pixels with data, `palette` says that values are indices,
    `floating` that they are floats.
    """

    place: Georeference | None
    nodata: float | None
    alpha: bool
    mask_page: int | None
    palette: bool
    floating: bool


def read_tags(path: Path) -> Tags:
    """Return what the header of a TIFF says, without decoding a pixel; raises `AtrousError` for a damaged file.

    The transform counts from the corner of the first pixel, also where the file counts from its centre. Where a file
    describes its own coordinates instead of giving their number, rasterio is asked for them as WKT if it is there.
    """
    from tifffile import TiffFile

    if not is_tiff(file_bytes(path, first=4)):
        raise AtrousError(f"{path}: this is no TIFF, whatever its name. Save it as one, or correct its suffix.")
    try:
        with TiffFile(path) as file:
            page: Any = file.pages.first
            extra = tuple(int(value) for value in page.extrasamples)
            return Tags(
                place=_place(path, page.tags),
                nodata=_number(page.tags.valueof(_NODATA)),
                alpha=bool(extra) and extra[-1] in (1, 2),
                mask_page=next((at for at, other in enumerate(file.pages) if at and _is_mask_of(other, page)), None),
                palette=page.photometric.name == "PALETTE",
                floating=page.dtype is not None and page.dtype.kind == "f",
            )
    except AtrousError:
        raise
    except Exception as error:  # tifffile raises whatever its parser met
        raise damaged(path, error) from error


def marked_pixels(path: Path, page: int) -> NDArray[np.bool_]:
    """Return (h, w), True where the page of a TIFF marks a pixel as holding data; raises `AtrousError` if damaged."""
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            stored: Any = file.pages.first.tags.valueof("Orientation", default=1)
            return turned(np.asarray(file.pages[page].asarray()) != 0, int(stored))
    except Exception as error:  # tifffile raises whatever its decoder met
        raise damaged(path, error) from error


def _is_mask_of(other: Any, page: Any) -> bool:
    size = (page.imagelength, page.imagewidth)
    return bool(int(other.subfiletype) & 4) and (other.imagelength, other.imagewidth) == size


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip().strip("\x00"))
    except ValueError:
        return None


def _place(path: Path, tags: Any) -> Georeference | None:
    keys = _geo_keys(tags)
    transform = _transform(tags)
    if transform is None:
        return None
    if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:
        a, b, c, d, e, f = transform
        transform = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    return Georeference(transform, _crs(path, keys))


def _transform(tags: Any) -> Transform | None:
    """Return the transform of a matrix, or of a scale with one tiepoint; several tiepoints alone are none."""
    matrix, scale, ties = (_floats(tags.valueof(code)) for code in (_MATRIX, _SCALE, _TIEPOINTS))
    if len(matrix) == 16:
        found: Transform = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    elif len(scale) >= 2 and len(ties) >= 6:
        column, row, _, x, y = ties[:5]
        found = (scale[0], 0.0, x - column * scale[0], 0.0, -scale[1], y + row * scale[1])
    else:
        return None
    area = found[0] * found[4] - found[1] * found[3]
    return found if np.isfinite(found).all() and np.isfinite(area) and area != 0 else None


def _floats(values: Any) -> tuple[float, ...]:
    return () if values is None else tuple(float(value) for value in np.atleast_1d(np.asarray(values)).ravel())


def _geo_keys(tags: Any) -> Mapping[int, int | str]:
    """Return the numbers and texts of the directory of keys; those that point outside their tags are left out."""
    directory = [int(value) for value in _floats(tags.valueof(_KEYS))]
    texts = str(tags.valueof(_TEXTS) or "")
    keys: dict[int, int | str] = {}
    for place in range(4, len(directory) - 3, 4):
        key, where, count, value = directory[place : place + 4]
        if where == 0:
            keys[key] = value
        elif where == _TEXTS and value + count <= len(texts) + 1:
            keys[key] = texts[value : value + count].strip("|\x00 ")
    return keys


def _crs(path: Path, keys: Mapping[int, int | str]) -> str | None:
    for key in (_PROJECTED, _GEOGRAPHIC):
        code = keys.get(key)
        if code == _USERS_OWN:
            break
        if isinstance(code, int) and code in _EPSG:
            return f"EPSG:{code}"
    else:
        return None
    return _in_words(path) or next(
        (str(keys[key]) for key in (_PROJECTED_CITATION, _CITATION, _GEOGRAPHIC_CITATION) if keys.get(key)), None
    )


def _in_words(path: Path) -> str | None:
    try:
        import rasterio
    except ImportError:
        return None
    try:
        with rasterio.open(path) as file:
            return str(file.crs.to_string()) if file.crs else None
    except Exception:  # a second opinion that is not to be had is none
        return None
