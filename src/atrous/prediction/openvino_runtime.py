"""Exported .xml files on OpenVINO: fast prediction on Intel processors, without torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.prediction.exported import ENTRY, ExportedScorer, check_ends, check_present, settings_in
from atrous.prediction.signal_stacks import kept_signal_stack

Precision = Literal["bf16", "f32"]


def open_openvino(
    path: str | Path, *, threads: int | None = None, device: str | None = None, precision: Precision | None = None
) -> ExportedScorer:
    """Open an .xml file, with its .bin beside it, that was exported from here, as a scorer of NumPy arrays.

    `precision` is what the processor computes in, "bf16" or "f32"; without it OpenVINO takes bfloat16 where the
    processor has instructions for it. Of the three outputs only that which is needed is computed. `device` can only be
    the processor.

    Raises `AtrousError` where one of the two is missing, damaged, not exported from here or of another export, for
    another device, and where OpenVINO is not installed; `ValueError` for another precision.
    """
    path = Path(path)
    if device not in (None, "cpu"):
        raise AtrousError(f"device {device!r} is not here for an OpenVINO network; it runs on the processor: cpu")
    if precision not in (None, "bf16", "f32"):
        raise ValueError(f"precision {precision!r} came; bf16, f32 or none is accepted")
    model = _model(path)
    config, values = settings_in(_entry(model), path)
    _check_weights(path, values)
    check_ends(path, [_name(end) for end in model.inputs], [name for end in model.outputs for name in end.names])
    return ExportedScorer(
        path=path,
        config=config,
        export=values.get("export", {}),
        threads=threads,
        compute=_Compiled(model, threads, precision),
        reopen=partial(open_openvino, path, threads=threads, device=device, precision=precision),
    )


def openvino_metadata(path: Path) -> str | None:
    """Return the text that a file carries for us, None where there is none.

    Raises `AtrousError` where the file is missing or damaged, and where OpenVINO is not installed.
    """
    return _entry(_model(path))


def openvino_module() -> Any:
    """Return the module `openvino`, kept from reporting its use to its makers over the network, as it does on import.

    Raises `AtrousError` where it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))  # an import of it fails, and OpenVINO does without
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise AtrousError('OpenVINO is not installed: pip install "atrous[openvino]"') from error
    return openvino


class _Compiled:
    """A model of three outputs as three networks of one, each compiled when it is first asked for."""

    def __init__(self, model: Any, threads: int | None, precision: Precision | None) -> None:
        self.model, self.ready = model, dict[str, Any]()
        self.settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self.settings["INFERENCE_NUM_THREADS"] = threads
        if precision is not None:
            self.settings["INFERENCE_PRECISION_HINT"] = precision

    def __call__(self, name: str, images: NDArray[np.float32]) -> NDArray[Any]:
        openvino = openvino_module()
        with kept_signal_stack():
            if name not in self.ready:
                alone = openvino.Model([self.model.output(name)], self.model.get_parameters(), name)
                self.ready[name] = openvino.compile_model(alone, "CPU", self.settings)
            # The request's memory is used again for the next image.
            return np.array(self.ready[name](images)[0])


def _model(path: Path) -> Any:
    openvino = openvino_module()
    check_present(path)
    check_present(path.with_suffix(".bin"))
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        words = " ".join(str(error).split())[:200]
        raise AtrousError(f"{path}: not a readable OpenVINO network ({words}); export it again") from error


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of the weights beside an .xml file, in hexadecimal: its .bin as a whole."""
    with path.with_suffix(".bin").open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _check_weights(path: Path, values: Mapping[str, Any]) -> None:
    """Raise `AtrousError` where the .bin is not the one written with the .xml: nothing else would tell."""
    wanted = values.get("export", {}).get("bin_sha256")
    if wanted is not None and wanted != weights_digest(path):
        raise AtrousError(
            f"{path.with_suffix('.bin')}: does not hold the weights of {path.name}: it was changed or is another "
            "export's; copy both files again, or export again"
        )


def _entry(model: Any) -> str | None:
    return model.get_rt_info([ENTRY]).astype(str) if model.has_rt_info([ENTRY]) else None


def _name(end: Any) -> str:
    return end.any_name if end.names else ""
