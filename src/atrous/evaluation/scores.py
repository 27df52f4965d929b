"""The four scores of FCN section 5, from one confusion matrix over the whole set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core import confusion
from atrous.contract import LabelSpace

DEFINITIONS = {
    "mean_iou": "mean over the classes in the ground truth of n_ii / (t_i + sum_j n_ji - n_ii)",
    "pixel_accuracy": "sum_i n_ii / sum_i t_i",
    "mean_accuracy": "mean over the classes in the ground truth of n_ii / t_i",
    "frequency_weighted_iou": "sum_i t_i IoU_i / sum_k t_k",
    "protocol": "one matrix over the whole set at original resolution; n_ij pixels of class i predicted as j, "
    "t_i = sum_j n_ij; ignored pixels are left out of everything; a class that the ground truth lacks is left out "
    "of the means",
}

_HEADINGS = (
    ("mean IoU", "mean_iou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("mean accuracy", "mean_accuracy"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Scores of a labelled set. Shares are 0..1; a class that the ground truth lacks has NaN.

    `confusion` is (classes, classes) int64: rows are the truth, columns the prediction.

    Source: FCN (arXiv 1411.4038) section 5.

    >>> scores = Scores(space=LabelSpace(names=("a", "b")), confusion=np.array([[3, 1], [0, 4]]), images=1)
    >>> scores.pixel_accuracy, scores.iou.tolist()
    (0.875, [0.75, 0.8])
    """

    space: LabelSpace
    confusion: NDArray[np.int64]
    images: int

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> Scores:
        """Return the scores of one image; `truth` and `labels` are (h, w) uint8."""
        return cls(space=space, confusion=confusion(truth, labels, len(space)), images=1)

    def __add__(self, other: Scores) -> Scores:
        """Return the scores of the images of both."""
        both = self.confusion + other.confusion
        return Scores(space=self.space, confusion=both, images=self.images + other.images)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Per class, the share of its pixels that were found."""
        return _shares(np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(1))

    @property
    def iou(self) -> NDArray[np.float64]:
        """Per class, intersection over union; NaN where the ground truth lacks the class."""
        found, truth = np.diag(self.confusion), self.confusion.sum(1)
        return _shares(found, truth + self.confusion.sum(0) - found, truth)

    @property
    def pixel_accuracy(self) -> float:
        """The share of all counted pixels that are right; NaN where none is counted."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """The mean of `accuracy` over the classes in the ground truth."""
        return _mean(self.accuracy)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes in the ground truth."""
        return _mean(self.iou)

    @property
    def frequency_weighted_iou(self) -> float:
        """`iou` weighted by each class's share of the ground truth."""
        truth = self.confusion.sum(1)
        return float(np.nansum(self.iou * truth) / truth.sum()) if truth.sum() else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {"name": name, "iou": _plain(iou), "accuracy": _plain(accuracy), "pixels": int(pixels)}
            for name, iou, accuracy, pixels in zip(
                self.space.names, self.iou, self.accuracy, self.confusion.sum(1), strict=True
            )
        ]
        return {
            **{name: _plain(getattr(self, name)) for name in DEFINITIONS if name != "protocol"},
            "images": self.images,
            "classes": classes,
            "confusion": self.confusion.tolist(),
            "definitions": DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the scores in per cent, a line per class, each mean beside its definition; the first is mean IoU."""
        lines = [
            *(f"{name:<24}{_percent(getattr(self, field))}   {DEFINITIONS[field]}" for name, field in _HEADINGS),
            f"({self.images} images; {DEFINITIONS['protocol']})",
            "",
        ]
        truth = self.confusion.sum(1)
        width = max(5, *(len(name) for name in self.space.names))
        lines.append(f"{'class':<{width}}      IoU  accuracy  share of pixels")
        rows = zip(self.space.names, self.iou, self.accuracy, truth / max(1, truth.sum()), strict=True)
        lines += [f"{name:<{width}}   {_percent(i)}    {_percent(a)}           {_percent(s)}" for name, i, a, s in rows]
        return "\n".join(lines)


def _shares(part: NDArray[Any], whole: NDArray[Any], present: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=present > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _percent(value: float) -> str:
    return "     -" if np.isnan(value) else f"{100 * value:6.2f}"
