"""A scorer that looks at an image in several sizes, and averages or takes what is most sure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil
from numbers import Real
from typing import Any, get_args

from atrous.contract import Geometry, Scorer
from atrous.prediction.arrays import resized
from atrous.prediction.passing import geometry_of
from atrous.prediction.views import Combine, View, Viewed

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of DeepLab v3 and v3+ (v3, section 4: inference strategy)."""

SMALLEST, LARGEST = 0.1, 4.0


def scaled(scorer: Scorer, scales: Sequence[float] = SCALES, combine: Combine = "mean") -> Viewed:
    """Return a scorer that looks at the image in several sizes and brings each one's probabilities back to its own.

    Images and probabilities are resized bilinearly, without aliasing; a side has at least one pixel. `mean` averages
    the probabilities, as DeepLab v3 does. `max` takes the largest of each class and divides by their sum over the
    classes; DeepLab v2 takes the maximum of logits instead, inside the network: that is `MultiScale`. The scale 1
    alone is `scorer` itself.

    Raises `ValueError` for no scales, ones outside 0.1 to 4, and an unknown `combine`.

    Source: DeepLab v3, section 4 (mean of probabilities); DeepLab v2, section 4.1.2 (maximum).

    >>> import numpy as np
    >>> bright = lambda images: np.concatenate([255 - images, images], 1, dtype=np.float32) / 255
    >>> bool(np.allclose(scaled(bright, (1, 2))(np.full((1, 1, 2, 2), 51, np.uint8))[0, :, 0, 0], (0.8, 0.2)))
    True
    """
    if combine not in get_args(Combine):
        raise ValueError(f"combine {combine!r} is not known; there are {', '.join(get_args(Combine))}")
    given = checked_scales(scales)
    views = tuple(View(partial(_at, scale=scale), _back) for scale in given)
    return Viewed(scorer, views, _geometry(geometry_of(scorer), given), combine)


def checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return the scales as numbers.

    Raises `ValueError` for none, and for anything but numbers from 0.1 to 4.

    >>> checked_scales([1, 0.5])
    (1.0, 0.5)
    """
    given = tuple(scales)
    if not given:
        raise ValueError(f"no scales came; give one or more from {SMALLEST:g} to {LARGEST:g}")
    for scale in given:
        if isinstance(scale, bool) or not isinstance(scale, Real) or not SMALLEST <= scale <= LARGEST:
            raise ValueError(f"scale {scale!r} came; a number from {SMALLEST:g} to {LARGEST:g} is accepted")
    return tuple(float(scale) for scale in given)


def _geometry(inner: Geometry, scales: tuple[float, ...]) -> Geometry:
    """Return what windows around all sizes need: the margin of the smallest, and nowhere the grid of one."""
    if scales == (1.0,) or not inner.margin:
        return inner if scales == (1.0,) else Geometry()
    return Geometry(margin=ceil((inner.margin + inner.multiple) / min(scales)))


def _at(images: Any, *, scale: float) -> Any:
    size = tuple(max(round(side * scale), 1) for side in images.shape[2:])
    return images if size == tuple(images.shape[2:]) else resized(images, (size[0], size[1]))


def _back(probabilities: Any, size: tuple[int, int]) -> Any:
    return probabilities if tuple(probabilities.shape[2:]) == size else resized(probabilities, size)
