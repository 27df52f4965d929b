"""Predictions onto disk, a file for every kind that is wanted; each whole or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from atrous.contract import Prediction, Sample
from atrous.data.images import SUFFIXES
from atrous.data.writers import atomic, write_image, write_mask
from atrous.draw import overlay
from atrous.prediction.coco_files import write_coco
from atrous.prediction.cutouts import cutout
from atrous.prediction.polygons import write_polygons
from atrous.prediction.statistics import write_statistics
from atrous.prediction.tallies import statistics_of
from atrous.prediction.wanted import KINDS

SCORED = frozenset({"probabilities", "cutouts"})
"""The kinds that are made of probabilities: the first is left out without them, the second has hard edges then."""

_LARGEST_JPEG = 65_000  # the format ends at 65,535, and the legend comes below the picture
_SUFFIXES = {
    "masks": ".png", "overlays": ".jpg", "probabilities": ".npz", "polygons": ".geojson", "coco": ".json",
    "cutouts": ".png", "statistics": ".csv",
}  # fmt: skip


def write_prediction(
    out: Path, name: str, prediction: Prediction, sample: Sample, *, save: Collection[str]
) -> list[Path]:
    """Write what `save` names of one prediction below `out`, and return the files.

    `masks/NAME.png` is an index PNG with the classes' colours, `overlays/NAME.jpg` the image under them with a
    legend (`.png` where it is too large for JPEG), `probabilities/NAME.npz` float16 (classes, h, w) with the classes'
    names, `polygons/NAME.geojson` and `coco/NAME.json` the outlines of every connected region, `cutouts/NAME.png` the
    image with nothing where background is, and `statistics/NAME.csv` how much of each class there is. `sample.place`
    puts polygons on the earth and sizes into statistics. Probabilities are left out where the prediction has none.

    Raises `AtrousError` where the disk refuses; no half-written file stays.
    """
    kinds = [
        kind for kind in KINDS if kind in save and (kind != "probabilities" or prediction.probabilities is not None)
    ]
    paths = {kind: out / kind / f"{name}{_SUFFIXES[kind]}" for kind in kinds}
    if "overlays" in paths and max(prediction.labels.shape) > _LARGEST_JPEG:
        paths["overlays"] = out / "overlays" / f"{name}.png"
    for kind, path in paths.items():
        _write(kind, path, name, prediction, sample)
    return list(paths.values())


def _write(kind: str, path: Path, name: str, prediction: Prediction, sample: Sample) -> None:
    labels, space = prediction.labels, prediction.space
    match kind:
        case "masks":
            write_mask(path, labels, space)
        case "overlays":
            write_image(path, overlay(sample.image, labels, space))
        case "probabilities":
            _write_probabilities(path, prediction)
        case "polygons":
            write_polygons(path, labels, space, place=sample.place, image=sample.path)
        case "coco":
            write_coco(path, labels, space, file_name=_file_name(name, sample.path))
        case "cutouts":
            picture = Image.fromarray(cutout(sample.image, labels, space, probabilities=prediction.probabilities))
            with atomic(path) as temporary:
                picture.save(temporary, compress_level=3)
        case "statistics":
            write_statistics(path, statistics_of(labels, space, place=sample.place), space)


def _file_name(name: str, path: Path | None) -> str:
    """Return what COCO calls the image: its name with the suffix of its file; slices and frames have none."""
    suffix = path.suffix if path is not None and path.suffix.lower() in SUFFIXES else ""
    return name.removesuffix(suffix) + suffix


def _write_probabilities(path: Path, prediction: Prediction) -> None:
    if prediction.probabilities is None:
        return
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=prediction.probabilities.astype(np.float16),
            names=np.array(prediction.space.names),
        )
