"""The classes that segments of DICOM files are: one for each name, in whichever file and under whichever number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from atrous.contract import AtrousError, Colour, distinct_colours
from atrous.data.dicom_segments import Segment, Segmentation
from atrous.data.wishes import Wishes

BACKGROUND = "background"
_MOST = 254


def classes_of(root: Path, files: Iterable[Segmentation]) -> dict[str, int]:
    """Return the label of each segment's name, from 1 in the order of the files and numbers; background is 0.

    Raises `AtrousError` for more names than labels of one byte tell apart.
    """
    names: dict[str, int] = {}
    for each in files:
        for segment in each.segments:
            if not is_background(each, segment):
                names.setdefault(segment.name, len(names) + 1)
    if len(names) > _MOST:
        raise AtrousError(
            f"{root}: {len(names):,} names of segments came, and up to {_MOST} classes are possible. "
            "Give segments of the same class the same label."
        )
    return {BACKGROUND: 0, **names}


def is_background(segmentation: Segmentation, segment: Segment) -> bool:
    """Say whether a segment is no object: number 0, a label map's padding, or called background."""
    return segment.number in (0, segmentation.padding) or segment.name.lower() == BACKGROUND


def labels_of(segmentation: Segmentation, classes: Mapping[str, int]) -> dict[int, int]:
    """Return the label of each number of a file's segments."""
    return {
        segment.number: 0 if is_background(segmentation, segment) else classes[segment.name]
        for segment in segmentation.segments
    }


def told(files: Sequence[Segmentation], classes: Mapping[str, int]) -> Wishes:
    """Return names, values and colours; the colours are those recommended where they tell the classes apart."""
    recommended: dict[str, Colour] = {BACKGROUND: (0, 0, 0)}
    for each in files:
        for segment in each.segments:
            if segment.colour is not None and not is_background(each, segment):
                recommended.setdefault(segment.name, segment.colour)
    spare = distinct_colours(len(classes))
    colours = tuple(recommended.get(name, spare[label]) for name, label in classes.items())
    return Wishes(
        classes=tuple(classes),
        labels="indices",
        colours=colours if len(set(colours)) == len(colours) else None,
        values=tuple(classes.values()),
    )
