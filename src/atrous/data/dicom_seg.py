"""DICOM segmentations as volumes of segment numbers, for masks that are paired with a volume by their name.

The layout of DICOM, which knows the images, takes the slices from these; here a volume reaches from the first frame to
the last. `dicom_segments` says what is read, `dicom_layers` what is seen where segments overlap.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.data.dicom_headers import affine_of, header_of, heights
from atrous.data.dicom_layers import Layer, drawn, layer
from atrous.data.dicom_segments import Segmentation, read_segmentation
from atrous.data.grids import VolumeHeader

__all__ = ["Segmentation", "header", "read_segmentation", "voxels"]


def header(path: str | Path) -> VolumeHeader:
    """Return the shape, the spacing and the place of the volume that a segmentation's frames lie in.

    Raises `AtrousError` for a file that is no segmentation.
    """
    found, image = read_segmentation(path), header_of(Path(path))
    slots, between = _slots(found)
    lowest = next((frame.position for frame in found.frames if slots[frame.index] == 0), None)
    between = between or image.between
    return VolumeHeader(
        shape=(max(slots.values()) + 1, *found.size),
        spacing=(between, *(image.spacing or (1.0, 1.0))),
        affine=affine_of(image, lowest, between),
        as_stored=True,
    )


def voxels(path: str | Path) -> NDArray[Any]:
    """Return (slices, rows, columns) numbers of segments, uint8 or uint16, ordered along the normal of the slices.

    The volume reaches from the first frame to the last; slices without frame between them are 0, and where segments
    overlap the one with fewer voxels is seen.

    Raises `AtrousError` for a file that is no segmentation or cannot be read.
    """
    found = read_segmentation(path)
    slots, _ = _slots(found)
    labels = {segment.number: segment.number for segment in found.segments}
    layers: dict[int, list[Layer]] = defaultdict(list)
    for frame in found.frames:
        layers[slots[frame.index]].append(layer(found, frame, labels))
    dtype = np.uint8 if max(labels) < 256 else np.uint16
    return np.stack([drawn(layers[slot], found.size, dtype) for slot in range(max(slots.values()) + 1)])


def _slots(found: Segmentation) -> tuple[dict[int, int], float]:
    """Return the number of the slice that each frame lies in, and the mm from slice to slice, 0 if not known."""
    along = heights([frame.position for frame in found.frames], found.orientation)
    if along is None:
        sources = list(dict.fromkeys(frame.sources or (("", frame.index),) for frame in found.frames))
        return {frame.index: sources.index(frame.sources or (("", frame.index),)) for frame in found.frames}, 0.0
    places = np.unique(np.round(along, 3))
    steps = (places - places[0]) / found.between if found.between else np.arange(len(places))
    if np.abs(steps - np.round(steps)).max() > 0.1 or steps[-1] >= 100 * len(places):
        steps = np.arange(len(places))
    numbers = dict(zip(places.tolist(), np.round(steps).astype(int).tolist(), strict=True))
    return {index: numbers[float(np.round(height, 3))] for index, height in enumerate(along)}, found.between
