"""The labels that the frames of DICOM segmentations make, drawn one over another.

Segments may overlap, and a pixel has one label: the segment with more voxels in its whole file is drawn first, so that
a tumour stays visible in its organ whatever their numbers are, and the same one wins on every slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.data.dicom_files import broken, imported, parsing
from atrous.data.dicom_segments import Segmentation, SegmentFrame, read_segmentation


@dataclass(frozen=True)
class Layer:
    """One frame of a segmentation to be drawn: `table` has pairs (number of a segment, label to draw).

    `threshold` is the least value of the frame that counts; with 0 the values are the segments' numbers.
    """

    path: Path
    frame: int
    table: tuple[tuple[int, int], ...]
    threshold: int = 0

    def shapes(self) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
        """Yield (number of the segment, label, (rows, columns) where it is) for every entry of the table."""
        pixels = frame_pixels(self.path, self.frame)
        for number, label in self.table:
            yield number, label, pixels >= self.threshold if self.threshold else pixels == number


def layer(segmentation: Segmentation, frame: SegmentFrame, labels: dict[int, int]) -> Layer:
    """Return a frame to be drawn with a label for each segment's number."""
    if segmentation.kind == "LABELMAP":
        table = tuple((number, label) for number, label in labels.items() if number != segmentation.padding)
        return Layer(segmentation.path, frame.index, table)
    return Layer(
        segmentation.path, frame.index, ((frame.segment, labels[frame.segment]),), max(1, segmentation.threshold)
    )


@dataclass(frozen=True)
class SegmentedSlice:
    """The mask of one slice: layers drawn on background 0, those of segments with more voxels first."""

    layers: tuple[Layer, ...]
    size: tuple[int, int]
    path: Path
    place: Any = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of all layers."""
        return tuple(dict.fromkeys(each.path for each in self.layers))

    def read(self) -> NDArray[np.uint8]:
        """Return (h, w) labels; raises `AtrousError` for files that cannot be read."""
        return drawn(self.layers, self.size)


def drawn(layers: Sequence[Layer], size: tuple[int, int], dtype: Any = np.uint8) -> NDArray[Any]:
    """Return (h, w) labels of layers, where shapes overlap those of segments with fewer voxels in their file."""
    shapes = [(each, *shape) for each in layers for shape in each.shapes() if shape[1]]
    result = np.zeros(size, dtype)
    if _overlap([(label, where) for _, _, label, where in shapes]):
        shapes.sort(key=lambda shape: -voxel_counts(shape[0].path)[shape[1]])
    for _, _, label, where in shapes:
        result[where] = label
    return result


def _overlap(shapes: Sequence[tuple[int, NDArray[np.bool_]]]) -> int:
    """Return how many pixels have shapes of two or more labels."""
    merged: dict[int, NDArray[np.bool_]] = {}
    for label, where in shapes:
        merged[label] = merged[label] | where if label in merged else where
    if len(merged) < 2:
        return 0
    return int((np.sum(list(merged.values()), axis=0, dtype=np.uint16) > 1).sum())


def frame_pixels(path: Path, frame: int) -> NDArray[Any]:
    """Return (rows, columns) of one frame as stored; raises `AtrousError` for a file that cannot be read."""
    pydicom = imported(path)
    with parsing(path):
        _refuse_short(path, *_state(path))
        return pydicom.pixels.pixel_array(path, index=frame, raw=True)


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=64)
def _refuse_short(path: Path, changed: int, size: int) -> None:
    """Raise `AtrousError` for an uncompressed file that ends early: of single bits pydicom reads what is not there."""
    with path.open("rb") as file:
        head = imported(path).dcmread(file, stop_before_pixels=True)
        start = file.tell()
    syntax = head.file_meta.TransferSyntaxUID
    start += 8 if syntax.is_implicit_VR else 12  # the tag, the kind and the length of the pixels
    if syntax.is_compressed or syntax.is_deflated:
        return
    bits = head.Rows * head.Columns * int(head.get("NumberOfFrames") or 1) * head.BitsAllocated
    if size - start < bits / 8:
        raise broken(path, ValueError(f"{size - start:,} bytes of pixels came, and {-(-bits // 8):,} are wanted"))


def voxel_counts(path: Path) -> dict[int, int]:
    """Return how many voxels each segment of a file has; raises `AtrousError` for a file that cannot be read."""
    return _counted(path, *_state(path))


@lru_cache(maxsize=64)
def _counted(path: Path, changed: int, size: int) -> dict[int, int]:
    found = read_segmentation(path)
    counts = {segment.number: 0 for segment in found.segments}
    for frame in found.frames:
        for number, _, where in layer(found, frame, {number: number for number in counts}).shapes():
            counts[number] += int(where.sum())
    return counts


def overlapping_voxels(layers: Sequence[Sequence[Layer]]) -> int:
    """Return in how many voxels segments of different labels overlap, given the layers of each slice."""
    return sum(
        _overlap([(label, where) for each in slice_layers for _, label, where in each.shapes() if label])
        for slice_layers in layers
        if len({label for each in slice_layers for _, label in each.table}) > 1 and len(slice_layers) > 1
    )
