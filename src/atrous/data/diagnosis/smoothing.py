"""Masks that were resized with interpolation or saved with loss: values at borders that are no classes.

Along a row of a sound mask one class ends where the next begins. In a smoothed one values run from the first to the
second in between, and which they are hangs on where the border fell. A class that is drawn as a thin outline between
two others is in between as well, but always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDE = 3  # a run of as many equal pixels is no step of a border
_STEPS = 9  # the most steps that a border may take
_APART = 3  # values closer together have less than two between them
_FEWEST = 12
_WINDOW = 2048
_SHARE = 0.3  # measured: 0.05 at most on sound masks, 0.4 at least on smoothed ones
_VARIETY = 1.35  # values between the same two, on average
_SPECKLED = 0.4  # measured: 0.12 at most on sound masks, 0.5 at least on those saved as JPEG in between
_MANY = 8
_RARE = 0.005


@dataclass(frozen=True)
class Borders:
    """How many borders of a mask are sharp, how many pass through values in between, and how `varied` those are.

    `specks` is the share of specks among the pixels at borders: a speck equals one at most of the four around it.
    """

    sharp: int = 0
    smooth: int = 0
    varied: float = 0.0
    specks: float = 0.0

    @property
    def smoothed(self) -> bool:
        """Whether the mask must have been interpolated."""
        return self.smooth >= _FEWEST and self.smooth > _SHARE * (self.smooth + self.sharp) and self.varied >= _VARIETY


def saved_with_loss(seen: Borders, pixels: Mapping[int, int]) -> bool:
    """Say whether a mask, by its borders and its census, was a JPEG once: specks of many rare values."""
    total = sum(pixels.values())
    rare = sum(1 for count in pixels.values() if count < _RARE * total)
    return seen.specks > _SPECKLED and len(pixels) > _MANY and rare > len(pixels) / 2


def borders(mask: NDArray[Any]) -> Borders:
    """Return the count of the borders of a mask, (h, w) or (h, w, 3), along the rows and columns of its middle.

    Of a mask larger than 2,048 x 2,048 only as much is looked at.

    >>> sharp = np.repeat(np.uint8([[0, 0, 0, 9, 9, 9]]), 6, axis=0)
    >>> borders(sharp)
    Borders(sharp=6, smooth=0, varied=0.0, specks=0.0)
    """
    top, left = (max(0, (side - _WINDOW) // 2) for side in mask.shape[:2])
    mask = mask[top : top + _WINDOW, left : left + _WINDOW]
    specks = _specks(mask)
    found = [_along_rows(mask), _along_rows(mask.swapaxes(0, 1))]
    sharp = sum(count for count, _ in found)
    steps = np.concatenate([each for _, each in found])
    if not len(steps):
        return Borders(sharp, specks=specks)
    sides = len(np.unique(steps[:, :2], axis=0))
    return Borders(sharp, len(steps), len(np.unique(steps, axis=0)) / sides, specks)


def _specks(mask: NDArray[Any]) -> float:
    channels = mask.reshape(*mask.shape[:2], -1)
    differing = np.zeros(mask.shape[:2], np.uint8)
    beside = (channels[:, 1:] != channels[:, :-1]).any(axis=2)
    below = (channels[1:] != channels[:-1]).any(axis=2)
    differing[:, 1:] += beside
    differing[:, :-1] += beside
    differing[1:] += below
    differing[:-1] += below
    return int(np.count_nonzero(differing >= 3)) / max(1, int(np.count_nonzero(differing)))


def _along_rows(mask: NDArray[Any]) -> tuple[int, NDArray[np.int64]]:
    """Return the number of sharp borders, and (first side, second side, value between) of the smooth ones."""
    pixels = _with_ends(mask)
    starts = np.flatnonzero(np.concatenate([[True], (pixels[1:] != pixels[:-1]).any(axis=1)]))
    runs = pixels[starts]
    wide = np.flatnonzero((np.diff(starts, append=len(pixels)) >= _WIDE) & (runs[:, 0] >= 0))
    first, second = wide[:-1], wide[1:]
    apart = np.abs(runs[first] - runs[second]).max(axis=1, initial=0) >= _APART
    first, second = first[apart], second[apart]
    steps = second - first
    between = (steps > 1) & (steps <= _STEPS) & _one_way(runs, first, second)
    return int((steps == 1).sum()), np.stack(
        [_number(runs[first[between]]), _number(runs[second[between]]), _number(runs[first[between] + 1])], axis=1
    )


def _with_ends(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Return the pixels (n, channels) row after row, with one of -1 after each row, so that rows do not touch."""
    channels = mask.reshape(*mask.shape[:2], -1).astype(np.int32)
    return np.pad(channels, ((0, 0), (0, 1), (0, 0)), constant_values=-1).reshape(-1, channels.shape[2])


def _one_way(runs: NDArray[np.int32], first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each pair of runs whether every channel only rises, or only falls, from one to the other."""
    change = np.diff(runs, axis=0, prepend=runs[:1])
    rises, falls = (np.cumsum(kind, axis=0) for kind in (change > 0, change < 0))
    return (((rises[second] - rises[first]) == 0) | ((falls[second] - falls[first]) == 0)).all(axis=1)


def _number(colours: NDArray[np.int32]) -> NDArray[np.int64]:
    return (colours.astype(np.int64) * (1 << np.arange(0, 16 * colours.shape[1], 16))[: colours.shape[1]]).sum(axis=1)


def only_two_extremes(pixels: Mapping[int, int], extremes: Sequence[int] = (0, 255)) -> bool:
    """Say whether a census of grey levels is that of black and white with a fringe, which is a soft mask."""
    return sum(pixels.get(value, 0) for value in extremes) >= 0.6 * sum(pixels.values()) and extremes[1] in pixels
