"""Every network of the table, with its variants, exports in each precision and format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from atrous.conformance import awaken
from atrous.contract import LabelSpace, Preprocessing
from atrous.exporting import (
    TOLERANCES,
    Exported,
    Tolerance,
    export_onnx,
    export_openvino,
    export_program,
    onnx_file,
    openvino_file,
    reference_images,
)
from atrous.layers.norm import FrozenBatchNorm
from atrous.models import TABLE, Segmenter, build
from atrous.prediction.runtime import open_onnx

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {"width": 1 / 64}) for name in ("fcn32s", "fcn16s", "fcn8s")),
    ("fcn8s", {"width": 1 / 64, "at_once": True, "deconvolution": "full"}),
    ("fcn8s", {"encoder": "resnet18", "width": 1 / 8}),
    ("fcn32s", {"encoder": "resnet50", "width": 1 / 16, "head": "torchvision", "auxiliary": True}),
    ("hypercolumn", {"width": 1 / 64}),
    ("hypercolumn", {"encoder": "resnet18", "width": 1 / 8, "grid": 1}),
    ("unet", {"width": 1 / 64}),
    ("unet", {"width": 1 / 64, "padding": "same", "norm": "batch", "depth": 3, "upsampling": "sub-pixel"}),
    ("unet", {"width": 1 / 64, "padding": "same", "norm": "group", "depth": 2, "upsampling": "bilinear"}),
    ("unet", {"width": 1 / 64, "depth": 2, "upsampling": "nearest-convolution"}),
    ("unet", {"encoder": "resnet18", "width": 1 / 8}),
    ("unet", {"encoder": "convnext_atto"}),
    ("deconvnet", {"width": 1 / 8, "hidden": 64}),
    ("deeplab_v1", {"width": 1 / 64}),
    ("deeplab_v1", {"width": 1 / 64, "multiscale_features": True}),
    ("deeplab_v1", {"width": 1 / 64, "variant": "4x4"}),
    ("deeplab_v2", {"encoder": "vgg16", "width": 1 / 64}),
    ("deeplab_v2", {"encoder": "resnet50_caffe", "width": 1 / 16, "multiscale": True}),
    ("deeplab_v2", {"encoder": "resnet18", "width": 1 / 8, "norm": "frozen"}),
    ("deeplab_v3", {"encoder": "resnet18", "width": 1 / 8, "output_stride": 8}),
    ("deeplab_v3", {"encoder": "resnet50_beta", "width": 1 / 4, "multigrid": (1, 2, 4), "norm": "group"}),
    ("deeplab_v3", {"encoder": "resnet50", "width": 1 / 16, "head": "torchvision", "auxiliary": True}),
    ("deeplab_v3", {"encoder": "resnet50_beta", "width": 1 / 16, "cascade": 3}),
    ("deeplab_v3plus", {"encoder": "resnet18", "width": 1 / 8}),
    ("deeplab_v3plus", {"encoder": "resnet18", "width": 1 / 8, "norm": "frozen"}),
    ("deeplab_v3plus", {"encoder": "resnet18", "width": 1 / 8, "norm": "group"}),
    ("deeplab_v3plus", {"encoder": "xception65", "width": 1 / 64}),
    ("deeplab_v3plus", {"encoder": "mobilenetv2_100"}),
    ("deeplab_v3plus", {"encoder": "efficientnet_b0"}),
]


def _named(case: tuple[str, dict[str, Any]]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items() if key != "width")])


@pytest.fixture(scope="module", autouse=True)
def tolerances() -> Iterator[None]:
    """Allow more than for users: random weights of narrow networks carry rounding further than trained ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TOLERANCES, "fp32", Tolerance(logits=1e-3, probabilities=1e-3))
        patch.setitem(TOLERANCES, "fp16", Tolerance(logits=1e-1, probabilities=1e-1))
        yield


@pytest.fixture(scope="module", params=CASES, ids=_named)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    name, options = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: Any = awaken(build(name, 3, **options))
        padding = getattr(net, "preprocessing_padding", "mean")
        return _lively(Segmenter(net, LabelSpace(names=("a", "b", "c")), Preprocessing(padding=padding)).eval())


@pytest.fixture(scope="module")
def exported(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(segmenter, _config(segmenter), tmp_path_factory.mktemp("matrix") / "net.onnx")


@torch.no_grad()
def _lively(segmenter: Segmenter) -> Segmenter:
    """Give every layer weights and statistics by which its outputs vary by about one on the images that are compared.

    Narrow networks at random weights are nearly dead, or burst: what they compute would be no evidence.
    """
    images = torch.from_numpy(reference_images(segmenter.preprocessing, segmenter.geometry)[-1])
    noise = torch.randint(256, images.shape).float()
    images = torch.cat([images, images.flip(2, 3), noise, noise.flip(2, 3), (images + noise) / 2, 255 - images])
    layers = [each for each in segmenter.net.modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    norms = [each for each in segmenter.net.modules() if isinstance(each, nn.BatchNorm2d | FrozenBatchNorm)]
    hooks = [each.register_forward_hook(_scaled) for each in layers]
    hooks += [each.register_forward_pre_hook(_measured) for each in norms]
    segmenter(images)
    for hook in hooks:
        hook.remove()
    return segmenter


def _scaled(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    layer.weight /= output.std().clamp(min=1e-6)
    if layer.bias is not None:
        layer.bias.zero_()
        layer.bias -= layer.forward(*inputs).transpose(0, 1).flatten(1).mean(1) + 0.1 * torch.randn_like(layer.bias)
    return layer.forward(*inputs)


def _measured(norm: Any, inputs: tuple[torch.Tensor]) -> None:
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)).clamp(min=1))
    nn.init.uniform_(norm.weight, 0.8, 1.2)
    nn.init.uniform_(norm.bias, -0.1, 0.3)


def _config(segmenter: Segmenter) -> dict[str, Any]:
    geometry: Any = segmenter.geometry
    preprocessing: Any = segmenter.preprocessing
    return {
        "format": 1,
        "architecture": "any",
        "options": {},
        "classes": ["a", "b", "c"],
        "colours": [],
        "values": [],
        "ignore": 255,
        "encoding": "indices",
        "preprocessing": asdict(preprocessing),
        "geometry": asdict(geometry),
    }


def test_every_network_of_the_table_is_here() -> None:
    assert {name for name, _ in CASES} == set(TABLE)


@pytest.mark.slow
def test_onnx(segmenter: Segmenter, exported: Exported) -> None:
    compute = open_onnx(exported.path, device="cpu").compute
    for size in ((1, 3, 1, 203), (3, 3, 66, 33)):
        images = np.random.default_rng(2).integers(0, 256, size).astype(np.float32)
        with torch.no_grad():
            wanted = segmenter(torch.from_numpy(images)).numpy()
        assert np.ptp(wanted, axis=(0, 2, 3)).min() > 0.005  # no class is the same everywhere
        np.testing.assert_allclose(compute("probabilities", images), wanted, atol=1e-3)


@pytest.mark.slow
def test_halves(segmenter: Segmenter, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "traced", lambda graph: None)
    monkeypatch.setattr(onnx_file, "onnx_model", lambda program: onnx.load_model(exported.path))
    found = export_onnx(segmenter, _config(segmenter), tmp_path / "half.onnx", precision="fp16")
    kinds = {each.name: each.data_type for each in onnx.load_model(found.path).graph.initializer}
    weights = [
        kinds[node.input[1]]
        for node in onnx.load_model(found.path).graph.node
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in kinds
    ]
    assert set(weights) == {onnx.TensorProto.FLOAT16}


@pytest.mark.slow
def test_program(segmenter: Segmenter, tmp_path: Path) -> None:
    export_program(segmenter, _config(segmenter), tmp_path / "net.pt2")


@pytest.mark.slow
def test_openvino(segmenter: Segmenter, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_file, "traced", lambda graph: None)
    monkeypatch.setattr(openvino_file, "onnx_model", lambda program: onnx.load_model(exported.path))
    export_openvino(segmenter, _config(segmenter), tmp_path / "net.xml")
