"""The kernels in NumPy: the specification of the compiled ones, and what runs where no compiler was at hand.

Arguments are checked by the functions that call these. The compiled kernels' labels and counts are equal to these bit
for bit, the CRF's sums up to rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atrous._core.lattice_twin import filtered, lattice_of, mean_field, peaks
from atrous._core.separation_twin import two_nearest

__all__ = ["confusion", "enlarge_argmax", "filtered", "lattice_of", "mean_field", "peaks", "two_nearest"]

_BLOCK = 1 << 20


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], matrix: NDArray[np.int64], threads: int, /
) -> bool:
    """Add the pairs of labels to `matrix`; return False when a counted label is outside it."""
    classes = len(matrix)
    for start in range(0, truth.size, _BLOCK):
        rows, columns = truth[start : start + _BLOCK], predicted[start : start + _BLOCK]
        counted = rows != 255
        rows, columns = rows[counted].astype(np.intp), columns[counted]
        if rows.size and max(rows.max(), columns.max()) >= classes:
            return False
        matrix += np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)
    return True


def enlarge_argmax(
    logits: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    second_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    second_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    labels: NDArray[np.uint8],
    threads: int,
    /,
) -> None:
    """Write to `labels` the class of the largest enlarged logit, one band of rows after the other."""
    classes, _, _ = logits.shape
    height, width = labels.shape
    band = max(_BLOCK // (classes * width), 1)
    one = np.float32(1)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, height, band):
            rows = slice(start, start + band)
            needed, place = np.unique(np.r_[first_rows[rows], second_rows[rows]], return_inverse=True)
            source = logits[:, needed]
            wide = source[..., first_columns] * (one - column_weights) + source[..., second_columns] * column_weights
            upper, lower = np.split(place, 2)
            weight = row_weights[rows, None]
            values = wide[:, upper] * (one - weight) + wide[:, lower] * weight
            values[np.isnan(values)] = -np.inf
            labels[rows] = values.argmax(axis=0)
