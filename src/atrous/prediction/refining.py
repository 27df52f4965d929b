"""A scorer whose probabilities are refined by what the image shows: the fully connected CRF, or anything like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from atrous.contract import Scorer
from atrous.prediction.arrays import beside, from_numpy, scored, to_numpy

Refiner = Callable[[NDArray[Any], NDArray[np.float32]], NDArray[np.float32]]
"""A function of an image (h, w, c) and its probabilities (labels, h, w) that returns better ones of the same shape."""


def refined(scorer: Scorer, refiner: Refiner) -> Refined:
    """Return a scorer that hands each image and its probabilities to `refiner`, and returns what that makes of them.

    The refiner gets NumPy: a view (h, w, c) of the image as the scorer takes it, uint8 or float32 in the source's
    units, and float32 probabilities (labels, h, w). Tensors are moved to the host for it and its result back to their
    device; no gradient passes. Images of a batch are refined one after the other.

    Raises `ValueError`, once images are scored, for a refiner that returns another shape.

    >>> flat = lambda images: np.full((1, 2, *images.shape[2:]), 0.5, np.float32)
    >>> bright = lambda image, probabilities: np.stack([image[..., 0] < 128, image[..., 0] >= 128])
    >>> refined(flat, bright)(np.array([[[[0, 255]]]], np.uint8)).tolist()
    [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    return Refined(scorer, refiner)


@dataclass(frozen=True)
class Refined:
    """What `refined` returns: a scorer without `labels`, since refining needs all probabilities."""

    scorer: Any
    refiner: Refiner

    def __call__(self, images: Any, /) -> Any:
        """Return the refined probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        probabilities = scored(self.scorer, images)
        arrays = array_namespace(probabilities)
        probabilities = arrays.astype(probabilities, arrays.float32, copy=False)
        views = to_numpy(images).transpose(0, 2, 3, 1)
        pairs = zip(views, to_numpy(probabilities), strict=True)
        return beside(np.stack([refine(self.refiner, image, each) for image, each in pairs]), probabilities)

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the inner scorer takes them."""
        return from_numpy(self.scorer, images)


def refine(refiner: Refiner, image: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Return what a refiner makes of one image (h, w, c) and its probabilities (labels, h, w), float32.

    Raises `ValueError` where that has another shape.
    """
    found = np.asarray(refiner(image, probabilities.astype(np.float32, copy=False)))
    if found.shape != probabilities.shape:
        raise ValueError(
            f"the refiner returned {found.shape} for probabilities of {probabilities.shape}; the shapes must be equal"
        )
    return found.astype(np.float32, copy=False)
