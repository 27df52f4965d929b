"""A training step against the plainest loop: zero_grad, forward, cross-entropy, backward, step.

    python benchmarks/training.py [--rounds 7] [--batch 4] [--crop 256] [--device cuda]

The peer is DeepLab v3+ on resnet18 of segmentation_models_pytorch in that loop, as its users run it, with SGD. It gets
normalised float images and int64 labels, ready on the device. Ours gets what its loader gives: bytes in memory, from
which the step itself makes the network's input; it also schedules the rate, seeds, divides by the pixels that count,
looks for a loss that is no number and keeps the epoch's tally. Reading and cropping are `benchmarks/data.py`'s.

- *network and loop*: our network with the same layers, in our loop.
- *loop*: the peer's own network with the same weights in our loop, which lays it out with channels last.

`floor` is our network, on the layout and with the optimiser of our loop, given tensors that are ready: forward, loss,
backward, step. `overhead` is what our step takes beyond it. One process, the sides in turn, medians; the ratio is the
median over rounds, so what slows the machine down for a while slows both sides.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous import models
from atrous.contract import Geometry, LabelSpace, Preprocessing, Recipe
from atrous.training.batches import Batch, Crops
from atrous.training.loop import Training, one_step
from atrous.training.losses import Targets, resized
from atrous.training.preparing import prepared

CLASSES = 21
RATE, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4
AMP = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Side:
    """A side of a race: `step` does one step and waits until the device has done it."""

    name: str
    step: Callable[[], Any]


def smp_net() -> nn.Module:
    """Return the peer's network, without fetching weights."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    return smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=CLASSES)


def our_net() -> nn.Module:
    """Return our network with the peer's layers."""
    torch.manual_seed(0)
    return models.deeplab_v3plus(CLASSES, encoder="resnet18", head="smp")


def fed(batch: int, crop: int) -> Batch:
    """Return made-up crops as our loader gives them, a tenth of whose pixels are ignored."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (batch, crop, crop), generator=random, dtype=torch.uint8)
    labels[:, : crop // 10] = 255
    return Batch(
        images=torch.randint(0, 256, (batch, 3, crop, crop), generator=random, dtype=torch.uint8),
        labels=labels,
        weights=None,
        indices=torch.arange(batch),
        seen=torch.bincount(labels.flatten().long(), minlength=256),
    )


def begun(net: Any, recipe: Recipe, device: str) -> Training:
    """Return a training of `net` in our loop."""
    net.geometry = getattr(net, "geometry", Geometry(multiple=16, minimum=16))
    space = LabelSpace(names=tuple(f"class {index}" for index in range(CLASSES)))
    segmenter = models.Segmenter(net, space, Preprocessing())
    crops = Crops(pairs=range(10**6), read=_unread, size=recipe.crop, channels=3, fill=(0.0,) * 3, recipe=recipe)
    training = prepared(segmenter, crops, device=device, workers=0)
    training.segmenter.train()
    return training


def _unread(index: int) -> Any:
    raise LookupError(f"sample {index}: the batches here are fed, not read")


def plain(net: nn.Module, x: Tensor, labels: Tensor, optimizer: Any, amp: torch.dtype | None) -> None:
    """Do the plainest step."""
    optimizer.zero_grad()
    with torch.autocast(x.device.type, amp, enabled=amp is not None):
        loss = F.cross_entropy(net(x), labels, ignore_index=255)
    loss.backward()
    optimizer.step()


def bare(training: Training, x: Tensor, targets: Targets) -> None:
    """Do the work that no loop can leave out, with our loop's network, layout and optimiser."""
    training.optimizer.zero_grad()
    logits = training.net(x)
    logits = resized(logits, targets, align_corners=training.segmenter.geometry.align_corners)
    F.cross_entropy(logits.float(), targets.labels, ignore_index=255).backward()
    training.optimizer.step()


def sides(ours: nn.Module, theirs: nn.Module, recipe: Recipe, device: str) -> list[Side]:
    """Return our step, the peer's and the floor."""
    batch, amp = fed(recipe.batch, recipe.crop[0]), AMP[recipe.precision]
    training = begun(ours, recipe, device)
    place, wait = training.accelerator.device, _waiting(training.accelerator.device)
    theirs = theirs.to(place).train()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    labels = batch.labels.to(place).long()
    x = training.segmenter.normalised(batch.images.to(place))
    ready = x.contiguous(memory_format=torch.channels_last)
    return [
        Side("ours", lambda: wait(one_step(training, [batch]))),
        Side("plain", lambda: wait(plain(theirs, x, labels, optimizer, amp))),
        Side("floor", lambda: wait(bare(training, ready, Targets(labels)))),
    ]


def _waiting(device: torch.device) -> Callable[[Any], None]:
    return (lambda _: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda _: None)


def timed(racing: list[Side], rounds: int) -> dict[str, list[float]]:
    """Run the sides in turn after two warm-ups; return what each round took of each, in milliseconds."""
    taken: dict[str, list[float]] = {side.name: [] for side in racing}
    for turn in range(-2, rounds):
        # Whoever comes second finds warmer caches: the order changes every round.
        first = turn % len(racing)
        for side in (*racing[first:], *racing[:first]):
            began = time.perf_counter()
            side.step()
            if turn >= 0:
                taken[side.name].append(1000 * (time.perf_counter() - began))
    return taken


def ratio(upper: list[float], lower: list[float]) -> float:
    """Return the median over rounds of one side's time over another's."""
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))


def main() -> None:
    """Race both networks in both precisions, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=256, help="side in pixels, a multiple of 16")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    recipe = Recipe(
        batch=options.batch, crop=options.crop, learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY, epochs=1
    )
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}{load}; ", end="")
    print(f"batch {options.batch} of {options.crop}x{options.crop}\n")
    print("| raced | precision | ours, images/s | plain | ratio | floor, ms | ours, ms | overhead |")
    print("|---|---|---|---|---|---|---|---|")
    for precision in AMP:
        for name, build in (("network and loop", our_net), ("loop", smp_net)):
            theirs = smp_net()
            racing = sides(build(), copy.deepcopy(theirs), replace(recipe, precision=precision), options.device)
            taken = timed(racing, options.rounds)
            ours, plainly, floor = (statistics.median(taken[side.name]) for side in racing)
            print(
                f"| {name} | {precision} | {1000 * options.batch / ours:.2f} | {1000 * options.batch / plainly:.2f} "
                f"| {ratio(taken['plain'], taken['ours']):.2f}x | {floor:.0f} | {ours:.0f} "
                f"| {100 * (ratio(taken['ours'], taken['floor']) - 1):+.1f} % |",
                flush=True,
            )
            gc.collect()


if __name__ == "__main__":
    main()
