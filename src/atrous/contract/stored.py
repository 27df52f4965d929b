"""Images as a file holds them, before a network sees them: which it takes, and which it refuses with words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract.nouns import Preprocessing


def stored(images: NDArray[Any], preprocessing: Preprocessing) -> NDArray[Any]:
    """Return (n, c, h, w) images as a network takes them: uint8 as they are, any other depth as float32.

    Raises `ValueError` for integers of another depth than the network was trained on, and for shares of 0 to 1.

    >>> stored(np.array([[[[7]]]], np.uint16), Preprocessing(high=4095)).dtype
    dtype('float32')
    """
    low, high, deep = preprocessing.low, preprocessing.high, preprocessing.high > 255
    if images.dtype.kind == "b" or (images.dtype.kind == "f" and high > 1 and _within_one(images)):
        raise ValueError(
            f"{images.dtype} values of 0 to 1 came, and this network was trained on values of {low:g} to {high:g}; "
            f"multiply the image by {high:g}"
        )
    if images.dtype.kind in "iu" and (images.dtype != np.uint8) != deep:
        raise ValueError(
            f"{images.dtype} came, and this network was trained on {'deeper' if deep else '8-bit'} images "
            f"({low:g} to {high:g}); convert the image, or give float32 of the values it was trained on"
        )
    return images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def check_channels(came: int, preprocessing: Preprocessing) -> bool:
    """Return whether images of so many channels are grey ones, to be repeated for a network of three.

    Raises `ValueError` for a number of channels that the network does not take.
    """
    channels = preprocessing.channels
    grey = came == 1 and channels == 3
    if came != channels and not grey:
        raise ValueError(
            f"images of {came} channels came; this network takes {channels}{' or 1 (grey)' if channels == 3 else ''}"
        )
    return grey


def _within_one(images: NDArray[Any]) -> bool:
    """Return whether all values lie within 0..1 and some strictly between: an image scaled by its range."""
    lowest, highest = images.min(), images.max()
    return bool(lowest >= 0 and highest <= 1 and ((images > 0) & (images < 1)).any())
