"""Colour as one pass: brightness, contrast, saturation and hue are one matrix, and gamma is one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.data.augmentation.presets import LIGHT, Augmentation

# Luma weights (Rec. 601): the grey that saturation mixes with and the axis about which hue turns.
_GREY = np.array([0.299, 0.587, 0.114])


def recoloured(
    image: NDArray[Any],
    random: np.random.Generator,
    augmentation: Augmentation = LIGHT,
    *,
    limits: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """Return the image with brightness, contrast, gamma and, in colour, saturation and hue changed.

    Contrast is about the image's mean. Gamma is taken of values as shares of `limits`, the range of stored values;
    without them it is 0..255 in uint8, and what the image holds in other types. The type is kept and values are clipped
    to its range; those outside `limits` are not touched by gamma.
    """
    change = _drawn(image, random, augmentation)
    if change is None:
        return image
    limits = None if change.exponent == 1 else stored_range(image, limits)
    if image.shape[2] != 3:
        return _mapped(image, lambda values: _single(values, change, limits))
    done = cv2.transform(image, np.hstack([change.matrix, change.offset]))
    return done if limits is None else _mapped(done, lambda values: _gamma(values, change.exponent, limits))


@dataclass(frozen=True)
class _Change:
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    exponent: float


def _drawn(image: NDArray[Any], random: np.random.Generator, augmentation: Augmentation) -> _Change | None:
    bounds = np.array([augmentation.brightness, augmentation.contrast, augmentation.saturation])
    if not (bounds.any() or augmentation.hue or augmentation.gamma):
        return None
    brightness, contrast, saturation = 1 + bounds * random.uniform(-1, 1, 3)
    turn = 2 * np.pi * augmentation.hue * random.uniform(-1, 1)
    exponent = float(np.exp(augmentation.gamma * random.uniform(-1, 1))) if augmentation.gamma else 1.0
    channels = image.shape[2]
    matrix = np.eye(channels)
    if channels == 3:
        matrix = _hue(turn) @ (saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), _GREY))
    mean = image[:: max(1, image.shape[0] // 32), :: max(1, image.shape[1] // 32)].mean()
    offset = np.full((channels, 1), (1 - contrast) * brightness * mean)
    return _Change(brightness * contrast * matrix, offset, exponent)


def _hue(angle: float) -> NDArray[np.float64]:
    """Rotate colours about the grey axis (Rodrigues' formula): hue turns, grey stays."""
    axis = np.ones(3) / np.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)


def _single(values: NDArray[Any], change: _Change, limits: tuple[float, float] | None) -> NDArray[Any]:
    """Return values of images that are not in colour, each changed for itself."""
    changed = values.astype(np.float32) * float(change.matrix[0, 0]) + float(change.offset[0, 0])
    return _kept(changed if limits is None else _gamma(changed, change.exponent, limits), values.dtype)


def _gamma(values: NDArray[Any], exponent: float, limits: tuple[float, float] | None) -> NDArray[Any]:
    if limits is None:
        return values
    low, high = limits
    share = np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return _kept(values + np.float32(high - low) * (share**exponent - share), values.dtype)


def _kept(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in a type, rounded and clipped to its range."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    span = np.iinfo(dtype)
    return np.clip(np.rint(values), span.min, span.max).astype(dtype)


def _mapped(image: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Apply a function of single values, by a table where the type has few values and the image more."""
    if image.dtype == np.uint8:
        flat = np.ascontiguousarray(image).reshape(len(image), -1)  # OpenCV's channels are limited, columns are not
        return cv2.LUT(flat, function(np.arange(256, dtype=np.uint8))).reshape(image.shape)
    if image.dtype.kind == "f" or image.size < 1 << 16:
        return function(image)
    table = function(np.arange(1 << 16, dtype=np.uint16).view(image.dtype))
    return table[image.view(np.uint16)]


def stored_range(image: NDArray[Any], limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the range that shares are taken of, or None for an image of one value only."""
    if limits is not None:
        return limits
    if image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(image.min()), float(image.max())
    return (low, high) if high > low else None
