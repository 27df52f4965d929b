"""From the bytes of a file to an array of what is stored: Pillow, OpenCV and tifffile, each where it keeps every bit.

Pillow decodes JPEG and PNG, because OpenCV is silent about truncated files. It reduces 16-bit colour to 8 bits,
so those go through OpenCV once Pillow has found them whole. TIFF belongs to tifffile, with Pillow and OpenCV for the
compressions that it needs further packages for.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from atrous.contract import AtrousError

DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What decoders raise for files that are not what their first bytes promise."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ORIENTATION = 274


def file_bytes(path: Path, *, first: int = -1) -> bytes:
    """Return what the file holds, or its `first` bytes.

    Raises `AtrousError` for a missing or empty file, a folder, a pipe or a device, or no permission.
    """
    if path.is_dir():
        raise AtrousError(f"{path}: this is a folder, and one image file is wanted. Name a file inside it.")
    if path.exists() and not path.is_file():  # to open a pipe waits for who writes into it
        raise AtrousError(f"{path}: this is a pipe or a device, and one image file is wanted. Write it to a file.")
    try:
        with path.open("rb") as file:
            data = file.read(first)
    except FileNotFoundError:
        raise AtrousError(f"{path}: no such file. Check the path and its capital letters.") from None
    except OSError as error:
        raise AtrousError(f"{path}: the file cannot be read ({error.strerror}). Check its permissions.") from error
    if not data:
        raise AtrousError(f"{path}: the file is empty (0 bytes). Copy it again from its source, or remove it.")
    return data


def is_tiff(data: bytes) -> bool:
    """Return whether the bytes begin as a TIFF or BigTIFF does."""
    return data[:4] in _TIFF


def opened(path: Path, data: bytes, *, max_pixels: int) -> Image.Image:
    """Return the Pillow image with its header read and no pixel decoded.

    Raises `AtrousError` for bytes that no decoder knows and for more than `max_pixels` pixels.
    """
    file = BytesIO(data)
    try:
        # The two plugins are called directly, since `Image.open` has its own, lower and global limit of pixels.
        if data.startswith(_PNG):
            image: Image.Image = PngImagePlugin.PngImageFile(file)
        elif data.startswith(_JPEG):
            image = JpegImagePlugin.JpegImageFile(file)
        else:
            image = Image.open(file)
    except UnidentifiedImageError:
        raise AtrousError(
            f"{path}: this is not an image (it begins with {data[:8]!r}). "
            "PNG, JPEG, TIFF, BMP, WebP, GIF and PNM files are read."
        ) from None
    except Image.DecompressionBombError as error:
        raise AtrousError(
            f"{path}: {error}. Cut the image into tiles, or save it as TIFF or PNG.", kind="too-many-pixels"
        ) from error
    except DAMAGED as error:
        raise damaged(path, error) from error
    check_pixels(path, image.height, image.width, max_pixels=max_pixels)
    return image


def check_pixels(path: Path, height: int, width: int, *, max_pixels: int) -> None:
    """Raise `AtrousError` when height x width passes `max_pixels`."""
    if height * width > max_pixels:
        raise AtrousError(
            f"{path}: {height:,} x {width:,} pixels came, and {max_pixels:,} are accepted. "
            "Cut the image into tiles, or raise max_pixels.",
            kind="too-many-pixels",
        )


def damaged(path: Path, error: Exception) -> AtrousError:
    """Return the error to raise for a file whose pixels cannot be decoded."""
    return AtrousError(
        f"{path}: the image is truncated or damaged ({error}). Copy it again from its source, or remove it."
    )


def loaded(image: Image.Image, path: Path) -> Image.Image:
    """Decode the pixels of an opened image; raises `AtrousError` when the file ends before they do."""
    try:
        image.load()
    except DAMAGED as error:
        raise damaged(path, error) from error
    return image


def has_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Return whether Pillow would reduce the image from 16 to 8 bits: PNG and PNM with more than one channel."""
    if data.startswith(_PNG):
        return data[24] == 16 and data[25] != 0  # bit depth and colour type in the IHDR chunk
    return image.format == "PPM" and image.mode == "RGB"


def deep_colour(image: Image.Image, path: Path, data: bytes) -> NDArray[Any]:
    """Return (h, w) or (h, w, 3) RGB at full depth, alpha dropped, of a file that Pillow can only reduce."""
    loaded(image, path)
    array = with_opencv(path, data)
    grey = data.startswith(_PNG) and data[25] == 4
    return np.ascontiguousarray(array[..., 0]) if grey else array


def with_opencv(path: Path, data: bytes) -> NDArray[Any]:
    """Return what OpenCV decodes, unchanged in depth: (h, w), or (h, w, 3) in the order RGB with alpha dropped."""
    import cv2  # half of the import time of this room, and seldom wanted

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise damaged(path, ValueError("no decoder could read it"))
    return array if array.ndim == 2 else np.ascontiguousarray(array[..., 2::-1])


def grey_steps(data: bytes) -> int:
    """Return by how much Pillow multiplies the values of a 2- or 4-bit grey PNG to fill 0..255; 1 for all others."""
    if data.startswith(_PNG) and data[25] == 0:
        return {2: 85, 4: 17}.get(data[24], 1)
    return 1


def without_alpha(image: Image.Image) -> Image.Image:
    """Return the image in grey, palette indices, RGB or a deep mode: alpha dropped, CMYK and the like converted."""
    if image.mode in ("1", "L", "P", "RGB", "I", "F") or image.mode.startswith("I;16"):
        return image
    if image.mode in ("LA", "La", "PA"):
        return image.getchannel(0) if image.mode != "PA" else image.convert("P")
    return image.convert("RGB")


def in_colours(image: Image.Image) -> Image.Image:
    """Return a palette image in RGB, whatever it says of transparency."""
    image.info.pop("transparency", None)  # Pillow warns that it is dropped
    return image.convert("RGB")


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it makes no sense."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except DAMAGED:
        return 1  # a broken EXIF block says nothing about the pixels
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return (h, w, ...) as EXIF says it is to be seen; 5 to 8 swap height and width.

    >>> turned(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation in (2, 3):
        array = array[:, ::-1]
    if orientation in (3, 4):
        array = array[::-1]
    if orientation in (7, 8):
        array = array[::-1, ::-1]
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (6, 8):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
