"""Masks that are turned or mirrored against their images: borders of masks lie on edges of images, or they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.data.decoders import turned
from atrous.data.diagnosis.copies import grey_of

TURNS = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "transposed",
    6: "turned by 90 degrees",
    7: "transposed across",
    8: "turned by 270 degrees",
}
"""The orientations in the numbers of EXIF, in words: what has to be done to the mask."""

_SIDE = 256
_SMALLEST = 16
_FEWEST = 4
_CLEARLY = 1.2
_SLIGHTLY = 1.1
_UNLIKELY = 1e-3


def agreement(image: NDArray[Any], mask: NDArray[Any]) -> tuple[float, ...]:
    """Return how strong the image's edges are at the mask's borders, for the mask as it is and turned in 7 ways.

    1 is what any place has on average. The order is that of EXIF's orientations 1 to 8; of images that are not square
    the last four are 0, and () comes back where there is no border, no edge, or fewer than 16 pixels a side.
    """
    import cv2

    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST or mask.shape[:2] != (height, width):
        return ()
    grey = grey_of(image)
    if grey is None:
        return ()
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    edges = _edges(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    rows, columns = (np.arange(side) * full // side for side, full in ((size[1], height), (size[0], width)))
    border = _border(mask[rows][:, columns])
    if not border.any() or edges is None:
        return ()
    turns = range(1, 9) if size[0] == size[1] else range(1, 5)
    strengths = [float(edges[turned(border, turn)].mean()) for turn in turns]
    return (*strengths, *(0.0 for _ in range(8 - len(strengths))))


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the strength of edges, 1 on average and at most 4, so that a few very strong ones do not decide."""
    import cv2

    steps = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    mean = float(steps.mean())
    if mean <= 1e-6:
        return None
    limited = np.minimum(steps / mean, 4)
    return limited / max(float(limited.mean()), 1e-6)


def _border(mask: NDArray[Any]) -> NDArray[np.bool_]:
    channels = mask.reshape(*mask.shape[:2], -1)
    border = np.zeros(mask.shape[:2], np.bool_)
    border[:, 1:] |= (channels[:, 1:] != channels[:, :-1]).any(axis=2)
    border[1:] |= (channels[1:] != channels[:-1]).any(axis=2)
    return border


def turned_masks(
    agreements: Sequence[tuple[float, ...]], exif: Sequence[int], groups: Sequence[str | None] = ()
) -> dict[int, int]:
    """Return which masks need turning, as {index: orientation}, of what `agreement` gave for each pair.

    Either most masks agree clearly better in one other way, or so many somewhat better that it is no chance; or, where
    masks agree well as they are, a few agree no more than by chance and as well as the others in another way; or
    `exif`, how the image was turned when it was read (1: not at all), is the better way for most images that were.
    Members of one of `groups`, such as the slices of a volume, are turned alike, and so count as one.
    """
    members: dict[object, list[int]] = defaultdict(list)
    for index, strengths in enumerate(agreements):
        if strengths:
            members[(groups[index] if groups else None) or index].append(index)
    if not members:
        return {}
    table = np.array([np.mean([agreements[index] for index in each], axis=0) for each in members.values()])
    orientations = np.array([exif[each[0]] for each in members.values()])
    parts = list(members.values())
    for chosen in (_all_alike(table), _as_the_sensor(table, orientations), _a_few(table)):
        if chosen:
            return {index: turn for row, turn in chosen.items() for index in parts[row]}
    return {}


def _all_alike(table: NDArray[np.float64]) -> dict[int, int]:
    if len(table) < _FEWEST:
        return {}
    ratios = table / np.maximum(table[:, :1], 1e-6)
    turn = int(np.argmax(np.median(ratios, axis=0)))
    gain, strength = float(np.median(ratios[:, turn])), float(np.median(table[:, turn]))
    clear = gain >= _CLEARLY and strength >= 1.3 and (ratios[:, turn] > 1.1).mean() >= 0.75
    steady = gain >= _SLIGHTLY and strength >= _CLEARLY and _chance(ratios[:, turn] > 1) < _UNLIKELY
    if turn == 0 or not (clear or steady):
        return {}
    return {int(row): turn + 1 for row in np.flatnonzero(ratios[:, turn] > 1)}


def _chance(better: NDArray[np.bool_]) -> float:
    """Return how likely it is that as many of so many, or more, are better where either is as likely: a sign test."""
    return sum(comb(len(better), count) for count in range(int(better.sum()), len(better) + 1)) / 2 ** len(better)


def _as_the_sensor(table: NDArray[np.float64], exif: NDArray[np.int64]) -> dict[int, int]:
    rows = np.flatnonzero(exif > 1)
    best = table[rows, exif[rows] - 1]
    better = (best > _CLEARLY * table[rows, 0]) & (best > 1.3)
    if not len(rows) or better.mean() < 0.75:
        return {}
    return {int(row): int(exif[row]) for row in rows[better]}


def _a_few(table: NDArray[np.float64]) -> dict[int, int]:
    usual = float(np.median(table[:, 0]))
    if len(table) < _FEWEST or usual < 1.35:
        return {}
    turns = np.argmax(table, axis=1)
    best = table[np.arange(len(table)), turns]
    strange = (table[:, 0] < 1.1) & (best > 0.75 * usual) & (best > 1.5 * table[:, 0])
    return {int(row): int(turns[row]) + 1 for row in np.flatnonzero(strange)}
