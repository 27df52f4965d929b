"""The matrices of numbers in a MATLAB file of version 5, its own format until 7.3, which is HDF5.

After a header of 128 bytes come variables: a kind, a length, and that many bytes, packed by zlib as a rule. They are
read here and not by SciPy, whose reader ends the whole process on some damaged files. Cells, texts, objects, and sparse
and complex matrices are passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import check_pixels

Element = tuple[int, memoryview]
"""A kind and the bytes that belong to it."""

_HEADER = 128
_MATRIX, _PACKED, _STRUCTURE = 14, 15, 2
_COMPLEX = 0x800
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_DEEPEST = 3  # structures in structures
_WIDEST = 8  # bytes of a value
_ROOM = 1 << 20  # for names, and for the lists that lie beside a small mask


def is_version_5(data: bytes) -> bool:
    """Return whether the bytes begin as such a file does, which says in its header how its numbers are laid."""
    return len(data) >= _HEADER and data[126:128] in (b"IM", b"MI")


def matrices(path: Path, data: bytes, *, max_pixels: int) -> dict[str, NDArray[Any]]:
    """Return the matrices of two axes by name; those in structures are called `structure.field`.

    Raises `ValueError`, `struct.error` or `zlib.error` for a damaged file, and `AtrousError` for a matrix of more than
    `max_pixels` pixels and for packed variables that would fill more memory than these take.
    """
    order = "<" if data[126:128] == b"IM" else ">"
    room = max_pixels * _WIDEST + _ROOM
    found: dict[str, NDArray[Any]] = {}
    for kind, content in _elements(memoryview(data)[_HEADER:], order):
        variable = (kind, content)
        if kind == _PACKED:
            unpacked = _unpacked(path, content, room, max_pixels)
            room -= len(unpacked)
            variable = next(_elements(unpacked, order))
        if variable[0] == _MATRIX:
            found.update(_matrices(path, variable[1], order, max_pixels))
    return found


def _unpacked(path: Path, packed: memoryview, room: int, max_pixels: int) -> memoryview:
    stream = zlib.decompressobj()
    unpacked = stream.decompress(packed, room + 1)
    if len(unpacked) > room:
        raise AtrousError(
            f"{path}: its variables unpack to more than {max_pixels * _WIDEST + _ROOM:,} bytes, and {max_pixels:,} "
            "pixels are accepted. Save the mask alone, or raise max_pixels.",
            kind="too-many-pixels",
        )
    if not stream.eof:
        raise ValueError("a packed variable ends early")
    return memoryview(unpacked)


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield kind and content of every element; up to four bytes of content may lie in the head itself."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start = place + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if size > len(data) - start or (start == place + 4 and size > 4):
            raise ValueError(f"{size:,} bytes are promised and {len(data) - start:,} are there")
        yield kind, data[start : start + size]
        place = place + 8 if start == place + 4 else start + size + (0 if kind == _PACKED else -size % 8)


def _matrices(
    path: Path, content: memoryview, order: str, max_pixels: int, *, name: str | None = None, depth: int = 0
) -> Iterator[tuple[str, NDArray[Any]]]:
    parts = _elements(content, order)
    try:
        flags, shape, own_name = (next(parts)[1] for _ in range(3))
    except StopIteration:
        return  # an empty field of a structure has no parts
    kind = struct.unpack_from(f"{order}I", flags)[0]
    sizes = np.frombuffer(shape, f"{order}i4").tolist()
    name = name or bytes(own_name).decode("latin-1")
    if kind & 0xFF == _STRUCTURE and prod(sizes) == 1 and depth < _DEEPEST:
        width = struct.unpack_from(f"{order}i", next(parts, (0, memoryview(b"")))[1])[0]
        listed = bytes(next(parts, (0, memoryview(b"")))[1])
        for field, (_, inner) in zip(_names(listed, width), parts, strict=False):
            yield from _matrices(path, inner, order, max_pixels, name=f"{name}.{field}", depth=depth + 1)
    elif kind & 0xFF in _CLASSES and not kind & _COMPLEX and len(sizes) == 2 and min(sizes) > 0:
        check_pixels(path, *sizes, max_pixels=max_pixels)
        yield name, _numbers(next(parts, (0, memoryview(b""))), order, kind & 0xFF, (sizes[0], sizes[1]))


def _names(listed: bytes, width: int) -> list[str]:
    if width < 1:
        raise ValueError(f"names of {width} letters are promised")
    names = (listed[start : start + width] for start in range(0, len(listed), width))
    return [name.split(b"\x00")[0].decode("latin-1") for name in names]


def _numbers(element: Element, order: str, kind: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the matrix, whose numbers may be stored narrower than they are, a column after the other."""
    stored, content = element
    if stored not in _STORED:
        raise ValueError(f"numbers of an unknown kind, {stored}")
    values = np.frombuffer(content, order + _STORED[stored])
    if len(values) != prod(shape):
        raise ValueError(f"{len(values):,} of {prod(shape):,} values are there")
    return values.astype(_CLASSES[kind]).reshape(shape, order="F")
