"""Bilinear enlargement of logits, fused with the choice of the best class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads, kernels

_WORK_PER_THREAD = 1 << 17
_ONE = np.float32(1)


def enlarge_argmax(
    logits: NDArray[np.float32],
    size: tuple[int, int],
    *,
    align_corners: bool,
    crop: tuple[int, int] | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Enlarge logits bilinearly to `size` and name the largest per pixel, without a full-size map per class.

    `logits` are (classes, h, w) float32 with at most 255 classes; the labels are (height, width) of `size`, or of
    `crop` where only the top left part of that is wanted. Samples lie corner to corner when `align_corners`, else in
    the middle of their cells with the border repeated; sides may also shrink, without smoothing. The lowest class
    wins a tie. A logit that is NaN never wins, and where all are NaN the label is 0; an infinite logit makes NaN
    where its weight is zero. `threads` defaults to one per processor, fewer for little work.

    Raises `ValueError` for another dtype or number of axes, empty sides, too many classes, or a crop beyond `size`.

    >>> logits = np.array([[[1, 0]], [[0, 1]]], np.float32)
    >>> enlarge_argmax(logits, (1, 4), align_corners=False).tolist()
    [[0, 0, 1, 1]]
    """
    logits = np.asarray(logits)
    height, width = size if crop is None else crop
    _check(logits, size, (height, width))
    rows = _samples(logits.shape[1], size[0], height, align_corners)
    columns = _samples(logits.shape[2], size[1], width, align_corners)
    labels = np.empty((height, width), np.uint8)
    strips = min(available_threads(threads), height, max(labels.size * len(logits) // _WORK_PER_THREAD, 1))
    kernels().enlarge_argmax(np.ascontiguousarray(logits), *rows, *columns, labels, strips)
    return labels


def enlarge(
    logits: NDArray[np.float32],
    size: tuple[int, int],
    *,
    align_corners: bool,
    crop: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Enlarge maps (n, classes, h, w) float32 bilinearly, with the samples of `enlarge_argmax`.

    The result is (n, classes, height, width) of `size`, or of `crop` where only the top left part is wanted.

    Raises `ValueError` for what `enlarge_argmax` refuses.

    >>> enlarge(np.array([[[[0, 4]]]], np.float32), (1, 4), align_corners=False).tolist()
    [[[[0.0, 1.0, 3.0, 4.0]]]]
    """
    height, width = size if crop is None else crop
    for each in logits:
        _check(each, size, (height, width))
    first, second, share = _samples(logits.shape[2], size[0], height, align_corners)
    left, right, across = _samples(logits.shape[3], size[1], width, align_corners)
    wide = logits[..., left] * (_ONE - across) + logits[..., right] * across
    share = share[:, None]
    return wide[:, :, first] * (_ONE - share) + wide[:, :, second] * share


def _samples(
    source: int, target: int, count: int, align_corners: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    position = np.arange(count, dtype=np.float64)
    if align_corners:
        position *= (source - 1) / (target - 1) if target > 1 else 0.0
    else:
        position = np.maximum((position + 0.5) * (source / target) - 0.5, 0.0)
    first = np.minimum(position.astype(np.int32), source - 1)
    second = np.minimum(first + 1, source - 1, dtype=np.int32)
    return first, second, np.clip(position - first, 0.0, 1.0).astype(np.float32)


def _check(logits: NDArray[Any], size: tuple[int, int], crop: tuple[int, int]) -> None:
    if logits.dtype != np.float32:
        raise ValueError(f"logits have dtype {logits.dtype}; float32 is needed: convert with astype(numpy.float32)")
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(f"logits have shape {logits.shape}; (classes, h, w) is needed, each at least 1")
    if len(logits) > 255:
        raise ValueError(f"logits have {len(logits)} classes; 255 is the most, since labels are one byte")
    if min(size) < 1:
        raise ValueError(f"size is {size}; (height, width) is needed, each at least 1")
    if not (1 <= crop[0] <= size[0] and 1 <= crop[1] <= size[1]):
        raise ValueError(f"crop {crop} is not within size {size}; give (height, width) from 1 to the size")
