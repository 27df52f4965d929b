"""What the tests of the importer share: files of Caffe's wire format, and norms that are not at their start."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(array: Any, *, legacy: bool, packed: bool, double: bool) -> bytes:
    """Return a BlobProto: shape in fields 1 to 4 or 7, values in field 5 or 8."""
    array = np.asarray(array, "<f8" if double else "<f4")
    field, code, kind = (8, "<d", 1) if double else (5, "<f", 5)
    if packed:
        values = message(field, array.tobytes())
    else:
        values = b"".join(varint(field << 3 | kind) + struct.pack(code, value) for value in array.ravel())
    if not legacy:
        return message(7, message(1, b"".join(varint(side) for side in array.shape))) + values
    sides = (1,) * (4 - array.ndim) + array.shape
    return b"".join(varint(number << 3) + varint(side) for number, side in enumerate(sides, 1)) + values


Layers = Mapping[str, Sequence[Any]]
Write = Callable[..., Path]


@pytest.fixture
def write_caffemodel(tmp_path: Path) -> Write:
    """Return a function that writes layers and their blobs as a .caffemodel, in the new or the old layout."""

    def write(
        layers: Layers, name: str = "net.caffemodel", *, legacy: bool = False, packed: bool = True, double: bool = False
    ) -> Path:
        field, name_field, blob_field = (2, 4, 6) if legacy else (100, 1, 7)
        content = message(1, b"a net")
        for layer, blobs in layers.items():
            parts = [message(blob_field, blob(each, legacy=legacy, packed=packed, double=double)) for each in blobs]
            kind = varint(5 << 3) + varint(4) if legacy else message(2, b"Convolution")
            content += message(field, message(name_field, layer.encode()) + kind + b"".join(parts))
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def shaken() -> Callable[[nn.Module], nn.Module]:
    """Return a function that gives every norm statistics, scale and shift of its own, and sets evaluation mode."""

    def shake(net: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(0)
        state = net.state_dict()
        for name, value in state.items():
            if name.endswith("running_var"):
                owner = name.removesuffix("running_var")
                value.uniform_(0.8, 1.2, generator=generator)
                state[f"{owner}running_mean"].normal_(0, 0.1, generator=generator)
                state[f"{owner}weight"].uniform_(0.6, 1.0, generator=generator)
                state[f"{owner}bias"].normal_(0, 0.1, generator=generator)
        return net.eval()

    return shake


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """Return a function that writes with torch.save, and its path."""

    def save(content: Any, name: str = "weights.pth", **options: Any) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save
