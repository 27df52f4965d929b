"""TIFF files: 8 and 16 bits, float, any number of channels, interleaved or planar."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import AtrousError
from atrous.data.decoders import DAMAGED, check_pixels, damaged, loaded, opened, turned, with_opencv, without_alpha
from atrous.data.decoders import orientation as orientation_of

_ALPHA = (1, 2)  # associated and unassociated alpha; 0 is a channel that the file says nothing about
_CHANNELS = "SC"
_CHANNELS_OF_MOST = 16  # channels that an image of the most pixels may have


def read_tiff(
    path: Path, data: bytes, *, max_pixels: int, colours: bool, orientation: int | None = None, alpha: bool = False
) -> NDArray[Any]:
    """Return (h, w) or (h, w, c) as stored, turned; palettes are colours or indices as asked.

    Alpha is dropped unless `alpha` asks for it. A last channel of a georeferenced file that is marked as alpha and is
    none, such as near infrared, is a channel like the others.

    Raises `AtrousError` for a damaged file, for too many pixels, and for a stack of pages.
    """
    from tifffile import TiffFile

    try:
        with TiffFile(BytesIO(data)) as file:
            page: Any = file.series[0].keyframe
            check_pixels(path, page.imagelength, page.imagewidth, max_pixels=max_pixels)
            if not (page.imagelength and page.imagewidth):
                raise ValueError(f"{page.imagelength} x {page.imagewidth} pixels")
            _check_channels(path, page, max_pixels)
            stored = page.tags.get("Orientation")
            turn = orientation or (int(stored.value) if stored is not None else 1)
            array = _decoded(file, page, path, colours=colours, alpha=alpha)
            if array is None:
                array, turn = _otherwise(path, data, turn, colours=colours)
    except AtrousError:
        raise
    except Exception as error:  # tifffile raises whatever its parser met
        raise damaged(path, error) from error
    return turned(array, turn)


def _check_channels(path: Path, page: Any, max_pixels: int) -> None:
    """Raise `AtrousError` where many pixels with many channels each pass what the memory is to be asked for."""
    values = page.imagelength * page.imagewidth * page.samplesperpixel
    if values > max_pixels * _CHANNELS_OF_MOST:
        raise AtrousError(
            f"{path}: {page.imagelength:,} x {page.imagewidth:,} pixels of {page.samplesperpixel:,} channels came, and "
            f"{max_pixels * _CHANNELS_OF_MOST:,} values are accepted. Cut the image into tiles, or raise max_pixels.",
            kind="too-many-pixels",
        )


def _decoded(file: Any, page: Any, path: Path, *, colours: bool, alpha: bool) -> NDArray[Any] | None:
    """Return the pixels, not yet turned, or None for a compression that tifffile leaves to another package."""
    series = file.series[0]
    needless = [axis for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YX" and size == 1]
    axes = "".join(axis for axis in series.axes if axis not in needless)
    others = [axis for axis in axes if axis not in "YX" + _CHANNELS]
    if others or len(axes) > 3:
        raise AtrousError(
            f"{path}: a stack of shape {series.shape} (axes {series.axes}) came, and one image is wanted. "
            "Save its pages as files of their own, or its channels with the axis C."
        )
    try:
        array = np.squeeze(series.asarray(), axis=tuple(series.axes.index(axis) for axis in needless))
    except DAMAGED as error:
        if "imagecodecs" not in str(error):
            raise
        return None
    if len(axes) == 3:
        array = np.moveaxis(array, next(axes.index(axis) for axis in axes if axis in _CHANNELS), -1)
    if array.ndim == 3 and page.extrasamples and page.extrasamples[-1] in _ALPHA and not alpha:
        array = array if page.is_geotiff and not is_transparency(array[..., -1]) else array[..., :-1]
    return interpreted(array, page, colours=colours)


def is_transparency(channel: NDArray[Any]) -> bool:
    """Return whether a channel (h, w) holds nothing or everything in most of its pixels, as transparency does.

    GDAL marks the last of four channels as alpha unless it is told otherwise, near infrared too.
    """
    largest = np.iinfo(channel.dtype).max if channel.dtype.kind == "u" else 1
    return bool(((channel == 0) | (channel == largest)).mean() > 0.5)


def interpreted(array: NDArray[Any], page: Any, *, colours: bool) -> NDArray[Any]:
    """Return stored values (h, w) or (h, w, c) of a page, or of a window of it, as what they stand for."""
    name = page.photometric.name
    if array.dtype == bool or page.bitspersample == 1:
        array = array.astype(np.uint8) * np.uint8(255)
    if name == "PALETTE" and colours:
        table = (np.asarray(page.colormap) >> 8).astype(np.uint8)  # (3, entries)
        return np.ascontiguousarray(table[:, array].transpose(1, 2, 0))
    if name == "SEPARATED" and array.ndim == 3 and array.shape[-1] == 4 and array.dtype == np.uint8:
        return np.array(Image.fromarray(np.ascontiguousarray(array), "CMYK").convert("RGB"))
    if name == "MINISWHITE" and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    return np.squeeze(array, -1) if array.ndim == 3 and array.shape[-1] == 1 else array


def _otherwise(path: Path, data: bytes, turn: int, *, colours: bool) -> tuple[NDArray[Any], int]:
    """Return what Pillow's libtiff decodes, or OpenCV for depths that Pillow lacks, and how it is yet to be turned."""
    try:
        image = loaded(opened(path, data, max_pixels=2**62), path)
    except AtrousError:
        return with_opencv(path, data), turn
    if turn != 1 and orientation_of(image) == 1:
        turn = 1  # Pillow turns TIFF files while it loads them
    if image.mode == "P" and colours:
        image = image.convert("RGB")
    array = np.array(without_alpha(image))
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == bool else array, turn
