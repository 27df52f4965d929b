"""The scores of FCN section 5 and what else one confusion matrix over the whole set says, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core import confusion
from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.figures import figure, mean_known, one_space, percent, plain, shares

DEFINITIONS = {
    "mean_iou": "mean over the classes in the ground truth of n_ii / (t_i + sum_j n_ji - n_ii)",
    "pixel_accuracy": "sum_i n_ii / sum_i t_i",
    "mean_accuracy": "mean over the classes in the ground truth of n_ii / t_i",
    "frequency_weighted_iou": "sum_i t_i IoU_i / sum_k t_k",
    "mean_dice": "mean over the classes in the ground truth of 2 n_ii / (t_i + sum_j n_ji)",
    "foreground_mean_iou": "mean IoU without the first class, which is the background",
    "foreground_mean_dice": "mean Dice without the first class, which is the background",
    "foreground_mean_accuracy": "mean accuracy without the first class, which is the background",
    "mean_iou_with_void": "mean IoU where v_i ignored pixels predicted as class i count as false positives: "
    "n_ii / (t_i + sum_j n_ji + v_i - n_ii); the convention of ESPNet's CamVid figure",
    "mean_iou_with_absent": "mean IoU in which a class that the ground truth lacks and the prediction has counts as 0; "
    "the convention of Cityscapes' program",
    "iou": "n_ii / (t_i + sum_j n_ji - n_ii)",
    "dice": "2 n_ii / (t_i + sum_j n_ji), the F1 of pixels",
    "precision": "n_ii / sum_j n_ji",
    "recall": "n_ii / t_i, also called the accuracy of the class",
    "protocol": "one matrix over the whole set at original resolution; n_ij pixels of class i predicted as j, "
    "t_i = sum_j n_ij; ignored pixels are left out of everything; a class that the ground truth lacks is left out "
    "of the means",
}
BACKGROUNDS = frozenset({"background", "_background_", "bg", "backdrop", "hintergrund", "배경"})
"""Names of a first class that is what is left where nothing is."""

_HEADINGS = (
    ("mean IoU", "mean_iou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("mean accuracy", "mean_accuracy"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
    ("mean Dice", "mean_dice"),
)
_FOREGROUND = (
    ("foreground mean IoU", "foreground_mean_iou"),
    ("foreground mean Dice", "foreground_mean_dice"),
    ("foreground accuracy", "foreground_mean_accuracy"),
)
_ABSENT = (("mean IoU, absent wrong", "mean_iou_with_absent"),)
_SHARE = "share of pixels: t_i / sum_k t_k"
_VOID = (("mean IoU, void wrong", "mean_iou_with_void"),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Scores of a labelled set. Shares are 0..1; a class that the ground truth lacks has NaN.

    `confusion` is (classes, classes) int64: rows are the truth, columns the prediction. `void` (classes,) int64 says
    how often each class was predicted on ignored pixels, and is None where that was not counted. `background` says
    whether the first class is the background; None goes by its name.

    Source: FCN (arXiv 1411.4038) section 5.

    >>> scores = Scores(space=LabelSpace(names=("a", "b")), confusion=np.array([[3, 1], [0, 4]]), images=1)
    >>> scores.pixel_accuracy, scores.iou.tolist()
    (0.875, [0.75, 0.8])
    """

    space: LabelSpace
    confusion: NDArray[np.int64]
    images: int
    void: NDArray[np.int64] | None = None
    background: bool | None = None

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        background: bool | None = None,
    ) -> Scores:
        """Return the scores of one image; `truth` and `labels` are uint8 of one shape, 255 where the truth is ignored.

        Labels on ignored pixels may be any, and those that are no class are not counted as void.

        Raises `ValueError` for other arrays, and for labels outside the classes where the truth is counted.
        """
        matrix = confusion(truth, labels, len(space))
        void = np.bincount(labels[truth == IGNORE], minlength=len(space))[: len(space)].astype(np.int64)
        return cls(space=space, confusion=matrix, images=1, void=void, background=background)

    def __add__(self, other: Scores) -> Scores:
        """Return the scores of the images of both; void is counted where both have counted it.

        Raises `ValueError` where their classes differ.
        """
        space = one_space(self.space, other.space)
        void = None if self.void is None or other.void is None else self.void + other.void
        return Scores(
            space=space,
            confusion=self.confusion + other.confusion,
            images=self.images + other.images,
            void=void,
            background=self.background,
        )

    @property
    def truth(self) -> NDArray[np.int64]:
        """Per class, how many counted pixels are truly of it."""
        return np.asarray(self.confusion.sum(1), np.int64)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Per class, how many counted pixels were predicted as it."""
        return np.asarray(self.confusion.sum(0), np.int64)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, the share of its pixels that were found; NaN where the ground truth lacks the class."""
        return shares(np.diag(self.confusion), self.truth)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """`recall`, as FCN calls it."""
        return self.recall

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, the share of the pixels predicted as it that are right; NaN where none was."""
        return shares(np.diag(self.confusion), self.predicted)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Per class, intersection over union; NaN where the ground truth lacks the class."""
        return self._iou(np.zeros_like(self.truth))

    @property
    def iou_with_void(self) -> NDArray[np.float64]:
        """Per class, IoU with void counted as false positives; NaN where the truth lacks it or `void` is None."""
        return np.full(len(self.space), np.nan) if self.void is None else self._iou(self.void)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Per class, twice the intersection over the sum of both; NaN where the ground truth lacks the class."""
        return np.where(self.truth > 0, shares(2 * np.diag(self.confusion), self.truth + self.predicted), np.nan)

    @property
    def pixel_accuracy(self) -> float:
        """The share of all counted pixels that are right; NaN where none is counted."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """The mean of `accuracy` over the classes in the ground truth."""
        return mean_known(self.accuracy)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes in the ground truth."""
        return mean_known(self.iou)

    @property
    def mean_dice(self) -> float:
        """The mean of `dice` over the classes in the ground truth."""
        return mean_known(self.dice)

    @property
    def frequency_weighted_iou(self) -> float:
        """`iou` weighted by each class's share of the ground truth."""
        truth = self.truth
        return float(np.nansum(self.iou * truth) / truth.sum()) if truth.sum() else float("nan")

    @property
    def mean_iou_with_void(self) -> float:
        """The mean of `iou_with_void` over the classes in the ground truth."""
        return mean_known(self.iou_with_void)

    @property
    def mean_iou_with_absent(self) -> float:
        """The mean of `iou` over the classes in the ground truth or the prediction: 0 for those in the latter only."""
        return mean_known(np.where((self.truth == 0) & (self.predicted > 0), 0, self.iou))

    @property
    def has_background(self) -> bool:
        """Whether the first class is the background: what `background` says, else whether its name does."""
        named = len(self.space) > 1 and self.space.names[0].strip().casefold() in BACKGROUNDS
        return named if self.background is None else self.background

    @property
    def foreground_mean_iou(self) -> float:
        """The mean of `iou` over the classes in the ground truth but the first."""
        return mean_known(self.iou[1:])

    @property
    def foreground_mean_dice(self) -> float:
        """The mean of `dice` over the classes in the ground truth but the first."""
        return mean_known(self.dice[1:])

    @property
    def foreground_mean_accuracy(self) -> float:
        """The mean of `accuracy` over the classes in the ground truth but the first."""
        return mean_known(self.accuracy[1:])

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None.

        The means of the foreground are there where there is a background, those with void where it was counted.
        """
        void = {} if self.void is None else {"void": self.void.tolist()}
        return {
            **{
                field: plain(getattr(self, field))
                for _, field in self._figures(void=self.void is not None, absent=True)
            },
            "images": self.images,
            "classes": [self._class(index) for index in range(len(self.space))],
            "confusion": self.confusion.tolist(),
            **void,
            "definitions": DEFINITIONS,
        }

    def as_text(self, *, void: bool = False) -> str:
        """Return the scores in per cent, each mean beside its definition, then a line per class; mean IoU is first.

        With `void` the mean IoU of the other convention is there too, in which ignored pixels are false positives.
        That in which absent classes count is there where the prediction has a class that the ground truth lacks.
        """
        shown = self._figures(void=void, absent=bool(((self.truth == 0) & (self.predicted > 0)).any()))
        lines = [figure(title, getattr(self, field), DEFINITIONS[field]) for title, field in shown]
        lines += [f"({self.images} images; {DEFINITIONS['protocol']})", ""]
        columns = ("iou", "dice", "precision", "recall")
        width = max(5, *(len(name) for name in self.space.names))
        lines.append(f"{'class':<{width}}      IoU     Dice  precision   recall  share of pixels")
        for index, name in enumerate(self.space.names):
            iou, dice, precision, recall = (percent(getattr(self, field)[index]) for field in columns)
            share = percent(self.truth[index] / max(1, self.truth.sum()))
            lines.append(f"{name:<{width}}   {iou}   {dice}     {precision}   {recall}           {share}")
        return "\n".join([*lines, "", *(f"{field}: {DEFINITIONS[field]}" for field in columns), _SHARE])

    def _iou(self, void: NDArray[np.int64]) -> NDArray[np.float64]:
        found, truth = np.diag(self.confusion), self.truth
        return np.where(truth > 0, shares(found, truth + self.predicted + void - found), np.nan)

    def _figures(self, *, void: bool, absent: bool) -> tuple[tuple[str, str], ...]:
        foreground = _FOREGROUND if self.has_background else ()
        return _HEADINGS + foreground + (_VOID if void else ()) + (_ABSENT if absent else ())

    def _class(self, index: int) -> dict[str, Any]:
        fields = ("iou", "dice", "precision", "recall", "accuracy", *(() if self.void is None else ("iou_with_void",)))
        return {
            "name": self.space.names[index],
            **{field: plain(getattr(self, field)[index]) for field in fields},
            "pixels": int(self.truth[index]),
            "predicted": int(self.predicted[index]),
        }
