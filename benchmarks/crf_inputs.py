"""What the CRFs are raced on: photos at their own resolution, and what a network might say of them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]
SHIPPED = ("astronaut", "chelsea", "coffee")  # in scikit-image's wheel: NASA, public domain; CC0; CC0
TILE = 350  # the mosaic's, in pixels: what a row of it takes from each photo


def photos() -> dict[str, Photo]:
    """Return the photos by name: scikit-image's, and those of the folder `crf` in ATROUS_DATA where it is set."""
    from skimage import data

    found = {name: np.ascontiguousarray(getattr(data, name)()[..., :3]) for name in SHIPPED}
    for path in sorted(Path(os.environ.get("ATROUS_DATA", ""), "crf").glob("im*.png")):
        with Image.open(path) as opened:
            found[path.stem] = np.array(opened.convert("RGB"))
    return found


def fitted(photo: Photo, height: int, width: int) -> Photo:
    """Return the upper left of a photo, mirrored where it is too small: resampling would smooth its noise away."""
    missing = [(0, max(0, wanted - side)) for wanted, side in zip((height, width), photo.shape[:2], strict=True)]
    return np.ascontiguousarray(np.pad(photo, (*missing, (0, 0)), mode="reflect")[:height, :width])


def mosaic(found: dict[str, Photo], height: int, width: int) -> Photo:
    """Return a large image of all photos side by side, each at its own resolution."""
    wanted = -(-height // TILE) * -(-width // TILE)
    names = [list(found)[index % len(found)] for index in range(wanted)]
    tiles = [fitted(found[name], TILE, TILE) for name in names]
    across = -(-width // TILE)
    rows = [np.concatenate(tiles[start : start + across], axis=1) for start in range(0, wanted, across)]
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def image_of(found: dict[str, Photo], name: str, height: int, width: int) -> Photo:
    """Return a photo, or "mosaic" of all, at this size."""
    return mosaic(found, height, width) if name == "mosaic" else fitted(found[name], height, width)


def softmax_like(image: Photo, labels: int, *, stride: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Return synthetic probabilities (labels, h, w): no network has made them.

    Colour and place, clustered on a grid of every eighth pixel, give as many regions as a photo has things (2 of 2
    labels, 5 of 21, 14 of 150). Their labels get high logits, blurred and noisy; all others low ones that vary slowly.
    The logits are enlarged bilinearly and made into a softmax, as DeepLab's are.
    """
    generator = np.random.default_rng(seed)
    height, width = image.shape[:2]
    grid = -(-width // stride) + 1, -(-height // stride) + 1
    regions = _clusters(image, grid, min(labels, 5 if labels < 100 else 14), seed)
    names = generator.permutation(labels)[: regions.max() + 1]
    out = np.empty((labels, height, width), np.float32)
    for label in range(labels):
        logits = 3 * _smooth(generator.normal(size=regions.shape), 1.5) - 5
        for region in np.flatnonzero(names == label):
            logits += 8 * _smooth(regions == region, 0.8) + 3 * _smooth(generator.normal(size=regions.shape), 1)
        out[label] = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    out -= out.max(0)
    np.exp(out, out=out)
    out /= out.sum(0)
    return out


def _clusters(image: Photo, grid: tuple[int, int], count: int, seed: int) -> NDArray[np.int32]:
    cv2.setRNGSeed(seed + 1)
    small = cv2.resize(cv2.GaussianBlur(image, (0, 0), 6), grid, interpolation=cv2.INTER_AREA).astype(np.float32)
    rows, columns = np.mgrid[: grid[1], : grid[0]].astype(np.float32)
    place = np.stack([4 * rows / grid[1], 4 * columns / grid[0]], axis=2)
    features = np.concatenate([small / 40, place], axis=2).reshape(-1, 5)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0)
    _, found, _ = cv2.kmeans(features, count, None, stop, 3, cv2.KMEANS_PP_CENTERS)
    return found.reshape(grid[::-1])


def _smooth(values: NDArray[np.generic], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(values.astype(np.float32), (0, 0), sigma)
