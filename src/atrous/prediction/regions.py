"""Connected regions of one class: numbered in a picture, and counted in pictures and volumes that arrive in parts.

Regions are connected over the sides of pixels, and in volumes over the faces of voxels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE

Numbers = NDArray[np.int64]


def regions(labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return for every pixel of labels (h, w) the number of its region, from 1; ignored pixels have regions too.

    One pass, whatever the number of classes: the pixels are nodes of a grid twice as fine, and between two of one class
    there is a link.

    >>> regions(np.array([[0, 1, 0], [0, 1, 1]], np.uint8)).tolist()
    [[1, 2, 3], [1, 2, 2]]
    """
    import cv2  # slow to import

    height, width = labels.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    grid[::2, 1::2] = labels[:, 1:] == labels[:, :-1]
    grid[1::2, ::2] = labels[1:] == labels[:-1]
    numbers = cv2.connectedComponents(grid, connectivity=4, ltype=cv2.CV_32S)[1]
    return np.ascontiguousarray(numbers[::2, ::2], np.int32)


class RegionCounter:
    """Counts the regions of every label in parts: `number` each part, say which `touch`, and `settle` what is past.

    `counts` (256) is right at every moment for the parts and touches that were told. Only the numbers that may still
    touch a later part need to be kept.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(256, np.int64)
        self._last = 0
        self._parents: dict[int, int] = {}

    def number(self, labels: NDArray[np.uint8]) -> Numbers:
        """Return numbers (h, w) of the regions of a part that no other part has; 0 where a pixel is ignored."""
        numbers = regions(labels)
        count = int(numbers.max())
        whose = np.zeros(count + 1, np.uint8)
        whose[numbers] = labels
        self.counts += np.bincount(whose[1:], minlength=256)
        self.counts[IGNORE] = 0
        numbered: Numbers = numbers + np.int64(self._last)
        numbered[labels == IGNORE] = 0
        self._last += count
        return numbered

    def touch(
        self, labels: NDArray[np.uint8], numbers: Numbers, others: NDArray[np.uint8], other_numbers: Numbers
    ) -> None:
        """Join the regions of pixels and of their neighbours, of the same shape; a number of 0 is no neighbour."""
        joined = (labels == others) & (numbers > 0) & (other_numbers > 0)
        if not joined.any():
            return
        columns = np.stack([numbers[joined], other_numbers[joined], labels[joined]], axis=1)
        for first, second, label in np.unique(columns, axis=0).tolist():
            ends = self._root(first), self._root(second)
            if ends[0] != ends[1]:
                self._parents[ends[0]] = ends[1]
                self.counts[label] -= 1

    def settle(self, *open_numbers: Numbers) -> None:
        """Forget all regions but those of these numbers, which are changed in place to what stands for them now."""
        for numbers in open_numbers:
            found, where = np.unique(numbers, return_inverse=True)
            roots = np.array([self._root(number) for number in found.tolist()], np.int64)
            numbers[...] = roots[where].reshape(numbers.shape)
        self._parents.clear()

    def _root(self, number: int) -> int:
        root = number
        while (above := self._parents.get(root, root)) != root:
            root = above
        while (above := self._parents.get(number, number)) != root:
            self._parents[number] = root
            number = above
        return root
