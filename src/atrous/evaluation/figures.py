"""Scores as figures: shares that may be undefined, their means, and how they are stored and printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace


class Addable(Protocol):
    """What `+` puts together: every measure of images."""

    def __add__(self, other: Self, /) -> Self:
        """Return the measure of the images of both."""
        ...


M = TypeVar("M", bound=Addable)


def joined(measures: Iterable[M]) -> M:
    """Return the sum of measures, in order; of n that hold a row per image it takes n log n steps, where + takes n^2.

    They are read one by one, and no more than log n sums are held.

    Raises `ValueError` where there are none.

    >>> joined([(1,), (2,), (3,)])
    (1, 2, 3)
    """
    sums: list[tuple[int, M]] = []
    for measure in measures:
        count, total = 1, measure
        while sums and sums[-1][0] <= count:
            before, earlier = sums.pop()
            count, total = before + count, earlier + total
        sums.append((count, total))
    if not sums:
        raise ValueError("no measures came; give those of at least one image")
    total = sums.pop()[1]
    while sums:
        total = sums.pop()[1] + total
    return total


def one_space(first: LabelSpace, second: LabelSpace) -> LabelSpace:
    """Return the classes of two measures that are added, which are the same.

    Raises `ValueError` where their names differ.
    """
    if first.names != second.names:
        raise ValueError(f"classes {first.names} and {second.names} came; measures of the same classes are added")
    return first


def shares(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part / whole, NaN where the whole is 0.

    >>> shares(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def mean_known(values: NDArray[np.float64]) -> float:
    """Return the mean of what is not NaN; NaN where nothing is.

    >>> mean_known(np.array([1, np.nan, 2]))
    1.5
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def means_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of what is not NaN; NaN where nothing is.

    >>> means_known(np.array([[1, np.nan], [2, np.nan]])).tolist()
    [1.5, nan]
    """
    known = ~np.isnan(values)
    return shares(np.where(known, values, 0).sum(0), known.sum(0))


def plain(value: float) -> float | None:
    """Return a number as JSON takes it: NaN becomes None.

    >>> plain(float("nan")), plain(np.float64(0.5))
    (None, 0.5)
    """
    return None if np.isnan(value) else float(value)


def percent(value: float) -> str:
    """Return a share in per cent, six characters wide; a dash for NaN.

    >>> percent(0.1234), percent(float("nan"))
    (' 12.34', '     -')
    """
    return "     -" if np.isnan(value) else f"{100 * value:6.2f}"


def figure(title: str, value: float, words: str) -> str:
    """Return a line of a score: its title, the share in per cent, and what it means.

    >>> figure("mean IoU", 0.5, "the mean of IoU")
    'mean IoU                 50.00   the mean of IoU'
    """
    return f"{title:<24}{percent(value)}   {words}"
