"""Our whole path from image file to written mask against the same network used as its documentation shows.

    python benchmarks/predict.py [--images 12] [--size 512] [--rounds 7]

Both sides hold the same weights: segmentation_models_pytorch's DeepLab v3+ with ResNet-18, wrapped by our `Segmenter`
on one side and called as that library documents on the other. One process, the two sides in turn, medians; the floor
is the network's forward pass alone, on tensors that are ready.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from atrous import verbs
from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.data.scenes import street_scene
from atrous.data.writers import write_image
from atrous.models import Segmenter

CLASSES = 11
SPACE = LabelSpace(names=tuple(f"class {index}" for index in range(CLASSES)))


class Peer(nn.Module):
    """The peer's network up to its own grid, with the geometry that the contract asks for."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.geometry = Geometry(multiple=16, offset=0, minimum=32, stride=4, align_corners=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        decoded = self.net.decoder(self.net.encoder(x))
        return self.net.segmentation_head[0](decoded)


def peer_network() -> Any:
    """Return the peer's network with spread-out weights, so that labels are not all one class."""
    import segmentation_models_pytorch as peer

    torch.manual_seed(0)
    net = peer.DeepLabV3Plus("resnet18", encoder_weights=None, classes=CLASSES).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.5)
    return net


def as_documented(net: Any, source: Path, out: Path) -> None:
    """Predict a folder as the peer's documentation shows: open, normalise, pad to 32, forward, argmax, save."""
    from segmentation_models_pytorch.encoders._preprocessing import preprocess_input

    # What its `get_preprocessing_fn("resnet18")` returns, without the request to a hub that it makes.
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "input_range": [0, 1]}
    normalise = partial(preprocess_input, **imagenet)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        image = np.array(Image.open(path).convert("RGB"))
        height, width = image.shape[:2]
        padding = ((0, -height % 32), (0, -width % 32), (0, 0))
        x = torch.from_numpy(np.pad(normalise(image), padding).transpose(2, 0, 1)).float()[None]
        with torch.inference_mode():
            labels = net(x).argmax(1)[0, :height, :width]
        Image.fromarray(labels.numpy().astype(np.uint8)).save(out / f"{path.stem}.png")


def median_seconds(rounds: int, *sides: Callable[[], None]) -> list[float]:
    """Run the sides in turn, `rounds` times after one warm-up, and return each one's median seconds."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for times, side in zip(taken, sides, strict=True):
            began = time.perf_counter()
            side()
            if turn:
                times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def main() -> None:
    """Race the two, print milliseconds per image, the ratio, the floor, and how far the labels agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    net = peer_network()
    segmenter = Segmenter(Peer(net), SPACE, Preprocessing()).eval()
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = Path(folder, "images"), Path(folder, "ours"), Path(folder, "theirs")
        for index in range(options.images):
            write_image(source / f"{index:03}.jpg", street_scene(index, size=(options.size, options.size)).image)
        x = torch.randn(1, 3, options.size, options.size).contiguous(memory_format=torch.channels_last)

        def floor() -> None:
            with torch.inference_mode():
                for _ in range(options.images):
                    segmenter.net(x)

        seconds = median_seconds(
            options.rounds,
            lambda: verbs.predict(segmenter, source, out=ours, save=("masks",)),
            lambda: as_documented(net, source, theirs),
            floor,
        )
        agree = [
            np.mean(np.array(Image.open(ours / "masks" / path.name)) == np.array(Image.open(path)))
            for path in sorted(theirs.iterdir())
        ]
    mine, peer, least = (1000 * value / options.images for value in seconds)
    threads = torch.get_num_threads()
    print(f"decode to written mask, {options.size}x{options.size}, {threads} threads, float32, ms per image")
    print(f"ours {mine:.1f}   peer {peer:.1f}   ratio {peer / mine:.2f}x   floor (forward alone) {least:.1f}")
    print(f"labels equal on {100 * np.mean(agree):.4f} % of pixels")
    print(f"peak memory of both together {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
