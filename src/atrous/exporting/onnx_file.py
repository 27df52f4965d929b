"""A network as one .onnx file with everything inside: preprocessing, padding, the network, resizing, the settings."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from atrous import __version__
from atrous.contract import AtrousError
from atrous.data.writers import atomic
from atrous.exporting.comparing import TOLERANCES, check_agreement
from atrous.exporting.exported import Exported, Precision, check_precision, compared, described, missing_package, target
from atrous.exporting.graph import INPUT, OUTPUTS, Graph, on_host, traced
from atrous.exporting.halving import with_halves
from atrous.models import Segmenter
from atrous.prediction.exported import ENTRY
from atrous.prediction.runtime import open_onnx

OPSET = 20
LARGEST = 2**31 - 1
"""How many bytes a file may have: protobuf's limit."""
_DIMENSIONS = {
    INPUT: {0: "n", 2: "h", 3: "w"},
    "logits": {0: "n", 2: "rows", 3: "columns"},
    "probabilities": {0: "n", 2: "h", 3: "w"},
    "labels": {0: "n", 1: "h", 2: "w"},
}


def export_onnx(
    segmenter: Segmenter, config: Mapping[str, Any], path: str | Path, *, precision: Precision = "fp32"
) -> Exported:
    """Write `segmenter` as an .onnx file, and compare what ONNX Runtime makes of it with torch before it is there.

    The file has one input, `images` (n, c, h, w) float32 of stored values, for every n, h and w from 1 on, and the
    outputs `logits`, `probabilities` and `labels` of `Graph`. `config` are the JSON values of the model folder's
    `config.json`, which the file carries. With `"fp16"` the weights of the convolutions are float16, and so is what
    lies between them; input and outputs stay float32.

    Raises `AtrousError` where the file lies further from torch than `TOLERANCES` allow (nothing is written then), is
    too large for one file, cannot be written, or onnx is not installed; `ValueError` for a name that does not end in
    .onnx and for another precision.
    """
    started = time.perf_counter()
    check_precision(precision)
    path = target(path, ".onnx")
    segmenter = on_host(segmenter)
    model = onnx_model(traced(Graph(segmenter)))
    if precision == "fp16":
        model = with_halves(model)
    _check_size(model, path)
    metadata = described(config, segmenter, precision, OPSET)
    tolerance = TOLERANCES[precision]
    with atomic(path) as temporary:
        write_onnx(model, metadata, temporary)
        scorer = open_onnx(temporary, device="cpu")
        differences = check_agreement(segmenter, scorer.compute, tolerance, path=path)
        metadata = compared(metadata, {"differences": asdict(differences), "tolerance": asdict(tolerance)})
        write_onnx(model, metadata, temporary)
    size, seconds = path.stat().st_size, time.perf_counter() - started
    return Exported(path=path, precision=precision, bytes=size, seconds=seconds, metadata=metadata)


def onnx_model(program: ExportedProgram) -> Any:
    """Return a traced `Graph` as an `onnx.ModelProto` without the traces of how it came about.

    Raises `AtrousError` where onnx or onnxscript is not installed.
    """
    import torch

    with _needing_onnx(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.onnx.export(
            program, (), dynamo=True, verbose=False, opset_version=OPSET, input_names=[INPUT], output_names=[*OUTPUTS]
        )
    if found is None:
        raise AtrousError("torch made no ONNX program of the network")
    return _plain(found.model_proto)


def write_onnx(model: Any, metadata: Mapping[str, Any], path: Path) -> None:
    """Write a model with our `metadata` in the entry `atrous`, in place of what stood there."""
    with _needing_onnx():
        import onnx
    del model.metadata_props[:]
    model.metadata_props.add(key=ENTRY, value=json.dumps(metadata, ensure_ascii=False, allow_nan=False))
    classes = ", ".join(metadata.get("classes", ()))
    model.producer_name, model.producer_version = "atrous", __version__
    model.doc_string = f"{metadata.get('architecture', 'A segmentation network')}: {classes}"
    onnx.save_model(model, path)


def _plain(model: Any) -> Any:
    """Name the sizes that vary, and leave out names of source files and of sizes that only the tracing knows."""
    graph = model.graph
    del graph.value_info[:]
    for each in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del each.metadata_props[:]
        each.doc_string = ""
    for end in (*graph.input, *graph.output):
        for place, dimension in enumerate(end.type.tensor_type.shape.dim):
            if place in _DIMENSIONS[end.name]:
                dimension.dim_param = _DIMENSIONS[end.name][place]
    graph.name = "atrous"
    return model


def _check_size(model: Any, path: Path) -> None:
    if model.ByteSize() + (1 << 20) > LARGEST:
        raise AtrousError(
            f"{path}: the network has {model.ByteSize() / 1e9:.1f} GB, and one .onnx file holds 2.1; "
            "export it in fp16 or to .pt2"
        )


@contextmanager
def _needing_onnx() -> Iterator[None]:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_package(error.name or "onnx", error) from error
    yield
