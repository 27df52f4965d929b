"""Predictions onto disk: index mask, overlay with legend, probabilities; each whole or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from atrous.contract import Prediction, Sample
from atrous.data.writers import atomic, write_image, write_mask
from atrous.draw import overlay

KINDS = ("masks", "overlays", "probabilities")
_LARGEST_JPEG = 65_000  # the format ends at 65,535, and the legend comes below the picture
_SUFFIXES = {"masks": ".png", "overlays": ".jpg", "probabilities": ".npz"}


def write_prediction(
    out: Path, name: str, prediction: Prediction, sample: Sample, *, save: Collection[str]
) -> list[Path]:
    """Write what `save` names of one prediction below `out`, and return the files.

    `masks/NAME.png` is an index PNG with the classes' colours, `overlays/NAME.jpg` the image under them with a
    legend (`.png` where it is too large for JPEG), `probabilities/NAME.npz` float16 (classes, h, w) with the classes'
    names.

    Raises `AtrousError` where the disk refuses; no half-written file stays.
    """
    paths = {kind: out / kind / f"{name}{_SUFFIXES[kind]}" for kind in KINDS if kind in save}
    if "overlays" in paths and max(prediction.labels.shape) > _LARGEST_JPEG:
        paths["overlays"] = out / "overlays" / f"{name}.png"
    if "masks" in paths:
        write_mask(paths["masks"], prediction.labels, prediction.space)
    if "overlays" in paths:
        write_image(paths["overlays"], overlay(sample.image, prediction.labels, prediction.space))
    if "probabilities" in paths and prediction.probabilities is not None:
        with atomic(paths["probabilities"]) as path, path.open("wb") as file:
            np.savez_compressed(
                file,
                probabilities=prediction.probabilities.astype(np.float16),
                names=np.array(prediction.space.names),
            )
    return list(paths.values())
