"""What the array API standard lacks, chosen by the array itself: NumPy, or torch imported inside the function."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray


def to_numpy(array: Any) -> NDArray[Any]:
    """Return an array of any library as NumPy, on the host; NumPy and CPU tensors are not copied."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)


def beside(values: NDArray[Any], other: Any) -> Any:
    """Return a NumPy array in the library, and on the device, of `other`; NumPy is not copied."""
    if not hasattr(other, "detach"):
        return values
    import torch

    return torch.from_numpy(values).to(other.device)


def scored(scorer: Any, images: Any) -> Any:
    """Return the probabilities of `images`; a torch scorer keeps nothing for gradients, which would cost its memory."""
    if not hasattr(images, "detach"):
        return scorer(images)
    import torch

    with torch.no_grad():
        return scorer(images)


def probabilities_of(scorer: Any, images: Any) -> Any:
    """Return the probabilities (n, classes, h, w) of images (n, c, h, w) as float32, without gradients.

    Raises `ValueError` for images that are not (n, c, h, w), and for a scorer that answers with another size.

    >>> probabilities_of(lambda images: images[:, :1] / 255, np.array([[[[0, 255]]]], np.uint8)).tolist()
    [[[[0.0, 1.0]]]]
    """
    sides_of(images)
    found = scored(scorer, images)
    if len(found.shape) != 4 or found.shape[0] != images.shape[0] or found.shape[2:] != images.shape[2:]:
        raise ValueError(
            f"the scorer returned {tuple(found.shape)} for images of {tuple(images.shape)}; (n, classes, h, w) with "
            "the same n, h and w is needed"
        )
    arrays = array_namespace(found)
    return arrays.astype(found, arrays.float32, copy=False)


def sides_of(images: Any) -> tuple[int, int]:
    """Return the (height, width) of images (n, c, h, w).

    Raises `ValueError` for another number of axes, and for images without pixels.
    """
    if len(images.shape) != 4 or 0 in images.shape:
        raise ValueError(f"images of shape {tuple(images.shape)} came; (n, c, h, w) is needed, each at least 1")
    return images.shape[2], images.shape[3]


def from_numpy(scorer: Any, images: NDArray[Any]) -> Any:
    """Return `images` in the scorer's array library and on its device, where it says so; else NumPy as it is.

    A scorer that does not say takes NumPy: uint8 as it is, any other depth as float32 of the same values.
    """
    if hasattr(scorer, "from_numpy"):
        return scorer.from_numpy(images)
    return images if images.dtype == np.uint8 else images.astype(np.float32)


def resized(images: Any, size: tuple[int, int]) -> Any:
    """Return (n, c, h, w) images or maps of any number type as float32 (n, c, *size), bilinearly.

    Pixels are centred in their cells. Where a side shrinks, each value is the mean of what it covers, weighted by a
    triangle, so that nothing aliases. NumPy and torch give the same numbers, up to rounding.

    >>> resized(np.array([[[[0.0, 4.0]]]]), (1, 4)).tolist()
    [[[[0.0, 1.0, 3.0, 4.0]]]]
    """
    if hasattr(images, "detach"):
        from torch.nn.functional import interpolate

        way = partial(interpolate, mode="bilinear", align_corners=False, antialias=True)
        if size[1] > 1:
            return way(images.float(), size)
        # torch 2.15 resizes rows wrongly where the result is one pixel wide: they are laid as columns.
        return way(way(images.float(), (images.shape[2], 1)).transpose(2, 3), (1, size[0])).transpose(2, 3)
    values = images.astype(np.float32)
    for axis, (source, target) in enumerate(zip(images.shape[2:], size, strict=True), 2):
        if source != target:
            values = np.moveaxis(np.tensordot(values, _shares(source, target), axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(values)


def _shares(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): which share every old value along a side has in every new one."""
    step = source / target
    centres = (np.arange(target) + 0.5) * step - 0.5
    distances = np.abs(np.arange(source) - centres[:, None]) / max(step, 1.0)
    weights = np.maximum(1 - distances, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def softmax(logits: Any) -> Any:
    """Return the probabilities (n, classes, h, w) of logits of the same shape, in the same array library.

    >>> softmax(np.zeros((1, 4, 1, 1), np.float32)).ravel().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    arrays = array_namespace(logits)
    powers = arrays.exp(logits - arrays.max(logits, axis=1, keepdims=True))
    return powers / arrays.sum(powers, axis=1, keepdims=True)
