"""A network as OpenVINO's .xml, with its weights in the .bin beside it: fast on Intel processors."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atrous.data.writers import atomic
from atrous.exporting.comparing import TOLERANCES, check_agreement
from atrous.exporting.exported import Exported, compared, described, target
from atrous.exporting.graph import Graph, on_host, traced
from atrous.exporting.onnx_file import onnx_model, write_onnx
from atrous.models import Segmenter
from atrous.prediction.exported import ENTRY
from atrous.prediction.openvino_runtime import open_openvino, openvino_module, weights_digest


def export_openvino(segmenter: Segmenter, config: Mapping[str, Any], path: str | Path) -> Exported:
    """Write `segmenter` as PATH.xml and PATH.bin, and compare what OpenVINO makes of them with torch first.

    Input, outputs and what the file carries are those of `export_onnx`; the settings stand in the `rt_info` entry
    `atrous`, and with them the hash of the .bin: an .xml beside the .bin of another export is refused. It is compared
    in float32: without being told OpenVINO computes in bfloat16 where the processor has it, which no exporter can vouch
    for.

    Raises `AtrousError` where the network lies further from torch than `TOLERANCES` allow (nothing is written then),
    the files cannot be written, or onnx or OpenVINO is not installed; `ValueError` for a name that does not end in
    .xml.
    """
    started = time.perf_counter()
    openvino = openvino_module()
    path = target(path, ".xml")
    segmenter = on_host(segmenter)
    metadata, tolerance = described(config, segmenter, "fp32", None), TOLERANCES["fp32"]
    with tempfile.TemporaryDirectory() as folder, atomic(path.with_suffix(".bin")) as weights, atomic(path) as graph:
        source, trial = Path(folder) / "model.onnx", Path(folder) / "model.xml"
        write_onnx(onnx_model(traced(Graph(segmenter))), metadata, source)
        # Not by `convert_model`, which reports its use to OpenVINO's makers over the network.
        model = openvino.Core().read_model(source)
        _write(openvino, model, metadata, trial)
        scorer = open_openvino(trial, precision="f32")
        differences = check_agreement(segmenter, scorer.compute, tolerance, path=path)
        facts = {
            "differences": asdict(differences),
            "tolerance": asdict(tolerance),
            "bin_sha256": weights_digest(trial),
        }
        metadata = compared(metadata, facts)
        _write(openvino, model, metadata, trial)
        shutil.copyfile(trial.with_suffix(".bin"), weights)
        shutil.copyfile(trial, graph)
    size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
    seconds = time.perf_counter() - started
    return Exported(path=path, precision="fp32", bytes=size, seconds=seconds, metadata=metadata)


def _write(openvino: Any, model: Any, metadata: Mapping[str, Any], path: Path) -> None:
    model.set_rt_info(json.dumps(metadata, ensure_ascii=False, allow_nan=False), [ENTRY])
    openvino.save_model(model, path, compress_to_fp16=False)
