"""True and found objects of one image, matched: by how much each pair overlaps, and who has a partner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.evaluation.overlaps import check_sizes, overlaps

_TWENTIETHS = np.arange(10, 20)
THRESHOLDS = tuple((_TWENTIETHS / 20).tolist())
"""The IoU that a match must exceed: 0.5, 0.55, ... 0.95."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matching:
    """Objects of one image, numbered in a row from 1, and the pairs of a true and a found one that overlap.

    `true`, `whole` and `hidden` are pixels by number: of true objects, of found ones, and of found ones in void.
    `first`, `second` and `pixels` are of the pairs, in the order of their numbers.
    """

    true: NDArray[np.int64]
    whole: NDArray[np.int64]
    hidden: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """Of each pair, the pixels of either."""
        return self.true[self.first] + (self.whole - self.hidden)[self.second] - self.pixels

    def counts(self) -> NDArray[np.int64]:
        """Return (10, 3): matched, false and missed objects at each of `THRESHOLDS`."""
        exceeds = 20 * self.pixels > _TWENTIETHS[:, None] * self.union  # in whole numbers, so exact
        rows, pairs = np.nonzero(exceeds)
        has_partner = np.zeros((len(THRESHOLDS), len(self.whole)), bool)
        has_partner[rows, self.second[pairs]] = True
        excused = 20 * self.hidden > _TWENTIETHS[:, None] * self.whole
        matched, false = has_partner.sum(1), (~has_partner & ~excused)[:, 1:].sum(1)
        return np.stack([matched, false, len(self.true) - 1 - matched], 1).astype(np.int64)

    def jaccard(self) -> tuple[int, int]:
        """Return the two sums of the aggregated Jaccard index: of intersections, and of unions.

        Each true object goes with the found one of the largest IoU, of equal ones the first, which others may have
        taken too; found objects that none took, and true ones that none overlaps, are in the second sum.
        """
        order = np.lexsort((self.second, -self.pixels / self.union, self.first))
        seen, firsts = np.unique(self.first[order], return_index=True)
        best = order[firsts]
        alone = self.true[1:].sum() - self.true[seen].sum()
        visible = self.whole - self.hidden
        spare = visible[1:].sum() - visible[np.unique(self.second[best])].sum()
        return int(self.pixels[best].sum()), int(self.union[best].sum() + alone + spare)


def matching(
    truth: NDArray[Any], found: NDArray[Any], *, void: NDArray[np.bool_] | None = None, minimum: int = 1
) -> Matching:
    """Return how the objects of two numberings (h, w), 0 for none, overlap; as `matched_objects` takes them.

    >>> matching(np.array([[1, 1, 1, 0, 2]]), np.array([[7, 7, 0, 9, 0]])).jaccard()
    (2, 5)
    """
    check_sizes(truth=truth, found=found)
    void = np.zeros(truth.shape, bool) if void is None else void
    if void.shape != truth.shape:
        raise ValueError(f"void is {void.shape} and truth {truth.shape}; give both the same size")
    truth, found = _in_a_row(np.where(void, 0, truth)), _in_a_row(found, minimum)
    true, whole = np.bincount(truth.ravel()), np.bincount(found.ravel())
    hidden = np.bincount(found[void], minlength=len(whole))
    both = (truth > 0) & (found > 0) & ~void
    first, second, pixels = overlaps(truth[both], found[both])
    return Matching(true=true, whole=whole, hidden=hidden, first=first, second=second, pixels=pixels)


def matched_objects(
    truth: NDArray[Any], found: NDArray[Any], *, void: NDArray[np.bool_] | None = None, minimum: int = 1
) -> NDArray[np.int64]:
    """Return (10, 3): matched, false and missed objects of one image at each of `THRESHOLDS`.

    `truth` and `found` (h, w) number the objects, 0 for none, in any order. Two match where their intersection over
    union is above the threshold, and since that is half or more, each has one partner at most. Pixels of `void` (h, w)
    are left out of it; a true object that lies in them alone is none, and a found one without a partner of which they
    are more than the threshold's share is not false. Found objects of fewer than `minimum` pixels are left out.

    Raises `ValueError` for arrays that are not (h, w) integers of one size.

    >>> matched_objects(np.array([[1, 1, 1, 0, 2]]), np.array([[7, 7, 0, 9, 0]]))[[0, 3, 4]].tolist()
    [[1, 1, 1], [1, 1, 1], [0, 2, 2]]
    """
    return matching(truth, found, void=void, minimum=minimum).counts()


def _in_a_row(numbers: NDArray[Any], minimum: int = 1) -> NDArray[np.int64]:
    """Return object numbers as 1, 2, ... in their order; those of fewer than `minimum` pixels become 0, as 0 stays."""
    if numbers.min() >= 0 and numbers.max() < numbers.size:  # counting is much faster than sorting
        pixels = np.bincount(numbers.ravel())
        kept = pixels >= max(minimum, 1)
        kept[0] = False
        return np.where(kept, np.cumsum(kept), 0)[numbers]
    present, places, pixels = np.unique(numbers, return_inverse=True, return_counts=True)
    kept = (present != 0) & (pixels >= minimum)
    return np.where(kept, np.cumsum(kept), 0)[places].reshape(numbers.shape)
