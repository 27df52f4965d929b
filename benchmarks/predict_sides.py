"""The sides of `predict.py`: two peers as their documentation shows them, and ours with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atrous import verbs
from atrous.contract import Config, Geometry, LabelSpace, Preprocessing, config_json, plain

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CLASSES = {"smp": 11, "torchvision": 21}
SIZES = {"smp": 512, "torchvision": 513}
SIDES = ("peer", "torch", "onnx", "openvino", "torch-bf16", "openvino-bf16", "onnx-int8")
"""The peer, and ours in float32, bfloat16 and 8-bit integers."""


def space_of(peer: str) -> LabelSpace:
    """Return as many classes as the peer's network has."""
    return LabelSpace(names=tuple(f"class {index}" for index in range(CLASSES[peer])))


def peer_network(peer: str, images: Path) -> Any:
    """Return the peer's network with random weights, its batch norms' statistics those of the images.

    So the labels are not all one class, and values lie where trained ones do.
    """
    import torch

    torch.manual_seed(0)
    if peer == "smp":
        import segmentation_models_pytorch

        net: Any = segmentation_models_pytorch.DeepLabV3Plus("resnet18", encoder_weights=None, classes=CLASSES[peer])
    else:
        from torchvision.models.segmentation import deeplabv3_resnet50

        net = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES[peer])
    batch = torch.stack([_normalised(path) for path in sorted(images.iterdir())[:4]])
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of what is seen, not one that fades
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        net.train()(batch)
    return net.eval()


def _normalised(path: Path) -> Any:
    import torch

    image = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    values = (image - IMAGENET["mean"]) / IMAGENET["std"]
    return torch.from_numpy(values.transpose(2, 0, 1)).float()


def segmenter_of(peer: str, net: Any) -> Any:
    """Return the peer's network in our `Segmenter`: up to its own grid, with the geometry that it has."""
    import torch

    from atrous.models import Segmenter

    class Smp(torch.nn.Module):
        geometry = Geometry(multiple=16, offset=0, minimum=32, stride=4, align_corners=True)

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return self.net.segmentation_head[0](self.net.decoder(self.net.encoder(x)))

    class Torchvision(torch.nn.Module):
        geometry = Geometry(multiple=1, offset=0, minimum=1, stride=8, align_corners=False)

        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.classifier = net.backbone, net.classifier

        def forward(self, x: Any) -> Any:
            return self.classifier(self.backbone(x)["out"])

    module = Smp() if peer == "smp" else Torchvision()
    return Segmenter(module, space_of(peer), Preprocessing()).eval()


def as_documented(peer: str, net: Any, source: Path, out: Path) -> None:
    """Predict a folder as the peer's documentation shows: open, normalise, forward, argmax, save."""
    import torch

    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        with torch.inference_mode():
            labels = (_smp_labels if peer == "smp" else _torchvision_labels)(net, path)
        Image.fromarray(labels.numpy().astype(np.uint8)).save(out / f"{path.stem}.png")


def _smp_labels(net: Any, path: Path) -> Any:
    import torch
    from segmentation_models_pytorch.encoders._preprocessing import preprocess_input

    # What its `get_preprocessing_fn("resnet18")` returns, without the request to a hub that it makes.
    image = np.array(Image.open(path).convert("RGB"))
    height, width = image.shape[:2]
    padded = np.pad(
        preprocess_input(image, **IMAGENET, input_range=[0, 1]), ((0, -height % 32), (0, -width % 32), (0, 0))
    )
    return net(torch.from_numpy(padded.transpose(2, 0, 1)).float()[None]).argmax(1)[0, :height, :width]


def _torchvision_labels(net: Any, path: Path) -> Any:
    from torchvision.io import decode_image
    from torchvision.transforms.functional import convert_image_dtype, normalize

    batch = normalize(convert_image_dtype(decode_image(str(path), "RGB")), **IMAGENET)[None]
    return net(batch)["out"].softmax(1).argmax(1)[0]


def write_files(peer: str, segmenter: Any, folder: Path, images: Path) -> None:
    """Write what the exported sides open: net.onnx, net-int8.onnx and, where OpenVINO is installed, net.xml."""
    from atrous.contract import AtrousError
    from atrous.data import read_image
    from atrous.exporting import export_onnx, export_openvino
    from atrous.exporting.quantising import export_int8

    config = config_json(
        Config(
            model=peer,
            options={},
            space=segmenter.space,
            preprocessing=segmenter.preprocessing,
            geometry=plain(segmenter.geometry),
        )
    )
    export_onnx(segmenter, config, folder / "net.onnx")
    arrays = [read_image(path).transpose(2, 0, 1)[None] for path in sorted(images.iterdir())]
    # Random weights have no score that could be lost; --run measures that on trained ones.
    export_int8(folder / "net.onnx", folder / "net-int8.onnx", images=arrays, mean_iou=lambda _: 1.0)
    try:
        export_openvino(segmenter, config, folder / "net.xml")
    except AtrousError as error:
        print(f"OpenVINO is left out: {error}")


def side(name: str, peer: str, folder: Path, images: Path, threads: int) -> Callable[[Path], None]:
    """Return a side as a function of the folder that its masks are written to; torch is imported where it is used."""
    if name in ("peer", "torch", "torch-bf16"):
        import torch

        torch.set_num_threads(threads)
        net = peer_network(peer, images)
        if name == "peer":
            return lambda out: as_documented(peer, net, images, out)
        return partial(
            _ours, _half(segmenter_of(peer, net)) if name == "torch-bf16" else segmenter_of(peer, net), images
        )
    if name.startswith("openvino"):
        from atrous.prediction.openvino_runtime import open_openvino

        precision = "bf16" if name.endswith("bf16") else "f32"
        return partial(_ours, open_openvino(folder / "net.xml", threads=threads, precision=precision), images)
    from atrous.prediction.runtime import open_onnx

    file = folder / ("net-int8.onnx" if name == "onnx-int8" else "net.onnx")
    return partial(_ours, open_onnx(file, threads=threads, device="cpu"), images)


def _ours(scorer: Any, images: Path, out: Path) -> None:
    verbs.predict(scorer, images, out=out, save=("masks",), redo=True)


def _half(segmenter: Any) -> Any:
    """Return a segmenter whose convolutions are computed in bfloat16, by torch's autocast."""
    import torch

    class Half:
        space, preprocessing = segmenter.space, segmenter.preprocessing
        geometry, from_numpy = segmenter.geometry, staticmethod(segmenter.from_numpy)

        def __call__(self, images: Any) -> Any:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                return segmenter(images)

        def labels(self, images: Any) -> Any:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                return segmenter.labels(images)

    return Half()


def scorers_of(run: Path, data: Path, folder: Path, threads: int) -> Iterator[tuple[str, Any]]:
    """Yield a trained run on every side of ours, exported as `atrous export` does."""
    import torch

    from atrous.prediction.exported import open_exported
    from atrous.prediction.openvino_runtime import open_openvino

    torch.set_num_threads(threads)
    segmenter = verbs.load(run, device="cpu")
    yield "torch", segmenter
    yield "torch-bf16", _half(segmenter)
    yield "onnx", open_exported(verbs.export(run, out=folder / "run.onnx").path, threads=threads)
    small = verbs.export(run, out=folder / "run-int8.onnx", precision="int8", data=data, limit=100.0).path
    yield "onnx-int8", open_exported(small, threads=threads)
    xml = verbs.export(run, out=folder / "run.xml", to="openvino").path
    yield "openvino-bf16", open_openvino(xml, threads=threads, precision="bf16")
