"""Which values the masks hold, and how many pixels each has."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.data.images import packed
from atrous.data.parts import Source, mask_pixels, path_of

Progress = Callable[[int, int], None]
Given = TypeVar("Given")
Answer = TypeVar("Answer")

_AHEAD = 8


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
    answers.
    """
    answers: list[Answer] = []
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for item in given:
                waiting.append(pool.submit(function, item))
                if len(waiting) > _AHEAD * workers():
                    _take(waiting, answers, len(given), progress)
            while waiting:
                _take(waiting, answers, len(given), progress)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return answers


def _take(waiting: deque[Future[Answer]], answers: list[Answer], total: int, progress: Progress | None) -> None:
    answers.append(waiting.popleft().result())
    if progress is not None:
        progress(len(answers), total)


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
