"""A folder that is watched: what comes into it, once it is there as a whole."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.contract import AtrousError
from atrous.prediction.sources import Source, named, paths_below

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class _Seen:
    """What a source's files looked like, since when, whether they were handed on so, and under which name."""

    signature: Signature
    since: float
    name: str
    done: bool = False


def watched(
    folder: str | Path,
    *,
    every: float = 1.0,
    settled: float = 2.0,
    stop: threading.Event | None = None,
    apart_from: Collection[Path] = (),
) -> Iterator[list[Source]]:
    """Yield the sources below a folder as they come, those there already first, until `stop` is set.

    The folder is looked at `every` so many seconds, also on network drives that tell of no changes. A source is handed
    on once its size and its time have been the same for `settled` seconds, so that no half copied file is read; an
    empty file is waited for. One that changes later, or is replaced, comes again under the same name; one that vanishes
    before is forgotten. Folders of `apart_from`, where results go, are not entered.

    Raises `AtrousError` where the folder is not there, or no longer; `ValueError` for times that are not above 0.
    """
    if not (every > 0 and settled > 0):
        raise ValueError(f"every {every} and settled {settled} came; both are seconds above 0")
    folder, stop = Path(folder), stop or threading.Event()
    results = frozenset(path.resolve() for path in apart_from)
    seen: dict[Path, _Seen] = {}
    looks: dict[Path, Signature] = {}
    sources: list[Source] = []
    while not stop.is_set():
        if not folder.is_dir():
            raise AtrousError(f"{folder}: no such folder; name one that is there to be watched")
        before, looks = looks, {path: _signature(path) for path in paths_below(folder, results)}
        if looks != before:  # which files make a DICOM series is read in all of them
            sources = named(list(looks), folder)
        ready = _ready(sources, looks, seen, settled)
        if ready:
            yield ready
        else:
            stop.wait(every)


def _ready(
    sources: list[Source], looks: dict[Path, Signature], seen: dict[Path, _Seen], settled: float
) -> list[Source]:
    """Return the sources that have settled and were not handed on as they are, and bring `seen` up to date."""
    now, ready = time.monotonic(), []
    for path in seen.keys() - {source.path for source in sources}:
        del seen[path]
    for source in sources:
        signature = tuple(each for file in source.files or (source.path,) for each in looks[file])
        before = seen.get(source.path)
        if before is None or before.signature != signature:
            seen[source.path] = _Seen(signature, now, source.name if before is None else before.name)
        elif not before.done and now - before.since >= settled and all(size > 0 for _, size, _, _ in signature):
            seen[source.path] = replace(before, done=True)
            ready.append(replace(source, name=before.name))
    return ready


def _signature(path: Path) -> Signature:
    """Return name, size, time and number of a file, or of all files of a store; one that just vanished has no size."""
    return tuple((str(each), *_facts(each)) for each in (_inside(path) if path.is_dir() else (path,)))


def _inside(store: Path) -> tuple[Path, ...]:
    return tuple(Path(place, name) for place, _, names in sorted(os.walk(store)) for name in sorted(names))


def _facts(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino
