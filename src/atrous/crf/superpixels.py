"""Superpixels: small regions of one colour (SLIC), and probabilities that are voted on within each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf import parameters
from atrous.crf.checks import checked_image, checked_unary, colours_fault, fault, one_of, turned
from atrous.crf.exact import softmax

_ITERATIONS = 10  # as the paper has it
_LEAST_SHARE = 20  # per cent of the mean size; smaller pieces join a neighbour
_MOST_CHANNELS = 128  # that the library takes
_VAST = 1e6  # of compactness: squares of it are within float32


@dataclass(frozen=True, kw_only=True)
class Superpixels:
    """A refiner: each superpixel's pixels all get the mean of their probabilities.

    `size` is the side of a superpixel in pixels, about; what is thinner than half of it is lost. `compactness` weighs
    position against colour: small follows every edge, large gives squares, and below 1e6 is accepted. Channels, at most
    128, are in 0..255, of colours in Lab. An image no larger than a superpixel is one.

    Raises `TypeError` and `ValueError` for parameters out of range.

    Source: Achanta, Shaji, Smith, Lucchi, Fua and Susstrunk, "SLIC Superpixels Compared to State-of-the-Art Superpixel
    Methods", TPAMI 2012 (the superpixels); Fulkerson, Vedaldi and Soatto, "Class Segmentation and Object Localization
    with Superpixel Neighborhoods", ICCV 2009 (classes decided per superpixel).

    >>> image = np.repeat(np.uint8([[0] * 8 + [200] * 8]), 8, axis=0)
    >>> probabilities = np.full((2, 8, 16), 0.5, np.float32)
    >>> probabilities[:, 0, 0] = 0.9, 0.1
    >>> Superpixels(size=8)(image, probabilities)[0, 0, [0, 7, 8]]
    array([0.50625, 0.50625, 0.5    ], dtype=float32)
    """

    size: int = 12
    compactness: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", parameters.whole("size", self.size, 1))
        object.__setattr__(
            self, "compactness", parameters.number("compactness", self.compactness, strictly=True, below=_VAST)
        )

    def __call__(
        self, image: NDArray[Any], probabilities: NDArray[Any] | None = None, *, logits: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return probabilities (labels, h, w) float32, constant within every superpixel of the image.

        `image` is (h, w, c) or (h, w), uint8 or float32 in 0..255; exactly one of `probabilities` and `logits` comes,
        (labels, h, w). Raises as `DenseCRF` does, and `ValueError` for values outside 0..255 and too many channels.
        """
        values = usable(image, probabilities, logits)
        regions = segments(image, size=self.size, compactness=self.compactness)
        return np.stack([means(regions, each)[regions] for each in values])


def segments(image: NDArray[Any], *, size: int, compactness: float = 10.0) -> NDArray[np.int32]:
    """Return the superpixel of every pixel, (h, w) int32, numbered from 0 without gaps.

    An image no larger than a superpixel is one; with `size` 1 every pixel is its own. A thin image is cut by its
    colours as any other.

    >>> int(segments(np.zeros((40, 60), np.uint8), size=20).max()) + 1
    6
    """
    import cv2

    height, width = image.shape[:2]
    if size == 1:
        return np.arange(height * width, dtype=np.int32).reshape(height, width)
    if size >= max(height, width):
        return np.zeros((height, width), np.int32)
    # The library wants at least one whole superpixel on each side: the lines of a thin image are repeated.
    times = -(-size // height), -(-size // width)
    colours = in_lab(image).repeat(times[0], axis=0).repeat(times[1], axis=1)
    slic = cv2.ximgproc.createSuperpixelSLIC(colours, cv2.ximgproc.SLIC, size, compactness)
    slic.iterate(_ITERATIONS)
    slic.enforceLabelConnectivity(_LEAST_SHARE)
    labels = slic.getLabels()[times[0] // 2 :: times[0], times[1] // 2 :: times[1]]
    _, regions = np.unique(labels, return_inverse=True)
    return regions.reshape(height, width).astype(np.int32)


def in_lab(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return an image (h, w), (h, w, c) in 0..255 as float32 (h, w, c): three channels as Lab, others as they are.

    Raises `ValueError` for more channels than the library takes.

    >>> in_lab(np.full((1, 1, 3), 255, np.uint8)).round().tolist()
    [[[100.0, 0.0, 0.0]]]
    """
    import cv2

    if image.ndim == 3 and image.shape[2] > _MOST_CHANNELS:
        raise ValueError(
            f"image has {image.shape[2]} channels; {_MOST_CHANNELS} or less is accepted for superpixels: choose some, "
            "or take DenseCRF or GuidedFilter"
        )
    image = np.ascontiguousarray(image, np.float32)
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image / np.float32(255), cv2.COLOR_RGB2LAB))
    return (image if image.ndim == 3 else image[..., None]) * np.float32(100 / 255)


def means(regions: NDArray[np.int32], values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of values (h, w) within each region, (regions,) float32."""
    counts = np.bincount(regions.ravel())
    return (np.bincount(regions.ravel(), values.ravel()) / counts).astype(np.float32)


def usable(image: NDArray[Any], probabilities: NDArray[Any] | None, logits: NDArray[Any] | None) -> NDArray[np.float32]:
    """Return the probabilities (labels, h, w) float32 that came, or the softmax of the logits.

    Raises `TypeError` and `ValueError`, as `DenseCRF` does, for an image or values that cannot be used, and for an
    image outside 0..255.
    """
    given = one_of(probabilities, logits)
    if words := turned(image, given):
        raise ValueError(words)
    pixels = checked_image(image, 2)
    unary = checked_unary(given, pixels.shape[:2])
    if words := fault(unary) or colours_fault(pixels):
        raise ValueError(words)
    return unary.values if unary.name == "probabilities" else softmax(unary.values)
