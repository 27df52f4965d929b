"""The guided filter: probabilities that are, in every small window, a linear function of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf import parameters
from atrous.crf.superpixels import usable

_LIBRARY_CHANNELS = (1, 3)
_LEAST, _BEYOND = 1e-6, 1e6  # of epsilon: below it drowns in the rounding of float32, above its cube overflows


@dataclass(frozen=True, kw_only=True)
class GuidedFilter:
    """A refiner: every label's map is filtered with the image as its guide, then all are clipped at 0 and normalised.

    `radius` is half a window's side, in pixels; one beyond the image's larger side counts as that side. `epsilon`, of
    at least 1e-6 and below 1e6, is the variance below which a window counts as flat and is smoothed, of an image in
    0..1 as the paper has it, where it is 0..255 here.

    Raises `TypeError` and `ValueError` for parameters out of range.

    Source: He, Sun and Tang, "Guided Image Filtering", ECCV 2010 and TPAMI 2013, equations 5 to 8 (one channel) and 19
    to 21 (several).

    >>> image = np.uint8([[0] * 6 + [255] * 6])
    >>> probabilities = np.float32([[[0.9] * 7 + [0.1] * 5], [[0.1] * 7 + [0.9] * 5]])
    >>> GuidedFilter(radius=4)(image, probabilities).argmax(0).tolist()
    [[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]
    """

    radius: int = 8
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", parameters.whole("radius", self.radius, 1))
        object.__setattr__(self, "epsilon", parameters.number("epsilon", self.epsilon, least=_LEAST, below=_BEYOND))

    def __call__(
        self, image: NDArray[Any], probabilities: NDArray[Any] | None = None, *, logits: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return probabilities (labels, h, w) float32.

        `image` is (h, w, c) or (h, w), uint8 or float32 in 0..255; exactly one of `probabilities` and `logits` comes,
        (labels, h, w). Raises as `DenseCRF` does, and `ValueError` for values outside 0..255.
        """
        values = usable(image, probabilities, logits)
        guide = np.ascontiguousarray(image, np.float32)
        guide = guide if guide.ndim == 3 else guide[..., None]
        method = by_the_library if guide.shape[2] in _LIBRARY_CHANNELS else by_windows
        radius = min(self.radius, max(guide.shape[:2]))
        filtered = np.maximum(method(guide, values, radius, self.epsilon * 255**2), 0)
        return filtered / filtered.sum(0)


def by_the_library(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, epsilon: float
) -> NDArray[np.float32]:
    """Return the filtered values (labels, h, w) for a guide (h, w, c) of one or three channels in 0..255.

    OpenCV's filter of several channels is right for that range only: in 0..1 it is off by up to 0.2.
    """
    import cv2

    guided = cv2.ximgproc.createGuidedFilter(guide, radius, epsilon)
    return np.stack([guided.filter(np.ascontiguousarray(each)) for each in values])


def by_windows(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, epsilon: float
) -> NDArray[np.float32]:
    """Return the filtered values (labels, h, w) for a guide (h, w, c) of any number of channels.

    In each window, values = slopes . guide + offset by least squares, with `epsilon` on the slopes' squares; a pixel
    gets the mean of what all windows that hold it say. Windows are mirrored at the border.
    """
    mean_guide = _boxed(guide, radius)
    products = guide[..., :, None] * guide[..., None, :]
    shape = products.shape
    covariance = _boxed(products.reshape(*shape[:2], -1), radius).reshape(shape)
    covariance -= mean_guide[..., :, None] * mean_guide[..., None, :]
    inverse = np.linalg.inv(covariance + np.float32(epsilon) * np.eye(shape[-1], dtype=np.float32))
    filtered = np.empty_like(values)
    for label, each in enumerate(values):
        mean = _boxed(each[..., None], radius)
        together = _boxed(guide * each[..., None], radius) - mean_guide * mean
        slopes = np.einsum("hwij,hwj->hwi", inverse, together)
        offset = mean - (slopes * mean_guide).sum(2, keepdims=True)
        filtered[label] = (_boxed(slopes, radius) * guide).sum(2) + _boxed(offset, radius)[..., 0]
    return filtered


def _boxed(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the mean of the window around each pixel of (h, w, k)."""
    import cv2

    side = 2 * radius + 1
    planes = [
        cv2.boxFilter(np.ascontiguousarray(plane), -1, (side, side), borderType=cv2.BORDER_REFLECT)
        for plane in np.moveaxis(values, 2, 0)
    ]
    return np.stack(planes, axis=2)
