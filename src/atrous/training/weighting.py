"""The weights of a crop's pixels in the loss: those of its classes, and U-Net's of the gaps between objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.data import separation_weights
from atrous.data.parting import compacted, numbered

SIGMA = 5.0
"""By how many pixels a gap may be wide and still count; the paper's."""


def crop_weights(
    labels: NDArray[np.uint8],
    instances: NDArray[np.int32] | None,
    *,
    separation: float,
    class_weights: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Return the weight of every pixel (h, w) float32: `class weight + separation exp(-(d1 + d2)^2 / (2 sigma^2))`.

    d1 and d2 are the distances to the nearest two objects, as in `data.separation_weights`; that term is of class 0
    only, which is to be learnt as the border. Objects are those of `instances` (h, w), 0 for none, else the connected
    regions of each class but 0. Those that touch have nothing between them: `data.parting.parted` makes the labels for
    it. `class_weights` are one per class, all 1 without. What is ignored has the weight 0, and is no object.

    Raises `ValueError` for instances of another size, a separation that is negative or no number, and fewer weights
    than classes.

    Source: U-Net (arXiv 1505.04597), equation 2, with the paper's sigma of 5 pixels.

    >>> crop_weights(np.uint8([[1, 0, 1, 255]]), None, separation=10).round().tolist()
    [[1.0, 10.0, 1.0, 0.0]]
    """
    weights = _of_classes(labels, class_weights)
    if instances is not None and instances.shape != labels.shape:
        raise ValueError(f"instances are {instances.shape} and labels {labels.shape}; one size (h, w) is needed")
    background = labels == 0
    drawn = ~background & (labels != IGNORE)
    objects = numbered(labels) if instances is None else np.where(drawn, compacted(instances), np.int32(0))
    term = separation_weights(objects, w0=separation, sigma=SIGMA, class_weights=(0.0, 0.0), threads=1)
    # Not where a class has no objects, such as a crowd: it is no border.
    return np.add(weights, term, out=weights, where=background)


def _of_classes(labels: NDArray[np.uint8], class_weights: Sequence[float] | None) -> NDArray[np.float32]:
    table = np.ones(256, np.float32)
    if class_weights is not None:
        highest = int(labels[labels != IGNORE].max(initial=0))
        if len(class_weights) <= highest:
            raise ValueError(f"{len(class_weights)} class weights came, and there is a class {highest}; give one each")
        table[: len(class_weights)] = class_weights
    table[IGNORE] = 0
    return table[labels]
