"""What an export leaves behind: the file, what it says of itself, and how far it lies from torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from atrous.contract import AtrousError
from atrous.data.writers import refuse_folder
from atrous.models import Segmenter

Precision = Literal["fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written and compared.

    `bytes` is its size on disk, with what lies beside it; `seconds` are those of tracing, writing and comparing.
    `metadata` is what stands in the file under `atrous`: the settings of the network and, under `export`, how the file
    was made.
    """

    path: Path
    precision: str
    bytes: int
    seconds: float
    metadata: dict[str, Any]

    @property
    def differences(self) -> dict[str, Any]:
        """How far the file's outputs lie from torch's: see `Differences`."""
        return self.metadata["export"]["differences"]


def described(config: Mapping[str, Any], segmenter: Segmenter, precision: str, opset: int | None) -> dict[str, Any]:
    """Return what a file says of itself before it is compared: `config` and how it is made.

    `opset` is None where the format has none.
    """
    export = {
        "precision": precision,
        "opset": opset,
        "torch": torch.__version__,
        "weights_sha256": weights_sha256(segmenter),
    }
    return {**config, "export": export}


def compared(metadata: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with what the comparison found: `facts` such as `differences` and `tolerance`."""
    return {**metadata, "export": {**metadata["export"], **facts}}


def weights_sha256(segmenter: Segmenter) -> str:
    """Return the SHA-256 of the network's tensors, in the order of their names, each after its name and shape.

    It is the same on every device, however the tensors lie in memory.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(segmenter.net.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def target(path: str | Path, suffix: str) -> Path:
    """Return the path of a file that is to be written.

    Raises `AtrousError` for a folder, and `ValueError` for another suffix than the format's.
    """
    path = Path(path)
    refuse_folder(path)
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path}: the name ends in {path.suffix or 'nothing'!r}; {suffix} is wanted for this format")
    return path


def check_precision(precision: str) -> None:
    """Raise `ValueError` for a precision that is not known here."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} came; {' or '.join(PRECISIONS)} is accepted")


def missing_package(name: str, error: ImportError) -> AtrousError:
    """Return the error of a package that this export needs and that is not installed."""
    extra = "openvino" if name == "openvino" else "export"
    return AtrousError(f'{name} is not installed, and this export needs it: pip install "atrous[{extra}]" ({error})')
