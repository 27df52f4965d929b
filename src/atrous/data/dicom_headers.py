"""What DICOM files say of themselves, without their pixels: which image of which series, how large, and where it lies.

The frames of an image have positions and an orientation in mm, in the patient's frame (LPS); a stack is ordered along
the normal of its slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from atrous.data.dicom_files import opened, parsing, without_pixels
from atrous.data.grids import Affine, Spacing, sound_affine

Triple = tuple[float, float, float]

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Modality", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "PhotometricInterpretation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True)
class DicomHeader:
    """One image object: `positions` has the place (x, y, z) in mm of every frame, None where it is not said.

    `orientation` is the direction of growing columns, then that of growing rows; `spacing` the mm between rows, and
    between columns, None where it is not said; `between` the mm from slice to slice. Absent names are empty.
    """

    path: Path
    instance: str
    series: str
    study: str
    patient: str
    space: str
    number: int
    rows: int
    columns: int
    channels: int
    positions: tuple[Triple | None, ...]
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    between: float

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns


def header_of(path: Path) -> DicomHeader:
    """Return what an image says of itself.

    Raises `AtrousError` as `opened` does, for an object that is no image (kind `dicom-without-pixels`), and for values
    that are none.
    """
    dataset = opened(path, _TAGS)
    with parsing(path):
        if not dataset.get("Rows") or not dataset.get("Columns"):
            raise without_pixels(path, dataset)
        return _header(path, dataset)


def _header(path: Path, dataset: Any) -> DicomHeader:
    count = frame_count(dataset)
    shared, frames = functional_groups(dataset)
    first = frames[0] if frames else None
    measures = _group(first, shared, "PixelMeasuresSequence") or dataset
    plane = _group(first, shared, "PlaneOrientationSequence") or dataset
    spacing = _numbers(measures.get("PixelSpacing") or dataset.get("ImagerPixelSpacing"), 2)
    orientation = _numbers(plane.get("ImageOrientationPatient"), 6)
    positions = frame_positions(dataset, shared, frames, count)
    return DicomHeader(
        path=path,
        **{name: str(dataset.get(tag) or "").strip() for name, tag in _NAMES.items()},
        number=int(dataset.get("InstanceNumber") or 0),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        channels=1 if str(dataset.get("PhotometricInterpretation", "")).startswith("MONO") else 3,
        positions=positions,
        orientation=orientation,
        spacing=None if spacing is None or min(spacing) <= 0 else (spacing[0], spacing[1]),
        between=distance(positions, orientation)
        or abs(float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0))
        or 1.0,
    )


_NAMES = {
    "instance": "SOPInstanceUID",
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
    "patient": "PatientID",
    "space": "FrameOfReferenceUID",
}


def frame_count(dataset: Any) -> int:
    """Return how many frames an image has, 1 where it does not say; raises `ValueError` for less than one."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if count < 1:
        raise ValueError(f"{count} frames")
    return count


def functional_groups(dataset: Any) -> tuple[Any, Sequence[Any]]:
    """Return what all frames share, None where there is nothing, and what each has of its own."""
    shared = dataset.get("SharedFunctionalGroupsSequence")
    return shared[0] if shared else None, dataset.get("PerFrameFunctionalGroupsSequence") or ()


def _group(frame: Any, shared: Any, name: str) -> Any:
    """Return the first item of a functional group, the frame's own before the shared one, None where there is none."""
    for groups in (frame, shared):
        if groups is not None and groups.get(name):
            return groups[name].value[0]
    return None


def frame_positions(dataset: Any, shared: Any, frames: Sequence[Any], count: int) -> tuple[Triple | None, ...]:
    """Return where the first pixel of every frame lies, in mm."""
    if not frames:
        return (_triple(dataset.get("ImagePositionPatient")),) + (None,) * (count - 1)
    planes = [_group(frame, shared, "PlanePositionSequence") for frame in frames]
    if len(planes) != count:
        raise ValueError(f"{count} frames, and {len(planes)} descriptions of frames")
    return tuple(None if plane is None else _triple(plane.get("ImagePositionPatient")) for plane in planes)


def frame_group(dataset: Any, frame: int, name: str) -> Any:
    """Return the first item of a functional group that holds for a frame, None where there is none."""
    shared, frames = functional_groups(dataset)
    return _group(frames[frame] if frame < len(frames) else None, shared, name)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    numbers = () if value is None else tuple(float(item) for item in value)
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _triple(value: Any) -> Triple | None:
    numbers = _numbers(value, 3)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2])


def orientation_of(dataset: Any) -> tuple[float, ...] | None:
    """Return the six numbers of the orientation that the first frame has, None where it is not said."""
    plane = frame_group(dataset, 0, "PlaneOrientationSequence") or dataset
    return _numbers(plane.get("ImageOrientationPatient"), 6)


def heights(positions: Sequence[Triple | None], orientation: Sequence[float] | None) -> list[float] | None:
    """Return how far along the normal of the slices each position is, in mm; None where one is not known.

    >>> heights([(0, 0, 2), (5, 5, -1)], (1, 0, 0, 0, 1, 0))
    [2.0, -1.0]
    """
    if orientation is None or any(position is None for position in positions):
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    return [float(np.dot(normal, position)) for position in positions if position is not None]


def distance(positions: Sequence[Triple | None], orientation: Sequence[float] | None) -> float:
    """Return the middle one of the distances from slice to slice, 0 where it cannot be known."""
    along = heights(positions, orientation)
    steps = [step for low, high in pairwise(sorted(along or ())) if (step := high - low) > 1e-3]
    return float(np.median(steps)) if steps else 0.0


def affine_of(header: DicomHeader, first: Triple | None, between: float) -> Affine | None:
    """Return the matrix that takes (slice, row, column) to mm in RAS, of a stack whose first slice lies at `first`."""
    if first is None or header.orientation is None:
        return None
    along, down = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    rows, columns = header.spacing or (1.0, 1.0)
    matrix = np.eye(4)
    matrix[:3, 0] = np.cross(along, down) * between
    matrix[:3, 1] = down * rows
    matrix[:3, 2] = along * columns
    matrix[:3, 3] = first
    return sound_affine(np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)


def place_of(header: DicomHeader, between: float, frame: int = 0) -> Spacing | None:
    """Return the place of one slice, None without spacing; its affine is that of the slice, so that it is number 0."""
    return (
        None
        if header.spacing is None
        else Spacing(header.spacing, between, affine_of(header, header.positions[frame], between))
    )
