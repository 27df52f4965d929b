"""DICOM images: single ones, series of them, and those of many frames, in the units that their files give.

Rescale slope and intercept are applied, so that CT is in Hounsfield units: whole values are int16 or uint16 where they
fit, others float32; 8 bits without units stay uint8. MONOCHROME1, in which low is white, is turned round where there
are no units; palettes and YBR become RGB. Compressed files need what pydicom needs to decode them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data import dicom_seg
from atrous.data.dicom_files import SEGMENTATIONS, imported, opened, parsing, quietly, sniffed, without_pixels
from atrous.data.dicom_headers import DicomHeader, affine_of, frame_count, frame_group, header_of, heights
from atrous.data.grids import Spacing, VolumeHeader
from atrous.data.images import MAX_PIXELS


@dataclass(frozen=True)
class DicomSlice:
    """An image that is one frame of a DICOM file; `place` is its spacing and where it lies."""

    path: Path
    frame: int = 0
    place: Spacing | None = None

    def read(self) -> NDArray[Any]:
        """Return (h, w, c); raises `AtrousError` as `read_frame` does."""
        return read_frame(self.path, self.frame)


def header(path: str | Path) -> VolumeHeader:
    """Return the shape, the spacing and the place of the frames of an image, ordered along the normal of its slices.

    A segmentation is told by its first bytes, and `dicom_seg` asked for it.

    Raises `AtrousError` for a file that is no DICOM image.
    """
    if sniffed(Path(path)) in SEGMENTATIONS:
        return dicom_seg.header(path)
    image = header_of(Path(path))
    order = _order(image)
    return VolumeHeader(
        shape=(len(order), image.rows, image.columns),
        channels=image.channels,
        spacing=(image.between, *(image.spacing or (1.0, 1.0))),
        affine=affine_of(image, image.positions[order[0]], image.between),
        as_stored=True,
        patient=image.patient,
        series=image.series,
    )


def voxels(path: str | Path) -> NDArray[Any]:
    """Return (slices, rows, columns), with (..., 3) of colours, in the order of `header`.

    Raises `AtrousError` as `read_frame` does.
    """
    if sniffed(Path(path)) in SEGMENTATIONS:
        return dicom_seg.voxels(path)
    image = header_of(Path(path))
    frames = np.stack([read_frame(path, frame) for frame in _order(image)])
    return frames[..., 0] if frames.shape[-1] == 1 else frames


def _order(image: DicomHeader) -> list[int]:
    along = heights(image.positions, image.orientation)
    count = len(image.positions)
    return list(range(count)) if along is None else sorted(range(count), key=along.__getitem__)


def read_frame(path: str | Path, frame: int = 0) -> NDArray[Any]:
    """Return one frame (h, w, c): uint8, uint16, int16 or float32, in the units of the file; colours are RGB.

    Raises `AtrousError` for a file that is no DICOM, truncated, without pixels, too large, or compressed in a way that
    cannot be decoded here, `ValueError` for a frame that is not there.
    """
    path = Path(path)
    head, count = _head(path, _stamp(path))
    if frame not in range(count):
        raise ValueError(f"{path}: frame {frame} came; the file has {count}, from 0")
    array = _decoded(path, frame, head)
    with parsing(path):
        array = _coloured(array, head) if head.PhotometricInterpretation == "PALETTE COLOR" else array
        array = _in_units(array, head, frame)
    return array if array.ndim == 3 else array[..., None]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise AtrousError(f"{path}: no such file. Check the path.", kind="unreadable-file") from error
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=8)
def _head(path: Path, stamp: tuple[int, int]) -> tuple[Any, int]:
    """Return the data set without pixels and the count of frames; kept, since each of many frames is asked for."""
    head = opened(path)
    with parsing(path):
        if not head.get("Rows") or not head.get("Columns"):
            raise without_pixels(path, head)
        if head.Rows * head.Columns > MAX_PIXELS:
            raise AtrousError(
                f"{path}: {head.Rows} x {head.Columns} (height x width) are more than {MAX_PIXELS:,} pixels. "
                "Cut it up.",
                kind="too-many-pixels",
            )
        return head, frame_count(head)


def _decoded(path: Path, frame: int, head: Any) -> NDArray[Any]:
    """Return one frame as stored, YBR as RGB."""
    _refuse_syntax(path, head)
    with parsing(path):
        try:
            return imported(path).pixels.pixel_array(path, index=frame)
        except AttributeError as error:
            if "Pixel Data" in str(error):
                raise without_pixels(path, head) from error
            raise


def _refuse_syntax(path: Path, head: Any) -> None:
    """Raise `AtrousError` for a compression that cannot be decoded here, with what to install."""
    syntax: Any = getattr(head.file_meta, "TransferSyntaxUID", None)
    name = getattr(syntax, "name", None) or "none"
    try:
        with quietly():
            decoder = imported(path).pixels.get_decoder(syntax)
    except (NotImplementedError, TypeError, AttributeError) as error:
        raise AtrousError(
            f"{path}: the transfer syntax {name} is not one of images. Save the file uncompressed.",
            kind="unreadable-file",
        ) from error
    if not decoder.is_available:
        raise AtrousError(
            f"{path}: the pixels are compressed with {name} ({syntax}), which cannot be decoded here. "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress the file.",
            kind="unreadable-file",
        )


def _coloured(array: NDArray[Any], head: Any) -> NDArray[np.uint8]:
    colours = imported(Path(str(head.filename))).pixels.apply_color_lut(array, head)
    return (colours >> 8).astype(np.uint8) if colours.dtype.itemsize > 1 else colours[..., :3]


def _in_units(array: NDArray[Any], head: Any, frame: int) -> NDArray[Any]:
    """Return stored values in the units of the file, in the smallest depth that the reader of images keeps."""
    if array.ndim == 3:
        return array
    if head.get("ModalityLUTSequence"):
        return _compact(imported(Path(str(head.filename))).pixels.apply_modality_lut(array, head))
    group = frame_group(head, frame, "PixelValueTransformationSequence") or head
    slope, intercept = float(group.get("RescaleSlope", 1) or 0), float(group.get("RescaleIntercept", 0) or 0)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise ValueError(f"a rescale slope of {slope} and an intercept of {intercept}")
    if (slope, intercept) != (1.0, 0.0):
        return _compact(array * slope + intercept)
    if head.PhotometricInterpretation == "MONOCHROME1" and array.dtype.kind in "iu":
        array = _inverted(array, int(head.BitsStored))
    return array if array.dtype == np.uint8 else _compact(array)


def _inverted(array: NDArray[Any], bits: int) -> NDArray[Any]:
    highest = (1 << bits) - 1 if array.dtype.kind == "u" else -1
    return (highest - array.astype(np.int64)).astype(array.dtype)


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    """Return whole values as int16 or uint16 where they fit, others as float32."""
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu" or (array == np.round(array)).all():
        for dtype in (np.int16, np.uint16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return array.astype(dtype, copy=False)
    return array.astype(np.float32)
