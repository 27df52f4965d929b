"""Two numberings of the same pixels: how many pixels each pair of numbers shares, and regions numbered."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE


class Overlaps(NamedTuple):
    """The pairs of numbers that occur, each once and in order: `first`, `second` and their common `pixels`, int64."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> Overlaps:
    """Count the pixels of every pair of numbers; `first` and `second` are of one shape, 0 or more, and below 2^31.

    It takes the time of sorting the pixels, and memory for the pairs that occur, not for all that could.

    >>> [part.tolist() for part in overlaps(np.array([0, 5, 5, 5]), np.array([1, 1, 2, 2]))]
    [[0, 5, 5], [1, 1, 2], [1, 1, 2]]
    """
    step = int(second.max(initial=0)) + 1
    pairs, pixels = np.unique(first.astype(np.int64) * step + second, return_counts=True)
    return Overlaps(pairs // step, pairs % step, pixels.astype(np.int64))


def regions(mask: NDArray[np.bool_], *, connectivity: Literal[4, 8]) -> NDArray[np.int32]:
    """Return (h, w) int32 numbers from 1 of the connected regions of a mask (h, w), 0 elsewhere.

    Pixels are connected that meet at a side (4), or at a side or a corner (8).

    >>> mask = np.eye(2, dtype=bool)
    >>> int(regions(mask, connectivity=8).max()), int(regions(mask, connectivity=4).max())
    (1, 2)
    """
    _, numbers = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=connectivity)
    return np.asarray(numbers, np.int32)


def check_sizes(**given: NDArray[Any]) -> None:
    """Raise `ValueError` for what are not whole numbers (h, w) of one size."""
    for name, numbers in given.items():
        if numbers.dtype.kind not in "iu" or numbers.ndim != 2 or not numbers.size:
            raise ValueError(f"{name} is {numbers.dtype} of shape {numbers.shape}; integers of shape (h, w) are needed")
    if len({numbers.shape for numbers in given.values()}) > 1:
        sizes = " and ".join(f"{name} is {numbers.shape}" for name, numbers in given.items())
        raise ValueError(f"{sizes}; give all the same size")


def check_cells(truth: NDArray[Any], labels: NDArray[Any]) -> None:
    """Raise `ValueError` for what are not whole numbers (h, w) of one size, 0 and 1 where the truth is counted."""
    check_sizes(truth=truth, labels=labels)
    for name, given in (("truth", truth), ("labels", labels)):
        other = given[(truth != IGNORE) & (given != 0) & (given != 1)]
        if other.size:
            raise ValueError(f"{name} has class {other.max()}; membranes are 0 and cells 1, and there is no other")
