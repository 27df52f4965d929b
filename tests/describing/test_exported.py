"""What an .onnx file says of itself, and files that say nothing or nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atrous.contract import AtrousError
from atrous.describing.exported import settings_of

SETTINGS = {
    "architecture": "unet",
    "options": {"width": 0.125},
    "classes": ["sky", "ground"],
    "preprocessing": {"mean": [0.5], "std": [0.25]},
}


def field(number: int, content: bytes | int) -> bytes:
    """Return one field of a protocol buffer, short enough for lengths of two bytes."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    length = len(content)
    return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7]) + content


def write_onnx(path: Path, entries: dict[str, str]) -> Path:
    """Write a graph that returns its input, with metadata; numbers of the fields are those of onnx.proto."""
    side = field(2, field(1, field(1, 1) + field(2, field(1, field(1, 1)))))
    graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Identity")) + field(2, b"g")
    graph += field(11, field(1, b"x") + side) + field(12, field(1, b"y") + side)
    metadata = b"".join(field(14, field(1, key.encode()) + field(2, value.encode())) for key, value in entries.items())
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)) + metadata)
    return path


def test_settings_are_read(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx", {"atrous": json.dumps(SETTINGS)})
    assert settings_of(path) == ("unet", 2, {"width": 0.125}, 1)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"other": "1"}, r"net.onnx: has no metadata 'atrous', so it was not exported from here"),
        ({"atrous": "{"}, r"net.onnx: its metadata 'atrous' is damaged \(JSONDecodeError"),
        ({"atrous": '{"options": {}}'}, r"its metadata 'atrous' is damaged \(KeyError\('preprocessing'\)\)"),
        ({"atrous": "3"}, r"its metadata 'atrous' is damaged \(TypeError"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, entries: dict[str, str], words: str) -> None:
    with pytest.raises(AtrousError, match=words):
        settings_of(write_onnx(tmp_path / "net.onnx", entries))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(AtrousError, match=r"net.onnx: there is no such file"):
        settings_of(path)
    path.write_bytes(b"no graph")
    with pytest.raises(AtrousError, match=r"net.onnx: not a readable .onnx file"):
        settings_of(path)
