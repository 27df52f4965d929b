"""What pydantic finds wrong with settings, in one line that a user can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError


def explained(error: Exception, *, flags: bool = False) -> str:
    """Return a validation error in one line: each field once, with what is accepted and what came.

    With `flags` the fields of a recipe are called as the command line calls them.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    found: dict[str, list[Any]] = {}
    for each in error.errors():
        found.setdefault(str(each["loc"][0]) if each["loc"] else "", []).append(each)
    parts = []
    for field, errors in found.items():
        flag = "--option" if field == "options" else f"--{field.replace('_', '-')}"
        words = _about_field(errors)
        parts.append(f"{flag if flags and error.title == 'Recipe' else field}: {words}" if field else words)
    return "; ".join(parts)


def _about_field(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with one field; of the kinds of value that it takes, only those that came nearest count."""
    deepest = max(len(each["loc"]) for each in errors)
    errors = [each for each in errors if len(each["loc"]) == deepest]
    kind, last = errors[0]["type"], errors[0]["loc"][-1:]
    if kind in ("missing", "unexpected_keyword_argument"):
        return "is missing" if kind == "missing" else "there is no such setting"
    first, *others = dict.fromkeys(_lowered(each["msg"]) for each in errors)
    words = ", or ".join([first, *(other.removeprefix("input should be ") for other in others)])
    if kind == "value_error":
        return words  # our own, which tells what came
    place = f" at place {last[0] + 1}" if deepest > 1 and isinstance(last[0], int) else ""
    return f"{words}, {errors[0]['input']!r} came{place}"


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
