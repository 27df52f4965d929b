"""An exported network in 8-bit integers: ranges found on the user's images, and the cost in mean IoU measured there.

Weights are signed bytes with a scale per output channel, values between layers unsigned bytes with a scale and a zero
per tensor, as Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018 (arXiv 1712.05877), section 2. Bytes lie between the convolutions only: the preprocessing before
the first, and the enlargement, softmax and choice of labels after the logits, stay float32.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, Scorer
from atrous.data.writers import atomic
from atrous.exporting.exported import Exported, missing_package, target
from atrous.exporting.onnx_file import write_onnx
from atrous.prediction.exported import INPUT, read_exported
from atrous.prediction.runtime import onnxruntime_module, open_onnx

LIMIT = 1.0
"""Points of mean IoU, in per cent, that a network may lose."""
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What lies between layers is quantised too: otherwise every value would become a float and a byte again on its way.
# Measured on DeepLab v3+ with ResNet-18, 360 x 480, one thread: 398 ms in float32, 162 with convolutions alone, 133 so,
# 130 with the enlargement too. Of 60.55 mean IoU on CamVid 0.06 are lost, the first and the last layer included.
_BETWEEN = ("Add", "Relu", "MaxPool", "AveragePool", "Concat")
_SIDE = 1024
"""Of an image larger than this in height or width, its middle tells the ranges."""


def export_int8(
    source: str | Path,
    path: str | Path,
    *,
    images: Iterable[NDArray[Any]],
    mean_iou: Callable[[Scorer], float],
    limit: float = LIMIT,
) -> Exported:
    """Write a float32 .onnx file that was exported from here in 8-bit integers, where that costs little.

    `images` (1, c, h, w), of any depth that the network takes, tell between which values every layer lies: some tens of
    what it will see. `mean_iou` is asked for the score, 0 to 1, of the network before and after; what it lost is stored
    in the file, under `export`, with the words of its other metadata.

    Raises `AtrousError` where more than `limit` points of mean IoU (of 100) are lost, and nothing is written then; for
    a source that is not one of ours, or is not float32; where there is no image; and where onnx is not installed.
    `ValueError` for a name that does not end in .onnx, and a limit below 0.
    """
    if not limit >= 0:
        raise ValueError(f"limit {limit} came; 0 or more points of mean IoU are accepted")
    started = time.perf_counter()
    source, path = Path(source), target(path, ".onnx")
    metadata = read_exported(source)[1]
    if metadata.get("export", {}).get("precision", "fp32") != "fp32":
        raise AtrousError(f"{source}: is in {metadata['export']['precision']}; a float32 file is quantised")
    scorer = open_onnx(source, device="cpu")
    inputs = (scorer.compute_input(_middle(scorer.from_numpy(each))) for each in images)
    with atomic(path) as temporary:
        count = _quantise(source, temporary, inputs)
        before, after = mean_iou(scorer), mean_iou(open_onnx(temporary, device="cpu"))
        lost = 100 * (before - after)
        if not lost <= limit:
            raise AtrousError(
                f"{path}: was not written: {lost:.2f} points of mean IoU are lost in int8 ({100 * before:.2f} to "
                f"{100 * after:.2f}), and the limit is {limit:g}; give more images, take fp16, or raise --limit"
            )
        export = {
            **metadata.get("export", {}),
            "precision": "int8",
            "calibrated_on": count,
            "mean_iou": {"fp32": before, "int8": after, "points_lost": lost, "limit": limit},
        }
        metadata = {**metadata, "export": export}
        with _needing_onnx() as onnx:
            write_onnx(onnx.load(temporary), metadata, temporary)
    seconds = time.perf_counter() - started
    return Exported(path=path, precision="int8", bytes=path.stat().st_size, seconds=seconds, metadata=metadata)


def _middle(images: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(side - _SIDE, 0) // 2 for side in images.shape[2:])
    return images[:, :, top : top + _SIDE, left : left + _SIDE]


def _quantise(source: Path, out: Path, inputs: Iterator[NDArray[np.float32]]) -> int:
    """Write `source` in bytes, its ranges those of the inputs, and return how many there were."""
    onnxruntime_module()
    with _needing_onnx() as onnx:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        first = next(inputs, None)
        if first is None:
            raise AtrousError(f"{source}: no images came; some tens are needed to find the ranges of its layers")
        reader = _Reader(chain([first], inputs))
        with _quiet():
            quantize_static(
                source,
                out,
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, *_BETWEEN],
                nodes_to_quantize=between_layers(onnx.load(source).graph),
                per_channel=True,
                # Bytes without a sign, since what a rectifier lets through has none: 159 ms where those with one take
                # 292 on a processor with VNNI and AMX, and the same mean IoU. There sums of bytes do not overflow, so
                # that all eight bits of the weights are used.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
    return reader.count


class _Reader:
    """What onnxruntime's calibration asks for the next input, until there is none."""

    def __init__(self, inputs: Iterator[NDArray[np.float32]]) -> None:
        self.inputs, self.count = inputs, 0

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next input under its name."""
        images = next(self.inputs, None)
        self.count += images is not None
        return None if images is None else {INPUT: images}


def between_layers(graph: Any) -> list[str]:
    """Return the names of the nodes that become integers: the layers that lead to the logits, and what lies between.

    What computes sizes has the same types (Add, Concat), and hangs on the layers only by their shapes.
    """
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    leading = _reached([makers["logits"]], lambda node: [makers[name] for name in node.input if name in makers])
    layers = [node for node in graph.node if node.op_type in _LAYERS]
    following = _reached(
        layers,
        lambda node: [] if node.op_type == "Shape" else [user for name in node.output for user in users.get(name, ())],
    )
    types = (*_LAYERS, *_BETWEEN)
    return [node.name for node in graph.node if node.op_type in types and node.name in leading & following]


def _reached(start: list[Any], step: Callable[[Any], list[Any]]) -> set[str]:
    """Return the names of the nodes that are reached from some by steps, and of these themselves."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting += step(node)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice to programmers from the root logger, which it would also set up for everybody."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@contextmanager
def _needing_onnx() -> Iterator[Any]:
    try:
        import onnx
    except ImportError as error:
        raise missing_package("onnx", error) from error
    yield onnx
