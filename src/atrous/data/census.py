"""Which values the masks hold, and how many pixels each has."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.data.images import packed
from atrous.data.parts import Source, mask_pixels, path_of

Progress = Callable[[int, int], None]
Given = TypeVar("Given")
Answer = TypeVar("Answer")

_AHEAD = 8
_PATIENCE = 2.0  # seconds that files under way are given after an interrupt; a second one ends that too
_WAKING = 0.2


@dataclass(frozen=True)
class MaskCensus:
    """The values of one mask with their pixel counts; of a coloured one the values are `packed` colours."""

    path: Path
    size: tuple[int, int]
    coloured: bool
    wide: bool
    pixels: dict[int, int]


def count_mask(mask: Source, *, colours: bool = False) -> MaskCensus:
    """Return the census of one mask; with `colours` a palette counts as its colours."""
    return count_values(mask_pixels(mask, colours=colours), path_of(mask))


def count_values(mask: NDArray[Any], path: Path) -> MaskCensus:
    """Return the census of a mask as `read_mask` gives it: (h, w) integers or (h, w, 3) colours."""
    values = packed(mask) if mask.ndim == 3 else mask
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        counts = counts[present]
    else:
        present, counts = np.unique(values, return_counts=True)
    pixels = dict(zip(present.tolist(), counts.tolist(), strict=True))
    return MaskCensus(path, (mask.shape[0], mask.shape[1]), mask.ndim == 3, mask.dtype.itemsize > 1, pixels)


def workers() -> int:
    """Return how many threads decode at once: a file is decoded outside the interpreter's lock."""
    return min(8, os.cpu_count() or 1)


def in_threads(
    function: Callable[[Given], Answer], given: Sequence[Given], progress: Progress | None = None
) -> list[Answer]:
    """Return `function` of every item, in order, telling `progress(done, total)` after each.

    Only a few items a thread are on their way at any time, so that a hundred thousand need no more memory than their
    answers. What `function` or `progress` raises ends it, once the items under way are done; an interrupt does not wait
    for them longer than two seconds.
    """
    # An executor would not do: an interrupt between its locks leaves one of them locked, and its end waits for ever.
    work: SimpleQueue[tuple[int, Given] | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, Answer | None, BaseException | None]] = SimpleQueue()
    threads = [Thread(target=_work, args=(function, work, done), daemon=True) for _ in given[: workers()]]
    patience = math.inf  # what is being written must be at its end when the caller cleans up
    try:
        for thread in threads:
            thread.start()
        return _in_order(given, work, done, progress)
    except BaseException as error:
        patience = math.inf if isinstance(error, Exception) else _PATIENCE
        raise
    finally:
        _end(threads, work, patience)


def _work(function: Callable[[Any], Any], work: SimpleQueue[Any], done: SimpleQueue[Any]) -> None:
    """Do what comes until None comes; errors are answers too."""
    while (task := work.get()) is not None:
        try:
            done.put((task[0], function(task[1]), None))
        except BaseException as error:
            done.put((task[0], None, error))


def _in_order(
    given: Sequence[Given], work: SimpleQueue[Any], done: SimpleQueue[Any], progress: Progress | None
) -> list[Any]:
    """Return the answers in the order of what was given, handing out more work as they come."""
    tasks = enumerate(given)
    for begun in islice(tasks, _AHEAD * workers()):
        work.put(begun)
    answers: list[Any] = []
    ready: dict[int, tuple[Any, BaseException | None]] = {}
    while len(answers) < len(given):
        index, answer, error = _next(done)
        ready[index] = answer, error
        while len(answers) in ready:
            answer, error = ready.pop(len(answers))
            if error is not None:
                raise error
            answers.append(answer)
            if (task := next(tasks, None)) is not None:
                work.put(task)
            if progress is not None:
                progress(len(answers), len(given))
    return answers


def _next(done: SimpleQueue[Any]) -> Any:
    """Return what comes next, waking now and then: not every system interrupts a thread that waits for good."""
    while True:
        with suppress(Empty):
            return done.get(timeout=_WAKING)


def _end(threads: Sequence[Thread], work: SimpleQueue[Any], patience: float) -> None:
    """Take back work that nobody has begun, and wait so many seconds for what is under way."""
    with suppress(Empty):
        while True:
            work.get_nowait()
    for _ in threads:
        work.put(None)
    latest = time.monotonic() + patience
    for thread in threads:
        while thread.is_alive() and time.monotonic() < latest:
            thread.join(_WAKING)


def total_pixels(masks: Iterable[MaskCensus], *, coloured: bool) -> Counter[int]:
    """Return the pixels of each value over all masks; where some are coloured, grey v counts as (v, v, v)."""
    total: Counter[int] = Counter()
    for mask in masks:
        for value, pixels in mask.pixels.items():
            total[value if mask.coloured or not coloured else value * 0x010101] += pixels
    return total


def unpacked(value: int) -> tuple[int, int, int]:
    """Return the RGB triple of a packed colour.

    >>> unpacked(65538)
    (1, 0, 2)
    """
    return value >> 16, value >> 8 & 255, value & 255
