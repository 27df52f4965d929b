"""What a camera does to an image after the light: blur, noise and JPEG, in that order."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.data.augmentation.colours import recoloured, stored_range
from atrous.data.augmentation.presets import Augmentation


def varied(
    image: NDArray[Any],
    random: np.random.Generator,
    augmentation: Augmentation,
    *,
    limits: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """Return the image blurred, recoloured, with noise and JPEG's traces, each where `augmentation` has it so.

    The order is that of a camera: lens, exposure, sensor, file. JPEG is for 8-bit images of one or three channels;
    others are left as they are.
    """
    if augmentation.blur and random.random() < augmentation.blur_chance:
        image = _blurred(image, augmentation.blur * random.uniform(0.2, 1))
    image = recoloured(image, random, augmentation, limits=limits)
    if augmentation.noise and random.random() < augmentation.noise_chance:
        image = _noisy(image, random, augmentation.noise * random.uniform(0.1, 1), limits)
    if augmentation.jpeg < 100 and random.random() < augmentation.jpeg_chance:
        image = _compressed(image, int(random.integers(augmentation.jpeg, 101)))
    return image


def _blurred(image: NDArray[Any], sigma: float) -> NDArray[Any]:
    side = 2 * int(np.ceil(3 * sigma)) + 1
    done = np.empty_like(image)
    step = 4 if image.shape[2] > 4 else image.shape[2]  # OpenCV's channels are limited
    for first in range(0, image.shape[2], step):
        part = np.ascontiguousarray(image[:, :, first : first + step])
        blurred = cv2.GaussianBlur(part, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
        done[:, :, first : first + step] = blurred.reshape(part.shape)
    return done


def _noisy(
    image: NDArray[Any], random: np.random.Generator, share: float, limits: tuple[float, float] | None
) -> NDArray[Any]:
    """Return the image with Gaussian noise of `share` of the range, for every value its own."""
    limits = stored_range(image, limits)
    if limits is None:
        return image
    sigma = share * (limits[1] - limits[0])
    if image.dtype == np.uint8:
        # A byte of chance per value and a table of 256 quantiles: a tenth of the time of normal numbers.
        flat = np.ascontiguousarray(image).reshape(len(image), -1)
        chance = np.frombuffer(random.bytes(image.size), np.uint8).reshape(flat.shape)
        added = cv2.LUT(chance, np.rint(sigma * _quantiles()).astype(np.int16))
        return cv2.add(flat, added, dtype=cv2.CV_8U).reshape(image.shape)
    noisy = image + np.float32(sigma) * random.standard_normal(image.shape, np.float32)
    if image.dtype.kind == "f":
        return noisy.astype(image.dtype, copy=False)
    span = np.iinfo(image.dtype)
    return np.clip(np.rint(noisy), span.min, span.max).astype(image.dtype)


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float64]:
    """Return 256 equally likely values of the normal distribution, scaled to a standard deviation of 1."""
    values = np.array([NormalDist().inv_cdf((index + 0.5) / 256) for index in range(256)])
    return values / values.std()


def _compressed(image: NDArray[Any], quality: int) -> NDArray[Any]:
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        return image
    grey = image.shape[2] == 1
    stored = image if grey else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if grey:
        return cv2.imdecode(code, cv2.IMREAD_GRAYSCALE).reshape(image.shape)
    return cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
