"""Files of weights that others wrote: told apart by what they begin with, and read as names and tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atrous.contract import AtrousError
from atrous.foreign.caffe import read_caffe
from atrous.foreign.keras import read_keras
from atrous.foreign.pickles import as_mapping, resolved
from atrous.foreign.torch_files import LEGACY, read_torch

Kind = Literal["safetensors", "torch", "caffe", "keras"]

NESTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""Under which names a checkpoint keeps the state of its network, the likeliest first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "segmentor.")
"""What wrappers put before every name."""

_OTHERS: tuple[tuple[bytes, int, str], ...] = (
    (b"TFL3", 4, "a TensorFlow Lite model (.tflite)"),
    (b"MATLAB", 0, "a file of MATLAB (.mat)"),
    (b"ustar", 257, "a tar archive, perhaps of torch 0.1; unpack it, or save it again with a newer torch"),
    (b"\x1f\x8b", 0, "a gzip archive; unpack it and give a file of it"),
    (b"%PDF", 0, "a PDF"),
    (b"\x93NUMPY", 0, "a single array of NumPy (.npy)"),
)
_SUFFIXES = {
    ".onnx": "an ONNX model",
    ".pb": "a graph of TensorFlow (.pb)",
    ".tflite": "a TensorFlow Lite model (.tflite)",
    ".index": "a checkpoint of TensorFlow",
    ".ckpt-index": "a checkpoint of TensorFlow",
    ".mat": "a file of MATLAB (.mat)",
    ".prototxt": "a network's description without its weights; give the .caffemodel",
    ".npz": "an archive of NumPy (.npz)",
}
_ACCEPTED = "Accepted are .safetensors, .pth and .pt of torch.save, .caffemodel, and .h5 of Keras"


class Weights(NamedTuple):
    """What a file holds: its kind, its tensors by name (float32, or integers), and what was done to get at them."""

    kind: Kind
    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def read_weights(path: str | Path) -> Weights:
    """Return the tensors of a file of weights; nothing in the file is run, whatever it asks for.

    Names of wrappers (`module.`, `model.`) are taken off, half and double precision become float32, and the notes say
    so. Blobs of Caffe are called `LAYER.NUMBER`.

    Raises `AtrousError` that names the file where it is missing, damaged, of another kind, wants to run code, holds
    no tensors, or holds values that are not finite.
    """
    path = Path(path)
    kind = kind_of(path)
    notes: list[str] = []
    readers: dict[str, Callable[[Path], Any]] = {
        "safetensors": _read_safetensors,
        "torch": read_torch,
        "caffe": read_caffe,
        "keras": read_keras,
    }
    content = readers[kind](path)
    found = _state(content, path, notes) if kind == "torch" else content
    if not found:
        raise AtrousError(f"{path}: holds no tensors; give the file with the weights")
    tensors = {name: _plain(name, value, path) for name, value in found.items()}
    _note_precision(found, notes)
    _refuse_not_finite(tensors, path)
    return Weights(kind, without_prefixes(tensors, notes), tuple(notes))


def kind_of(path: Path) -> Kind:
    """Return which of the four kinds a file is; raises `AtrousError` that says what else it is."""
    if path.is_dir():
        raise AtrousError(f"{path}: a folder; {_folder_advice(path)}")
    if not path.is_file():
        raise AtrousError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise AtrousError(f"{path}: an empty file; fetch it again")
    if start.startswith(b"version https://git-lfs"):
        raise AtrousError(
            f"{path}: a pointer of Git LFS, not the file it stands for; run `git lfs pull` where it is from"
        )
    if re.match(rb"\s*<(!doctype|html|\?xml)", start, re.IGNORECASE):
        raise AtrousError(f"{path}: a web page; the download led to a page, not to the file")
    _refuse_others(path, start)
    kind = _kind_at(start, path)
    if kind is None:
        raise AtrousError(f"{path}: not a file of weights that is known (it begins with {start[:8]!r}). {_ACCEPTED}")
    return kind


def _folder_advice(path: Path) -> str:
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        return "if atrous wrote it, it needs no import; of another program give its model.safetensors"
    if (path / "best").is_dir() or (path / "last").is_dir():
        return "a run of atrous needs no import"
    if (path / "saved_model.pb").is_file():
        return "a SavedModel of TensorFlow, which is not read"
    return f"give the file of weights in it. {_ACCEPTED}"


def _refuse_others(path: Path, start: bytes) -> None:
    if re.search(r"\.data-\d+-of-\d+$", path.name) or path.name == "checkpoint":
        raise AtrousError(f"{path}: a checkpoint of TensorFlow, which is not read. {_ACCEPTED}")
    what = next((name for magic, place, name in _OTHERS if start[place : place + len(magic)] == magic), None)
    what = what or _SUFFIXES.get(path.suffix.lower())
    if what:
        raise AtrousError(f"{path}: {what}, which is not read. {_ACCEPTED}")


def _kind_at(start: bytes, path: Path) -> Kind | None:
    size = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and size < 1 << 32:
        return "safetensors"
    if start.startswith((b"PK\x03\x04", LEGACY)) or re.match(rb"\x80[\x02-\x05]", start):
        return "torch"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if path.suffix == ".caffemodel" and start[0] in (0x0A, 0x12, 0xA2):
        return "caffe"
    named = path.suffix.lower().lstrip(".")
    if named in ("pth", "pt", "safetensors", "h5", "caffemodel"):
        raise AtrousError(f"{path}: named .{named}, but it begins with {start[:8]!r}: damaged, or of another kind")
    return None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise AtrousError(f"{path}: a damaged safetensors file ({error}); fetch it again") from error


def _state(content: Any, path: Path, notes: list[str], place: str = "") -> dict[str, Any]:
    """Return the names and tensors of a checkpoint, from wherever in it they are."""
    mapping = as_mapping(content)
    if mapping is None:
        raise AtrousError(f"{path}: {_named(content)}; a state_dict of names and tensors is needed")
    for nest in NESTS:
        inner = as_mapping(mapping.get(nest))
        if inner and place.count(".") < 4:
            others = [str(key) for key in mapping if key != nest]
            _note(notes, f"taken from {nest!r} of the checkpoint", "left out", others)
            return _state(inner, path, notes, f"{place}.{nest}".lstrip("."))
    try:
        values = {key: resolved(value) for key, value in mapping.items() if isinstance(key, str)}
    except ValueError as error:
        raise AtrousError(f"{path}: a damaged checkpoint ({error}); fetch it again") from error
    tensors = {key: value for key, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        held = f"it holds {_listed([str(key) for key in mapping])}" if mapping else "it is empty"
        raise AtrousError(f"{path}: no tensors by name in it; {held}")
    _note(notes, "", "left out, being no tensors", [str(key) for key in mapping if key not in tensors])
    return tensors


def _named(content: Any) -> str:
    kind = "tensor" if isinstance(resolved(content), Tensor) else type(content).__name__
    return f"holds a single {kind}" if kind == "tensor" else f"holds a {kind}"


def _note(notes: list[str], said: str, left: str, names: list[str]) -> None:
    rest = f"{left}: {_listed(names)}" if names else ""
    line = "; ".join(part for part in (said, rest) if part)
    if line:
        notes.append(line)


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _plain(name: str, value: Any, path: Path) -> Tensor:
    """Return float32 or integers, dense, in memory of their own."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.require(value, np.float32 if value.dtype.kind == "f" else None, ["C", "A", "W"]))
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        raise AtrousError(f"{path}: {name!r} is {value.layout}, {value.dtype}; dense real numbers are needed")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise AtrousError(
            f"{path}: {name!r} has more values ({value.numel():,}) than the file has numbers for it; save it contiguous"
        )
    value = value.detach()
    return value.float().contiguous() if value.is_floating_point() else value.contiguous()


def _note_precision(found: Mapping[str, Any], notes: list[str]) -> None:
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in found.values()})
    other = [kind for kind in kinds if "float" in kind and kind != "float32"]
    if other:
        notes.append(f"{' and '.join(other)} became float32")


def _refuse_not_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise AtrousError(
            f"{path}: {len(broken)} of {len(tensors)} tensors hold values that are not finite, first {broken[0]!r}: "
            "the training had diverged; take an earlier checkpoint"
        )


def without_prefixes(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Return the tensors with the wrappers' prefixes taken off their names, as often as all names share one.

    >>> notes = []
    >>> list(without_prefixes({"module.a": torch.zeros(1), "module.b": torch.zeros(1)}, notes)), notes
    (['a', 'b'], ["the prefix 'module.' taken off 2 names"])
    """
    while tensors and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None)):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        notes.append(f"the prefix {prefix!r} taken off {len(tensors)} names")
    return tensors
