"""Which values of a graph become float16, and that numbers of other kinds stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from atrous.exporting.halving import with_halves

FLOAT = TensorProto.FLOAT


@pytest.fixture
def model() -> Any:
    """Return Conv, Pad of edges, GlobalAveragePool, Mul with the padded map, Conv: whole numbers and means between."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "second": np.float32([[[[1e6]], [[1e-3]], [[1]], [[1]]]]),
        "amounts": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["a"]),
        helper.make_node("Pad", ["a", "amounts"], ["b"], mode="edge"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Mul", ["b", "c"], ["d"]),
        helper.make_node("Conv", ["d", "second"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    ends = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("logits", "probabilities")]
    start = helper.make_tensor_value_info("images", FLOAT, ["n", 3, "h", "w"])
    initial = [numpy_helper.from_array(each, name) for name, each in weights.items()]
    graph = helper.make_graph(nodes, "halves", [start], ends, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: Any, images: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"images": images})


def test_values_between_convolutions_are_halves(model: Any) -> None:
    found = onnx.shape_inference.infer_shapes(with_halves(model), strict_mode=True)
    graph = found.graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in (*graph.value_info, *graph.output)}
    halves = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}
    assert halves == {"images_half", "a", "b", "c_half", "d", "logits_half"}
    assert kinds["logits"] == kinds["probabilities"] == FLOAT
    stored = {each.name: each.data_type for each in graph.initializer}
    half = TensorProto.FLOAT16
    assert stored == {"amounts": TensorProto.INT64, "first_half": half, "second_half": half}


def test_it_runs_and_weights_beyond_halves_are_the_largest(model: Any) -> None:
    images = np.random.default_rng(1).normal(size=(2, 3, 7, 9)).astype(np.float32)
    halved = with_halves(model)
    stored = {each.name: numpy_helper.to_array(each) for each in halved.graph.initializer}
    assert float(stored["second_half"].max()) == 65504
    logits, probabilities = _run(halved, images)
    assert logits.dtype == probabilities.dtype == np.float32
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(stored["second_half"].astype(np.float32), "second"))
    wanted = _run(model, images)[0]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=4e-3 * np.abs(wanted).max())


def test_the_model_that_came_is_unchanged(model: Any) -> None:
    before = model.SerializeToString()
    with_halves(model)
    assert model.SerializeToString() == before
