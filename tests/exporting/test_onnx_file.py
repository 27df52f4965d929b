"""One .onnx file: what stands in it, what it computes, and when there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from atrous.contract import AtrousError
from atrous.exporting import Exported, Graph, export_onnx, onnx_file, weights_sha256
from atrous.models import Segmenter
from atrous.prediction.runtime import open_onnx


@pytest.fixture
def model(exported: Exported) -> Any:
    """Return the model as it was written, so that exporting again needs no tracing."""
    return onnx.load_model(exported.path)


def test_file_says_what_it_is(segmenter: Segmenter, config: Any, exported: Exported, model: Any) -> None:
    entries = {each.key: each.value for each in model.metadata_props}
    metadata = json.loads(entries["atrous"])
    assert metadata == json.loads(json.dumps(exported.metadata))
    export = metadata.pop("export")
    assert metadata == config
    assert (export["precision"], export["opset"], export["torch"]) == ("fp32", 20, torch.__version__)
    assert export["weights_sha256"] == weights_sha256(segmenter)
    assert export["differences"]["logits"] <= export["tolerance"]["logits"] == 1e-4
    assert export["differences"]["sizes"][0] == [1, 1, 1]
    assert exported.bytes == exported.path.stat().st_size
    assert model.producer_name == "atrous"


def test_sizes_have_names_and_no_file_of_this_machine(model: Any) -> None:
    dimensions = {
        end.name: [each.dim_param or each.dim_value for each in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    assert dimensions == {
        "images": ["n", 3, "h", "w"],
        "logits": ["n", 2, "rows", "columns"],
        "probabilities": ["n", 2, "h", "w"],
        "labels": ["n", "h", "w"],
    }
    assert b".py" not in model.SerializeToString()


@pytest.mark.parametrize("size", [(1, 3, 1, 1), (3, 3, 1, 40), (1, 3, 64, 5), (2, 3, 33, 34)])
def test_scores_what_torch_does_for_every_size(segmenter: Segmenter, exported: Exported, size: Any) -> None:
    images = np.random.default_rng(1).integers(0, 256, size).astype(np.float32)
    compute = open_onnx(exported.path).compute
    given = torch.from_numpy(images)
    with torch.no_grad():
        wanted = {"logits": segmenter.grid(given)[0], "probabilities": segmenter(given)}
    for name, each in wanted.items():
        np.testing.assert_allclose(compute(name, images), each.numpy(), atol=1e-5)
    np.testing.assert_array_equal(compute("labels", images), segmenter.labels(given).numpy())


def test_exporting_leaves_the_network_as_it_was(segmenter: Segmenter, exported: Exported) -> None:
    assert segmenter.net.first.weight.requires_grad
    assert exported.metadata["export"]["weights_sha256"] == weights_sha256(segmenter)


def test_halves_are_half_as_large_and_close(
    segmenter: Segmenter, config: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "onnx_model", lambda program: model)
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    found = export_onnx(segmenter, config, tmp_path / "half.onnx", precision="fp16")
    graph = onnx.load_model(found.path).graph
    kinds = {each.name: each.data_type for each in graph.initializer}
    weights = [kinds[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert weights == [onnx.TensorProto.FLOAT16] * 2
    assert {end.type.tensor_type.elem_type for end in graph.output} == {onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8}
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert 0 < found.differences["logits"] < 1e-2
    assert found.precision == found.metadata["export"]["precision"] == "fp16"


@pytest.mark.parametrize(
    ("node", "attribute", "words"),
    [
        ("Resize", "half_pixel", "probabilities are .* away, and 0.0001 is allowed"),
        ("ArgMax", "other axis", "labels are .*, and .* in torch"),
        ("Relu", "Abs", "logits are .* away, and 0.0001 is allowed"),
        ("Relu", "Log", "logits are nan"),
    ],
)
def test_wrong_graph_is_refused_and_what_was_there_stays(
    segmenter: Segmenter,
    config: Any,
    model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    node: str,
    attribute: str,
    words: str,
) -> None:
    for each in model.graph.node:
        if each.op_type == node:
            _spoil(each, attribute)
    monkeypatch.setattr(onnx_file, "onnx_model", lambda program: model)
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    with pytest.raises(AtrousError, match=rf"net.onnx: was not written, since .* {words}"):
        export_onnx(segmenter, config, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def _spoil(node: Any, how: str) -> None:
    if how in ("Abs", "Log"):
        node.op_type = how
    for each in node.attribute:
        if how == "half_pixel" and each.name == "coordinate_transformation_mode":
            each.s = b"half_pixel"
        if how == "other axis" and each.name == "axis":
            each.i = 2


def test_wrong_arguments(segmenter: Segmenter, config: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"precision 'int4' came; fp32 or fp16 is accepted"):
        export_onnx(segmenter, config, tmp_path / "net.onnx", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"net.pth: the name ends in '.pth'; .onnx is wanted"):
        export_onnx(segmenter, config, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"the name ends in 'nothing'"):
        export_onnx(segmenter, config, tmp_path / "net")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(AtrousError, match=r"folder.onnx: this is a folder"):
        export_onnx(segmenter, config, tmp_path / "folder.onnx")


def test_unwritable_path(
    segmenter: Segmenter, config: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "onnx_model", lambda program: model)
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(AtrousError, match=r"net.onnx: could not be written"):
        export_onnx(segmenter, config, tmp_path / "file" / "net.onnx")


def test_too_large_for_one_file(
    segmenter: Segmenter, config: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "onnx_model", lambda program: model)
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    with pytest.raises(AtrousError, match=r"net.onnx: the network has 0.0 GB, and one .onnx file holds 2.1; export"):
        export_onnx(segmenter, config, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_package(segmenter: Segmenter, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    with pytest.raises(AtrousError, match=r'onnxscript is not installed, .* pip install "atrous\[export\]"'):
        export_onnx(segmenter, config, tmp_path / "net.onnx")


def test_graph_takes_one_pixel_with_a_mirror_as_torch_does(segmenter: Segmenter) -> None:
    images = torch.full((1, 3, 1, 2), 100.0)
    with torch.no_grad():
        logits, probabilities, labels = Graph(segmenter)(images)
        assert torch.equal(probabilities, segmenter(images))
        assert torch.equal(logits, segmenter.grid(images)[0])
    assert torch.equal(labels, segmenter.labels(images))
