"""The loop: a generator that yields after every step; the caller validates, draws, saves or stops."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader

from atrous.contract import AtrousError, Recipe
from atrous.training.batches import Crops, Order, loader
from atrous.training.losses import check_weights, compared, cross_entropy, weighted_sum
from atrous.training.schedule import parameter_groups, poly

_ACCELERATE = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step that is done: its number from 1, the epoch it belongs to from 0, its loss and learning rate."""

    step: int
    total: int
    epoch: int
    loss: float
    rate: float
    images: int


class Supervised(nn.Module):
    """A network as training calls it: `forward` is the network's `supervised`, the logits of every loss."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net.supervised(images)


@dataclass(kw_only=True)
class Training:
    """A run under way: all that changes from step to step, and so all that a resumable checkpoint must hold."""

    segmenter: Any
    net: nn.Module
    optimizer: Any
    accelerator: Accelerator
    batches: DataLoader[tuple[Tensor, Tensor]]
    recipe: Recipe
    step: int = 0

    @property
    def crops(self) -> Crops:
        """The training samples as crops."""
        return cast(Crops, self.batches.dataset)

    @property
    def order(self) -> Order:
        """Which crops come when; it is told the epoch, and what of it is done."""
        return cast(Order, self.batches.batch_sampler)

    @property
    def steps_per_epoch(self) -> int:
        """How many steps one pass over the training samples takes."""
        return len(self.batches)

    @property
    def total(self) -> int:
        """How many steps the whole run takes."""
        return self.recipe.epochs * self.steps_per_epoch


def prepared(segmenter: Any, crops: Crops, *, device: str | None = None, workers: int | None = None) -> Training:
    """Place the network, its optimiser and its batches on the device, by Accelerate.

    `segmenter` has `net` (images to logits), `normalised(images)` and `geometry`. `device` None takes a GPU where there
    is one; under `accelerate launch` or torchrun every process takes its share of each batch.

    Raises `AtrousError` for a device this machine does not have, `ValueError` for a batch that the processes cannot
    share evenly, for `workers` below 0 and for another number of loss weights than of the network's outputs.
    """
    if workers is not None and workers < 0:
        raise ValueError(f"workers {workers} came; 0 or more processes read images, and 0 is none beside the network's")
    recipe = crops.recipe
    if recipe.loss_weights:
        check_weights(_outputs(segmenter, crops.channels), recipe.loss_weights)
    accelerator = _accelerator(device, recipe.precision)
    processes = accelerator.num_processes
    if recipe.batch % processes:
        raise ValueError(f"batch {recipe.batch} cannot be shared by {processes} processes: make it a multiple")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, min(8, cores // processes - 1)) if workers is None else workers
    shard = (accelerator.process_index, processes)
    batches = loader(crops, workers=workers, shard=shard, pin=accelerator.device.type == "cuda")
    groups = parameter_groups(
        segmenter.net,
        rate=recipe.learning_rate,
        encoder_rate=recipe.encoder_rate,
        weight_decay=recipe.weight_decay,
    )
    segmenter.to(accelerator.device)
    optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    net = segmenter.net
    if hasattr(net, "supervised"):
        # Gradients are shared by processes, and precision is lowered, only where the prepared module's own forward is
        # called: so `supervised` becomes one. The net is evaluated by its own, which takes the same precision.
        accelerator.prepare_model(net, evaluation_mode=True)
        net = Supervised(net)
    net, optimizer = accelerator.prepare(net, optimizer)
    return Training(
        segmenter=segmenter, net=net, optimizer=optimizer, accelerator=accelerator, batches=batches, recipe=recipe
    )


def train(training: Training) -> Iterator[Step]:
    """Train from `training.step` to the end, yielding after every step.

    The state between two steps is whole: it can be saved, the network evaluated, the generator dropped.

    Raises `AtrousError` where the loss is not a number: the weights are not touched by such a step.
    """
    training.segmenter.train()
    order = training.order
    while training.step < training.total:
        order.epoch, order.skip = divmod(training.step, training.steps_per_epoch)
        for images, labels in training.batches:
            yield _step(training, images, labels, epoch=order.epoch)
            training.segmenter.train()


def _step(training: Training, images: Tensor, labels: Tensor, *, epoch: int) -> Step:
    recipe, device = training.recipe, training.accelerator.device
    factor = poly(
        training.step, total=training.total, power=recipe.power, warm_up=min(recipe.warm_up, training.total // 10)
    )
    for group in training.optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
    loss = _loss(training, images, labels)
    value = loss.item()
    if not math.isfinite(value):
        raise AtrousError(
            f"the loss became {value} at step {training.step + 1}: start again with a lower --learning-rate (now "
            f"{recipe.learning_rate:g}){' or with --precision float32' if recipe.precision != 'float32' else ''}"
        )
    training.optimizer.zero_grad()
    training.accelerator.backward(loss)
    training.optimizer.step()
    training.step += 1
    return Step(
        step=training.step,
        total=training.total,
        epoch=epoch,
        loss=value,
        rate=recipe.learning_rate * factor,
        images=recipe.batch,
    )


def _loss(training: Training, images: Tensor, labels: Tensor) -> Tensor:
    x = training.segmenter.normalised(images).contiguous(memory_format=torch.channels_last)
    geometry = training.segmenter.geometry
    outputs = training.net(x)
    losses = [
        cross_entropy(
            *compared(
                logits,
                labels,
                margin=geometry.margin,
                align_corners=geometry.align_corners,
                compare=training.recipe.compare,
            )
        )
        for logits in (outputs if isinstance(outputs, tuple) else (outputs,))
    ]
    return weighted_sum(losses, training.recipe.loss_weights)


@torch.no_grad()
def _outputs(segmenter: Any, channels: int) -> int:
    """Return how many outputs the network is trained on, before anything is done: by running it once."""
    net = segmenter.net
    if not hasattr(net, "supervised"):
        return 1
    side = segmenter.geometry.valid(2 * segmenter.geometry.margin + 1)
    device, mode = next(net.parameters()).device, net.training
    outputs = net.eval().supervised(torch.zeros(1, channels, side, side, device=device))
    net.train(mode)
    return len(outputs)


def _accelerator(device: str | None, precision: str) -> Accelerator:
    # Accelerate keeps one state per process and refuses another precision; every run here begins afresh.
    AcceleratorState._reset_state(reset_partial_state=True)
    kind = (device or ("cuda" if torch.cuda.is_available() else "cpu")).partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        have = ", ".join(name for name, there in present.items() if there)
        raise AtrousError(f"device {device!r} is not here; this machine has {have}")
    precision = resolved_precision(precision, kind)
    if precision == "float16" and kind != "cuda":
        raise AtrousError(f"precision float16 needs a GPU, and the device is {kind}: take float32 or bfloat16")
    numbered = {"ACCELERATE_TORCH_DEVICE": device} if device is not None and ":" in device and kind != "cpu" else {}
    os.environ |= numbered
    try:
        return Accelerator(cpu=kind == "cpu", mixed_precision=_ACCELERATE[precision])
    finally:  # a later run in this process must not inherit it
        for name in numbered:
            del os.environ[name]


def resolved_precision(precision: str, device: str) -> str:
    """Return the precision that `"auto"` means on a device: bfloat16 where it has matrix units for it.

    >>> resolved_precision("float32", "cuda")
    'float32'
    """
    if precision != "auto":
        return precision
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_amx_tile_supported()
    return "bfloat16" if fast and device in ("cpu", "cuda") else "float32"
