"""Labels as GeoJSON: a polygon along the edges of the pixels for every connected region, but those of background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace, Sample
from atrous.data.conversion.geojson import feature_collection
from atrous.data.writers import atomic
from atrous.draw import background

_NO_PIXELS = np.zeros((0, 0, 1), np.uint8)


def polygon_collection(
    labels: NDArray[np.uint8], space: LabelSpace, *, place: Any = None, image: Path | None = None
) -> dict[str, Any]:
    """Return labels (h, w) as a GeoJSON object: a feature for every region that is connected over sides of pixels.

    The background and ignored pixels are in no feature. A feature's properties are `class`, `value`, `area` in pixels
    and `colour`. Corners are corners of pixels: longitude and latitude where `place` is a `Georeference` with a
    coordinate system, else x and y with `"crs": null`. `image` is the file that the object names.

    Raises `AtrousError` where coordinates are to be turned and rasterio is missing or cannot do it.

    >>> made = polygon_collection(np.array([[0, 1]], np.uint8), LabelSpace(names=("background", "car")))
    >>> made["features"][0]["geometry"]["coordinates"]
    [[[2, 0], [2, 1], [1, 1], [1, 0], [2, 0]]]
    """
    empty = background(space)
    shown = labels if empty is None else np.where(labels == empty, np.uint8(IGNORE), labels)
    sample = Sample(image=_NO_PIXELS, labels=shown, path=image, place=place)
    collection = feature_collection(sample, space)
    colours = {name: "#" + bytes(colour).hex() for name, colour in zip(space.names, space.colours, strict=True)}
    for feature in collection["features"]:
        feature["properties"]["colour"] = colours[feature["properties"]["class"]]
    return collection


def write_polygons(
    path: Path, labels: NDArray[np.uint8], space: LabelSpace, *, place: Any = None, image: Path | None = None
) -> None:
    """Write what `polygon_collection` returns; raises `AtrousError` as it does, and where the disk refuses."""
    collection = polygon_collection(labels, space, place=place, image=image)
    with atomic(path) as temporary:
        # A name that is no text has a question mark for each such byte, since JSON holds text alone.
        temporary.write_text(json.dumps(collection, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
