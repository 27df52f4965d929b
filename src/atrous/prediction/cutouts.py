"""Pictures of what was found, with nothing around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.draw import background, displayed

_SOFT = 0.25  # the share of the best class beside the background's, below which nothing is seen


def cutout(
    image: NDArray[Any], labels: NDArray[np.uint8], space: LabelSpace, *, probabilities: NDArray[Any] | None = None
) -> NDArray[np.uint8]:
    """Return the image as (h, w, 4) uint8 RGBA, transparent where it is background or ignored.

    Background is the class of that name, else the first of several. With `probabilities` (classes, h, w) the edge is
    soft: half transparent where background is as likely as the best other class, opaque where it is a third as likely
    or less, and transparent where it is three times as likely or more. `image` is what `draw.displayed` takes.

    >>> space = LabelSpace(names=("background", "car"))
    >>> cutout(np.full((1, 2), 9, np.uint8), np.array([[0, 1]], np.uint8), space).tolist()
    [[[9, 9, 9, 0], [9, 9, 9, 255]]]
    """
    empty = background(space)
    if empty is None and len(space) > 1:
        empty = 0
    opaque = labels != IGNORE
    if probabilities is None or empty is None or len(space) == 1:
        opacity = np.where(opaque & (labels != empty), np.uint8(255), np.uint8(0))
    else:
        opacity = np.where(opaque, _opacity(probabilities, empty), np.uint8(0))
    return np.dstack([displayed(image), opacity])


def _opacity(probabilities: NDArray[Any], empty: int) -> NDArray[np.uint8]:
    """Return (h, w) from 0 to 255; what is 0 for all classes is transparent."""
    without = np.float32(probabilities[empty])
    best = np.zeros_like(without)
    for label, scores in enumerate(probabilities):
        if label != empty:
            np.maximum(best, scores, out=best)
    share = best / np.maximum(best + without, np.finfo(np.float32).tiny)
    return (np.clip((share - _SOFT) / (1 - 2 * _SOFT), 0, 1) * 255).round().astype(np.uint8)
