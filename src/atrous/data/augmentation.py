"""Augmentation: scale, flip and crop as one warp of image and labels, colour as one matrix.

Every sample is warped once, so nothing is resampled twice; labels are taken from the nearest pixel and what lies
outside the image is ignored. The same generator gives the same pixels, whatever process runs it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, Sample, mirrored

# Luma weights (Rec. 601): the grey that saturation mixes with and the axis about which hue turns.
_GREY = np.array([0.299, 0.587, 0.114])


def crop_sample(
    sample: Sample,
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    augment: str = "light",
    fill: tuple[float, ...] = (0.0,),
    margin: int = 0,
    mirror: bool = False,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return one training crop of `sample`: image (h, w, c) of the sample's type and labels (h, w) uint8.

    `augment="light"` scales by a factor drawn evenly in its logarithm, flips left to right half of the time, crops
    anywhere and changes colour; `"none"` takes the middle of the image as it is. A crop may reach `margin` pixels over
    the image's border: a net with a margin learns the border only so. Pixels outside the image hold `fill` (one value
    per channel), or with `mirror` what lies as far inside; they are labelled 255.

    Raises `ValueError` for a sample without labels.

    >>> sample = Sample(image=np.zeros((8, 9, 3), np.uint8), labels=np.ones((8, 9), np.uint8))
    >>> image, labels = crop_sample(sample, (4, 6), np.random.default_rng(0))
    >>> image.shape, labels.shape
    ((4, 6, 3), (4, 6))
    """
    if sample.labels is None:
        raise ValueError(f"{sample.path}: a sample without labels came; training needs a mask for every image")
    if augment == "none":
        warp = placement(sample.labels.shape, size, factor=1.0, flip=False, at=(0.5, 0.5))
        return warped(sample.image, warp, size, fill=fill, mirror=mirror), warped_labels(sample.labels, warp, size)
    factor = float(np.exp(random.uniform(*np.log(scale))))
    flip, at = bool(random.random() < 0.5), (random.random(), random.random())
    warp = placement(sample.labels.shape, size, factor=factor, flip=flip, at=at, margin=margin)
    image = warped(sample.image, warp, size, fill=fill, mirror=mirror)
    return recoloured(image, random), warped_labels(sample.labels, warp, size)


def placement(
    image: tuple[int, ...],
    crop: tuple[int, int],
    *,
    factor: float,
    flip: bool,
    at: tuple[float, float],
    margin: int = 0,
) -> NDArray[np.float64]:
    """Return the 2 x 3 matrix from a crop's pixel (x, y) to the image's, for an image enlarged by `factor`.

    `at` places the crop: (0, 0) at the top left of where it may lie, `margin` pixels over the border, (1, 1) at the
    bottom right. Where the enlarged image is smaller than the crop, the image lies inside the crop instead.

    >>> placement((10, 10), (10, 10), factor=1, flip=False, at=(0.3, 0.9)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    height, width = image[:2]
    rooms = (round(height * factor) + 2 * margin - crop[0], round(width * factor) + 2 * margin - crop[1])
    places = (_whole(share, room) if factor == 1 else share * room for share, room in zip(at, rooms, strict=True))
    top, left = (place - margin for place in places)
    step = 1 / factor
    warp = np.array([[step, 0, (left + 0.5) * step - 0.5], [0, step, (top + 0.5) * step - 0.5]])
    if flip:
        warp[0, 2] += step * (crop[1] - 1)
        warp[0, 0] = -step
    return warp


def _whole(share: float, room: int) -> float:
    """Return one of the `room + 1` places of a crop on whole pixels, each for an equal part of 0..1."""
    return float(min(int(share * (room + 1)), room) if room >= 0 else round(share * room))


def warped(
    image: NDArray[Any],
    warp: NDArray[np.float64],
    size: tuple[int, int],
    *,
    fill: tuple[float, ...],
    mirror: bool = False,
) -> NDArray[Any]:
    """Return the image (h, w, c) resampled bilinearly at `warp`; outside it holds `fill`, or its mirror image."""
    image, warp = _needed(image, warp, size, mirror=mirror)
    channels = image.shape[2]
    fill = tuple(fill) if len(fill) == channels else tuple(fill[:1]) * channels
    out = np.empty((*size, channels), image.dtype)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for first in range(0, channels, 4):  # OpenCV fills borders of up to four channels
        part = np.ascontiguousarray(image[:, :, first : first + 4])
        value = fill[first : first + 4]
        done = cv2.warpAffine(part, warp, size[::-1], None, flags, cv2.BORDER_CONSTANT, value)
        out[:, :, first : first + 4] = done.reshape(*size, -1)
    return out


def warped_labels(labels: NDArray[np.uint8], warp: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the labels (h, w) of the nearest pixel at `warp`; outside it is 255."""
    labels, warp = _needed(labels, warp, size)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        np.ascontiguousarray(labels), warp, size[::-1], None, flags, cv2.BORDER_CONSTANT, (IGNORE,)
    ).astype(np.uint8)


def _needed(
    array: NDArray[Any], warp: NDArray[np.float64], size: tuple[int, int], *, mirror: bool = False
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Cut out what `warp` looks at, with two pixels around it: OpenCV refuses sides of 32,767 pixels and more.

    With `mirror` the cut reaches beyond the array and holds its mirror image there.
    """
    corners = warp @ np.array([[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1], [1, 1, 1, 1]])
    first = (np.floor(corners.min(1)) - 2).astype(int)
    last = np.ceil(corners.max(1)).astype(int) + 3
    if mirror:
        columns, rows = (_reflected(*ends) for ends in zip(first, last, array.shape[1::-1], strict=True))
        moved = warp.copy()
        moved[:, 2] -= first
        return array[rows][:, columns], moved
    first = np.maximum(first, 0)
    left, top = (min(int(edge), side - 1) for edge, side in zip(first, array.shape[1::-1], strict=True))
    moved = warp.copy()
    moved[:, 2] -= (left, top)
    return array[top : max(last[1], top + 1), left : max(last[0], left + 1)], moved


def _reflected(first: int, last: int, side: int) -> NDArray[np.int64]:
    """Return the source index of every position from `first` to before `last` on a side mirrored at its ends."""
    before, after = max(0, -first), max(0, last - side)
    return mirrored(side, before, after)[first + before : last + before]


def recoloured(image: NDArray[Any], random: np.random.Generator, *, strength: float = 0.3) -> NDArray[Any]:
    """Return the image with brightness, contrast and, in colour, saturation and hue changed by one matrix.

    `strength` bounds the relative change of each; hue turns by up to a tenth of it in circles. The type is kept and
    values are clipped to its range.
    """
    brightness, contrast, saturation = 1 + strength * random.uniform(-1, 1, 3)
    turn = 2 * np.pi * 0.1 * strength * random.uniform(-1, 1)
    channels = image.shape[2]
    matrix = np.eye(channels)
    if channels == 3:
        matrix = _hue(turn) @ (saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), _GREY))
    mean = image[:: max(1, image.shape[0] // 32), :: max(1, image.shape[1] // 32)].mean()
    matrix = brightness * contrast * matrix
    offset = np.full((channels, 1), (1 - contrast) * brightness * mean)
    if channels == 3:
        return cv2.transform(image, np.hstack([matrix, offset]))
    changed = image.astype(np.float32) * float(matrix[0, 0]) + float(offset[0, 0])
    if image.dtype == np.float32:
        return changed
    limits = np.iinfo(image.dtype)
    return np.clip(np.rint(changed), limits.min, limits.max).astype(image.dtype)


def _hue(angle: float) -> NDArray[np.float64]:
    """Rotate colours about the grey axis (Rodrigues' formula): hue turns, grey stays."""
    axis = np.ones(3) / np.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
