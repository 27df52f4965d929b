"""COCO with polygons: as `coco`, but that an annotation is its outlines along the edges of the pixels.

A COCO polygon has no holes, so annotations with a hole keep their run lengths, which COCO's tools read beside polygons.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from atrous.data.census import Progress
from atrous.data.conversion.coco import Coded, Runs, run_lengths, write_coded
from atrous.data.conversion.placing import Say, counted
from atrous.data.dataset import Dataset
from atrous.data.rings import polygons


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write images and annotations with polygons into `out`, and return their paths."""
    kept: list[int] = []

    def coded(runs: Runs) -> Coded:
        fields = outlines(runs)
        if isinstance(fields["segmentation"], dict):
            kept.append(runs.label)
        return fields

    files = write_coded(dataset, out, coded, progress=progress, say=say)
    if kept and say is not None:
        say(f"{counted(len(kept), 'annotation')} with holes kept as run lengths, since a COCO polygon has none")
    return files


def outlines(runs: Runs) -> Coded:
    """Return an annotation's pixels as polygons x, y, x, y, ..., or as run lengths where there is a hole."""
    fields = run_lengths(runs)
    found = polygons(runs.pixels())
    if all(len(rings) == 1 for rings in found):
        fields["segmentation"] = [(rings[0] + np.array(runs.box[:2])).ravel().tolist() for rings in found]
    return fields
