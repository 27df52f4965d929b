"""What every image of a set came to: counts per class, from which image scores and intervals follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core import confusion
from atrous.contract import AtrousError, LabelSpace
from atrous.evaluation.figures import figure, mean_known, means_known, one_space, plain, shares

PER_IMAGE_DEFINITIONS = {
    "mean_iou": "mean over images of the mean IoU of each, over the classes in its truth or its prediction",
    "mean_dice": "mean over images of the mean Dice of each, over the classes in its truth or its prediction",
    "pixel_accuracy": "mean over images of the share of the counted pixels of each that are right",
    "protocol": "every image weighs the same, however large it is; ignored pixels are left out; an image in which "
    "nothing is counted is left out of the means; not to be compared with scores of one matrix over the set",
}
_HEADINGS = (
    ("per-image mean IoU", "mean_iou"),
    ("per-image mean Dice", "mean_dice"),
    ("per-image accuracy", "pixel_accuracy"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PerImage:
    """Counts of every image and class of a set.

    `counts` is (images, classes, 3) int64: pixels that are rightly of the class, truly of it, and predicted as it,
    where the truth is not ignored. `names` are the images', in the same order.

    >>> truth, found = np.uint8([[0, 0, 1, 1]]), np.uint8([[0, 1, 1, 1]])
    >>> PerImage.of("a.png", truth, found, LabelSpace(names=("a", "b"))).counts.tolist()
    [[[1, 2, 1], [2, 2, 3]]]
    """

    space: LabelSpace
    names: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, truth: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> PerImage:
        """Return the counts of one image; `truth` and `labels` are uint8 of one shape, as `Scores.of` takes them."""
        return cls.counted(name, confusion(truth, labels, len(space)), space)

    @classmethod
    def counted(cls, name: str, matrix: NDArray[np.int64], space: LabelSpace) -> PerImage:
        """Return the counts of one image from its confusion matrix (classes, classes): rows are the truth."""
        counts = np.stack([np.diag(matrix), matrix.sum(1), matrix.sum(0)], 1).astype(np.int64)
        return cls(space=space, names=(name,), counts=counts[None])

    @classmethod
    def from_json(cls, document: dict[str, Any], space: LabelSpace) -> PerImage:
        """Return what `as_json` stored.

        Raises `AtrousError` where a count is of no class of `space`, or the document is not such a one.
        """
        try:
            images = document["images"]
            counts = np.zeros((len(images), len(space), 3), np.int64)
            for row, image in enumerate(images):
                for index, *values in image["counts"]:
                    counts[row, _class_index(index, space)] = _three(values)
            return cls(space=space, names=tuple(str(image["name"]) for image in images), counts=counts)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise AtrousError(
                f"the counts per image cannot be read ({error!r}); evaluate the run again with this version"
            ) from error

    def __add__(self, other: PerImage) -> PerImage:
        """Return the counts of the images of both.

        Raises `ValueError` where their classes differ.
        """
        space = one_space(self.space, other.space)
        counts = np.concatenate([self.counts, other.counts])
        return PerImage(space=space, names=self.names + other.names, counts=counts)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.names)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Per image and class, intersection over union; NaN where neither truth nor prediction has the class."""
        found, truth, predicted = np.moveaxis(self.counts, -1, 0)
        return shares(found, truth + predicted - found)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Per image and class, Dice; NaN where neither truth nor prediction has the class."""
        found, truth, predicted = np.moveaxis(self.counts, -1, 0)
        return shares(2 * found, truth + predicted)

    @property
    def mean_iou(self) -> NDArray[np.float64]:
        """Per image, the mean of `iou` over its classes; NaN where nothing is counted."""
        return means_known(self.iou.T)

    @property
    def mean_dice(self) -> NDArray[np.float64]:
        """Per image, the mean of `dice` over its classes; NaN where nothing is counted."""
        return means_known(self.dice.T)

    @property
    def pixel_accuracy(self) -> NDArray[np.float64]:
        """Per image, the share of its counted pixels that are right; NaN where nothing is counted."""
        return shares(self.counts[..., 0].sum(1), self.counts[..., 1].sum(1))

    @property
    def mean(self) -> float:
        """The mean over images of `mean_iou`."""
        return mean_known(self.mean_iou)

    def worst(self, count: int = 5) -> list[tuple[str, float]]:
        """Return names and mean IoU of the images with the lowest, the lowest first; of equal ones the earlier."""
        values = self.mean_iou
        order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
        return [(self.names[index], float(values[index])) for index in order[:count]]

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """Return names and mean IoU of the images with the highest, the highest first; of equal ones the earlier."""
        values = self.mean_iou
        order = np.argsort(-values, kind="stable")[: int((~np.isnan(values)).sum())]
        return [(self.names[index], float(values[index])) for index in order[:count]]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; `from_json` reads it back.

        `counts` of an image has a row of class, intersection, truth and predicted for each class that it has.
        """
        mean_iou, accuracy = self.mean_iou, self.pixel_accuracy
        images = [
            {"name": name, "mean_iou": plain(iou), "pixel_accuracy": plain(right), "counts": _rows(counts)}
            for name, iou, right, counts in zip(self.names, mean_iou, accuracy, self.counts, strict=True)
        ]
        return {
            **{field: plain(mean_known(getattr(self, field))) for _, field in _HEADINGS},
            "images": images,
            "definitions": PER_IMAGE_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the means over the images in per cent, each beside its definition, and the worst five images."""
        lines = [
            figure(title, mean_known(getattr(self, field)), PER_IMAGE_DEFINITIONS[field]) for title, field in _HEADINGS
        ]
        worst = ", ".join(f"{name} {100 * value:.2f}" for name, value in self.worst())
        return "\n".join([*lines, f"({len(self)} images; {PER_IMAGE_DEFINITIONS['protocol']})", f"lowest: {worst}"])


def _rows(counts: NDArray[np.int64]) -> list[list[int]]:
    present = np.flatnonzero(counts.any(1))
    return [[index, *row] for index, row in zip(present.tolist(), counts[present].tolist(), strict=True)]


def _class_index(index: int, space: LabelSpace) -> int:
    if not 0 <= index < len(space):
        raise ValueError(f"class {index} of {len(space)}")
    return index


def _three(values: list[int]) -> list[int]:
    if len(values) != 3:
        raise ValueError(f"{len(values)} counts of a class")
    return values
