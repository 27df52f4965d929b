"""NumPy's own files, `.npy`: one array each, its header read before its values, and never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import check_pixels, damaged, file_bytes

SUFFIX = ".npy"

_BEGINNING = b"\x93NUMPY"
_COLOURS = 4  # a last axis no longer than this holds channels
_MOST_CHANNELS = 16  # a first axis no longer than this may hold channels


def read_array(path: Path, *, max_pixels: int) -> NDArray[Any]:
    """Return the array (h, w) or (h, w, c) of booleans, integers or floats, as stored.

    Of three axes the last holds the channels. Only where it is longer than 4, and the first is no longer than 16 and
    shorter than both others, is the array taken for (c, h, w), so (3, 256, 256) and (13, 64, 64) are images with 3 and
    13 channels. The values come from the mapped file, so that nothing is read of an array that is refused.

    Raises `AtrousError` for a file that is missing, cut short or no `.npy`, for an array of Python objects, which is
    never unpickled, or of anything but numbers, for other shapes, and for more than `max_pixels` pixels.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.zeros((3, 20, 30), np.uint16))
    >>> read_array(path, max_pixels=600).shape
    (20, 30, 3)
    """
    if file_bytes(path, first=len(_BEGINNING)) != _BEGINNING:
        raise AtrousError(f"{path}: this is no .npy file, whatever its name. Write it with numpy.save.")
    try:
        with np.errstate(over="ignore"):  # of a shape that no file can hold
            stored = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy parses the header as Python, and raises whatever that met
        raise _refused(path, error) from error
    if stored.dtype.kind not in "buif":
        raise AtrousError(f"{path}: an array of {stored.dtype} came; booleans, integers and floats are read.")
    if stored.ndim not in (2, 3) or stored.size == 0:
        raise AtrousError(
            f"{path}: an array of shape {stored.shape} came; (h, w), (h, w, c) and (c, h, w) are read. "
            "Save one array per image."
        )
    last = channels_last(stored)
    check_pixels(path, last.shape[0], last.shape[1], max_pixels=max_pixels)
    return np.array(last, order="C")


def _refused(path: Path, error: Exception) -> AtrousError:
    if "Python objects" in str(error):
        return AtrousError(
            f"{path}: an array of Python objects came, and to read one is to run it. Save numbers: "
            "numpy.save(path, array.astype(numpy.uint8), allow_pickle=False)."
        )
    return damaged(path, error)


def channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of two or three axes as (h, w) or (h, w, c), by the lengths of its axes as `read_array` says."""
    if array.ndim == 2:
        return array
    first, second, last = array.shape
    if last > _COLOURS and first <= _MOST_CHANNELS and first < min(second, last):
        return np.moveaxis(array, 0, -1)
    return array
