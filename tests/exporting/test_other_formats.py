"""A .pt2 program and OpenVINO's two files: what they carry, what they compute, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from atrous.contract import AtrousError
from atrous.exporting import Exported, export_openvino, export_program, openvino_file, program_file
from atrous.exporting.graph import on_host
from atrous.models import Segmenter
from atrous.prediction.exported import open_exported


@pytest.fixture
def tracing(program: Any, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every export of a test what was traced once, and OpenVINO's the ONNX model that was made of it."""
    for module in (program_file, openvino_file):
        monkeypatch.setattr(module, "traced", lambda graph: program)
    monkeypatch.setattr(openvino_file, "onnx_model", lambda program: onnx.load_model(exported.path))


def _check_file(segmenter: Segmenter, config: dict[str, Any], found: Exported) -> None:
    scorer = open_exported(found.path)
    assert scorer.export == found.metadata["export"] | {
        "differences": found.differences | {"sizes": [list(size) for size in found.differences["sizes"]]}
    }
    assert scorer.config.space.names == tuple(config["classes"])
    images = np.random.default_rng(3).integers(0, 256, (1, 3, 7, 30), dtype=np.uint8)
    with torch.no_grad():
        wanted = segmenter(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(scorer(images), wanted, atol=0.02)  # OpenVINO may choose bfloat16 by itself


@pytest.mark.usefixtures("tracing")
def test_program(segmenter: Segmenter, config: dict[str, Any], tmp_path: Path) -> None:
    found = export_program(segmenter, config, tmp_path / "net.pt2")
    _check_file(segmenter, config, found)
    assert found.differences["logits"] == 0
    assert (found.bytes, found.metadata["export"]["opset"]) == (found.path.stat().st_size, None)


@pytest.mark.usefixtures("tracing")
def test_openvino(segmenter: Segmenter, config: dict[str, Any], tmp_path: Path) -> None:
    found = export_openvino(segmenter, config, tmp_path / "net.xml")
    _check_file(segmenter, config, found)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert found.bytes == sum(each.stat().st_size for each in tmp_path.iterdir())


@pytest.mark.usefixtures("tracing")
def test_weights_of_another_export_are_refused(segmenter: Segmenter, config: dict[str, Any], tmp_path: Path) -> None:
    path = export_openvino(segmenter, config, tmp_path / "net.xml").path
    weights = path.with_suffix(".bin")
    whole = weights.read_bytes()
    # As a process killed between the two renames leaves it: weights of the same size, of another network.
    weights.write_bytes(whole.replace(segmenter.net.second.weight.detach().numpy().tobytes(), bytes(64)))
    assert (weights.stat().st_size, weights.read_bytes() != whole) == (len(whole), True)
    with pytest.raises(AtrousError, match=r"net.bin: does not hold the weights of net.xml: .* export again"):
        open_exported(path)
    weights.write_bytes(whole)
    assert open_exported(path).config.space.names == tuple(config["classes"])


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize(("export", "suffix"), [(export_program, ".pt2"), (export_openvino, ".xml")])
def test_what_differs_is_refused_and_nothing_is_left(
    segmenter: Segmenter, config: dict[str, Any], tmp_path: Path, export: Any, suffix: str
) -> None:
    other = on_host(segmenter)
    other.net.second.bias.add_(1e-2)
    with pytest.raises(AtrousError, match=r"was not written, since .* logits are 0.01 away, and 0.0001 is allowed"):
        export(other, config, tmp_path / f"net{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("export", "suffix"), [(export_program, ".pt2"), (export_openvino, ".xml")])
def test_wrong_names(segmenter: Segmenter, config: dict[str, Any], tmp_path: Path, export: Any, suffix: str) -> None:
    with pytest.raises(ValueError, match=rf"the name ends in '.onnx'; {suffix} is wanted"):
        export(segmenter, config, tmp_path / "net.onnx")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(AtrousError, match=r"this is a folder"):
        export(segmenter, config, tmp_path / f"folder{suffix}")
