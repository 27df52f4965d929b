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
from atrous.data.matlab import SUFFIX as MATLAB
from atrous.data.matlab import read_matlab
from atrous.data.numpy_files import SUFFIX as NUMPY
from atrous.data.numpy_files import read_array
from atrous.data.pnm import is_grey_pnm, read_grey_pnm
from atrous.data.tiff import read_tiff

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm")
"""The suffixes of files that are taken for images, in small letters."""

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
"""The suffixes of files that hold volumes, whose slices are images."""

_MASKS_ONLY = (MATLAB, ".seg")

MAX_PIXELS = 200_000_000
"""How many pixels one image may have unless the caller says otherwise."""

_KEPT = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.float32))
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_LARGEST = 2**31
_said: list[Path] = []


def is_image_name(name: str) -> bool:
    """Say whether a file of this name is taken for an image, or a volume of them."""
    return name.lower().endswith((*SUFFIXES, NUMPY, *VOLUME_SUFFIXES))


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
    orientation is applied. Other depths become float32 of the same values. Of a `.npy` file all channels are kept;
    `numpy_files.read_array` says which axis they are. Safe to call from many threads.

    Raises `AtrousError` for a file that is missing, empty, no image, truncated, or has more than `max_pixels` pixels
    (the header is read before any pixel is decoded).

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (4, 3)).save(path)
    >>> read_image(path).shape
    (3, 4, 1)
    """
    path = Path(path)
    if path.suffix.lower() == NUMPY:
        array = _bits_filled(read_array(path, max_pixels=max_pixels))
    else:
        array = picture(path, decoders.file_bytes(path), max_pixels=max_pixels)
    return as_image(array)


def as_image(array: NDArray[Any]) -> NDArray[Any]:
    """Return stored pixels (h, w) or (h, w, c) as an image has them: three axes, one of the four depths."""
    array = array if array.dtype in _KEPT else _kept_depth(array)
    return array if array.ndim == 3 else array[..., None]


def picture(path: Path, data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Return the pixels, (h, w) or (h, w, c), of an image file's bytes; `path` is the name to use in messages."""
    if decoders.is_tiff(data):
        return read_tiff(path, data, max_pixels=max_pixels, colours=True)
    if is_grey_pnm(data):
        return read_grey_pnm(path, data, max_pixels=max_pixels)
    image = decoders.opened(path, data, max_pixels=max_pixels)
    return decoders.turned(_image_pixels(image, path, data), decoders.orientation(image))


def _bits_filled(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == bool else array


def _image_pixels(image: Image.Image, path: Path, data: bytes) -> NDArray[Any]:
    if decoders.has_deep_colour(image, data):
        return decoders.deep_colour(image, path, data)
    if image.mode in _WITH_ALPHA:
        _say_alpha_dropped(path)
    plain = decoders.without_alpha(decoders.loaded(image, path))
    return _bits_filled(np.array(decoders.in_colours(plain) if plain.mode == "P" else plain))


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
    applied; `orientation` (1 to 8) replaces it. Of a `.npy` file booleans become 0 and 1, and one channel may be the
    first axis or the last; of a `.mat` file `matlab.read_matlab` says which matrix is the mask.

    Raises `AtrousError` as `read_image` does, for a JPEG, which changes label values, for fractions, and for numbers
    of more than 32 bits.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mask.png"
    >>> Image.fromarray(np.full((3, 4), 7, np.uint8)).save(path)
    >>> int(read_mask(path).max())
    7
    """
    path = Path(path)
    if path.suffix.lower() in (NUMPY, MATLAB):
        read = read_array if path.suffix.lower() == NUMPY else read_matlab
        array = decoders.turned(read(path, max_pixels=max_pixels), orientation or 1)
    else:
        array = picture_mask(path, decoders.file_bytes(path), orientation, colours=colours, max_pixels=max_pixels)
    array = whole_numbers(one_channel(array, path), path)
    if not colours or array.ndim == 3:
        return array
    if array.min() < 0 or array.max() > 255:
        raise AtrousError(
            f"{path}: values up to {array.max():,} came, and colours were asked for. Try --labels indices."
        )
    return np.repeat(array[..., None], 3, axis=2).astype(np.uint8)


def picture_mask(
    path: Path, data: bytes, orientation: int | None = None, *, colours: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """Return the mask in an image file's bytes, before `one_channel` and `whole_numbers`; `path` is for messages."""
    if decoders.is_tiff(data):
        return read_tiff(path, data, max_pixels=max_pixels, colours=colours, orientation=orientation)
    if is_grey_pnm(data):
        return decoders.turned(read_grey_pnm(path, data, max_pixels=max_pixels), orientation or 1)
    image = decoders.opened(path, data, max_pixels=max_pixels)
    array = _mask_pixels(image, path, data, colours=colours)
    return decoders.turned(array, orientation or decoders.orientation(image))


def _mask_pixels(image: Image.Image, path: Path, data: bytes, *, colours: bool) -> NDArray[Any]:
    if decoders.has_deep_colour(image, data):
        return decoders.deep_colour(image, path, data)
    plain = decoders.without_alpha(decoders.loaded(image, path))
    array = np.array(decoders.in_colours(plain) if plain.mode == "P" and colours else plain)
    if image.format == "JPEG":
        raise AtrousError(
            f"{path}: this mask is a JPEG, which changes label values; {_distinct(array):,} distinct values were "
            "found. Save the masks as PNG, from their source.",
            kind="jpeg-mask",
        )
    array = _bits_filled(array)
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


def one_channel(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return a stored mask as (h, w), or as (h, w, 3) uint8 where its three channels differ.

    Raises `AtrousError` for other numbers of channels, and for colours of more than 8 bits.
    """
    if array.ndim == 2:
        return array
    if array.shape[-1] == 1:
        return array[..., 0]
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


def whole_numbers(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return a mask as integers of this machine's byte order: booleans as 0 and 1, whole floats as int32.

    Raises `AtrousError` for fractions, and for numbers that 32 bits do not hold.
    """
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        return _narrowed(array.astype(array.dtype.newbyteorder("="), copy=False), path)
    if not np.isfinite(array).all() or np.abs(array).max() >= _LARGEST or (array != np.round(array)).any():
        raise AtrousError(
            f"{path}: a mask of fractions came; labels are whole numbers. Round it, or save the class of every pixel."
        )
    return array.astype(np.int32)


def _narrowed(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype.itemsize <= 4:
        return array
    lowest, highest = int(array.min()), int(array.max())
    if lowest < -_LARGEST or highest >= _LARGEST:
        raise AtrousError(f"{path}: numbers from {lowest:,} to {highest:,} came; labels have 32 bits. Renumber them.")
    return array.astype(np.int32)


def mask_orientation(image_path: Path) -> int:
    """Return the EXIF orientation of an image file, 1 where there is none; raises `AtrousError` as `read_image`."""
    if image_path.suffix.lower() == NUMPY:
        return 1
    data = decoders.file_bytes(image_path)
    return decoders.orientation(decoders.opened(image_path, data, max_pixels=2**62))


def is_jpeg(path: Path) -> bool:
    """Return whether the file begins as a JPEG does, whatever its suffix; False for one that cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False
