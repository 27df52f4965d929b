"""Where a crop lies in its image, as a matrix: scale, flip and place, then rotation, shear and perspective in it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.data.augmentation.presets import Augmentation
from atrous.data.augmentation.warps import source_map


def drawn_warp(
    labels: NDArray[np.uint8],
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    augmentation: Augmentation,
    margin: int = 0,
) -> NDArray[np.float64] | NDArray[np.float32]:
    """Return where a crop of `size` lies in an image with these labels (h, w): a matrix, or a map where it is elastic.

    Rotation, shear and perspective turn about the crop's middle, or about the pixel that it was placed for, which so
    stays in the crop. A `margin` counts as outside the crop for such a pixel, since nothing is learnt there.
    """
    factor = float(np.exp(random.uniform(*np.log(augmentation.scale))))
    flip, at = bool(random.random() < augmentation.flip), (random.random(), random.random())
    if augmentation.crops == "middle":
        at, margin = (0.5, 0.5), 0
    pixel = _chosen_pixel(labels, random, augmentation)
    if pixel is not None:
        at = _about(pixel, labels.shape, size, factor=factor, margin=margin)
    matrix = placement(labels.shape, size, factor=factor, flip=flip, at=at, margin=margin)
    if augmentation.vertical_flip and random.random() < augmentation.vertical_flip:
        matrix = matrix @ np.array([[1, 0, 0], [0, -1, size[0] - 1], [0, 0, 1]])
    matrix = _turned(matrix, size, random, augmentation, pixel)
    if not augmentation.elastic:
        return matrix
    return source_map(matrix, random.normal(0, augmentation.elastic, (2, 3, 3)), size)


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
    rooms = _rooms(image, crop, factor, margin)
    places = (_whole(share, room) if factor == 1 else share * room for share, room in zip(at, rooms, strict=True))
    top, left = (place - margin for place in places)
    step = 1 / factor
    warp = np.array([[step, 0, (left + 0.5) * step - 0.5], [0, step, (top + 0.5) * step - 0.5]])
    if flip:
        warp[0, 2] += step * (crop[1] - 1)
        warp[0, 0] = -step
    return warp


def _rooms(image: tuple[int, ...], crop: tuple[int, int], factor: float, margin: int) -> tuple[int, int]:
    """Return how far a crop may be moved down and right over the enlarged image and its margins."""
    return round(image[0] * factor) + 2 * margin - crop[0], round(image[1] * factor) + 2 * margin - crop[1]


def _whole(share: float, room: int) -> float:
    """Return one of the `room + 1` places of a crop on whole pixels, each for an equal part of 0..1."""
    return float(min(int(share * (room + 1)), room) if room >= 0 else round(share * room))


def _about(
    pixel: tuple[int, int], image: tuple[int, ...], crop: tuple[int, int], *, factor: float, margin: int
) -> tuple[float, float]:
    """Return where a crop is placed so that `pixel` is in its middle, or as near to it as the image allows."""
    shares = []
    for position, side, room in zip(pixel, crop, _rooms(image, crop, factor, margin), strict=True):
        wanted = (position + 0.5) * factor + margin - side / 2
        place = min(max(wanted, 0.0), float(room))
        if room <= 0:
            shares.append(0.5)
        else:
            shares.append((int(place) + 0.5) / (room + 1) if factor == 1 else place / room)
    return shares[0], shares[1]


def _chosen_pixel(
    labels: NDArray[np.uint8], random: np.random.Generator, augmentation: Augmentation
) -> tuple[int, int] | None:
    """Return the (row, column) that a crop is placed for, or None where it may lie anywhere."""
    if augmentation.crops not in ("balanced", "foreground"):
        return None
    if augmentation.crops == "foreground" and random.random() >= augmentation.foreground_share:
        return None
    counts = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [256], [0, 256]).ravel()
    weights = (counts > 0).astype(np.float64)
    weights[IGNORE] = 0
    if augmentation.crops == "foreground":
        weights[0] = 0
    elif augmentation.class_weights:
        weights[: len(augmentation.class_weights)] *= augmentation.class_weights[:IGNORE]
        weights[len(augmentation.class_weights) :] = 0
    if not weights.any():
        return None
    label = random.choice(256, p=weights / weights.sum())
    places = np.flatnonzero(labels == label)
    row, column = divmod(int(places[random.integers(len(places))]), labels.shape[1])
    return row, column


def _turned(
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    random: np.random.Generator,
    augmentation: Augmentation,
    pixel: tuple[int, int] | None,
) -> NDArray[np.float64]:
    """Return the matrix with rotation, shear and perspective before it; what is 0 draws nothing."""
    if not (augmentation.rotation or augmentation.shear or augmentation.perspective):
        return matrix
    turn = np.eye(3)
    if augmentation.rotation:
        angle = np.deg2rad(augmentation.rotation) * random.uniform(-1, 1)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if augmentation.shear:
        turn[:2, 1] += np.tan(np.deg2rad(augmentation.shear) * random.uniform(-1, 1)) * turn[:2, 0]
    if augmentation.perspective:
        halves = np.maximum(np.array(size[::-1]) / 2, 1)
        turn[2, :2] = augmentation.perspective * random.uniform(-1, 1, 2) / halves
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    if pixel is not None:
        x, y = np.linalg.solve(matrix[:, :2], np.array(pixel[::-1]) - matrix[:, 2])
    here, back = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]), np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    whole = np.vstack([matrix, [0, 0, 1]]) @ here @ turn @ back
    return whole if augmentation.perspective else whole[:2]
