"""Exported .onnx files on ONNX Runtime: prediction without torch, and without onnx."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.prediction.exported import ENTRY, INPUT, ExportedScorer, check_ends, check_present, settings_in

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_onnx(path: str | Path, *, threads: int | None = None, device: str | None = None) -> ExportedScorer:
    """Open an .onnx file that was exported from here, as a scorer of NumPy arrays.

    `threads` None takes one per core. `device` is "cpu" or "cuda", by default the GPU where this ONNX Runtime has one.
    Of the file's three outputs only that which is needed is computed.

    Raises `AtrousError` where the file is missing, damaged or not exported from here, and for a device not here.
    """
    path = Path(path)
    check_present(path)
    session = _session(path, _options(threads), provider_of(device))
    config, values = settings_in(_entry(session), path)
    check_ends(path, *([end.name for end in ends] for ends in (session.get_inputs(), session.get_outputs())))
    _check_logits(path, session, len(config.space))
    return ExportedScorer(
        path=path,
        config=config,
        export=values.get("export", {}),
        threads=threads,
        compute=partial(_computed, session),
        reopen=partial(open_onnx, path, threads=threads, device=device),
    )


def onnx_metadata(path: Path) -> str | None:
    """Return the text that a file carries for us, None where there is none.

    Raises `AtrousError` where the file is missing or damaged.
    """
    onnxruntime = onnxruntime_module()
    check_present(path)
    options = _options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # nothing will run
    return _entry(_session(path, options, _PROVIDERS["cpu"]))


def onnxruntime_module() -> Any:
    """Return the module `onnxruntime`, kept from reporting its use to its makers over the network, as it does else.

    It reads `ORT_DISABLE_TELEMETRY` when it is imported; who has set that to another value keeps it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def provider_of(device: str | None) -> str:
    """Return ONNX Runtime's name of what computes on a device: "cpu", "cuda", or None for the best that is here.

    Raises `AtrousError` for a device that this installation of ONNX Runtime has not.
    """
    onnxruntime = onnxruntime_module()
    here = onnxruntime.get_available_providers()
    if device is None:
        return next(_PROVIDERS[name] for name in ("cuda", "cpu") if _PROVIDERS[name] in here)
    provider = _PROVIDERS.get(device.partition(":")[0])
    if provider is None or provider not in here:
        known = ", ".join(name for name, each in _PROVIDERS.items() if each in here)
        raise AtrousError(f"device {device!r} is not here for an exported network; ONNX Runtime has {known}")
    return provider


def _options(threads: int | None) -> Any:
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a pattern per size of image: 612 MB for what 438 do, and no faster
    return options


def _session(path: Path, options: Any, provider: str) -> Any:
    onnxruntime = onnxruntime_module()
    try:
        return onnxruntime.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # its errors have no class in common
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AtrousError(f"{path}: not a readable .onnx file ({words}); export it again") from error


def _entry(session: Any) -> str | None:
    return session.get_modelmeta().custom_metadata_map.get(ENTRY)


def _check_logits(path: Path, session: Any, classes: int) -> None:
    """Raise `AtrousError` where the graph scores another number of classes than the metadata name."""
    shape = next(output.shape for output in session.get_outputs() if output.name == "logits")
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != classes):
        raise AtrousError(
            f"{path}: its metadata {ENTRY!r} name {classes} classes and its logits are {shape}; (n, classes, h, w) is "
            "wanted: export it again"
        )


def _computed(session: Any, name: str, images: NDArray[np.float32]) -> NDArray[Any]:
    onnxruntime = onnxruntime_module()
    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    try:
        return session.run([name], {INPUT: images}, options)[0]
    except Exception as error:  # its errors have no class in common
        if "allocate memory" in str(error) or "bad allocation" in str(error) or "bad_alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise
