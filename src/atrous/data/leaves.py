"""The files and simple parts that a source is made of, such as those of the channels of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from atrous.data.parts import Source


def leaves(source: Source | None) -> Iterator[Source]:
    """Yield the files and simple parts that a source is made of."""
    if source is None:
        return
    inner = _inner(source)
    if not inner:
        yield source
    for each in inner:
        yield from leaves(each)


def _inner(source: Source) -> tuple[Source, ...]:
    """Return what a part is made of, which it has in `sources` or `source`; () for files and simple parts."""
    alone = getattr(source, "source", None)
    return tuple(getattr(source, "sources", ())) or (() if alone is None else (alone,))


def changed(source: Source, change: Callable[[Path], Source]) -> Source:
    """Return a source with other files in it."""
    if isinstance(source, Path):
        return change(source)
    inner = tuple(changed(each, change) for each in _inner(source))
    if not inner:
        return source
    part: Any = source
    made: Source = replace(part, sources=inner) if hasattr(part, "sources") else replace(part, source=inner[0])
    return made
