"""The boundary F-score: how well the contours of the found regions follow those of the true ones.

Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013: an IoU counts
pixels, of which a contour has few; so a mask that is right but coarse scores as well as one that is sharp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.figures import figure, mean_known, means_known, one_space, percent, plain

DEFINITION = (
    "mean over classes of the mean over images of 2PR / (P + R), in images whose truth or prediction has the class; "
    "P is the share of the predicted region's contour within the tolerance of the true one's, R the other way round; "
    "the tolerance is 0.75 % of the image's diagonal, at least a pixel; "
    "a contour is the pixels of a region beside another class; ignored pixels are left out and make no contour"
)
SHARE = 0.0075
"""The tolerance as a share of the image's diagonal."""

_ROUNDING = 1e-4  # distances are roots of whole numbers in single precision


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryScores:
    """Boundary scores of a labelled set.

    `values` is (images, classes, 3): precision, recall and F of every class in every image, 0..1, and NaN where
    neither the truth nor the prediction of an image has the class.

    Source: Csurka et al. 2013, section 3, whose mean is over images first and classes then.

    >>> truth = np.eye(6, dtype=np.uint8)
    >>> BoundaryScores.of(truth, truth, LabelSpace(names=("a", "b"))).mean_f
    1.0
    """

    space: LabelSpace
    values: NDArray[np.float64]

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> BoundaryScores:
        """Return the scores of one image; `truth` and `labels` are (h, w) uint8, as `boundary_f` takes them."""
        return cls(space=space, values=boundary_f(truth, labels, len(space))[None])

    def __add__(self, other: BoundaryScores) -> BoundaryScores:
        """Return the scores of the images of both.

        Raises `ValueError` where their classes differ.
        """
        space = one_space(self.space, other.space)
        return BoundaryScores(space=space, values=np.concatenate([self.values, other.values]))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, the mean over images; NaN where no image has the class."""
        return means_known(self.values[..., 0])

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, the mean over images; NaN where no image has the class."""
        return means_known(self.values[..., 1])

    @property
    def f(self) -> NDArray[np.float64]:
        """Per class, the mean over images; NaN where no image has the class."""
        return means_known(self.values[..., 2])

    @property
    def mean_f(self) -> float:
        """The mean of `f` over the classes that some image has; NaN where there is none."""
        return mean_known(self.f)

    def as_json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values, the definitions included; NaN becomes None."""
        fields = ("f", "precision", "recall")
        classes = [
            {"name": name, **{field: plain(getattr(self, field)[index]) for field in fields}}
            for index, name in enumerate(self.space.names)
        ]
        return {
            **{f"mean_{field}": plain(mean_known(getattr(self, field))) for field in fields},
            "images": len(self.values),
            "classes": classes,
            "definitions": {"mean_f": DEFINITION},
        }

    def as_text(self) -> str:
        """Return the mean in per cent beside its definition, then a line per class."""
        width = max(5, *(len(name) for name in self.space.names))
        lines = [figure("boundary F", self.mean_f, DEFINITION), f"({len(self.values)} images)", ""]
        lines.append(f"{'class':<{width}}   boundary F  precision    recall")
        for name, f, precision, recall in zip(self.space.names, self.f, self.precision, self.recall, strict=True):
            lines.append(f"{name:<{width}}       {percent(f)}     {percent(precision)}    {percent(recall)}")
        return "\n".join(lines)


def boundary_f(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, *, tolerance: float | None = None
) -> NDArray[np.float64]:
    """Return (classes, 3): precision, recall and F of every class's contours in one image, NaN for an absent class.

    `truth` and `predicted` are (h, w) uint8; where the truth is 255 neither has a contour. `tolerance` is in pixels,
    by default 0.0075 of the diagonal and at least 1: a contour's pixel is matched where the other contour comes as
    near as that, in a straight line, however many others it matches. A class that only one of the two has scores
    zero. One that fills all that is counted in both has no contour and scores one; where it has a contour in one of
    them only, that one's share is 0 and the other's 1.

    Raises `ValueError` for labels that are not (h, w) uint8 of one size, a tolerance below 0, and for truth or counted
    predictions outside 0..classes-1.

    Source: Csurka et al. 2013, equation 1; the tolerance is theirs, empty contours as the DAVIS benchmark takes them.

    >>> truth, found = np.zeros((2, 5, 8), np.uint8)
    >>> truth[:, 3:], found[:, 4:] = 1, 1
    >>> boundary_f(truth, found, 2)[:, 2].tolist(), boundary_f(truth, found, 2, tolerance=0)[:, 2].tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    check_labels(truth, predicted, classes)
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance} came; it is a distance in pixels, 0 or more")
    reach = max(1.0, SHARE * float(np.hypot(*truth.shape))) if tolerance is None else tolerance
    counted = np.where(truth == IGNORE, IGNORE, predicted)
    edges = edges_of(truth), edges_of(counted)
    values = np.full((classes, 3), np.nan)
    for index in range(classes):
        regions = truth == index, counted == index
        if regions[0].any() and regions[1].any():
            of_truth, of_found = (region & edge for region, edge in zip(regions, edges, strict=True))
            values[index] = _f(_share_near(of_found, of_truth, reach), _share_near(of_truth, of_found, reach))
        elif regions[0].any() or regions[1].any():
            values[index] = 0
    return values


def edges_of(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a pixel of (h, w) labels has a neighbour, of four, of another class; 255 is no class, no neighbour.

    >>> edges_of(np.uint8([[0, 0, 1, 255, 0]])).tolist()
    [[False, True, True, False, False]]
    """
    edges = np.zeros(labels.shape, bool)
    for first, second in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        ahead, behind = labels[first], labels[second]
        differ = (ahead != behind) & (ahead != IGNORE) & (behind != IGNORE)
        edges[first] |= differ
        edges[second] |= differ
    return edges


def _share_near(contour: NDArray[np.bool_], other: NDArray[np.bool_], reach: float) -> float:
    """Return the share of a contour's pixels that lie within `reach` of the other; one of an empty contour."""
    if not contour.any():
        return 1.0
    if not other.any():
        return 0.0
    distances = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distances[contour] <= reach + _ROUNDING).mean())


def _f(precision: float, recall: float) -> tuple[float, float, float]:
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def check_labels(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> None:
    """Raise `ValueError` for labels that are not (h, w) uint8 of one size, or no class where the truth is counted."""
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if labels.dtype != np.uint8 or labels.ndim != 2 or not labels.size:
            raise ValueError(f"{name} is {labels.dtype} of shape {labels.shape}; labels are uint8 of shape (h, w)")
    check_classes(truth, predicted, classes)


def check_classes(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> None:
    """Raise `ValueError` for labels of two shapes, or no class where the truth is counted."""
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and predicted {predicted.shape}; give both the same size")
    for name, labels in (("truth", truth), ("predicted", predicted)):
        outside = labels[(truth != IGNORE) & ((labels >= classes) | (labels < 0))]
        if outside.size:
            raise ValueError(f"{name} has label {outside.min()}; {classes} classes are 0..{classes - 1}")
