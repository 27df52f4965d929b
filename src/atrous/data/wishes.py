"""What is said of the masks' classes, by the caller, by `classes.json` or by the layout; the masks tell the rest.

Names that are given for classes that a folder knows are matched by name: `--classes person,car` for shapes that are
called car and person does not make the one the other. Names that share none are new names for the folder's classes, in
its order, which a note says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from atrous.contract import AtrousError, Colour, Encoding, distinct_colours
from atrous.data.classes_file import ENCODINGS, read_classes

CLASSES_FILE = "classes.json"
ABSENT = 2**30
"""From here on are the values of classes that a folder does not have: no mask holds them."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Wishes:
    """What the caller, `classes.json` or the layout says of the masks; None is for the masks to tell.

    `divide` says whether a `val` may be taken out of `train` where there is none. `source` says who named the classes,
    and `notes` what was made of names of several sources.
    """

    classes: tuple[str, ...] | None = None
    ignore: int | Colour | None = None
    labels: Encoding | None = None
    colours: tuple[Colour, ...] | None = None
    values: tuple[int | Colour, ...] | None = None
    divide: bool = field(default=True, compare=False)
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)


def wished(
    root: Path,
    *,
    classes: Sequence[str] | None,
    ignore: int | Colour | None,
    labels: Encoding | None,
    told: Wishes | None = None,
) -> Wishes:
    """Return what was given, completed by the folder's `classes.json`, then by what the layout `told`.

    A class whose value is the `ignore` given is no class any more. Raises `ValueError` and `TypeError` for arguments
    that cannot be, `AtrousError` for a `classes.json` that cannot be read, and as `completed` does.
    """
    if labels is not None and labels not in ENCODINGS:
        raise ValueError(f"labels {labels!r} came; indices, colours and instances are possible")
    if isinstance(classes, str):
        raise TypeError(f"classes {classes!r} came; a sequence of names is wanted, such as ('road', 'car')")
    names = None if classes is None else tuple(classes)
    if names is not None and len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"classes repeat {repeated!r}; every class needs its own name")
    given = Wishes(classes=names, ignore=ignore, labels=labels, source="the given classes")
    path = root / CLASSES_FILE
    if path.is_file():
        given = completed(given, Wishes(**read_classes(path), source=str(path)))
    if told is not None:
        listed = given.values is not None and told.ignore in given.values  # a class, since it was said to be one
        told = replace(told, ignore=None if listed else told.ignore, source=f"{root}: the classes of this layout")
        given = completed(given, told)
    return _without_ignored(given)


def completed(given: Wishes, more: Wishes) -> Wishes:
    """Return wishes completed by others; colours and values belong to names, and come with the same names.

    Names that `more` lacks get values that no mask has. Raises `AtrousError` where some names are the same and both
    have others, and where none is and their numbers differ.
    """
    objects = given.labels == "instances"  # whose classes are no values
    other = objects or (given.labels is not None and more.labels is not None and given.labels != more.labels)
    own = given.values is not None or (given.labels == "colours" and given.colours is not None)
    colours, values = None if objects else more.colours, None if other or own else more.values
    notes: tuple[str, ...] = ()
    if given.classes is not None and more.classes is not None:
        if values is not None:
            notes = _refuse_unclear(given, more)
        colours, values = _named_as(given.classes, more.classes, colours, values)
    return Wishes(
        classes=given.classes if given.classes is not None else more.classes,
        ignore=given.ignore if given.ignore is not None else more.ignore,
        labels=given.labels if given.labels is not None else more.labels,
        colours=given.colours or colours,
        values=given.values or values,
        divide=given.divide and more.divide,
        source=given.source if given.classes is not None else more.source,
        notes=(*given.notes, *more.notes, *notes),
    )


def _refuse_unclear(given: Wishes, more: Wishes) -> tuple[str, ...]:
    """Return the note for classes that are only called otherwise; raise where names do not say which class is meant."""
    mine, theirs = given.classes or (), more.classes or ()
    new = [name for name in mine if name not in theirs]
    left = [name for name in theirs if name not in mine]
    if len(new) == len(mine) == len(theirs):
        pairs = ", ".join(f"{old} is {name}" for old, name in zip(theirs[:8], mine, strict=False))
        return (f"the classes are renamed in their order: {pairs}{', ...' if len(mine) > 8 else ''}",)
    if new and left:
        raise AtrousError(
            f"{given.source}: {', '.join(mine[:20])} came, and the folder has {', '.join(theirs[:20])}. "
            f"It is not clear which is {new[0]!r}; use the folder's names, in any order, or new names for all "
            f"{len(theirs)} in its order.",
            kind="classes-unknown",
        )
    return ()


def _named_as(
    names: tuple[str, ...],
    theirs: tuple[str, ...],
    colours: tuple[Colour, ...] | None,
    values: tuple[int | Colour, ...] | None,
) -> tuple[tuple[Colour, ...] | None, tuple[int | Colour, ...] | None]:
    """Return colours and values in the order of `names`, with new ones for names that are not among `theirs`."""
    if not set(names) & set(theirs):
        return (colours, values) if len(names) == len(theirs) else (None, None)
    if colours is not None:
        spare = (colour for colour in distinct_colours(2 * len(names) + len(colours)) if colour not in colours)
        colours = tuple(_at(theirs, colours, name) or next(spare) for name in names)
    if values is not None:
        coloured = isinstance(values[0], tuple)
        absent = ((256, 0, number) if coloured else ABSENT + number for number in count())
        places = [_at(theirs, values, name) for name in names]
        values = tuple(next(absent) if place is None else place for place in places)
    return colours, values


def is_absent(value: int | Colour) -> bool:
    """Say whether this stands in a `LabelSpace` for a class that no mask of the folder holds.

    >>> is_absent(ABSENT + 3), is_absent((256, 0, 0)), is_absent(255)
    (True, True, False)
    """
    return value >= ABSENT if isinstance(value, int) else value[0] > 255


def _at(names: tuple[str, ...], items: tuple[_Value, ...], name: str) -> _Value | None:
    return items[names.index(name)] if name in names else None


def _without_ignored(wishes: Wishes) -> Wishes:
    """Return the wishes without the class whose value is ignored, which a note says."""
    if wishes.classes is None or wishes.values is None or wishes.ignore not in wishes.values:
        return wishes
    place = wishes.values.index(wishes.ignore)
    kept = [index for index in range(len(wishes.classes)) if index != place]
    if not kept:
        raise AtrousError(f"{wishes.source}: {wishes.classes[0]} is the only class, and its value is ignored.")
    return replace(
        wishes,
        classes=tuple(wishes.classes[index] for index in kept),
        values=tuple(wishes.values[index] for index in kept),
        colours=None if wishes.colours is None else tuple(wishes.colours[index] for index in kept),
        notes=(*wishes.notes, f"{wishes.classes[place]} is ignored, as its value {wishes.ignore} is"),
    )
