"""A scorer whose probabilities are refined by what the image shows: the fully connected CRF, or anything like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from atrous.contract import Geometry, LabelSpace, Preprocessing, Scorer
from atrous.prediction.arrays import beside, from_numpy, scored, to_numpy
from atrous.prediction.passing import geometry_of, preprocessing_of, space_of

Refiner = Callable[[NDArray[Any], NDArray[np.float32]], NDArray[np.float32]]
"""A function of an image (h, w, c) in 0..255 and its probabilities (labels, h, w) that returns better ones."""


def in_255(image: NDArray[Any], preprocessing: Preprocessing | None) -> NDArray[Any]:
    """Return stored values of any shape in 0..255, the units in which refiners compare colours.

    uint8 comes back as it is. Other depths become float32, of which `low`..`high` of the preprocessing, the range of
    what the network was trained on, is spread over 0..255; what lies outside the range stays outside. Without a
    preprocessing the values are taken to be in 0..255, and so are those of a network whose `mean` is no share of
    `low`..`high`: Caffe's preprocessing only subtracts the mean of values in 0..255.

    >>> in_255(np.array([0, 257, 65535], np.uint16), Preprocessing(high=65535)).tolist()
    [0.0, 1.0, 255.0]
    """
    if image.dtype == np.uint8:
        return image
    values = image.astype(np.float32, copy=False)
    if preprocessing is None or max(preprocessing.mean) > 1:
        return values
    low, high = preprocessing.low, preprocessing.high
    return values if (low, high) == (0, 255) else (values - np.float32(low)) / np.float32((high - low) / 255)


def refined(scorer: Scorer, refiner: Refiner, *, preprocessing: Preprocessing | None = None) -> Refined:
    """Return a scorer that hands each image and its probabilities to `refiner`, and returns what that makes of them.

    The refiner gets NumPy: the image (h, w, c) in 0..255 and float32 probabilities (labels, h, w). uint8 images are
    views of what the scorer takes; others are float32, and the range of `preprocessing`, by default the scorer's own,
    is spread over 0..255, as `in_255` says. Tensors are moved to the host for it and its result back to their device;
    no gradient passes. Images of a batch are refined one after the other.

    Raises `ValueError`, once images are scored, for a refiner that returns anything but finite numbers of the
    probabilities' shape.

    >>> flat = lambda images: np.full((1, 2, *images.shape[2:]), 0.5, np.float32)
    >>> bright = lambda image, probabilities: np.stack([image[..., 0] < 128, image[..., 0] >= 128])
    >>> refined(flat, bright)(np.array([[[[0, 255]]]], np.uint8)).tolist()
    [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    return Refined(scorer, refiner, preprocessing or preprocessing_of(scorer))


@dataclass(frozen=True)
class Refined:
    """What `refined` returns: a scorer without `labels`, since refining needs all probabilities."""

    scorer: Any
    refiner: Refiner
    preprocessing: Preprocessing | None = None

    def __call__(self, images: Any, /) -> Any:
        """Return the refined probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        probabilities = scored(self.scorer, images)
        arrays = array_namespace(probabilities)
        probabilities = arrays.astype(probabilities, arrays.float32, copy=False)
        views = in_255(to_numpy(images), self.preprocessing).transpose(0, 2, 3, 1)
        pairs = zip(views, to_numpy(probabilities), strict=True)
        return beside(np.stack([refine(self.refiner, image, each) for image, each in pairs]), probabilities)

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the inner scorer takes them."""
        return from_numpy(self.scorer, images)

    @property
    def geometry(self) -> Geometry:
        """The inner scorer's."""
        return geometry_of(self.scorer)

    @property
    def space(self) -> LabelSpace | None:
        """The inner scorer's classes, None where it does not say."""
        return space_of(self.scorer)


def refine(refiner: Refiner, image: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Return what a refiner makes of one image (h, w, c) in 0..255 and its probabilities (labels, h, w), float32.

    Raises `ValueError` where that is anything but finite numbers of the probabilities' shape.
    """
    return checked(refiner(image, probabilities.astype(np.float32, copy=False)), probabilities.shape)


def checked(found: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what a refiner returned, as float32.

    Raises `ValueError` for anything but finite numbers of the shape.
    """
    array = np.asarray(found)
    if array.shape != shape:
        raise ValueError(f"the refiner returned {array.shape} for probabilities of {shape}; the shapes must be equal")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the refiner returned {array.dtype}; finite numbers of shape {shape} are needed")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        values = array.astype(np.float32, copy=False)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(
            f"the refiner returned NaN or infinity in {bad} of {values.size} values; finite numbers are needed"
        )
    return values
