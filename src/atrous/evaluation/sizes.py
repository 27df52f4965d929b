"""Regions by their size: how much of small, of medium and of large true regions was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.figures import percent, plain, shares
from atrous.evaluation.overlaps import check_sizes, regions

SIZE_DEFINITIONS = {
    "recall": "share of the pixels of these true regions that were predicted as their class",
    "found": "share of these true regions of which at least half the pixels were predicted as their class",
    "iou": "over these true regions, pixels found / (their pixels + pixels wrongly predicted as the class that touch "
    "them); what touches no true region of the class is counted nowhere here",
    "protocol": "a region is a connected part of a class in the truth, corners included; the regions of each class are "
    "parted by area into thirds, the smallest third being small; ignored pixels are left out",
}
_THIRDS = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionSizes:
    """True regions with what was found of each.

    `rows` is (regions, 4) int64: class, pixels, pixels found, and wrongly predicted pixels of the class that touch it.

    >>> truth, found = np.uint8([[1, 1, 0, 1]]), np.uint8([[1, 0, 0, 1]])
    >>> RegionSizes.of(truth, found, LabelSpace(names=("ground", "cell"))).rows.tolist()
    [[0, 1, 1, 1], [1, 2, 1, 0], [1, 1, 1, 0]]
    """

    space: LabelSpace
    rows: NDArray[np.int64]
    images: int

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> RegionSizes:
        """Return the regions of one image; both are (h, w) uint8, and the truth is 255 where ignored.

        Raises `ValueError` for arrays that are not (h, w) integers of one size.
        """
        check_sizes(truth=truth, labels=labels)
        present = [index for index in np.unique(truth).tolist() if index < len(space)]
        rows = [_measured(truth, labels, index) for index in present]
        none = np.zeros((0, 4), np.int64)
        return cls(space=space, rows=np.concatenate([none, *rows]), images=1)

    def __add__(self, other: RegionSizes) -> RegionSizes:
        """Return the regions of the images of both."""
        rows = np.concatenate([self.rows, other.rows])
        return RegionSizes(space=self.space, rows=rows, images=self.images + other.images)

    def thirds(self, index: int) -> list[dict[str, Any]]:
        """Return, of one class, a row each for its small, medium and large regions; [] for fewer than three regions.

        A row has `size`, `regions`, the `smallest` and `largest` area in it in pixels, and `recall`, `found`, `iou`.
        """
        own = self.rows[self.rows[:, 0] == index]
        own = own[np.argsort(own[:, 1], kind="stable")]
        if len(own) < len(_THIRDS):
            return []
        return [_third(name, part) for name, part in zip(_THIRDS, np.array_split(own, len(_THIRDS)), strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {"name": name, "regions": int((self.rows[:, 0] == index).sum()), "thirds": self.thirds(index)}
            for index, name in enumerate(self.space.names)
        ]
        return {"images": self.images, "classes": classes, "definitions": SIZE_DEFINITIONS}

    def as_text(self) -> str:
        """Return a line per class and size, in per cent, below what the columns mean."""
        width = max(5, *(len(name) for name in self.space.names))
        lines = [f"{'class':<{width}}  size     regions              pixels  recall   found     IoU"]
        for index, name in enumerate(self.space.names):
            for row in self.thirds(index):
                span = f"{row['smallest']:,} to {row['largest']:,}"
                figures = "  ".join(
                    percent(np.nan if row[key] is None else row[key]) for key in ("recall", "found", "iou")
                )
                lines.append(f"{name:<{width}}  {row['size']:<7}{row['regions']:>9,}{span:>20}  {figures}")
        return "\n".join([*lines, *(f"{name}: {words}" for name, words in SIZE_DEFINITIONS.items())])


def _third(name: str, rows: NDArray[np.int64]) -> dict[str, Any]:
    area, found, wrong = rows[:, 1], rows[:, 2], rows[:, 3]
    totals = shares(
        np.array([found.sum(), (2 * found >= area).sum(), found.sum()]),
        np.array([area.sum(), len(rows), area.sum() + wrong.sum()]),
    )
    values = {key: plain(value) for key, value in zip(("recall", "found", "iou"), totals, strict=True)}
    return {"size": name, "regions": len(rows), "smallest": int(area[0]), "largest": int(area[-1]), **values}


def _measured(truth: NDArray[np.uint8], labels: NDArray[np.uint8], index: int) -> NDArray[np.int64]:
    """Return the rows of one class in one image."""
    numbers = regions(truth == index, connectivity=8)
    count = int(numbers.max())
    area = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    found = np.bincount(numbers[labels == index], minlength=count + 1)[1:]
    wrong = _touching(numbers, (labels == index) & (truth != index) & (truth != IGNORE), count)
    return np.stack([np.full(count, index), area, found, wrong], 1).astype(np.int64)


def _touching(numbers: NDArray[np.int32], wrong: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return for each numbered region how many wrong pixels lie in parts that touch it; a part is one's only."""
    parts = regions(wrong, connectivity=8)
    owner = np.zeros(int(parts.max()) + 1, np.int64)
    height, width = parts.shape
    for rows, columns in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for sign in (1, -1):
            down, right = sign * rows, sign * columns
            here = np.s_[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            there = np.s_[max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)]
            meet = (parts[here] != 0) & (numbers[there] != 0)
            owner[parts[here][meet]] = numbers[there][meet]
    sizes = np.bincount(parts.ravel(), minlength=len(owner))
    owned = owner[1:]
    return np.bincount(owned, weights=sizes[1:], minlength=count + 1)[1 : count + 1].astype(np.int64)
