"""What the array API standard lacks, chosen by the array itself: NumPy, or torch imported inside the function."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_numpy(array: Any) -> NDArray[Any]:
    """Return an array of any library as NumPy, on the host; NumPy and CPU tensors are not copied."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)


def scored(scorer: Any, images: Any) -> Any:
    """Return the probabilities of `images`; a torch scorer keeps nothing for gradients, which would cost its memory."""
    if not hasattr(images, "detach"):
        return scorer(images)
    import torch

    with torch.no_grad():
        return scorer(images)


def from_numpy(scorer: Any, images: NDArray[Any]) -> Any:
    """Return `images` in the scorer's array library and on its device, where it says so; else NumPy as it is.

    A scorer that does not say takes NumPy: uint8 as it is, any other depth as float32 of the same values.
    """
    if hasattr(scorer, "from_numpy"):
        return scorer.from_numpy(images)
    return images if images.dtype == np.uint8 else images.astype(np.float32)
