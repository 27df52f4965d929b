"""`classes.json`, which says what the classes of a folder's masks are: read, and refused where it cannot be meant.

    {"names": ["road", "car"], "colours": [[128, 64, 128], [0, 0, 142]], "values": [0, 1], "ignore": 255}

Only `names` is needed. `values` are what the masks hold, numbers or colours; `labels` is one of `ENCODINGS`. With
`"divide": false` a folder that has no `val` is given none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Encoding

ENCODINGS: tuple[Encoding, ...] = ("indices", "colours", "instances")
_FIELDS = ("names", "colours", "values", "ignore", "labels", "divide")
_EXAMPLE = '{"names": ["road", "car"], "values": [0, 1], "ignore": 255}'
_LARGEST = 2**31


def read_classes(path: Path) -> dict[str, Any]:
    """Return the fields of a file with lists as tuples: `classes` (its names), `colours`, `values`, `ignore`, `labels`.

    A field that the file has not is None; `divide` is true then. Raises `AtrousError` for what is not JSON, and for
    every field that is unknown, of another type, of another length than the names, or at odds with another.
    """
    stored = _stored(path)
    names, labels = stored["names"], stored.get("labels")
    if labels not in (None, *ENCODINGS):
        raise AtrousError(f"{path}: labels {labels!r} came; indices, colours and instances are possible.")
    _check_names(path, names)
    colours, values, ignore = stored.get("colours"), stored.get("values"), stored.get("ignore")
    if colours is not None:
        _check_list(path, "colours", colours, len(names))
        if not all(_is_colour(item) for item in colours):
            raise _odd(path, "colours", colours, "a list of [red, green, blue], each 0 to 255")
    if values is not None:
        _check_list(path, "values", values, len(names))
        if not all(map(_is_number, values)) and not all(map(_is_colour, values)):
            raise _odd(path, "values", values, "a list of whole numbers, or one of [red, green, blue]")
    if ignore is not None and not _is_number(ignore) and not _is_colour(ignore):
        raise _odd(path, "ignore", ignore, "a whole number, [red, green, blue] or null")
    if not isinstance(stored.get("divide", True), bool):
        raise _odd(path, "divide", stored["divide"], "true or false")
    _check_together(path, values if labels != "colours" else values or colours, ignore, labels)
    return {
        "classes": tuple(names),
        "colours": _tuples(colours),
        "values": _tuples(values),
        "ignore": _tuples(ignore),
        "labels": labels,
        "divide": stored.get("divide", True),
    }


def _stored(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise AtrousError(f"{path}: the file cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise AtrousError(f"{path}: this is not JSON ({error}). An example: {_EXAMPLE}.") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("names"), list):
        raise AtrousError(f"{path}: a list of names is missing. An example: {_EXAMPLE}.")
    strange = sorted(set(stored) - set(_FIELDS))
    if strange:
        raise AtrousError(f"{path}: the field {strange[0]!r} is not known. The fields are {', '.join(_FIELDS)}.")
    return stored


def _check_names(path: Path, names: list[Any]) -> None:
    if not all(isinstance(name, str) for name in names):
        raise _odd(path, "names", names, "a list of words")
    if not 1 <= len(names) <= 255:
        raise AtrousError(f"{path}: {len(names):,} names came; 1 to 255 are possible, since labels are one byte.")
    _refuse_repeated(path, "names", names)


def _check_list(path: Path, field: str, items: Any, count: int) -> None:
    if not isinstance(items, list):
        raise _odd(path, field, items, "a list with one entry per name")
    if len(items) != count:
        raise AtrousError(f"{path}: {count} names and {len(items)} {field} came; give as many of each.")


def _check_together(path: Path, values: list[Any] | None, ignore: Any, labels: str | None) -> None:
    """Raise where the values are not those of the encoding, or one of them is also what is ignored."""
    if values is None or labels == "instances":
        return
    _refuse_repeated(path, "values", values)
    coloured = isinstance(values[0], list)
    if labels is not None and coloured != (labels == "colours"):
        raise AtrousError(f"{path}: labels {labels!r} and the values {values[0]!r} came, which are not of that kind.")
    if ignore in values:
        raise AtrousError(
            f"{path}: {ignore} is the value of a class and is ignored. Take the class out, or ignore another value."
        )
    if isinstance(ignore, list) and not coloured:
        raise AtrousError(f"{path}: the values are numbers and ignore is the colour {ignore}. Give a number.")


def _refuse_repeated(path: Path, field: str, items: list[Any]) -> None:
    repeated = next((item for place, item in enumerate(items) if item in items[:place]), None)
    if repeated is not None:
        raise AtrousError(f"{path}: {field} repeat {repeated!r}; every class needs its own. Correct the file.")


def _is_number(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and abs(item) < _LARGEST


def _is_colour(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 3 and all(_is_number(part) and 0 <= part <= 255 for part in item)


def _odd(path: Path, field: str, came: Any, accepted: str) -> AtrousError:
    text = json.dumps(came, ensure_ascii=False)
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return AtrousError(f"{path}: {field} {shown} came; {accepted} is accepted. An example: {_EXAMPLE}.")


def _tuples(item: Any) -> Any:
    return tuple(_tuples(part) for part in item) if isinstance(item, list) else item
