"""Tiny .onnx files in the form of exported networks, made with onnx alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

SETTINGS: dict[str, Any] = {
    "format": 1,
    "architecture": "unet",
    "options": {"width": 0.125},
    "classes": ["dark", "light"],
    "colours": [[0, 0, 0], [255, 255, 255]],
    "values": [0, 1],
    "ignore": 255,
    "encoding": "indices",
    "preprocessing": {"order": "RGB", "low": 0, "high": 255, "mean": [0.5] * 3, "std": [0.25] * 3, "padding": "mean"},
    "geometry": {"multiple": 2, "offset": 0, "minimum": 2, "margin": 0, "stride": 2, "align_corners": False},
    "export": {"precision": "fp32", "opset": 20},
}
"""Of a network that pads to even sides and has a logit for every two pixels."""


def write_exported(
    path: Path,
    settings: Any = SETTINGS,
    *,
    leave_out: tuple[str, ...] = (),
    classes: int = 2,
    input_name: str = "images",
    entry: str = "atrous",
) -> Path:
    """Write a network that calls a pixel light where red, green and blue are bright, and return its file."""
    weights = np.stack([np.full((3, 2, 2), (-1.0) ** (index + 1) / 12) for index in range(classes)])
    bias = np.array([(-1.0) ** index * 100 for index in range(classes)])
    constants = {
        "weights": weights.astype(np.float32),
        "bias": bias.astype(np.float32),
        "two": np.array([2, 2], np.int64),
        "axes": np.array([2, 3], np.int64),
        "start": np.array([0, 0], np.int64),
        "zero": np.array([0, 0], np.int64),
        "padding": np.array(0, np.float32),
        "enlargement": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        helper.make_node("Shape", [input_name], ["size"], start=2, end=4),
        helper.make_node("Mod", ["size", "two"], ["odd"]),
        helper.make_node("Concat", ["zero", "odd"], ["pads"], axis=0),
        helper.make_node("Pad", [input_name, "pads", "padding", "axes"], ["padded"]),
        helper.make_node("Conv", ["padded", "weights", "bias"], ["logits"], strides=[2, 2]),
        helper.make_node("Resize", ["logits", "", "enlargement"], ["large"], mode="linear"),
        helper.make_node("Slice", ["large", "start", "size", "axes"], ["cut"]),
        helper.make_node("Softmax", ["cut"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["cut"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    for node in nodes:
        node.name = node.output[0]
    outputs = {
        "logits": (TensorProto.FLOAT, ["n", classes, "gh", "gw"]),
        "probabilities": (TensorProto.FLOAT, ["n", classes, "h", "w"]),
        "labels": (TensorProto.UINT8, ["n", "h", "w"]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(name, *end) for name, end in outputs.items() if name not in leave_out],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {entry: settings if isinstance(settings, str) else json.dumps(settings)})
    save_model(model, path)
    return path
