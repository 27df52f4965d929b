"""Boundary IoU: intersection over union of the pixels near the contours only, which large regions do not drown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.boundary import check_labels
from atrous.evaluation.figures import figure, mean_known, one_space, percent, plain, shares

DIAGONAL_SHARE = 0.02
"""How far inside a contour its pixels lie, as a share of the image's diagonal."""

BOUNDARY_IOU_DEFINITIONS = {
    "mean_boundary_iou": "mean of Boundary IoU over the classes in the ground truth",
    "boundary_iou": "|T_d and P_d| / |T_d or P_d|, where T_d are the pixels of the true region of the class from which "
    "d steps, of eight directions, lead out of it, and P_d those of the predicted one",
    "protocol": "sums over the whole set; d is a share of the diagonal, at least 1; the image's border is a contour; "
    "ignored pixels are left out and make none",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryIoU:
    """Boundary IoU of a labelled set; a class that the ground truth lacks has NaN.

    `counts` is (classes, 3) int64: pixels of the intersection, of the union, and of the true region's rim. `share` is
    that of the diagonal.

    Source: Cheng et al., "Boundary IoU: improving object-centric image segmentation evaluation", CVPR 2021 (arXiv
    2103.16562), equation 3; distances are counted in steps and the border is a contour, as in the authors' program.

    >>> truth, found = np.zeros((2, 40, 40), np.uint8)
    >>> truth[:, 20:], found[:, 21:] = 1, 1
    >>> space = LabelSpace(names=("a", "b"))
    >>> BoundaryIoU.of(truth, truth, space).mean_iou, BoundaryIoU.of(truth, found, space).mean_iou < 0.9
    (1.0, True)
    """

    space: LabelSpace
    share: float
    counts: NDArray[np.int64]
    images: int

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        share: float = DIAGONAL_SHARE,
    ) -> BoundaryIoU:
        """Return the score of one image; `truth` and `labels` are (h, w) uint8, 255 where the truth is ignored.

        Raises `ValueError` for other arrays, labels that are no class where the truth is counted, and a share that is
        not above 0 and at most 1.
        """
        check_labels(truth, labels, len(space))
        if not 0 < share <= 1:
            raise ValueError(f"share {share} came; it is that of the diagonal, above 0 and at most 1")
        depth = max(1, round(share * float(np.hypot(*truth.shape))))
        void = truth == IGNORE
        counted = np.where(void, IGNORE, labels)
        counts = np.zeros((len(space), 3), np.int64)
        for index in range(len(space)):
            true, found = (rim(each == index, depth, void=void) for each in (truth, counted))
            counts[index] = np.count_nonzero(true & found), np.count_nonzero(true | found), np.count_nonzero(true)
        return cls(space=space, share=share, counts=counts, images=1)

    def __add__(self, other: BoundaryIoU) -> BoundaryIoU:
        """Return the score of the images of both.

        Raises `ValueError` where their classes or their shares of the diagonal differ.
        """
        if self.share != other.share:
            raise ValueError(f"shares {self.share} and {other.share} came; scores of the same share are added")
        space, counts = one_space(self.space, other.space), self.counts + other.counts
        return BoundaryIoU(space=space, share=self.share, counts=counts, images=self.images + other.images)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Per class, Boundary IoU; NaN where the ground truth lacks the class."""
        both, either, true = self.counts.T
        return np.where(true > 0, shares(both, either), np.nan)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes in the ground truth."""
        return mean_known(self.iou)

    def as_json(self) -> dict[str, Any]:
        """Return the score as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {"name": name, "boundary_iou": plain(value)} for name, value in zip(self.space.names, self.iou, strict=True)
        ]
        return {
            "mean_boundary_iou": plain(self.mean_iou),
            "share": self.share,
            "images": self.images,
            "classes": classes,
            "definitions": BOUNDARY_IOU_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the mean in per cent beside its definition, then a line per class."""
        words = BOUNDARY_IOU_DEFINITIONS
        width = max(5, *(len(name) for name in self.space.names))
        return "\n".join(
            [
                figure("mean Boundary IoU", self.mean_iou, words["mean_boundary_iou"]),
                f"(Boundary IoU: {words['boundary_iou']}; {100 * self.share:g} % of the diagonal; "
                f"{self.images} images; {words['protocol']})",
                "",
                f"{'class':<{width}}   Boundary IoU",
                *(
                    f"{name:<{width}}         {percent(value)}"
                    for name, value in zip(self.space.names, self.iou, strict=True)
                ),
            ]
        )


def rim(region: NDArray[np.bool_], depth: int, *, void: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Return the pixels of a region (h, w) from which `depth` steps to neighbours, of eight, lead out of it.

    Outside the image is outside the region; pixels of `void` (h, w) are not.

    >>> rim(np.ones((5, 5), bool), 1).sum()
    np.int64(16)
    """
    found = np.zeros(region.shape, bool)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not len(rows):
        return found
    # Further than the depth outside the region nothing can matter, since void does not end it.
    part = tuple(slice(max(0, each[0] - depth - 1), each[-1] + depth + 2) for each in (rows, columns))
    solid = region[part] if void is None else region[part] | void[part]
    padded = np.pad(solid, 1).view(np.uint8)
    steps = cv2.distanceTransform(padded, cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
    found[part] = region[part] & (steps <= depth)
    return found
