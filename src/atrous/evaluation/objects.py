"""Objects found and missed: F1 of objects, which counts each once, however large it is.

An IoU counts pixels: two nuclei that were found as one cost it the few pixels between them. Counted as objects, both
are missed and a third was found that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.overlaps import check_sizes, overlaps, regions

_TWENTIETHS = np.arange(10, 20)
THRESHOLDS = tuple((_TWENTIETHS / 20).tolist())
"""The IoU that a match must exceed: 0.5, 0.55, ... 0.95."""

OBJECT_DEFINITIONS = {
    "f1": "2TP / (2TP + FP + FN) at IoU 0.5",
    "mean_f1": "mean of F1 over IoU 0.5, 0.55 ... 0.95",
    "precision": "TP / (TP + FP) at IoU 0.5",
    "recall": "TP / (TP + FN) at IoU 0.5",
    "protocol": "counts summed over the set; a found object is a region of a class, connected at sides and corners; a "
    "true one is numbered in the data, else such a region; the first class has none; TP: pairs whose IoU is above the "
    "threshold, of which an object has one at most; FP: other found objects, FN: other true ones; ignored pixels are "
    "left out of the IoU, and found objects of which they are more than the threshold's share are no FP",
}
_HEADINGS = (("F1 of objects", "f1"), ("mean F1 of objects", "mean_f1"))


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectScores:
    """Scores of objects, of every class but the first. Shares are 0..1; a class without any object has NaN.

    `counts` is (classes - 1, 10, 3) int64: matched, false and missed objects at each of `THRESHOLDS`.

    Source: the thresholds and the match are those of the Data Science Bowl 2018 (Caicedo et al., Nature Methods 2019),
    whose leaderboard took TP / (TP + FP + FN), averaged over images. What becomes of ignored pixels is as in panoptic
    quality (Kirillov et al., arXiv 1801.00868, section 4.1).

    >>> truth, found = np.uint8([[1, 1, 0, 1, 1]]), np.uint8([[1, 1, 1, 1, 1]])
    >>> space = LabelSpace(names=("ground", "cell"))
    >>> ObjectScores.of(truth, found, space).f1.tolist(), ObjectScores.of(truth, truth, space).f1.tolist()
    ([0.0], [1.0])
    """

    space: LabelSpace
    counts: NDArray[np.int64]
    images: int

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        instances: NDArray[Any] | None = None,
        minimum: int = 1,
    ) -> ObjectScores:
        """Return the scores of one image.

        `truth` and `labels` are (h, w) uint8, 255 where the truth is ignored. `instances` (h, w) numbers the true
        objects, 0 for none; without it they are the connected regions of `truth`. Pixels of a class that are in no
        object, such as a crowd, are ignored for it. Found objects of fewer than `minimum` pixels are left out.

        Raises `ValueError` for arrays that are not (h, w) integers of one size.
        """
        check_sizes(truth=truth, labels=labels, **({} if instances is None else {"instances": instances}))
        counts = np.zeros((len(space) - 1, len(THRESHOLDS), 3), np.int64)
        for index in range(1, len(space)):
            drawn = truth == index
            objects = regions(drawn, connectivity=8) if instances is None else np.where(drawn, instances, 0)
            void = (truth == IGNORE) | (drawn & (objects == 0))
            found = regions(labels == index, connectivity=8)
            counts[index - 1] = matched_objects(objects, found, void=void, minimum=minimum)
        return cls(space=space, counts=counts, images=1)

    def __add__(self, other: ObjectScores) -> ObjectScores:
        """Return the scores of the images of both."""
        return ObjectScores(space=self.space, counts=self.counts + other.counts, images=self.images + other.images)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Per class, F1 at IoU 0.5."""
        return self.f1_at[:, 0]

    @property
    def mean_f1(self) -> NDArray[np.float64]:
        """Per class, the mean of F1 over the thresholds."""
        return self.f1_at.mean(1)

    @property
    def f1_at(self) -> NDArray[np.float64]:
        """Per class and threshold (classes - 1, 10), F1."""
        matched, false, missed = np.moveaxis(self.counts, -1, 0)
        return _shares(2 * matched, 2 * matched + false + missed)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, the share of the found objects that are true, at IoU 0.5; NaN where none was found."""
        return _shares(self.counts[:, 0, 0], self.counts[:, 0, :2].sum(1))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, the share of the true objects that were found, at IoU 0.5; NaN where there is none."""
        return _shares(self.counts[:, 0, 0], self.counts[:, 0, ::2].sum(1))

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {
                "name": name,
                **{field: _plain(getattr(self, field)[index]) for field in ("f1", "mean_f1", "precision", "recall")},
                "f1_at": [_plain(value) for value in self.f1_at[index]],
                "counts": self.counts[index].tolist(),
            }
            for index, name in enumerate(self.space.names[1:])
        ]
        return {
            **{field: _plain(_mean(getattr(self, field))) for _, field in _HEADINGS},
            "images": self.images,
            "thresholds": list(THRESHOLDS),
            "classes": classes,
            "definitions": OBJECT_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the scores in per cent, a line per class; the two means over the classes come first."""
        lines = [
            f"{title:<24}{_percent(_mean(getattr(self, field)))}   {OBJECT_DEFINITIONS[field]}"
            for title, field in _HEADINGS
        ]
        lines += [f"({self.images} images; {OBJECT_DEFINITIONS['protocol']})", ""]
        names = self.space.names[1:]
        width = max(5, *(len(name) for name in self.space.names))
        lines.append(f"{'class':<{width}}       F1   mean F1  precision    recall   objects     found")
        for index, name in enumerate(names):
            values = [getattr(self, field)[index] for field in ("f1", "mean_f1", "precision", "recall")]
            matched, false, missed = self.counts[index, 0].tolist()
            shares = "    ".join(_percent(value) for value in values)
            lines.append(f"{name:<{width}}   {shares}{matched + missed:10,}{matched + false:10,}")
        return "\n".join(lines)


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
    check_sizes(truth=truth, found=found)
    void = np.zeros(truth.shape, bool) if void is None else void
    if void.shape != truth.shape:
        raise ValueError(f"void is {void.shape} and truth {truth.shape}; give both the same size")
    truth, found = _in_a_row(np.where(void, 0, truth)), _in_a_row(found, minimum)
    true, whole = np.bincount(truth.ravel()), np.bincount(found.ravel())
    hidden = np.bincount(found[void], minlength=len(whole))
    shared = overlaps(truth[~void], found[~void])
    first, second, pixels = (part[(shared.first > 0) & (shared.second > 0)] for part in shared)
    union = true[first] + (whole - hidden)[second] - pixels
    rows, pairs = np.nonzero(20 * pixels > _TWENTIETHS[:, None] * union)  # in whole numbers, so exact
    has_partner = np.zeros((len(THRESHOLDS), len(whole)), bool)
    has_partner[rows, second[pairs]] = True
    excused = 20 * hidden > _TWENTIETHS[:, None] * whole
    matched, false = has_partner.sum(1), (~has_partner & ~excused)[:, 1:].sum(1)
    return np.stack([matched, false, len(true) - 1 - matched], 1).astype(np.int64)


def _in_a_row(numbers: NDArray[Any], minimum: int = 1) -> NDArray[np.int64]:
    """Return object numbers as 1, 2, ... in their order; those of fewer than `minimum` pixels become 0, as 0 stays."""
    present, places, pixels = np.unique(numbers, return_inverse=True, return_counts=True)
    kept = (present != 0) & (pixels >= minimum)
    return np.where(kept, np.cumsum(kept), 0)[places].reshape(numbers.shape)


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _percent(value: float) -> str:
    return "     -" if np.isnan(value) else f"{100 * value:6.2f}"
