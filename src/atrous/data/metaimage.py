"""MetaImage volumes of ITK: `.mha`, whose voxels follow the header, and `.mhd`, which names the file that has them."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import file_bytes
from atrous.data.grids import VolumeHeader, sound_affine

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_LONGEST = 2**16
_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))  # ITK's frame points to the left, the back and the head
_REVERSED = np.eye(4)[[2, 1, 0, 3]]


def header(path: Path) -> VolumeHeader:
    """Return the shape, spacing and affine of a MetaImage file; raises `AtrousError` for one that is damaged."""
    fields, _ = _fields(path)
    sizes, channels = _sizes(path, fields), int(_numbers(path, fields, "ElementNumberOfChannels", [1])[0])
    count = len(sizes)
    key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    lengths = [abs(length) or 1.0 for length in _numbers(path, fields, key, [1.0] * count)]
    affine = np.eye(4)
    if count == 3:
        # A row of the file's matrix is the direction of an axis.
        turn = _numbers(path, fields, "TransformMatrix" if "TransformMatrix" in fields else "Rotation", np.eye(3).flat)
        origin = _numbers(path, fields, "Offset" if "Offset" in fields else "Position", [0.0] * 3)
        if len(turn) != 9 or len(origin) != 3 or len(lengths) != 3:
            raise _damaged(path, "its spacing, offset or matrix is not of three axes")
        affine[:3, :3] = np.reshape(turn, (3, 3)).T * lengths
        affine[:3, 3] = origin
    shape, between = [*sizes, 1][:3], [*lengths, 1.0][:3]
    return VolumeHeader(
        (shape[2], shape[1], shape[0]),
        channels,
        (between[2], between[1], between[0]),
        sound_affine(_TO_RAS @ affine @ _REVERSED) if count == 3 else None,
    )


def voxels(path: Path) -> NDArray[Any]:
    """Return (slices, rows, columns[, c]) as stored; raises `AtrousError` for a damaged or truncated file."""
    fields, length = _fields(path)
    known = header(path)
    if fields.get("ElementType") not in _TYPES:
        raise _damaged(path, f"ElementType {fields.get('ElementType')!r} is not one of {', '.join(_TYPES)}")
    order = ">" if _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[fields["ElementType"]])
    wanted = math.prod(known.shape) * known.channels * dtype.itemsize
    data = _data(path, fields, length, wanted)
    if len(data) < wanted:
        raise _damaged(path, f"{len(data):,} bytes of voxels came and the header promises {wanted:,}")
    shape = known.shape if known.channels == 1 else (*known.shape, known.channels)
    return np.frombuffer(data[:wanted], dtype).reshape(shape)


def _data(path: Path, fields: dict[str, str], length: int, wanted: int) -> bytes:
    name = fields["ElementDataFile"].replace("\0", "?")
    if name.upper().startswith("LIST") or "%" in name:
        raise AtrousError(
            f"{path}: a list of files of voxels came, and one file is read. Save the volume as .mha.",
            kind="unreadable-file",
        )
    local = name.upper() == "LOCAL"
    file = path if local else path.parent / name.replace("\\", "/")
    data = file_bytes(file)[length:] if local else file_bytes(file)
    if not _is_true(fields, "CompressedData"):
        return data[-wanted:] if fields.get("HeaderSize", "0").strip() == "-1" else data
    try:
        return zlib.decompressobj(wbits=47).decompress(data, wanted)
    except zlib.error as error:
        raise _damaged(path, str(error)) from error


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields, and how many bytes it has: it ends with the line of `ElementDataFile`."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST)
    except OSError as error:
        raise AtrousError(
            f"{path}: the file cannot be read ({error.strerror}). Check the path.", kind="unreadable-file"
        ) from error
    fields: dict[str, str] = {}
    length = 0
    for line in start.split(b"\n"):
        length += len(line) + 1
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[key.strip().lstrip("\ufeff")] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields, length
    raise _damaged(path, "the line ElementDataFile is missing")


def _sizes(path: Path, fields: dict[str, str]) -> list[int]:
    sizes = [int(size) for size in _numbers(path, fields, "DimSize", [])]
    if len(sizes) not in (2, 3):
        raise _damaged(path, f"DimSize {fields.get('DimSize')!r} has not two or three sides")
    return sizes


def _numbers(path: Path, fields: dict[str, str], key: str, default: Any) -> list[float]:
    if key not in fields:
        return [float(number) for number in default]
    try:
        numbers = [float(word) for word in fields[key].split()]
    except ValueError as error:
        raise _damaged(path, f"{key} {fields[key]!r} has a word that is no number") from error
    if not numbers or not np.isfinite(numbers).all():
        raise _damaged(path, f"{key} {fields[key]!r} is empty, or has a number that is not finite")
    return numbers


def _is_true(fields: dict[str, str], key: str) -> bool:
    return fields.get(key, "").lower() in ("true", "1")


def _damaged(path: Path, reason: str) -> AtrousError:
    return AtrousError(
        f"{path}: this MetaImage file is damaged ({reason}). Copy it again from its source, or remove it.",
        kind="unreadable-file",
    )
