"""Objects told apart: numbers for those that have none, and a line of background between those that touch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE

_EXACT = 1 << 24  # up to here float32, which OpenCV compares, holds every whole number
_AROUND = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)


def numbered(labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return (h, w) int32 numbers from 1 of the connected regions of every class but 0; 0 elsewhere and where ignored.

    Pixels that meet at a corner are connected, else a stroke one pixel wide would fall to pieces where it is slanting,
    and its every pixel would be an object to be kept apart from the next.

    >>> numbered(np.uint8([[1, 0, 2, 2], [0, 1, 0, 255]])).tolist()
    [[1, 0, 2, 2], [0, 1, 0, 0]]
    """
    numbers, count = np.zeros(labels.shape, np.int32), 0
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[:IGNORE]):
        if label:
            found, regions = cv2.connectedComponents((labels == label).view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
            np.copyto(numbers, regions + count, where=regions != 0)
            count += found - 1
    return numbers


def compacted(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return object numbers (h, w) as 1, 2, ... in their order, 0 staying 0; as they are where all are 0 to 2^24 - 1.

    >>> compacted(np.int32([[0, -7, 2_000_000_000]])).tolist()
    [[0, 1, 2]]
    """
    if not numbers.size or (numbers.min() >= 0 and numbers.max() < _EXACT):
        return numbers
    present, places = np.unique(numbers, return_inverse=True)
    of = np.cumsum(present != 0)
    of[present == 0] = 0
    return of.astype(np.int32)[places].reshape(numbers.shape)


def parted(labels: NDArray[np.uint8], instances: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the labels (h, w) with a line of class 0, one pixel wide, where two objects of one class touch.

    Of the two the one with the higher number loses its pixels that meet the other, at a side or a corner; to take from
    both would cost twice as much of them and part them no better. Objects of different classes keep their border,
    since their classes tell them apart; so does what is ignored. Where none touch, `labels` itself is returned.

    U-Net draws such borders by morphological operations (arXiv 1505.04597, section 3).

    >>> parted(np.uint8([[1, 1, 1, 1, 2]]), np.int32([[1, 1, 2, 2, 3]])).tolist()
    [[1, 1, 0, 1, 2]]
    """
    if not labels.size:
        return labels
    drawn = (labels != 0) & (labels != IGNORE)
    numbers = compacted(instances)
    objects = np.where(drawn & (numbers != 0), numbers, np.float32(_EXACT)).astype(np.float32, copy=False)
    # The lowest number around: where it is lower, another object is near, whatever its class.
    rows, columns = np.nonzero(cv2.erode(objects, np.ones((3, 3), np.uint8)) < objects)
    inside = objects[rows, columns] < _EXACT
    rows, columns = rows[inside], columns[inside]
    touching = _meets_lower(objects, labels, rows, columns)
    if not touching.any():
        return labels
    result = labels.copy()
    result[rows[touching], columns[touching]] = 0
    return result


def _meets_lower(
    objects: NDArray[np.float32], labels: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return for each of some pixels whether an object of its class with a lower number lies beside it."""
    number, label = objects[rows, columns], labels[rows, columns]
    meets = np.zeros(len(rows), bool)
    for down, right in _AROUND:
        # Beyond the border the outermost pixel is taken again, which is the pixel itself or one beside it.
        row, column = np.clip(rows + down, 0, labels.shape[0] - 1), np.clip(columns + right, 0, labels.shape[1] - 1)
        meets |= (objects[row, column] < number) & (labels[row, column] == label)
    return meets
