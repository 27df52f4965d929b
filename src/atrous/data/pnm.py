"""Grey PNM files as stored: Pillow stretches their values to the largest one that the header allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import check_pixels, damaged

_PLAIN, _PACKED = b"P2", b"P5"
_SPACE = rb"(?:\s|#[^\n\r]*[\n\r])"
_HEADER = re.compile(rb"P[25]" + rb"%s+(\d{1,9})" % _SPACE * 3 + rb"\s")
_REMARK = re.compile(rb"#[^\n\r]*")


def is_grey_pnm(data: bytes) -> bool:
    """Return whether the bytes begin as a grey PNM does, in figures or packed."""
    return data[:2] in (_PLAIN, _PACKED) and data[2:3] in b" \t\r\n#" and len(data) > 2


def read_grey_pnm(path: Path, data: bytes, *, max_pixels: int) -> NDArray[Any]:
    """Return the values (h, w) as stored: uint8, or uint16 where the header allows more than 255.

    Raises `AtrousError` for a header or pixels that are not whole, and for more than `max_pixels` pixels.
    """
    header = _HEADER.match(data)
    if header is None:
        raise damaged(path, ValueError("its header has no width, height and largest value"))
    width, height, largest = (int(figure) for figure in header.groups())
    check_pixels(path, height, width, max_pixels=max_pixels)
    if not (width and height and 0 < largest < 65536):
        raise damaged(path, ValueError(f"{width} x {height} pixels of up to {largest}"))
    kind = np.dtype("u1" if largest < 256 else ">u2")
    values = _values(path, data, header.end(), width * height, kind)
    if values.max() > largest:
        raise damaged(path, ValueError(f"a value of {values.max()} where {largest} is the largest"))
    return values.reshape(height, width).astype(kind.newbyteorder("="))


def _values(path: Path, data: bytes, start: int, count: int, kind: np.dtype[Any]) -> NDArray[Any]:
    if data[:2] == _PACKED:
        if len(data) - start < count * kind.itemsize:
            raise _short(path, (len(data) - start) // kind.itemsize, count)
        return np.frombuffer(data, kind, count, start)
    figures = _REMARK.sub(b"", data[start:]).split(None, count)[:count]
    if len(figures) < count:
        raise _short(path, len(figures), count)
    try:
        return np.array([int(figure) for figure in figures], np.uint32)
    except (ValueError, OverflowError) as error:
        raise damaged(path, error) from error


def _short(path: Path, came: int, wanted: int) -> AtrousError:
    return damaged(path, ValueError(f"{came:,} of {wanted:,} values are there"))
