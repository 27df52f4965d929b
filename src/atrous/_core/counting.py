"""The confusion matrix of two label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads, kernels

_IGNORE = 255
# Clearing and adding up the bins of many classes takes a thread as long as counting so many pixels.
_PIXELS_PER_THREAD = 1 << 21
_FEWEST_PIXELS = 1 << 12


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, *, threads: int | None = None
) -> NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    `truth` and `predicted` are uint8 of one shape, any shape. The matrix is (classes, classes): rows are the truth,
    columns the prediction. Pixels whose truth is 255 are not counted, whatever was predicted there. `threads`
    defaults to one per processor, and to fewer below two million pixels for each.

    Raises `ValueError` for other dtypes, shapes that differ, classes outside 1..255, and counted labels outside
    0..classes-1.

    >>> truth = np.array([[0, 1, 255]], np.uint8)
    >>> confusion(truth, np.array([[1, 1, 0]], np.uint8), 2).tolist()
    [[0, 1], [0, 1]]
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    _check(truth, predicted, classes)
    share = _PIXELS_PER_THREAD if threads is None else _FEWEST_PIXELS
    strips = min(available_threads(threads), max(truth.size // share, 1))
    matrix = np.zeros((classes, classes), np.int64)
    flat = np.ascontiguousarray(truth).reshape(-1), np.ascontiguousarray(predicted).reshape(-1)
    if not kernels().confusion(*flat, matrix, strips):
        _refuse("truth", truth, truth, classes)
        _refuse("predicted", predicted, truth, classes)
    return matrix


def _check(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> None:
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if labels.dtype != np.uint8:
            raise ValueError(f"{name} has dtype {labels.dtype}; labels are uint8: convert it with astype(numpy.uint8)")
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth has shape {truth.shape} and predicted {predicted.shape}; labels of the same pixels are compared: "
            "give both the same shape"
        )
    if not 1 <= classes <= 255:
        raise ValueError(f"classes is {classes}; 1 to 255 are possible, since labels are one byte and 255 is ignore")


def _refuse(name: str, labels: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> None:
    outside = labels[(truth != _IGNORE) & (labels >= classes)]
    if outside.size:
        label = outside.min()
        exception = " and is not the ignore value 255" if name == "truth" else ", and truth is counted there"
        raise ValueError(
            f"{name} label {label} is outside 0..{classes - 1}{exception}; {np.count_nonzero(outside == label):,} "
            f"pixels have it: give more classes than {classes}, or map the labels to 0..{classes - 1} first"
        )
