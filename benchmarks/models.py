"""Every network against the nearest peer with the same trunk: forward, and forward with backward.

    python benchmarks/models.py [--only unet] [--rounds 5] [--size 256]

Both sides go from normalised images to logits as large as the image, with the same layers. Where a library of today
has the network, that is the peer; for the others (FCN, DeconvNet, DeepLab v1 and v2, Hypercolumn, the valid U-Net) the
ports that people use no longer install, so the peer is the same layers written plainly, as those ports have them. Each
side runs as its users run it: ours with channels last, as `Segmenter` sets it, the peer as it comes. One process, the
sides in turn, medians.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import plain_ports as plain
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous import models
from atrous.layers.memory import channels_last

CLASSES = 21


@dataclass(frozen=True)
class Race:
    """A network of ours, its peer, and the sides of the images that both take."""

    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    peer: str
    size: int | None = None


def of_smp(name: str, encoder: str) -> Callable[[], nn.Module]:
    """Return a builder of a network of segmentation_models_pytorch, without fetching weights."""

    def build() -> nn.Module:
        import segmentation_models_pytorch as smp

        return getattr(smp, name)(encoder, encoder_weights=None, classes=CLASSES)

    return build


def of_torchvision(name: str) -> Callable[[], nn.Module]:
    """Return a builder of a network of torchvision, without fetching weights; its answer is a dictionary."""

    def build() -> nn.Module:
        from torchvision.models import segmentation

        return plain.Answer(getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES))

    return build


RACES: dict[str, Race] = {
    "fcn32s": Race(lambda: models.fcn32s(CLASSES), lambda: plain.FCN(CLASSES, 32), "plain port"),
    "fcn16s": Race(lambda: models.fcn16s(CLASSES), lambda: plain.FCN(CLASSES, 16), "plain port"),
    "fcn8s": Race(lambda: models.fcn8s(CLASSES), lambda: plain.FCN(CLASSES, 8), "plain port"),
    "fcn32s resnet50": Race(
        lambda: models.fcn32s(CLASSES, encoder="resnet50", output_stride=8, head="torchvision"),
        of_torchvision("fcn_resnet50"),
        "torchvision fcn_resnet50",
    ),
    "hypercolumn": Race(lambda: models.hypercolumn(CLASSES), lambda: plain.Hypercolumn(CLASSES), "plain port"),
    "unet": Race(lambda: models.unet(CLASSES), lambda: plain.UNet(CLASSES), "plain port", 260),
    "unet resnet34": Race(
        lambda: models.unet(CLASSES, encoder="resnet34"), of_smp("Unet", "resnet34"), "smp Unet resnet34"
    ),
    "deconvnet": Race(lambda: models.deconvnet(CLASSES), lambda: plain.DeconvNet(CLASSES), "plain port", 224),
    "deeplab_v1": Race(lambda: models.deeplab_v1(CLASSES), lambda: plain.deeplab_v1(CLASSES), "plain port", 257),
    "deeplab_v2": Race(lambda: models.deeplab_v2(CLASSES), lambda: plain.DeepLabV2(CLASSES), "plain port", 257),
    "deeplab_v3 resnet50": Race(
        lambda: models.deeplab_v3(CLASSES, encoder="resnet50", output_stride=8, head="torchvision"),
        of_torchvision("deeplabv3_resnet50"),
        "torchvision deeplabv3_resnet50",
    ),
    "deeplab_v3 resnet101": Race(
        lambda: models.deeplab_v3(CLASSES, encoder="resnet101", output_stride=8, head="torchvision"),
        of_torchvision("deeplabv3_resnet101"),
        "torchvision deeplabv3_resnet101",
    ),
    "deeplab_v3plus resnet18": Race(
        lambda: models.deeplab_v3plus(CLASSES, encoder="resnet18", head="smp"),
        of_smp("DeepLabV3Plus", "resnet18"),
        "smp DeepLabV3Plus resnet18",
    ),
    "deeplab_v3plus resnet101": Race(
        lambda: models.deeplab_v3plus(CLASSES, encoder="resnet101", head="smp"),
        of_smp("DeepLabV3Plus", "resnet101"),
        "smp DeepLabV3Plus resnet101",
    ),
    "deeplab_v3plus xception65": Race(
        lambda: models.deeplab_v3plus(CLASSES, encoder="xception65", head="smp"),
        of_smp("DeepLabV3Plus", "tu-xception65"),
        "smp DeepLabV3Plus tu-xception65",
    ),
}


def enlarged(net: Any, x: Tensor) -> Tensor:
    """Return our network's logits at the images' size, as `Segmenter` makes them."""
    geometry = net.geometry
    rows, columns = geometry.padding(x.shape[2]), geometry.padding(x.shape[3])
    padded = F.pad(x, (*columns, *rows)) if any((*rows, *columns)) else x
    logits = net(padded.contiguous(memory_format=torch.channels_last))
    size = padded.shape[2] - 2 * geometry.margin, padded.shape[3] - 2 * geometry.margin
    if logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=geometry.align_corners)
    return logits[:, :, : x.shape[2], : x.shape[3]]


def at_size(net: nn.Module, x: Tensor) -> Tensor:
    """Return the peer's logits at the images' size; most come so, the valid U-Net's margin is added by mirroring."""
    if isinstance(net, plain.UNet):
        return net(F.pad(x, (92, 92, 92, 92), mode="reflect"))
    logits = net(x)
    if logits.shape[2:] != x.shape[2:]:
        logits = F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)
    return logits


def step(run: Callable[[nn.Module, Tensor], Tensor], net: nn.Module, x: Tensor, labels: Tensor) -> None:
    """Run forward, the loss and backward, and drop the gradients."""
    F.cross_entropy(run(net, x).float(), labels).backward()
    net.zero_grad(set_to_none=True)


def medians(rounds: int, *sides: Callable[[], Any]) -> list[float]:
    """Run the sides in turn after one warm-up; return each one's median in milliseconds."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        # Whoever comes second finds warmer caches: the order changes every round.
        for index in range(len(sides)) if turn % 2 else reversed(range(len(sides))):
            began = time.perf_counter()
            sides[index]()
            if turn:
                taken[index].append(1000 * (time.perf_counter() - began))
    return [statistics.median(times) for times in taken]


def raced(race: Race, size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return (ours, theirs) in milliseconds of the forward pass, and of forward and backward."""
    torch.manual_seed(0)
    ours, theirs = channels_last(race.ours()), race.theirs()
    side = race.size or size
    x, labels = torch.randn(2, 3, side, side), torch.randint(0, CLASSES, (2, side, side))
    ours.eval(), theirs.eval()
    with torch.inference_mode():
        forward = medians(rounds, lambda: enlarged(ours, x[:1]), lambda: at_size(theirs, x[:1]))
    ours.train(), theirs.train()
    both = medians(rounds, lambda: step(enlarged, ours, x, labels), lambda: step(at_size, theirs, x, labels))
    return forward, both


def main() -> None:
    """Race all, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="races whose name holds this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, float32, torch {torch.__version__}; milliseconds: forward of one image, "
    )
    print("forward and backward of two\n")
    print("| network | peer | side | forward, ours | theirs | ratio | with backward, ours | theirs | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, race in RACES.items():
        if options.only not in name:
            continue
        (f1, f2), (b1, b2) = raced(race, options.size, options.rounds)
        side = race.size or options.size
        print(
            f"| {name} | {race.peer} | {side} | {f1:.0f} | {f2:.0f} | {f2 / f1:.2f}x "
            f"| {b1:.0f} | {b2:.0f} | {b2 / b1:.2f}x |",
            flush=True,
        )
        gc.collect()


if __name__ == "__main__":
    main()
