"""The objects of a mask: the connected regions of each of its values, and how large they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL = 32 * 32
"""A region of fewer pixels is small, as in the measures of COCO."""

MEASURED = 1000
"""Regions are counted on no more masks than this, evenly spaced."""

_MOST_VALUES = 64


@dataclass(frozen=True)
class Regions:
    """How many regions a class has, how many are `small` (under 32 x 32 pixels), and the median area in pixels."""

    count: int
    small: int
    median: float


def region_areas(values: NDArray[Any], present: Iterable[int] | None = None) -> dict[int, NDArray[np.int32]]:
    """Return the areas of the regions of each value of (h, w), 8-connected; {} for more than 64 values.

    `present` are the values, where they are known already.

    >>> {value: areas.tolist() for value, areas in region_areas(np.uint8([[0, 1], [1, 0]])).items()}
    {0: [2], 1: [2]}
    """
    import cv2

    listed = np.unique(values).tolist() if present is None else list(present)
    if len(listed) > _MOST_VALUES:
        return {}
    areas = {}
    for value in listed:
        inside = values == value
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        part = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
        statistics = cv2.connectedComponentsWithStats(part, connectivity=8)[2]
        areas[value] = statistics[1:, cv2.CC_STAT_AREA].astype(np.int32)
    return areas


def summed_up(areas: Iterable[NDArray[np.integer]]) -> Regions:
    """Return the statistics of all regions of one class.

    >>> summed_up([np.array([4, 6]), np.array([5000])])
    Regions(count=3, small=2, median=6.0)
    """
    every = np.concatenate([np.zeros(0, np.int32), *areas])
    return Regions(len(every), int((every < SMALL).sum()), float(np.median(every)) if len(every) else 0.0)
