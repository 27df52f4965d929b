"""The `.caffemodel` of Caffe: a protocol buffer's wire format, read by hand, its numbers left in the file until used.

Source: caffe.proto of BVLC/caffe. NetParameter holds layers as field 100 (LayerParameter: name 1, blobs 7) or, before
2015, as field 2 (V1LayerParameter: name 4, blobs 6). A blob (BlobProto) has its shape in field 7 or in the fields 1 to
4 (number, channels, height, width), and its values in field 5 (floats) or 8 (doubles), packed or one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LAYERS = {100: (1, 7), 2: (4, 6)}
"""Fields of the net that are layers, and where each has its name and its blobs."""
_VALUES = {5: "<f4", 8: "<f8"}

Bytes = NDArray[np.uint8]


def read_caffe(path: Path) -> dict[str, NDArray[Any]]:
    """Return the blobs of a `.caffemodel` as `LAYER.NUMBER` -> array (legacy shapes have four sides).

    The arrays lie in the file, which is mapped; copy what is kept. Layers without blobs are left out.

    Raises `AtrousError` where the file is cut off, or is no protocol buffer of a net.
    """
    content = np.memmap(path, dtype=np.uint8, mode="c")
    blobs: dict[str, NDArray[Any]] = {}
    try:
        for field, _, value in _fields(content):
            if field in _LAYERS and isinstance(value, np.ndarray):
                blobs |= _layer(value, *_LAYERS[field])
    except (ValueError, IndexError) as error:
        raise AtrousError(f"{path}: not a whole .caffemodel ({error}); fetch it again") from error
    if not blobs:
        raise AtrousError(f"{path}: no layer of it has weights; give the .caffemodel, not a solver state or a prototxt")
    return blobs


def _layer(content: Bytes, name_field: int, blob_field: int) -> dict[str, NDArray[Any]]:
    name, blobs = "", []
    for field, kind, value in _fields(content):
        if field == name_field and kind == _BYTES:
            name = bytes(value).decode("utf-8", "replace")
        if field == blob_field and kind == _BYTES:
            blobs.append(_blob(value))
    return {f"{name}.{number}": blob for number, blob in enumerate(blobs)}


def _blob(content: Bytes) -> NDArray[Any]:
    shape, sides, pieces = None, [0, 0, 0, 0], []
    for field, kind, value in _fields(content):
        if field in _VALUES and isinstance(value, np.ndarray):
            pieces.append(np.frombuffer(value, _VALUES[field]))
        elif field == 7 and kind == _BYTES:
            shape = _shape(value)
        elif 1 <= field <= 4 and kind == _VARINT:
            sides[field - 1] = value
    values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty(0, "<f4")])
    shape = tuple(sides) if shape is None else shape
    if int(np.prod(shape, dtype=object)) != values.size:
        raise ValueError(f"a blob of shape {shape} has {values.size} values")
    return values.reshape(shape)


def _shape(content: Bytes) -> tuple[int, ...]:
    sides: list[int] = []
    for field, kind, value in _fields(content):
        if field == 1 and kind == _VARINT:
            sides.append(value)
        elif field == 1 and kind == _BYTES:
            place = 0
            while place < len(value):
                side, place = _varint(value, place)
                sides.append(side)
    return tuple(sides)


def _fields(content: Bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield (field, kind, value) of one message; values of numbers one by one come as the bytes of their whole run."""
    place = 0
    while place < len(content):
        start = place
        tag, place = _varint(content, place)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield field, kind, value
        elif kind == _BYTES:
            size, place = _varint(content, place)
            yield field, kind, _window(content, place, size)
            place += size
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            run, place = _run(content, start, place - start, 4 if kind == _FOUR_BYTES else 8)
            yield field, kind, run
        else:
            raise ValueError(f"wire type {kind} at byte {start}")


def _run(content: Bytes, start: int, tag_size: int, size: int) -> tuple[Bytes, int]:
    """Return the values of all fields from `start` that repeat its tag, and where they end."""
    step = tag_size + size
    _window(content, start, step)
    tag = content[start : start + tag_size]
    rows = content[start : start + (len(content) - start) // step * step].reshape(-1, step)
    other = np.flatnonzero((rows[:, :tag_size] != tag).any(1))
    count = int(other[0]) if other.size else len(rows)
    return np.ascontiguousarray(rows[:count, tag_size:]).reshape(-1), start + count * step


def _window(content: Bytes, place: int, size: int) -> Bytes:
    if place + size > len(content):
        raise ValueError(f"{size} bytes were announced at byte {place} and {len(content) - place} are left")
    return content[place : place + size]


def _varint(content: Bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise ValueError(f"a number at byte {place} does not end")
        byte = int(content[place])
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
