"""A DICOM segmentation for every series, which refers to the images that it was drawn on.

```
out/patient1_ct.dcm     one file per series, with a segment for every class but the first, which is background
```
The segments have the classes' names and colours. Their property is "Tissue", since names are no codes. Pixels to be
ignored are in no segment. The images stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous import __version__
from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data.census import Progress, in_threads
from atrous.data.conversion.placing import Say, counted
from atrous.data.conversion.series import Series, apart, series_names, series_of
from atrous.data.dataset import Dataset
from atrous.data.dicom_classes import BACKGROUND
from atrous.data.dicom_colours import lab_of
from atrous.data.dicom_files import is_dicom, opened, quietly
from atrous.data.dicom_series import Stack
from atrous.data.pairs import Pair
from atrous.data.parts import path_of
from atrous.data.samples import read_sample
from atrous.data.writers import atomic

HOLDS_SPLIT = False

_REPEATED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime",
)  # fmt: skip
_LONGEST = 64  # letters of a segment's label, by the standard


def write(
    dataset: Dataset,
    out: Path,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
    labelmap: bool = False,
) -> list[Path]:
    """Write a segmentation per series into `out`, and return their paths.

    Each is BINARY, or with `labelmap` a LABELMAP, which not every viewer reads yet. Slices without mask are left out.

    Raises `AtrousError` for images that are no DICOM, for sources that lack what a segmentation repeats of them, and
    where highdicom is missing; `ValueError` where nothing would be written: for a single class, or no masks.
    """
    if len(dataset.space) < 2:
        raise ValueError(f"{dataset.root}: the only class is background, and a segmentation has one more at least.")
    _say_names(dataset.space, say)
    pairs = [pair for members in dataset.splits.values() for pair in members if pair.mask is not None]
    if not pairs:
        raise ValueError(f"{dataset.root}: no image has a mask, and nothing can be written.")
    _refuse_foreign(pairs)
    series = series_of(pairs)
    done, ignored, written = 0, 0, []
    for each, name in zip(series, apart(series_names(series, dataset.root, separator="_")), strict=True):
        start = done

        def told(count: int, _: int, start: int = start) -> None:
            if progress is not None:
                progress(start + count, len(pairs))

        labels = _labels(each, dataset.space, told)
        done += len(each.pairs)
        ignored += int((labels == IGNORE).sum())
        labels[labels == IGNORE] = 0
        written.append(out / f"{name}.dcm")
        kind = "LABELMAP" if labelmap else "BINARY"
        write_segmentation(written[-1], each.stack, list(each.pairs), labels, dataset.space, kind=kind)
    if ignored and say is not None:
        say(f"{counted(ignored, 'pixel')} are to be ignored: they are in no segment, as background is")
    return written


def _say_names(space: LabelSpace, say: Say | None) -> None:
    """Tell of names that come back otherwise; raises `ValueError` for classes that would become one."""
    names = space.names[1:]
    labels = [_label(name) for name in names]
    if len(set(labels)) < len(labels):
        twin = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(
            f"two classes would be called {twin!r}: segments have names of {_LONGEST} letters. Rename one of them."
        )
    longer = [name for name, label in zip(names, labels, strict=True) if label != name]
    if longer and say is not None:
        say(f"{counted(len(longer), 'name')} shortened to {_LONGEST} letters without backslashes, first {longer[0]}")
    if say is not None and any(label.lower() == BACKGROUND for label in labels):
        say("a class other than the first is called background: readers may take its segment for no object")


def _label(name: str) -> str:
    return name.replace("\\", "/").strip()[:_LONGEST]


def _refuse_foreign(pairs: Sequence[Pair]) -> None:
    """Raise `AtrousError` for an image that is no DICOM."""
    paths = dict.fromkeys(path_of(pair.image) for pair in pairs)
    foreign = next((path for path in paths if not is_dicom(path)), None)
    if foreign is not None:
        raise AtrousError(
            f"{foreign}: this is no DICOM image, and a DICOM segmentation refers to DICOM images. "
            "Choose another format, such as masks."
        )


def _labels(each: Series, space: LabelSpace, progress: Progress) -> NDArray[np.uint8]:
    """Return (slices, h, w) labels of the slices that have a mask."""
    samples = in_threads(lambda pair: read_sample(pair, space).labels, list(each.pairs.values()), progress)
    return np.stack([labels for labels in samples if labels is not None])


def write_segmentation(
    path: Path,
    stack: Stack,
    frames: Sequence[tuple[Path, int]],
    labels: NDArray[np.uint8],
    space: LabelSpace,
    *,
    kind: str = "BINARY",
    automatic: bool = False,
) -> None:
    """Write labels (slices, h, w), a slice for each of these frames of a stack, as a segmentation; label 0 is nothing.

    `automatic` says that a program drew them. Raises `AtrousError` of the kind `no-segmentation` for images that lack
    what a segmentation repeats of them, and where highdicom is missing or the disk refuses.
    """
    try:
        import highdicom
    except ImportError as error:
        raise AtrousError(
            f'{path}: writing DICOM segmentations needs highdicom: pip install "atrous[medical]"'
        ) from error
    sources, labels = _sources(stack, frames, labels)
    try:
        with quietly():
            segments = _segments(highdicom, space, automatic=automatic)
            made = _segmentation(highdicom, sources, labels, segments, kind)
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise AtrousError(
            f"{stack.first.path}: no segmentation of this series can be written ({error}). Complete its DICOM headers, "
            "or choose another format, such as masks.",
            kind="no-segmentation",
        ) from error
    with atomic(path) as temporary, quietly():
        made.save_as(temporary)


def _segmentation(
    highdicom: Any, sources: Sequence[Any], labels: NDArray[np.uint8], segments: Sequence[Any], kind: str
) -> Any:
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=labels,
        segmentation_type=kind,
        omit_empty_frames=bool(labels.any()),
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=100,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="atrous",
        manufacturer_model_name="atrous",
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        series_description="Segmentation",
    )


def _sources(
    stack: Stack, frames: Sequence[tuple[Path, int]], labels: NDArray[np.uint8]
) -> tuple[list[Any], NDArray[np.uint8]]:
    """Return the images that a segmentation refers to, without pixels, and labels for all of their frames."""
    first = stack.first
    if len(first.positions) == 1:
        return [_source(path) for path, _ in frames], labels
    whole = np.zeros((len(first.positions), *labels.shape[1:]), np.uint8)
    whole[[frame for _, frame in frames]] = labels
    return [_source(first.path)], whole


def _source(path: Path) -> Any:
    """Return an image without pixels whose text is declared as UTF-8, so that names of any script can be added.

    What anonymisation takes away altogether, though it may only be emptied, is empty.
    """
    source = opened(path)
    with quietly():
        source.decode()
    source.SpecificCharacterSet = "ISO_IR 192"
    for name in _REPEATED:
        if name not in source:
            setattr(source, name, "")
    return source


def _segments(highdicom: Any, space: LabelSpace, *, automatic: bool) -> list[Any]:
    from pydicom.sr.codedict import codes

    family = codes.cid7162.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence("atrous", family, __version__) if automatic else None
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=_label(name),
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC" if automatic else "MANUAL",
            algorithm_identification=algorithm,
            display_color=_colour(highdicom, colour),
        )
        for number, (name, colour) in enumerate(zip(space.names[1:], space.colours[1:], strict=True), start=1)
    ]


def _colour(highdicom: Any, colour: tuple[int, int, int]) -> Any:
    lightness, a, b = lab_of(colour)
    return highdicom.color.CIELabColor(lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128)
