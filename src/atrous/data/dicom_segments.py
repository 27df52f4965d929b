"""DICOM segmentations: which segments there are, and which frame of them lies where.

Three kinds are read. BINARY has a frame for every segment and slice where it is; FRACTIONAL the same with shares, of
which those of one half and more count; LABELMAP a frame of segment numbers for every slice. A frame that is absent is
background, as is a label map's padding value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Colour
from atrous.data.dicom_colours import rgb_of
from atrous.data.dicom_files import opened, parsing
from atrous.data.dicom_headers import (
    Triple,
    frame_count,
    frame_group,
    frame_positions,
    functional_groups,
    orientation_of,
)

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True)
class Segment:
    """One segment: its number, its name, and the colour that the file recommends, None where there is none."""

    number: int
    name: str
    colour: Colour | None


@dataclass(frozen=True)
class SegmentFrame:
    """One frame: the number of its segment (0 in a label map), where it lies, and the images it was drawn on.

    `sources` are pairs of an image's SOP instance UID and the frame there from 0, or None for all of them.
    """

    index: int
    segment: int
    position: Triple | None
    sources: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Segmentation:
    """A segmentation without its pixels; `threshold` is the least value that counts, in FRACTIONAL, else 0.

    `series` are the UIDs of the series that it refers to, `instances` those of their images, `space` is the frame of
    reference; `between` the mm from slice to slice, 0 where the file does not say.
    """

    path: Path
    instance: str
    kind: str
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    frames: tuple[SegmentFrame, ...]
    orientation: tuple[float, ...] | None
    space: str
    series: frozenset[str]
    instances: frozenset[str]
    between: float
    threshold: int
    padding: int | None


def read_segmentation(path: str | Path) -> Segmentation:
    """Return what a segmentation says of itself; no pixels are read.

    Raises `AtrousError` for a file that is no DICOM, truncated, no segmentation or of an unknown kind (kind
    `broken-annotation`), and for frames of a segment that is not listed (`class-unknown`).
    """
    path = Path(path)
    dataset = opened(path)
    with parsing(path):
        kind = str(dataset.get("SegmentationType") or "")
        if kind not in KINDS:
            came = f"its segmentation type is {kind!r}" if kind else "it says no segmentation type"
            raise AtrousError(
                f"{path}: this is no DICOM segmentation that is read: {came}; {', '.join(KINDS)} are. Check the file.",
                kind="broken-annotation",
            )
        found = _segmentation(path, dataset, kind)
    listed = {segment.number for segment in found.segments}
    strange = sorted({frame.segment for frame in found.frames} - listed - {0})
    if strange:
        raise AtrousError(
            f"{path}: frames of segment {strange[0]} came, and the file lists segments "
            f"{', '.join(map(str, sorted(listed)))}. Export the segmentation again.",
            kind="class-unknown",
        )
    return found


def _segmentation(path: Path, dataset: Any, kind: str) -> Segmentation:
    count = frame_count(dataset)
    shared, groups = functional_groups(dataset)
    positions = frame_positions(dataset, shared, groups, count)
    frames = tuple(
        SegmentFrame(index, _segment_number(dataset, index, kind), positions[index], _sources(dataset, index))
        for index in range(count)
    )
    series = dataset.get("ReferencedSeriesSequence") or ()
    instances = {
        str(item.ReferencedSOPInstanceUID) for one in series for item in one.get("ReferencedInstanceSequence") or ()
    }
    measures = frame_group(dataset, 0, "PixelMeasuresSequence") or dataset
    padding = dataset.get("PixelPaddingValue")
    return Segmentation(
        path=path,
        instance=str(dataset.get("SOPInstanceUID") or ""),
        kind=kind,
        size=(int(dataset.Rows), int(dataset.Columns)),
        segments=tuple(_segment(item, position) for position, item in enumerate(dataset.SegmentSequence, start=1)),
        frames=frames,
        orientation=orientation_of(dataset),
        space=str(dataset.get("FrameOfReferenceUID") or ""),
        series=frozenset(str(one.SeriesInstanceUID) for one in series),
        instances=frozenset(instances | {source for frame in frames for source, _ in frame.sources}),
        between=abs(float(measures.get("SpacingBetweenSlices") or 0)),
        threshold=_half(int(dataset.MaximumFractionalValue)) if kind == "FRACTIONAL" else 0,
        padding=int(padding) if kind == "LABELMAP" and padding is not None else None,
    )


def _half(highest: int) -> int:
    if highest < 1:
        raise ValueError(f"a highest fractional value of {highest}")
    return (highest + 1) // 2


def _segment_number(dataset: Any, frame: int, kind: str) -> int:
    if kind == "LABELMAP":
        return 0
    group = frame_group(dataset, frame, "SegmentIdentificationSequence")
    if group is None:
        raise ValueError(f"frame {frame} does not say which segment it is of")
    return int(group.ReferencedSegmentNumber)


def _sources(dataset: Any, frame: int) -> tuple[tuple[str, int | None], ...]:
    derivation = frame_group(dataset, frame, "DerivationImageSequence")
    images = () if derivation is None else derivation.get("SourceImageSequence") or ()
    found: list[tuple[str, int | None]] = []
    for image in images:
        numbers = image.get("ReferencedFrameNumber")
        several = numbers if isinstance(numbers, Sequence) and not isinstance(numbers, str) else [numbers]
        instance = str(image.ReferencedSOPInstanceUID)
        found += [(instance, None if number is None else int(number) - 1) for number in several]
    return tuple(found)


def _segment(item: Any, position: int) -> Segment:
    number = int(item.get("SegmentNumber", position))
    kind = item.get("SegmentedPropertyTypeCodeSequence")
    meaning = kind[0].get("CodeMeaning") if kind else None
    words = (item.get("SegmentLabel"), item.get("SegmentDescription"), meaning)
    name = next((stripped for word in words if word and (stripped := str(word).strip())), f"segment {number}")
    lab = item.get("RecommendedDisplayCIELabValue")
    return Segment(number, name, None if lab is None else rgb_of([int(value) for value in lab]))
