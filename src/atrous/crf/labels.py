"""Probabilities made of hard labels, so that masks of any origin can be refined."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.crf import parameters


def soft_labels(
    labels: NDArray[Any], classes: int, *, confidence: float = 0.7, ignore: int = IGNORE
) -> NDArray[np.float32]:
    """Return probabilities (classes, h, w) float32 of labels (h, w), 0..classes-1 and `ignore`.

    The given label has the probability `confidence`, the others share the rest evenly, and an ignored pixel is
    uniform: nothing is known of it. `confidence` lies above 1 / classes, else a label would speak against itself, and
    below 1, else no refiner could change it. Of a single class every pixel has 1.

    Raises `ValueError` for labels of another shape, dtype or range, and for a confidence or number of classes that
    cannot be; `TypeError` for one that is no number, or no whole number of classes.

    Source: lucasb-eyer/pydensecrf, `unary_from_labels`, whose 0 with `zero_unsure` is our `ignore`.

    >>> soft_labels(np.uint8([[1, 255]]), 2, confidence=0.75).tolist()
    [[[0.25, 0.5]], [[0.75, 0.5]]]
    """
    classes = parameters.whole("classes", classes, 1)
    labels = np.asarray(labels)
    _check(labels, classes, confidence, ignore)
    shares = np.full((classes + 1, classes), (1 - confidence) / max(classes - 1, 1), np.float32)
    np.fill_diagonal(shares, confidence if classes > 1 else 1)
    shares[-1] = 1 / classes
    rows = np.where(labels == ignore, classes, labels)
    return np.take(shares.T, rows, axis=1)


def _check(labels: NDArray[Any], classes: int, confidence: float, ignore: int) -> None:
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(f"labels are {labels.dtype} of shape {labels.shape}; whole numbers (h, w) are needed")
    outside = (labels != ignore) & ((labels < 0) | (labels >= classes))
    if outside.any():
        raise ValueError(
            f"label {int(labels[outside][0])} is outside 0..{classes - 1} and is not the ignore value {ignore}; "
            f"{int(outside.sum()):,} pixels have it or another such"
        )
    confidence = parameters.number("confidence", confidence, below=1)
    if classes > 1 and confidence <= 1 / classes:
        raise ValueError(
            f"confidence is {confidence:g}; above 1 / {classes} is needed, which each of {classes} classes has where "
            "nothing is known"
        )
