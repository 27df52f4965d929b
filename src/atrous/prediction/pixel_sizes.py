"""How large a pixel is on the earth or in the body, by what its picture says of where it lies."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous.data.grids import Spacing
from atrous.data.places import Georeference

Unit = Literal["", "m2", "mm2", "ml"]

_HALF_AXIS, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84
_DEGREES = ("EPSG:4326", "OGC:CRS84")
_WEB_MERCATOR = "EPSG:3857"
_METRES = tuple(range(32601, 32661)) + tuple(range(32701, 32761))  # UTM on WGS 84


def pixel_sizes(place: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], Unit]:
    """Return how large a pixel of each row is, and the unit; 0 and "" where the place does not tell.

    On maps in degrees and in Web Mercator the area is that on the ellipsoid, which differs by row; on others that on
    the map, in square metres. Pictures with a spacing have square millimetres.

    >>> sizes, unit = pixel_sizes(Georeference((0.5, 0, 0, 0, -0.5, 0), "EPSG:32633"), np.arange(2))
    >>> sizes.tolist(), unit
    ([0.25, 0.25], 'm2')
    """
    if isinstance(place, Spacing):
        return np.full(len(rows), place.pixel[0] * place.pixel[1]), "mm2"
    if not isinstance(place, Georeference) or place.crs is None:
        return np.zeros(len(rows)), ""
    if place.crs in _DEGREES or place.crs == _WEB_MERCATOR:
        return _on_ellipsoid(place, rows)
    metres = _metres(place.crs)
    return np.full(len(rows), (metres * place.pixel_size) ** 2), "m2" if metres else ""


def pixel_lengths(place: Any) -> tuple[tuple[float, float] | None, Literal["", "m", "mm"]]:
    """Return how far a pixel is from the next one (down, to the right), and the unit; None and "" where nothing tells.

    A degree, and a metre of Web Mercator, is another length at every place, so such maps have none.

    >>> pixel_lengths(Georeference((0.5, 0, 0, 0, -0.25, 0), "EPSG:32633"))
    ((0.25, 0.5), 'm')
    """
    if isinstance(place, Spacing):
        return place.pixel, "mm"
    if not isinstance(place, Georeference) or place.crs in (None, *_DEGREES, _WEB_MERCATOR):
        return None, ""
    metres = _metres(place.crs)
    a, b, _, d, e, _ = place.transform
    return ((metres * float(np.hypot(b, e)), metres * float(np.hypot(a, d))), "m") if metres else (None, "")


def _on_ellipsoid(place: Georeference, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], Unit]:
    a, b, _, d, e, f = place.transform
    if b or d:  # rows do not run along parallels
        return np.zeros(len(rows)), ""
    edges = np.stack([rows, rows + 1]) * e + f
    width = abs(a)
    if place.crs == _WEB_MERCATOR:
        latitudes, longitude = np.arctan(np.sinh(edges / _HALF_AXIS)), width / _HALF_AXIS
    else:
        latitudes, longitude = np.radians(np.clip(edges, -90, 90)), np.radians(width)
    areas = _area_below(latitudes)
    return np.abs(areas[1] - areas[0]) * longitude, "m2"


def _area_below(latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area in square metres between the equator and each latitude, of a strip one radian wide."""
    eccentricity = np.sqrt(_FLATTENING * (2 - _FLATTENING))
    sine = np.sin(latitudes)
    polar = _HALF_AXIS * (1 - _FLATTENING)
    bent = sine / (1 - (eccentricity * sine) ** 2) + np.arctanh(eccentricity * sine) / eccentricity
    area: NDArray[np.float64] = polar**2 / 2 * bent
    return area


def _metres(crs: str) -> float:
    """Return the metres of a unit of a map's coordinates; 0 where they are angles, or cannot be known here."""
    if crs.removeprefix("EPSG:").isdigit() and int(crs.removeprefix("EPSG:")) in _METRES:
        return 1.0
    try:
        from rasterio.crs import CRS

        known = CRS.from_string(crs)
        return float(known.linear_units_factor[1]) if known.is_projected else 0.0
    except Exception:  # rasterio is missing, or raises its own errors and those of GDAL: sizes are left out
        return 0.0
