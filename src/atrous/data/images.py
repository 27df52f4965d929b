"""Image and mask files in, arrays out: nothing rescaled, nothing repeated, nothing guessed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import decoders
from atrous.data.tiff import read_tiff

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm")
"""The suffixes of files that are taken for images, in small letters."""

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
"""The suffixes of files that hold volumes, whose slices are images."""

_ARRAYS = (".npy",)
_MASKS_ONLY = (".mat", ".seg")

MAX_PIXELS = 200_000_000
"""How many pixels one image may have unless the caller says otherwise."""

_KEPT = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.float32))
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_said: list[Path] = []


def is_image_name(name: str) -> bool:
    """Say whether a file of this name is taken for an image, or a volume of them."""
    return name.lower().endswith((*SUFFIXES, *_ARRAYS, *VOLUME_SUFFIXES))


def is_mask_name(name: str) -> bool:
    """Say whether a file of this name is taken for a mask, or a volume of them."""
    return is_image_name(name) or name.lower().endswith(_MASKS_ONLY)


def is_volume_name(name: str) -> bool:
    """Say whether a file of this name holds a volume, whose slices are images."""
    return name.lower().endswith(VOLUME_SUFFIXES)


def bare(path: Path) -> Path:
    """Return the path without its suffix, which may have two parts.

    >>> bare(Path("a/spleen.nii.gz")).as_posix(), bare(Path("v1.2/b.png")).as_posix()
    ('a/spleen', 'v1.2/b')
    """
    return path.with_name(path.name[:-7]) if path.name.lower().endswith(".nii.gz") else path.with_suffix("")


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Return the image (h, w, c) as stored: uint8, uint16, int16 or float32; three channels are RGB.

    Grey has one channel. Alpha is dropped, palettes and CMYK become RGB, one bit becomes 0 and 255, and the EXIF
    orientation is applied. Other depths become float32 of the same values. Safe to call from many threads.

    Raises `AtrousError` for a file that is missing, empty, no image, truncated, or has more than `max_pixels` pixels
    (the header is read before any pixel is decoded).

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (4, 3)).save(path)
    >>> read_image(path).shape
    (3, 4, 1)
    """
    path = Path(path)
    data = decoders.file_bytes(path)
    if decoders.is_tiff(data):
        array = read_tiff(path, data, max_pixels=max_pixels, colours=True)
    else:
        image = decoders.opened(path, data, max_pixels=max_pixels)
        array = decoders.turned(_image_pixels(image, path, data), decoders.orientation(image))
    array = array if array.dtype in _KEPT else _kept_depth(array)
    return array if array.ndim == 3 else array[..., None]


def _image_pixels(image: Image.Image, path: Path, data: bytes) -> NDArray[Any]:
    if decoders.has_deep_colour(image, data):
        return decoders.deep_colour(image, path, data)
    if image.mode in _WITH_ALPHA:
        _say_alpha_dropped(path)
    plain = decoders.without_alpha(decoders.loaded(image, path))
    array = np.array(plain.convert("RGB") if plain.mode == "P" else plain)
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == bool else array


def _say_alpha_dropped(path: Path) -> None:
    """Say once in a process that transparency is not read: a folder of such images needs one line, not thousands."""
    if not _said:
        _said.append(path)
        logging.getLogger("atrous").warning("%s: the alpha channel is dropped, as in all images with one", path)


def _kept_depth(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.int8:
        return array.astype(np.int16)
    if array.dtype.newbyteorder("=") in _KEPT:
        return array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float32)


def read_mask(
    path: str | Path, *, orientation: int | None = None, colours: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """Return the mask as stored: (h, w) integers, or (h, w, 3) uint8 RGB where the channels differ.

    A palette file gives its indices, or with `colours=True` the colours behind them; then the answer always is
    (h, w, 3). 16 and 32 bits are kept, alpha is dropped, one bit becomes 0 and 255. The mask's own EXIF orientation is
    applied; `orientation` (1 to 8) replaces it.

    Raises `AtrousError` as `read_image` does, for a JPEG, which changes label values, and for fractions.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mask.png"
    >>> Image.fromarray(np.full((3, 4), 7, np.uint8)).save(path)
    >>> int(read_mask(path).max())
    7
    """
    path = Path(path)
    data = decoders.file_bytes(path)
    if decoders.is_tiff(data):
        array = read_tiff(path, data, max_pixels=max_pixels, colours=colours, orientation=orientation)
    else:
        image = decoders.opened(path, data, max_pixels=max_pixels)
        array = _mask_pixels(image, path, data, colours=colours)
        array = decoders.turned(array, orientation or decoders.orientation(image))
    array = _integers(_one_channel(array, path), path)
    if not colours or array.ndim == 3:
        return array
    if array.min() < 0 or array.max() > 255:
        raise AtrousError(
            f"{path}: values up to {array.max():,} came, and colours were asked for. Try --labels indices."
        )
    return np.repeat(array[..., None], 3, axis=2).astype(np.uint8)


def _mask_pixels(image: Image.Image, path: Path, data: bytes, *, colours: bool) -> NDArray[Any]:
    if decoders.has_deep_colour(image, data):
        return decoders.deep_colour(image, path, data)
    plain = decoders.without_alpha(decoders.loaded(image, path))
    array = np.array(plain.convert("RGB") if plain.mode == "P" and colours else plain)
    if image.format == "JPEG":
        raise AtrousError(
            f"{path}: this mask is a JPEG, which changes label values; {_distinct(array):,} distinct values were "
            "found. Save the masks as PNG, from their source.",
            kind="jpeg-mask",
        )
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    steps = decoders.grey_steps(data)
    return array // np.uint8(steps) if steps > 1 else array


def _distinct(array: NDArray[Any]) -> int:
    return len(np.unique(array if array.ndim == 2 else packed(array)))


def packed(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Return each RGB colour of (..., 3) as one number, red * 65536 + green * 256 + blue.

    >>> int(packed(np.array([1, 0, 2], np.uint8)))
    65538
    """
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _one_channel(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    if array.shape[-1] != 3:
        raise AtrousError(
            f"{path}: a mask with {array.shape[-1]} channels came; one channel of labels or three of colours are read."
        )
    first = array[..., 0]
    if np.array_equal(first, array[..., 1]) and np.array_equal(first, array[..., 2]):
        return np.ascontiguousarray(first)
    if array.dtype != np.uint8:
        raise AtrousError(f"{path}: a colour mask of {array.dtype} came; colours have 8 bits. Save it with 8 bits.")
    return array


def _integers(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if not np.isfinite(array).all() or np.abs(array).max() >= 2**31 or (array != np.round(array)).any():
        raise AtrousError(
            f"{path}: a mask of fractions came; labels are whole numbers. Round it, or save the class of every pixel."
        )
    return array.astype(np.int32)


def mask_orientation(image_path: Path) -> int:
    """Return the EXIF orientation of an image file, 1 where there is none; raises `AtrousError` as `read_image`."""
    data = decoders.file_bytes(image_path)
    return decoders.orientation(decoders.opened(image_path, data, max_pixels=2**62))


def is_jpeg(path: Path) -> bool:
    """Return whether the file begins as a JPEG does, whatever its suffix; False for one that cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False
