"""NIfTI volumes, `.nii` and `.nii.gz`: nibabel reads the header, NumPy the voxels.

What comes after the third axis, be it time or modalities, is channels. Values are scaled as the header says. A
compressed file is read to its end, so that its checksum counts; one that is not compressed stays on the disk and is
read slice by slice. Whether it is compressed is told by its first bytes, since names are often wrong about that.
"""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import DAMAGED
from atrous.data.grids import VolumeHeader, sound_affine, sound_length

_REVERSED = [2, 1, 0, 3]  # of NIfTI's axes i, j and k, the slices are last
_GZIP = b"\x1f\x8b"
_NIFTI_1, _NIFTI_2 = 348, 540  # bytes of a header
_UNHEARD = logging.Logger("unheard", logging.CRITICAL)  # nibabel tells every oddity of a header that it mends
_BLOCK = 2**20
_FAR = 2**31  # 32-bit numbers scaled by less fit 64 bits


def header(path: Path) -> VolumeHeader:
    """Return the shape, spacing and affine of a NIfTI file; raises `AtrousError` for one that is damaged.

    A file without form codes does not tell where it lies, and a spacing that is no length counts as 1 mm.
    """
    stored = stored_header(path)
    shape, channels = _shape(path, stored)
    placed = int(stored["sform_code"]) > 0 or int(stored["qform_code"]) > 0
    i, j, k = (sound_length(float(length)) for length in stored["pixdim"][1:4])
    with np.errstate(all="ignore"):  # of affines that are not finite, which count as none
        affine = sound_affine(stored.get_best_affine()[:, _REVERSED]) if placed else None
    return VolumeHeader(shape, channels, (k, j, i), affine)


def voxels(path: Path) -> NDArray[Any]:
    """Return (slices, rows, columns[, c]), scaled; whole numbers scaled by whole numbers stay whole.

    Raises `AtrousError` for a damaged or truncated file and for complex numbers.
    """
    stored = stored_header(path)
    shape, channels = _shape(path, stored)
    raw = _raw(path, stored)
    array = raw.reshape((*shape[::-1], channels) if channels > 1 and not raw.dtype.names else shape[::-1], order="F")
    if array.dtype.names:
        array = np.stack([array[name] for name in "RGB"], axis=-1)
    slope, intercept = stored.get_slope_inter()
    array = array if slope is None else _scaled(array, float(slope), float(intercept or 0))
    return array.transpose(2, 1, 0, *range(3, array.ndim))


def stored_header(path: Path) -> Any:
    """Return nibabel's header of a NIfTI-1 or NIfTI-2 file; raises `AtrousError` for one that is damaged."""
    try:
        from nibabel import Nifti1Header, Nifti2Header
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    except ImportError as error:
        raise AtrousError(f'{path}: NIfTI needs nibabel: pip install "atrous[medical]"') from error
    try:
        with _stream(path) as file:
            start = file.read(_NIFTI_2)
        second = _NIFTI_2 in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
        # The header alone: what extensions say is of no use here, and what is wrong with them does no harm.
        stored = Nifti2Header(start, check=False) if second else Nifti1Header(start[:_NIFTI_1], check=False)
        stored.check_fix(logger=_UNHEARD)
        return stored
    except (*DAMAGED, HeaderDataError, WrapStructError) as error:
        raise _damaged(path, str(error)) from error


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as inner:
            yield inner  # type: ignore[misc]


def _shape(path: Path, stored: Any) -> tuple[tuple[int, int, int], int]:
    """Return (slices, rows, columns) and the number of channels of nibabel's header."""
    dtype = stored.get_data_dtype()
    sides = [int(side) for side in stored.get_data_shape()]
    if dtype.kind == "c" or dtype.itemsize > 8:
        raise AtrousError(
            f"{path}: voxels of the type {dtype} came. Save real numbers of at most 64 bits.", kind="unreadable-file"
        )
    sides += [1] * (3 - len(sides))
    channels = math.prod(sides[3:]) * (3 if dtype.names else 1)
    if dtype.names and channels != 3:
        raise AtrousError(f"{path}: several colour volumes came in one file. Save each alone.", kind="unreadable-file")
    return (sides[2], sides[1], sides[0]), channels


def _raw(path: Path, stored: Any) -> NDArray[Any]:
    """Return the voxels as one row, as stored: what is not compressed as a view of the file."""
    dtype, offset = stored.get_data_dtype(), int(stored.get_data_offset())
    count = math.prod(int(side) for side in stored.get_data_shape())
    wanted = offset + count * dtype.itemsize
    try:
        with _stream(path) as file:
            compressed = isinstance(file, gzip.GzipFile)
            data = _to_the_end(file, wanted) if compressed else b""
        came = len(data) if compressed else path.stat().st_size
        if came < wanted:
            raise _damaged(path, f"{came:,} bytes came and the header promises {wanted:,}")
        return np.frombuffer(data, dtype, count, offset) if data else np.memmap(path, dtype, "r", offset, (count,))
    except (*DAMAGED, MemoryError, OverflowError) as error:
        raise _damaged(path, str(error)) from error


def _to_the_end(file: IO[bytes], wanted: int) -> bytes:
    """Return the first bytes of a compressed file, which is read on to where its checksum stands."""
    data = file.read(wanted)
    while file.read(_BLOCK):
        pass
    return data


def _scaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if (slope, intercept) == (1.0, 0.0):
        return array
    whole = slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < _FAR
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4 and whole:
        return array.astype(np.int64) * int(slope) + int(intercept)
    return array * slope + intercept


def _damaged(path: Path, reason: str) -> AtrousError:
    return AtrousError(
        f"{path}: this NIfTI file is damaged ({reason}). Copy it again from its source, or remove it.",
        kind="unreadable-file",
    )
