"""The numbers of classes in formats of shapes, where a pixel of no shape is background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from atrous.contract import IGNORE, LabelSpace
from atrous.data.conversion.masks import write_classes
from atrous.data.wishes import CLASSES_FILE

_BACKGROUND = ("background", "_background_", "bg")


@dataclass(frozen=True)
class Numbering:
    """The number of each label: 0 for background, which has no shapes, and 1, 2, ... for the others.

    `background` is the label of it; None where no class is called so, and pixels of no shape are those to be ignored.
    `ignored` is the number of shapes that hold ignored pixels, where there is a background too.
    """

    numbers: tuple[int, ...]
    background: int | None

    @property
    def ignored(self) -> int:
        """The number after all classes."""
        return max(self.numbers) + 1

    def labels(self) -> list[int]:
        """Return the labels that have shapes, in the order of their numbers."""
        return [label for label in range(len(self.numbers)) if label != self.background]

    def write(self, out: Path, space: LabelSpace, *, ignored: bool) -> Path:
        """Write the `classes.json` that says which number each class has, and which means to ignore."""
        void = 0 if self.background is None else self.ignored if ignored else IGNORE
        numbered = LabelSpace(names=space.names, colours=space.colours, values=self.numbers, ignore=void)
        write_classes(out / CLASSES_FILE, numbered, values=True)
        return out / CLASSES_FILE


def numbering(space: LabelSpace) -> Numbering:
    """Return the numbers of the classes, 0 for the first that is called background, in any letters.

    Raises `ValueError` for 255 classes without background, since numbers go to 254.

    >>> numbering(LabelSpace(names=("road", "background", "car"))).numbers
    (1, 0, 2)
    """
    background = next((label for label, name in enumerate(space.names) if name.lower() in _BACKGROUND), None)
    if background is None and len(space) > 254:
        raise ValueError(f"{len(space)} classes came, none called background; beside it 254 are possible. Try masks.")
    after = len(space) if background is None else background
    return Numbering(
        tuple(0 if label == background else label + (label < after) for label in range(len(space))), background
    )


def shown(names: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return numbers and names of classes, with the number after a name that would be background, or is none."""
    return [
        (number, f"{name} ({number})" if name.strip().lower() in ("", *_BACKGROUND) else name) for number, name in names
    ]
