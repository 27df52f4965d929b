"""The two nearest distinct objects of every pixel, in NumPy: first within its column, then to both sides of its row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Number = NDArray[np.int32]
_Distance = NDArray[np.float32]
_Nearest = tuple[_Distance, _Number, _Distance, _Number]


def two_nearest(
    objects: NDArray[np.int32],
    farthest: float,
    reach: int,
    threads: int,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    /,
) -> None:
    """Write the squared distances to the two nearest distinct objects, infinite over `farthest`."""
    in_column = _searched_columns(objects)
    found = tuple(part.copy() for part in in_column)
    for step in range(1, reach + 1):
        aside = np.float32(step) * np.float32(step)
        if aside >= found[2].max() or aside > np.float32(farthest):
            break
        here, there = np.s_[:, step:], np.s_[:, :-step]
        for target, source in ((here, there), (there, here)):
            view = tuple(part[target] for part in found)
            for distance, number in (in_column[:2], in_column[2:]):
                _keep(view, distance[source] + aside, number[source])
    first[:] = np.where(found[0] <= farthest, found[0], np.inf)
    second[:] = np.where(found[2] <= farthest, found[2], np.inf)


def _keep(nearest: tuple[NDArray[Any], ...], distance: _Distance, number: _Number) -> None:
    """Take one candidate per pixel in, in place."""
    first, first_number, second, second_number = nearest
    same, closer = number == first_number, distance < first
    moves, follows = closer & ~same, ~closer & ~same & (distance < second)
    second[:] = np.where(moves, first, np.where(follows, distance, second))
    second_number[:] = np.where(moves, first_number, np.where(follows, number, second_number))
    first[:] = np.where(closer, distance, first)
    first_number[:] = np.where(closer, number, first_number)


def _searched_columns(objects: _Number) -> _Nearest:
    nearest = (
        np.full(objects.shape, np.inf, np.float32),
        np.zeros(objects.shape, np.int32),
        np.full(objects.shape, np.inf, np.float32),
        np.zeros(objects.shape, np.int32),
    )
    for direction in (np.s_[:], np.s_[::-1]):
        parts = tuple(part[direction] for part in nearest)
        for row, met in enumerate(_met(objects[direction])):
            for at, number in met:
                away = np.float32(row) - at
                _keep(tuple(part[row] for part in parts), away * away, number)
    return nearest


def _met(objects: _Number) -> Iterator[tuple[tuple[_Distance, _Number], ...]]:
    """Yield for every row where each column met its last object, which it was, and the same of the one before."""
    width = objects.shape[1]
    last, before = np.zeros(width, np.int32), np.zeros(width, np.int32)
    last_row, before_row = np.full(width, -np.inf, np.float32), np.full(width, -np.inf, np.float32)
    for row, numbers in enumerate(objects):
        other = (numbers != 0) & (numbers != last)
        before, before_row = np.where(other, last, before), np.where(other, last_row, before_row)
        last = np.where(other, numbers, last)
        last_row = np.where(numbers != 0, np.float32(row), last_row)
        yield (last_row, last), (before_row, before)
