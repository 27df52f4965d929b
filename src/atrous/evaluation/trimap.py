"""Scores of the pixels near true boundaries, over the width of the band: the plot of the DeepLab papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.boundary import check_labels, edges_of
from atrous.evaluation.figures import one_space, percent, plain
from atrous.evaluation.scores import Scores

Around = Literal["classes", "void"]
WIDTHS = (1, 2, 4, 6, 8, 10, 15, 20, 30, 40)
"""Widths of the band in pixels, to each side of a boundary."""

TRIMAP_DEFINITIONS = {
    "pixel_accuracy": "share of the band's pixels that are right",
    "mean_iou": "mean IoU of the band's pixels, over the classes in the truth of the band",
    "share": "share of all counted pixels that lie in the band",
    "protocol": "one matrix per width over the whole set; the band of width w holds the counted pixels whose distance "
    "to a boundary pixel, centre to centre, is below w, so w to each side",
    "classes": "boundary pixels have a neighbour, of four, of another class; ignored pixels make no boundary",
    "void": "boundary pixels are counted and have an ignored neighbour, of four, as in Pascal VOC, whose objects are "
    "drawn with an ignored rim",
}

_ROUNDING = 1e-4  # distances are roots of whole numbers in single precision


@dataclass(frozen=True, kw_only=True, eq=False)
class TrimapScores:
    """Scores in bands around true boundaries. `confusion` is (widths, classes, classes) int64, each band's matrix.

    Source: Krähenbühl and Koltun (arXiv 1210.5644) section 6, and DeepLab v1 (arXiv 1412.7062) section 5.2, whose
    boundaries are the ignored rims of Pascal VOC: `around="void"`.

    >>> truth, found = np.zeros((2, 6, 40), np.uint8)
    >>> truth[:, 20:], found[:, 21:] = 1, 1
    >>> scores = TrimapScores.of(truth, found, LabelSpace(names=("a", "b")), widths=(1, 2, 10))
    >>> scores.pixel_accuracy.tolist()
    [0.5, 0.75, 0.95]
    """

    space: LabelSpace
    widths: tuple[float, ...]
    around: Around
    confusion: NDArray[np.int64]
    counted: int
    images: int

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        widths: tuple[float, ...] = WIDTHS,
        around: Around = "classes",
    ) -> TrimapScores:
        """Return the scores of one image; `truth` and `labels` are (h, w) uint8, 255 where the truth is ignored.

        Raises `ValueError` for other arrays, labels that are no class where the truth is counted, widths that are not
        positive, finite and ascending, and an unknown `around`.
        """
        check_labels(truth, labels, len(space))
        widths = tuple(np.asarray(widths).tolist())  # JSON takes no numbers of NumPy
        if not widths or not all(before < after < np.inf for before, after in zip((0, *widths), widths, strict=False)):
            raise ValueError(f"widths {widths} came; they are pixels above 0, each larger than the one before")
        if around not in ("classes", "void"):
            raise ValueError(f'around is {around!r}; bands lie around "classes" or "void"')
        rings = _rings(truth, around, widths)
        inside = (truth != IGNORE) & (rings < len(widths))
        classes = len(space)
        numbers = (rings[inside].astype(np.int64) * classes + truth[inside]) * classes + labels[inside]
        counts = np.bincount(numbers, minlength=len(widths) * classes * classes)
        matrices = counts.reshape(len(widths), classes, classes).cumsum(0).astype(np.int64)
        counted = int(np.count_nonzero(truth != IGNORE))
        return cls(space=space, widths=widths, around=around, confusion=matrices, counted=counted, images=1)

    def __add__(self, other: TrimapScores) -> TrimapScores:
        """Return the scores of the images of both.

        Raises `ValueError` where their classes or their bands differ.
        """
        if (self.widths, self.around) != (other.widths, other.around):
            raise ValueError(
                f"bands {self.widths} around {self.around} and {other.widths} around {other.around} came; scores of "
                "the same bands are added"
            )
        return TrimapScores(
            space=one_space(self.space, other.space),
            widths=self.widths,
            around=self.around,
            confusion=self.confusion + other.confusion,
            counted=self.counted + other.counted,
            images=self.images + other.images,
        )

    @property
    def pixel_accuracy(self) -> NDArray[np.float64]:
        """Per width, the share of the band's pixels that are right; NaN where it has none."""
        return np.array([scores.pixel_accuracy for scores in self._scores()])

    @property
    def mean_iou(self) -> NDArray[np.float64]:
        """Per width, mean IoU over the classes in the truth of the band; NaN where it has none."""
        return np.array([scores.mean_iou for scores in self._scores()])

    @property
    def share(self) -> NDArray[np.float64]:
        """Per width, how large a share of the counted pixels the band has; NaN where none is counted."""
        pixels = self.confusion.sum((1, 2))
        return pixels / self.counted if self.counted else np.full(len(self.widths), np.nan)

    def as_json(self) -> dict[str, Any]:
        """Return the curves as plain JSON values, the definitions included; NaN becomes None."""
        curves = {name: [plain(each) for each in getattr(self, name)] for name in _CURVES}
        words = _definitions(self.around)
        return {"widths": list(self.widths), **curves, "around": self.around, "images": self.images} | words

    def as_text(self) -> str:
        """Return a line per width in per cent, and the definitions below."""
        lines = ["trimap: width   accuracy   mean IoU   share of pixels"]
        for width, accuracy, iou, share in zip(
            self.widths, self.pixel_accuracy, self.mean_iou, self.share, strict=True
        ):
            lines.append(f"{width:>10g} px     {percent(accuracy)}     {percent(iou)}            {percent(share)}")
        words = _definitions(self.around)["definitions"]
        return "\n".join([*lines, f"({self.images} images)", *(f"{name}: {text}" for name, text in words.items())])

    def _scores(self) -> list[Scores]:
        return [Scores(space=self.space, confusion=matrix, images=self.images) for matrix in self.confusion]


_CURVES = ("pixel_accuracy", "mean_iou", "share")


def _definitions(around: Around) -> dict[str, dict[str, str]]:
    return {"definitions": {name: TRIMAP_DEFINITIONS[name] for name in (*_CURVES, "protocol", around)}}


def _rings(truth: NDArray[np.uint8], around: Around, widths: tuple[float, ...]) -> NDArray[np.intp]:
    """Return of every pixel (h, w) the first width whose band it is in; their number where it is in none."""
    boundary = edges_of(truth) if around == "classes" else _beside_void(truth)
    if not boundary.any():
        return np.full(truth.shape, len(widths))
    distances = cv2.distanceTransform((~boundary).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.searchsorted(np.asarray(widths, np.float64), distances + _ROUNDING, side="right")


def _beside_void(truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    void = (truth == IGNORE).view(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray((cv2.dilate(void, cross) > 0) & (void == 0))
