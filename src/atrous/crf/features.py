"""What makes two pixels alike: their positions and colours, each divided by its standard deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Spacing = tuple[float, ...]


def position_features(shape: Shape, sigma: float, spacing: Spacing, *, channels: int = 0) -> NDArray[np.float32]:
    """Return (d + channels, *shape) float32: x, y and in a volume z, and as many channels that are left unset.

    `shape` is (h, w) or (d, h, w), and `spacing` the distance of two neighbours on each of its axes. A volume of one
    slice has no z: what is the same everywhere tells no pixels apart, and fewer features make a better lattice.

    >>> position_features((1, 3), 2.0, (1.0, 1.0)).tolist()
    [[[0.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    axes = [axis for axis in reversed(range(len(shape))) if axis >= len(shape) - 2 or shape[axis] > 1]
    features = np.empty((len(axes) + channels, *shape), np.float32)
    for feature, axis in zip(features, axes, strict=False):
        line = np.arange(shape[axis], dtype=np.float32) * np.float32(spacing[axis]) / np.float32(sigma)
        feature[:] = line.reshape(-1, *(1,) * (len(shape) - 1 - axis))
    return features


def image_features(image: NDArray[Any], sigma_alpha: float, sigma_beta: float, spacing: Spacing) -> NDArray[np.float32]:
    """Return (d + channels, *shape) float32: the positions over sigma_alpha, then the channels over sigma_beta.

    `image` is (*shape, channels), of as many axes as `spacing` has and one more.

    >>> image_features(np.uint8([[[6], [9]]]), 2.0, 3.0, (1.0, 1.0)).tolist()
    [[[0.0, 0.5]], [[0.0, 0.0]], [[2.0, 3.0]]]
    """
    *shape, channels = image.shape
    features = position_features(tuple(shape), sigma_alpha, spacing, channels=channels)
    for channel in range(channels):
        np.divide(image[..., channel], np.float32(sigma_beta), out=features[channel - channels], dtype=np.float32)
    return features
