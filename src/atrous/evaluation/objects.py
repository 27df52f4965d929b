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
from atrous.evaluation.boundary import check_classes
from atrous.evaluation.figures import figure, mean_known, one_space, percent, plain, shares
from atrous.evaluation.matching import THRESHOLDS, matching
from atrous.evaluation.overlaps import check_sizes, regions

OBJECT_DEFINITIONS = {
    "f1": "2TP / (2TP + FP + FN) at IoU 0.5",
    "mean_f1": "mean of F1 over IoU 0.5, 0.55 ... 0.95",
    "precision": "TP / (TP + FP) at IoU 0.5",
    "recall": "TP / (TP + FN) at IoU 0.5",
    "aji": "sum of |T and F| over sum of |T or F|, each true object T with the found F of the largest IoU, and found "
    "objects that none took in the second sum (aggregated Jaccard index)",
    "protocol": "counts summed over the set; a found object is a region of a class, connected at sides and corners; a "
    "true one is numbered in the data, else such a region; the first class has none; TP: pairs whose IoU is above the "
    "threshold, of which an object has one at most; FP: other found objects, FN: other true ones; ignored pixels are "
    "left out of the IoU, and found objects of which they are more than the threshold's share are no FP; "
    "means over the classes that have an object, true or found",
}
_HEADINGS = (("F1 of objects", "f1"), ("mean F1 of objects", "mean_f1"), ("aggregated Jaccard", "aji"))
_COLUMNS = ("f1", "mean_f1", "precision", "recall", "aji")


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectScores:
    """Scores of objects, of every class but the first. Shares are 0..1; a class without any object has NaN.

    `counts` is (classes - 1, 10, 3) int64: matched, false and missed objects at each of `THRESHOLDS`. `jaccard`
    (classes - 1, 2) int64 has the two sums of pixels of the aggregated Jaccard index.

    Source: the thresholds and the match are those of the Data Science Bowl 2018 (Caicedo et al., Nature Methods 2019),
    whose leaderboard took TP / (TP + FP + FN), averaged over images. What becomes of ignored pixels is as in panoptic
    quality (Kirillov et al., arXiv 1801.00868, section 4.1). The aggregated Jaccard index is that of Kumar et al., "A
    dataset and a technique for generalized nuclear segmentation for computational pathology", IEEE Transactions on
    Medical Imaging 2017, algorithm 1, its sums taken over the set.

    >>> truth, found = np.uint8([[1, 1, 0, 1, 1]]), np.uint8([[1, 1, 1, 1, 1]])
    >>> space = LabelSpace(names=("ground", "cell"))
    >>> ObjectScores.of(truth, found, space).f1.tolist(), ObjectScores.of(truth, truth, space).f1.tolist()
    ([0.0], [1.0])
    """

    space: LabelSpace
    counts: NDArray[np.int64]
    jaccard: NDArray[np.int64]
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

        Raises `ValueError` for arrays that are not (h, w) integers of one size, and for truth or labels that are no
        class where the truth is counted.
        """
        check_sizes(truth=truth, labels=labels, **({} if instances is None else {"instances": instances}))
        check_classes(truth, labels, len(space))
        counts = np.zeros((len(space) - 1, len(THRESHOLDS), 3), np.int64)
        jaccard = np.zeros((len(space) - 1, 2), np.int64)
        for index in range(1, len(space)):
            drawn = truth == index
            objects = regions(drawn, connectivity=8) if instances is None else np.where(drawn, instances, 0)
            void = (truth == IGNORE) | (drawn & (objects == 0))
            found = regions(labels == index, connectivity=8)
            pairs = matching(objects, found, void=void, minimum=minimum)
            counts[index - 1], jaccard[index - 1] = pairs.counts(), pairs.jaccard()
        return cls(space=space, counts=counts, jaccard=jaccard, images=1)

    def __add__(self, other: ObjectScores) -> ObjectScores:
        """Return the scores of the images of both.

        Raises `ValueError` where their classes differ.
        """
        return ObjectScores(
            space=one_space(self.space, other.space),
            counts=self.counts + other.counts,
            jaccard=self.jaccard + other.jaccard,
            images=self.images + other.images,
        )

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
        return shares(2 * matched, 2 * matched + false + missed)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, the share of the found objects that are true, at IoU 0.5; NaN where none was found."""
        return shares(self.counts[:, 0, 0], self.counts[:, 0, :2].sum(1))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, the share of the true objects that were found, at IoU 0.5; NaN where there is none."""
        return shares(self.counts[:, 0, 0], self.counts[:, 0, ::2].sum(1))

    @property
    def aji(self) -> NDArray[np.float64]:
        """Per class, the aggregated Jaccard index; NaN where there is no object, true or found."""
        return shares(self.jaccard[:, 0], self.jaccard[:, 1])

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {
                "name": name,
                **{field: plain(getattr(self, field)[index]) for field in _COLUMNS},
                "f1_at": [plain(value) for value in self.f1_at[index]],
                "counts": self.counts[index].tolist(),
            }
            for index, name in enumerate(self.space.names[1:])
        ]
        return {
            **{field: plain(mean_known(getattr(self, field))) for _, field in _HEADINGS},
            "images": self.images,
            "thresholds": list(THRESHOLDS),
            "classes": classes,
            "definitions": OBJECT_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the scores in per cent, a line per class; the means over the classes come first."""
        lines = [
            figure(title, mean_known(getattr(self, field)), OBJECT_DEFINITIONS[field]) for title, field in _HEADINGS
        ]
        lines += [f"({self.images} images; {OBJECT_DEFINITIONS['protocol']})", ""]
        names = self.space.names[1:]
        width = max(5, *(len(name) for name in self.space.names))
        lines.append(f"{'class':<{width}}       F1   mean F1  precision    recall       AJI   objects     found")
        for index, name in enumerate(names):
            values = [getattr(self, field)[index] for field in _COLUMNS]
            matched, false, missed = self.counts[index, 0].tolist()
            shares = "    ".join(percent(value) for value in values)
            lines.append(f"{name:<{width}}   {shares}{matched + missed:10,}{matched + false:10,}")
        return "\n".join([*lines, "", *(f"{name}: {OBJECT_DEFINITIONS[name]}" for name in ("precision", "recall"))])
