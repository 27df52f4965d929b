"""U-Net's weights of pixels, which make the thin background between touching cells count."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads, kernels

_PIXELS_PER_THREAD = 1 << 15


def separation_weights(
    instances: NDArray[Any],
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: tuple[float, float] | Literal["balanced"] = (1.0, 1.0),
    inside: bool = False,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the weight of every pixel (h, w) float32: `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))`.

    `instances` (h, w) are integers: 0 is background, every other number a cell. d1 and d2 are the Euclidean distances,
    in pixels, from the pixel to the nearest and the second nearest cell: to the centre of the cell's nearest pixel, so
    0 inside the cell, 1 beside it, and 1 and 1 in a gap one pixel wide. The second term is that of background pixels,
    which are to be learnt as the border; with `inside` cells have it too, as the equation is written. Cells that touch
    have no background between them: take a line of it from their labels first.

    w_c is the first of `class_weights` in the background and the second in cells; `"balanced"` gives both the same sum,
    and the mean 1. Where there are fewer than two cells there is nothing to separate, and the second term is 0. A map
    of labels will do where each class is one object. `threads` defaults to one per processor, fewer for small maps.

    Raises `ValueError` for another dtype or number of axes, negative numbers, numbers over 2,147,483,647, a `sigma`
    that is not above 0, and weights that are negative or no numbers.

    Source: U-Net (arXiv 1505.04597), equation 2; w0 = 10 and sigma about 5 pixels are the paper's.

    >>> separation_weights(np.array([[1, 0, 0, 2, 0, 0, 0, 3]])).round().tolist()
    [[1.0, 9.0, 9.0, 1.0, 8.0, 8.0, 8.0, 1.0]]
    """
    instances = np.asarray(instances)
    _check(instances, w0, sigma, class_weights)
    objects = np.ascontiguousarray(instances, np.int32)
    weights = _class_weights(objects, class_weights)
    if objects.size and w0 > 0:
        term = _separation(objects, w0, sigma, threads)
        if not inside:
            term[objects != 0] = 0
        weights += term
    return weights


def _separation(objects: NDArray[np.int32], w0: float, sigma: float, threads: int | None) -> NDArray[np.float32]:
    first, second = np.empty((2, *objects.shape), np.float32)
    # Beyond this sum of distances the term is below the smallest number there is in float32.
    farthest = min(2 * sigma**2 * (max(math.log(w0), 0.0) + 104), 1e38)
    reach = min(math.isqrt(int(farthest)) + 1, objects.shape[1] - 1)
    strips = min(available_threads(threads), max(objects.size // _PIXELS_PER_THREAD, 1))
    kernels().two_nearest(objects, float(np.float32(farthest)), reach, strips, first, second)
    # In place: four arrays of the image's size less.
    np.sqrt(first, out=first)
    np.sqrt(second, out=second)
    np.add(first, second, out=first)
    np.square(first, out=first)
    np.multiply(first, np.float32(-0.5 / sigma**2), out=first)
    np.exp(first, out=first)
    return np.multiply(first, np.float32(w0), out=first)


def _class_weights(
    objects: NDArray[np.int32], wanted: tuple[float, float] | Literal["balanced"]
) -> NDArray[np.float32]:
    cells = objects != 0
    if wanted == "balanced":
        inside = np.count_nonzero(cells)
        outside = objects.size - inside
        # A map of one kind only is balanced as it is.
        pair = (objects.size / (2 * outside), objects.size / (2 * inside)) if inside and outside else (1.0, 1.0)
    else:
        pair = (float(wanted[0]), float(wanted[1]))
    return np.where(cells, np.float32(pair[1]), np.float32(pair[0]))


def _check(instances: NDArray[Any], w0: float, sigma: float, class_weights: Any) -> None:
    if instances.ndim != 2 or instances.dtype.kind not in "iu":
        raise ValueError(
            f"instances are {instances.dtype} of shape {instances.shape}; integers (h, w) are needed, 0 for background "
            "and another number for every cell"
        )
    if instances.size and (instances.min() < 0 or instances.max() > np.iinfo(np.int32).max):
        raise ValueError(
            f"instances hold {instances.min()} to {instances.max()}; 0 is background, and cells are numbered from 1 "
            f"to {np.iinfo(np.int32).max:,}"
        )
    if not (math.isfinite(w0) and w0 >= 0 and math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"w0 is {w0} and sigma {sigma}; w0 is 0 or more, and sigma, in pixels, above 0")
    if isinstance(class_weights, str) and class_weights == "balanced":
        return
    numbers = isinstance(class_weights, tuple | list) and len(class_weights) == 2
    if not numbers or not all(isinstance(each, int | float) and 0 <= each < math.inf for each in class_weights):
        raise ValueError(
            f"class_weights are {class_weights!r}; (background, cells) of 0 or more, or 'balanced', is accepted"
        )
