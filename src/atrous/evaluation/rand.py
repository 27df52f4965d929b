"""The Rand score of cells that membranes part: do two pixels that belong together lie in one cell, and only they?

A hole of a few pixels in a membrane joins two cells, and costs a pixel error next to nothing; the Rand error of those
two is large. A membrane drawn too wide or a pixel aside is the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.evaluation.figures import figure, plain
from atrous.evaluation.overlaps import check_cells, check_sizes, overlaps, regions

RAND_DEFINITIONS = {
    "rand_error": "1 - sum p_ij^2 / (sum s_j^2 / 2 + sum t_i^2 / 2)",
    "split_score": "sum p_ij^2 / sum t_i^2, less where true cells are parted",
    "merge_score": "sum p_ij^2 / sum s_j^2, less where true cells are joined",
    "pixel_error": "share of the pixels whose class is wrong",
    "protocol": "p_ij: pixels of true cell i in found cell j, t_i and s_j their sums; sums over the set; cells are "
    "regions of the second class, connected at sides, parted by the first; true membranes and ignored pixels are left "
    "out of p; found membranes go to the nearest found cell; at the predicted labels, not the best of many thresholds",
}
_HEADINGS = (
    ("Rand error", "rand_error"),
    ("Rand split score", "split_score"),
    ("Rand merge score", "merge_score"),
    ("pixel error", "pixel_error"),
)


@dataclass(frozen=True, kw_only=True)
class RandScores:
    """Rand and pixel error of membranes (class 0) that part cells (class 1), 0..1; NaN where nothing is counted.

    `common`, `true` and `found` are sums of squares over all images: of p_ij, of t_i and of s_j. `wrong` of `pixels`
    have another class than they should.

    Source: Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 2015, the foreground-restricted Rand F-score that ISBI 2012 was scored with afterwards.
    Two things are otherwise: theirs is the best over thresholds of a probability, here it is that of the labels; and
    theirs thins found membranes to a pixel, where here they are shared out among the nearest cells.

    >>> truth = np.uint8([[1, 1, 0, 1, 1]])
    >>> RandScores.of(truth, truth).rand_error, round(RandScores.of(truth, np.ones_like(truth)).rand_error, 3)
    (0.0, 0.333)
    """

    common: int
    true: int
    found: int
    wrong: int
    pixels: int
    images: int

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> RandScores:
        """Return the scores of one image; both are (h, w) uint8 of 0 and 1, and the truth is 255 where ignored.

        Raises `ValueError` for arrays that are not (h, w) integers of one size, and for other classes.
        """
        check_cells(truth, labels)
        counted = truth != IGNORE
        cells = regions(truth == 1, connectivity=4), grown(regions(labels == 1, connectivity=4))
        common, true, found = rand_sums(*cells)
        wrong = int(np.count_nonzero((truth != labels) & counted))
        return cls(common=common, true=true, found=found, wrong=wrong, pixels=int(counted.sum()), images=1)

    def __add__(self, other: RandScores) -> RandScores:
        """Return the scores of the images of both."""
        return RandScores(
            common=self.common + other.common,
            true=self.true + other.true,
            found=self.found + other.found,
            wrong=self.wrong + other.wrong,
            pixels=self.pixels + other.pixels,
            images=self.images + other.images,
        )

    @property
    def rand_error(self) -> float:
        """1 minus the F-score: the harmonic mean of the split and the merge score."""
        return 1 - _share(2 * self.common, self.true + self.found)

    @property
    def split_score(self) -> float:
        """How likely two pixels of one true cell are in one found cell."""
        return _share(self.common, self.true)

    @property
    def merge_score(self) -> float:
        """How likely two pixels of one found cell are in one true cell."""
        return _share(self.common, self.found)

    @property
    def pixel_error(self) -> float:
        """The share of the counted pixels that are wrong."""
        return _share(self.wrong, self.pixels)

    def as_json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values, the definitions included; NaN becomes None."""
        values = {field: plain(getattr(self, field)) for _, field in _HEADINGS}
        return {**values, "images": self.images, "definitions": RAND_DEFINITIONS}

    def as_text(self) -> str:
        """Return the scores in per cent, each beside its definition."""
        lines = [figure(title, getattr(self, field), RAND_DEFINITIONS[field]) for title, field in _HEADINGS]
        return "\n".join([*lines, f"({self.images} images; {RAND_DEFINITIONS['protocol']})"])


def rand_sums(truth: NDArray[Any], found: NDArray[Any]) -> tuple[int, int, int]:
    """Return the sums of p_ij^2, t_i^2 and s_j^2 of two numberings (h, w) of the cells of one image.

    Pixels where `truth` is 0 are left out. Those where `found` is 0 are in no cell, each alone with itself.

    Raises `ValueError` for arrays that are not (h, w) integers of one size, negative or of 2^31 and more.

    >>> rand_sums(np.array([[1, 1, 2, 2, 0]]), np.array([[4, 4, 4, 0, 4]]))
    (6, 8, 10)
    """
    check_sizes(truth=truth, found=found)
    for name, numbers in (("truth", truth), ("found", found)):
        if numbers.min() < 0 or numbers.max() >= 1 << 31:
            raise ValueError(f"{name} holds {numbers.min()} to {numbers.max()}; cells are 1 to 2^31 - 1, and none is 0")
    inside = truth != 0
    cells, parts = truth[inside], found[inside]
    shared = overlaps(cells, parts)
    alone = int(np.count_nonzero(parts == 0))
    common = _squares(shared.pixels[shared.second != 0]) + alone
    sizes = (np.unique(numbers, return_counts=True)[1] for numbers in (cells, parts[parts != 0]))
    true, joined = (_squares(pixels) for pixels in sizes)
    return common, true, joined + alone


def grown(cells: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return numbered cells (h, w) with every pixel of none (0) given to the nearest; where there are none, as it is.

    Distances are those of OpenCV's 5x5 mask, within a few per cent of the Euclidean ones.

    >>> grown(np.int32([[3, 0, 0, 0, 5]]))[0, [0, 1, 3, 4]].tolist()
    [3, 3, 5, 5]
    """
    inside = cells != 0
    if not inside.any():
        return cells
    outside = (~inside).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[inside]] = cells[inside]
    return np.asarray(owner[nearest], np.int32)


def _squares(values: NDArray[np.integer[Any]]) -> int:
    wide = values.astype(np.int64)
    return int(wide @ wide)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
