"""GeoJSON (RFC 7946) for maps: a file per image, `train/a.geojson`, with a polygon per connected region of a class.

Corners are corners of pixels, so that the polygons, drawn again, are the labels. Outer rings run counterclockwise,
holes clockwise. Coordinates are longitude and latitude (WGS 84), as the RFC wants, wherever the raster's own
coordinates are known. Where they are not, `"crs": null` says so, and the coordinates are the raster's own, or, without
any georeference, columns and rows counted from the upper left corner. A raster across the 180th meridian is not cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace, Sample
from atrous.data.census import Progress
from atrous.data.conversion.placing import Facts, Place, Say, counted, facts_of, for_each, places, say_lost
from atrous.data.dataset import Dataset
from atrous.data.places import Georeference
from atrous.data.rings import polygons
from atrous.data.writers import atomic

_WGS84 = ("EPSG:4326", "OGC:CRS84")
_DECIMALS = 9  # of a degree: a tenth of a millimetre

Corners = NDArray[Any]
"""Points (n, 2), x and y."""


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write a GeoJSON file for every image that has labels into `out`, and return their paths.

    Images are not copied: a map has its rasters. Raises `AtrousError` where coordinates are to be turned into longitude
    and latitude and rasterio is missing or cannot do it.
    """
    placed = [place for place in places(dataset, say=say) if place.pair.mask is not None]

    def written(place: Place, sample: Sample) -> tuple[Path, Facts, bool]:
        path = out / place.split / f"{place.name}.geojson"
        collection = feature_collection(sample, dataset.space)
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(collection, ensure_ascii=False) + "\n", encoding="utf-8")
        return path, facts_of(place, sample), "crs" in collection

    answers = for_each(placed, dataset, written, progress)
    lost = [Facts(ignored=facts.ignored, objects=facts.objects) for _, facts, _ in answers]
    say_lost(lost, say, ignore="no polygon covers them", objects="polygons are regions of classes")
    if say is not None and (without := sum(unplaced for _, _, unplaced in answers)):
        say(f'{counted(without, "file")} with "crs": null, since the coordinates of the images are not known')
    return [path for path, _, _ in answers]


def feature_collection(sample: Sample, space: LabelSpace) -> dict[str, Any]:
    """Return the labels of a sample as a GeoJSON object; ignored pixels are in no feature.

    A feature's properties are `class`, `value` (what the source's masks hold) and `area` in pixels.

    >>> sample = Sample(image=np.zeros((1, 2, 1)), labels=np.uint8([[1, 255]]), path=Path("a.png"))
    >>> made = feature_collection(sample, LabelSpace(names=("off", "on")))
    >>> made["features"][0]["properties"], made["features"][0]["geometry"]["coordinates"]
    ({'class': 'on', 'value': 1, 'area': 1}, [[[1, 0], [1, 1], [0, 1], [0, 0], [1, 0]]])
    """
    place = sample.place if isinstance(sample.place, Georeference) else None
    labels = np.zeros((0, 0), np.uint8) if sample.labels is None else sample.labels
    regions = list(_regions(labels))
    rings = _on_earth([ring for _, region in regions for ring in region], place, sample.path)
    features = []
    for label, region in regions:
        area = int(abs(sum(_doubled_area(ring.astype(np.int64)) for ring in region)) // 2)
        coordinates = [_closed(next(rings), outer=index == 0) for index in range(len(region))]
        features.append(
            {
                "type": "Feature",
                "properties": {"class": space.names[label], "value": space.values[label], "area": area},
                "geometry": {"type": "Polygon", "coordinates": coordinates},
            }
        )
    unknown = {} if place is not None and place.crs is not None else {"crs": None}
    name = {} if sample.path is None else {"image": sample.path.name}
    return {"type": "FeatureCollection", **unknown, **name, "features": features}


def _regions(labels: NDArray[np.uint8]) -> Iterator[tuple[int, list[Corners]]]:
    """Yield every connected region with its label: the outer ring, then those of its holes, in pixels."""
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    for label in present[present != IGNORE]:
        mask = labels == label
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for region in polygons(window):
            yield int(label), [ring + np.array([columns[0], rows[0]]) for ring in region]


def _on_earth(rings: list[Corners], place: Georeference | None, path: Path | None) -> Iterator[Corners]:
    """Yield the rings in the coordinates that are written; all corners are turned into them at once."""
    if place is None or not rings:
        yield from rings
        return
    points = np.concatenate(rings)
    x, y = place.at(points[:, 1], points[:, 0])
    if place.crs is not None and place.crs not in _WGS84:
        x, y = _as_degrees(x, y, place.crs, path)
    decimals = None if place.crs is None else _DECIMALS
    moved = np.stack([x, y], axis=1) if decimals is None else np.round(np.stack([x, y], axis=1), decimals)
    yield from np.split(moved, np.cumsum([len(ring) for ring in rings])[:-1])


def _as_degrees(x: Any, y: Any, crs: str, path: Path | None) -> tuple[Any, Any]:
    try:
        from rasterio.warp import transform
    except ImportError as error:
        raise AtrousError(
            f'{path}: coordinates in {crs} are written as longitude and latitude by rasterio: pip install "atrous[geo]"'
        ) from error
    try:
        degrees = np.asarray(transform(crs, _WGS84[0], x.tolist(), y.tolist())[:2])
    except Exception as error:  # rasterio raises its own errors and those of GDAL
        raise AtrousError(f"{path}: its coordinates {crs[:80]} are not known ({error}). Assign others.") from error
    if not np.isfinite(degrees).all():
        raise AtrousError(f"{path}: some of its corners have no longitude and latitude. Check its georeference.")
    return degrees[0], degrees[1]


def _doubled_area(ring: Corners) -> Any:
    """Return twice the area of a ring, above 0 where it runs counterclockwise, as y points up."""
    x, y = (ring - ring[0]).T  # so that the last side, back to the first corner, adds nothing
    return (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()


def _closed(ring: Corners, *, outer: bool) -> list[list[Any]]:
    ring = ring if (_doubled_area(ring) > 0) == outer else ring[::-1]
    return [*ring.tolist(), ring[0].tolist()]
