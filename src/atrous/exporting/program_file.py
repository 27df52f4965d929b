"""A network as one .pt2 file: torch runs it again without the code that built it."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from atrous.data.writers import atomic
from atrous.exporting.comparing import TOLERANCES, check_agreement
from atrous.exporting.exported import Exported, compared, described, target
from atrous.exporting.graph import Graph, on_host, traced
from atrous.models import Segmenter
from atrous.prediction.exported import ENTRY
from atrous.prediction.program_runtime import open_program


def export_program(segmenter: Segmenter, config: Mapping[str, Any], path: str | Path) -> Exported:
    """Write `segmenter` as a torch.export program in a .pt2 file, and compare it with torch before it is there.

    `torch.export.load(path).module()` takes `images` (n, c, h, w) float32 of stored values, for every n, h and w from
    1 on, and returns logits, probabilities and labels. The file carries `config` as `atrous.exporting.export_onnx`'s
    does, in the extra file `atrous`.

    Raises `AtrousError` where the program lies further from torch than `TOLERANCES` allow (nothing is written then) or
    the file cannot be written; `ValueError` for a name that does not end in .pt2.
    """
    started = time.perf_counter()
    path = target(path, ".pt2")
    segmenter = on_host(segmenter)
    program = traced(Graph(segmenter))
    metadata, tolerance = described(config, segmenter, "fp32", None), TOLERANCES["fp32"]
    with atomic(path) as temporary:
        _write(program, metadata, temporary)
        scorer = open_program(temporary, device="cpu")
        differences = check_agreement(segmenter, scorer.compute, tolerance, path=path)
        metadata = compared(metadata, {"differences": asdict(differences), "tolerance": asdict(tolerance)})
        _write(program, metadata, temporary)
    size, seconds = path.stat().st_size, time.perf_counter() - started
    return Exported(path=path, precision="fp32", bytes=size, seconds=seconds, metadata=metadata)


def _write(program: ExportedProgram, metadata: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights whose channels lie last
        torch.export.save(program, path, extra_files={ENTRY: text})
