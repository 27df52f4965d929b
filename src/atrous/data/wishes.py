"""What is said of the masks' classes, by the caller, by `classes.json` or by the layout; the masks tell the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Colour, Encoding

CLASSES_FILE = "classes.json"
_ENCODINGS = ("indices", "colours", "instances")


@dataclass(frozen=True)
class Wishes:
    """What the caller, `classes.json` or the layout says of the masks; None is for the masks to tell."""

    classes: tuple[str, ...] | None = None
    ignore: int | Colour | None = None
    labels: Encoding | None = None
    colours: tuple[Colour, ...] | None = None
    values: tuple[int | Colour, ...] | None = None


def wished(
    root: Path,
    *,
    classes: Sequence[str] | None,
    ignore: int | Colour | None,
    labels: Encoding | None,
    told: Wishes | None = None,
) -> Wishes:
    """Return what was given, completed by the folder's `classes.json`, then by what the layout `told`."""
    if labels is not None and labels not in _ENCODINGS:
        raise ValueError(f"labels {labels!r} came; indices, colours and instances are possible")
    if isinstance(classes, str):
        raise TypeError(f"classes {classes!r} came; a sequence of names is wanted, such as ('road', 'car')")
    given = Wishes(classes=None if classes is None else tuple(classes), ignore=ignore, labels=labels)
    path = root / CLASSES_FILE
    if path.is_file():
        given = completed(given, _stored(path))
    return given if told is None else completed(given, told)


def completed(given: Wishes, more: Wishes) -> Wishes:
    """Return wishes completed by others; colours and values belong to names and come only with the same number."""
    same = given.classes is None or more.classes is None or len(given.classes) == len(more.classes)
    return Wishes(
        classes=given.classes if given.classes is not None else more.classes,
        ignore=given.ignore if given.ignore is not None else more.ignore,
        labels=given.labels if given.labels is not None else more.labels,
        colours=given.colours or (more.colours if same else None),
        values=given.values or (more.values if same else None),
    )


def _stored(path: Path) -> Wishes:
    stored = _classes_file(path)
    return Wishes(
        classes=_tuple(stored.get("names")),
        ignore=_value(stored.get("ignore")),
        labels=stored.get("labels"),
        colours=_tuple(stored.get("colours")),
        values=_tuple(stored.get("values")),
    )


def _classes_file(path: Path) -> dict[str, Any]:
    fields = ("names", "colours", "values", "ignore", "labels")
    example = '{"names": ["road", "car"], "values": [0, 1], "ignore": 255}'
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AtrousError(f"{path}: this is not JSON ({error}). An example: {example}.") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("names"), list):
        raise AtrousError(f"{path}: a list of names is missing. An example: {example}.")
    strange = sorted(set(stored) - set(fields))
    if strange:
        raise AtrousError(f"{path}: the field {strange[0]!r} is not known. The fields are {', '.join(fields)}.")
    if stored.get("labels") not in (None, *_ENCODINGS):
        raise AtrousError(f"{path}: labels {stored['labels']!r} came; indices, colours and instances are possible.")
    return stored


def _tuple(items: list[Any] | None) -> tuple[Any, ...] | None:
    return None if items is None else tuple(_value(item) for item in items)


def _value(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item
