"""Series of DICOM images as stacks of slices, ordered by where they lie and not by their names or numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.data.dicom_headers import DicomHeader, Triple, distance, heights
from atrous.data.found import Problem


@dataclass(frozen=True)
class StackSlice:
    """One slice of a stack: a frame of an image."""

    image: DicomHeader
    frame: int

    @property
    def position(self) -> Triple | None:
        """Where the first pixel lies, in mm."""
        return self.image.positions[self.frame]


@dataclass(frozen=True)
class Stack:
    """The slices of one series, or of one image of many frames, of one size and orientation, in order of place.

    `between` is the distance from slice to slice in mm. Slices whose places are not known are ordered by number.
    """

    slices: tuple[StackSlice, ...]
    between: float

    @property
    def first(self) -> DicomHeader:
        """The image of the first slice, whose patient, series and size are those of all."""
        return self.slices[0].image

    def heights(self) -> list[float] | None:
        """Return how far along the normal each slice lies, in mm, None where one is not known."""
        return heights([each.position for each in self.slices], self.first.orientation)


def stacks(images: Iterable[DicomHeader]) -> tuple[list[Stack], list[Problem]]:
    """Return the stacks of slices that images make, by series, and the images that do not fit into their series.

    Images of other sizes than most of their series are problems of the kind `size-differs` and left out. A series whose
    slices are turned in several ways, as scouts are, is a stack for each.
    """
    groups: dict[tuple[object, ...], list[DicomHeader]] = defaultdict(list)
    for image in images:
        groups[_key(image)].append(image)
    made, problems = [], []
    for group in groups.values():
        size = Counter(image.size for image in group).most_common(1)[0][0]
        problems += [_differs(image, size, len(group)) for image in group if image.size != size]
        made.append(_ordered([image for image in group if image.size == size]))
    return sorted(made, key=lambda stack: stack.first.path.as_posix()), problems


def _key(image: DicomHeader) -> tuple[object, ...]:
    if len(image.positions) > 1 or not image.series:
        return ("file", image.path)
    turned = None if image.orientation is None else tuple(round(number, 2) + 0.0 for number in image.orientation)
    return ("series", image.series, image.space, turned)


def _differs(image: DicomHeader, size: tuple[int, int], count: int) -> Problem:
    swapped = image.size == size[::-1]
    said = f"{image.rows} x {image.columns} (height x width), and most of its series' {count:,} images are "
    return Problem(
        "axes-swapped" if swapped else "size-differs", image.path, f"{said}{size[0]} x {size[1]}; it is left out"
    )


def _ordered(images: list[DicomHeader]) -> Stack:
    slices = [StackSlice(image, frame) for image in images for frame in range(len(image.positions))]
    slices.sort(key=lambda each: (each.image.number, each.image.path.as_posix(), each.frame))
    positions = [each.position for each in slices]
    along = heights(positions, images[0].orientation)
    if along is not None:
        # Rounded, so that slices at one place stay in the order of their numbers.
        slices = [slices[index] for index in sorted(range(len(slices)), key=lambda index: round(along[index], 3))]
    return Stack(tuple(slices), distance(positions, images[0].orientation) or images[0].between)


def at_one_place(stack: Stack, wanted: set[str]) -> tuple[Stack, int]:
    """Return a stack with one slice at each place, and how many were left out.

    Of slices at the same place, as times and echoes are, those whose image is `wanted` are kept, else the first.
    """
    along = stack.heights()
    if along is None:
        return stack, 0
    places: dict[float, list[StackSlice]] = defaultdict(list)
    for height, each in zip(along, stack.slices, strict=True):
        places[round(height, 2)].append(each)
    kept = [next((each for each in group if each.image.instance in wanted), group[0]) for group in places.values()]
    return replace(stack, slices=tuple(kept)), len(stack.slices) - len(kept)


def named_below(root: Path, each: StackSlice) -> str:
    """Return the name of a slice: its file's below `root` without a suffix of DICOM, and the frame where it has many.

    A suffix that is none is kept, since files are often called by numbers with dots.
    """
    path = each.image.path.relative_to(root)
    bare = path.with_suffix("") if path.suffix.lower() in (".dcm", ".dicom", ".ima") else path
    return bare.as_posix() if len(each.image.positions) == 1 else f"{bare.as_posix()}/{each.frame:03d}"
