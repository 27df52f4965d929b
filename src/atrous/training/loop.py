"""The loop: a generator that yields after every step; the caller validates, draws, saves or stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from atrous.contract import AtrousError, Recipe
from atrous.data.augmentation import augmentation_of
from atrous.training.averaging import Averaged
from atrous.training.batches import Batch, Crops, Order
from atrous.training.distributed import gathered, rewrapped, seeded, summed, whole
from atrous.training.freezing import freeze, set_modes
from atrous.training.losses import Targets, Term, on_grid, resized
from atrous.training.schedule import factor

_NAMED = 8  # files that an error names


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step that is done: its number from 1, the epoch it belongs to from 0, its loss and learning rate.

    `seconds` is how long it took, `waited` how much of that went by before its crops were there.
    """

    step: int
    total: int
    epoch: int
    loss: float
    rate: float
    images: int
    seconds: float = 0.0
    waited: float = 0.0


@dataclass(kw_only=True)
class Tally:
    """What an epoch has come to so far: sums over its steps, and how often each label was `seen`."""

    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    seen: list[int] = field(default_factory=lambda: [0] * 256)


@dataclass(kw_only=True)
class Training:
    """A run under way: all that changes from step to step, and so all that a resumable checkpoint must hold.

    `net` is the network as it is trained, wrapped where processes share it; the `segmenter` has the plain one. `held`
    are the parameters that do not learn yet, and `copy` is a segmenter with whole weights where processes have shares.
    """

    segmenter: Any
    net: nn.Module
    optimizer: Any
    accelerator: Accelerator
    batches: DataLoader[Batch]
    recipe: Recipe
    terms: tuple[Term, ...]
    averaged: Averaged | None = None
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    held: tuple[nn.Parameter, ...] = ()
    copy: Any = None

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
        return self.order.steps

    @property
    def total(self) -> int:
        """How many steps the whole run takes."""
        return self.recipe.steps or self.recipe.epochs * self.steps_per_epoch

    @property
    def epochs(self) -> int:
        """How many epochs that is, the last one perhaps in part."""
        return math.ceil(self.total / self.steps_per_epoch)

    def frozen(self, epoch: int) -> tuple[str, ...]:
        """Return the parts of the network that do not learn in an epoch, counted from 0."""
        recipe = self.recipe
        return recipe.freeze if not recipe.freeze_epochs or epoch < recipe.freeze_epochs else ()


def train(training: Training) -> Iterator[Step]:
    """Train from `training.step` to the end, yielding after every step.

    The state between two steps is whole: it can be saved, the network evaluated, the generator dropped.

    Raises `AtrousError` where the loss or a gradient is not a number: the weights are not touched by such a step. The
    running statistics of batch norms are, by its forward pass: what was saved before is what to go on from.
    """
    order, accumulate = training.order, training.recipe.accumulate
    while training.step < training.total:
        order.epoch, order.skip = divmod(training.step, order.steps)
        if not order.skip:
            training.tally = Tally()
        _hold(training, order.epoch)
        _set_modes(training, order.epoch)
        batches = iter(training.batches)
        for _ in range(order.skip, min(order.steps, training.total - training.step + order.skip)):
            began = time.perf_counter()
            parts = [next(batches) for _ in range(accumulate)]
            waited = time.perf_counter() - began
            if not training.segmenter.net.training:  # it was evaluated since
                _set_modes(training, order.epoch)
            yield one_step(training, parts, began=began, waited=waited)


def _hold(training: Training, epoch: int) -> None:
    """Keep from learning what learns from a later epoch on, and let it learn when that has come."""
    before = training.held
    if training.frozen(epoch) and training.recipe.freeze_epochs:
        training.held += freeze(training.segmenter.net, training.recipe.freeze)
    else:
        for parameter in training.held:
            parameter.requires_grad_(True)
        training.held = ()
    if len(training.held) != len(before):
        training.net = rewrapped(training.net)


def _set_modes(training: Training, epoch: int) -> None:
    training.segmenter.train()
    set_modes(training.segmenter.net, frozen=training.frozen(epoch), freeze_norm=training.recipe.freeze_norm)


def one_step(training: Training, parts: Sequence[Batch], *, began: float = 0.0, waited: float = 0.0) -> Step:
    """Take one step on the batches of `parts`.

    Their gradients together are those of one large batch. With the reduction `"sum"` the crops of a batch are summed,
    and its parts averaged, as Caffe divides by its `iter_size`.

    Raises `AtrousError`, in all processes alike, where the loss is not a number, or a gradient. Gradients of float16
    are the scaler's to look at: it skips such steps.
    """
    recipe = training.recipe
    share = factor(recipe, training.step, total=training.total)
    for group in training.optimizer.param_groups:
        group["lr"] = group["peak"] * share
    seeded(recipe.seed, training.step, training.accelerator)
    loss = _gradients(training, parts)
    size = _bounded(training)
    if not (math.isfinite(loss) and math.isfinite(size)):
        what = f"loss became {loss}" if not math.isfinite(loss) else f"gradients became {size}"
        raise _no_number(training, parts, what)
    training.optimizer.step()
    training.step += 1
    if training.averaged is not None:
        training.averaged.update(training.segmenter.net, training.step)
    step = Step(
        step=training.step,
        total=training.total,
        epoch=(training.step - 1) // training.steps_per_epoch,
        loss=loss,
        rate=recipe.learning_rate * share,
        images=recipe.batch * recipe.accumulate,
        seconds=time.perf_counter() - began if began else 0.0,
        waited=waited,
    )
    _count(training.tally, step, parts)
    return step


def _count(tally: Tally, step: Step, parts: Sequence[Batch]) -> None:
    tally.steps += 1
    tally.loss += step.loss
    tally.seconds += step.seconds
    tally.waited += step.waited
    seen = sum((part.seen for part in parts), torch.zeros(256, dtype=torch.int64)).tolist()
    tally.seen = [before + now for before, now in zip(tally.seen, seen, strict=True)]


def _bounded(training: Training) -> float:
    """Bound the gradients' norm where the recipe does; return a size of theirs, which is no number where one is not."""
    accelerator, bound = training.accelerator, training.recipe.clip
    if bound:
        norm = accelerator.clip_grad_norm_(training.net.parameters(), bound)
    elif accelerator.scaler is None:
        gradients = [each.grad for each in training.net.parameters() if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients)  # of squares: a sixth of the time of the largest
    return 0.0 if accelerator.scaler is not None else float(whole(norm))


def _gradients(training: Training, parts: Sequence[Batch]) -> float:
    """Put the gradients of the whole batch into the network, over all parts and processes; return its loss."""
    accelerator = training.accelerator
    training.optimizer.zero_grad()
    loss = torch.zeros((), device=accelerator.device)
    targets: list[list[Targets]] = []
    counts = torch.zeros(())
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        with nullcontext() if last else accelerator.no_sync(training.net):
            outputs = _outputs(training, part)
            if not targets:  # the outputs of all parts are of one size
                targets = [[_targets(training, each, output) for output in outputs] for each in parts]
                counts = _counts(training, targets)
            mine = _loss(training, outputs, targets[number], counts)
            # Processes' gradients are averaged, and the loss is a sum over them.
            accelerator.backward(mine * accelerator.num_processes)
        loss += mine.detach()
    return float(summed(loss, accelerator))


def _outputs(training: Training, part: Batch) -> tuple[Tensor, ...]:
    images = part.images.to(training.accelerator.device, non_blocking=True)
    x = training.segmenter.normalised(images).contiguous(memory_format=torch.channels_last)
    outputs = training.net(x)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _targets(training: Training, part: Batch, output: Tensor) -> Targets:
    """Return the labels of a batch on the grid on which an output is compared."""
    geometry, device = training.segmenter.geometry, training.accelerator.device
    labels = part.labels.to(device, non_blocking=True)
    weights = None if part.weights is None else part.weights.to(device, non_blocking=True)
    return on_grid(
        (output.shape[2], output.shape[3]),
        Targets(labels=labels, weights=weights),
        margin=geometry.margin,
        align_corners=geometry.align_corners,
        compare=training.recipe.compare,
    )


def _counts(training: Training, targets: Sequence[Sequence[Targets]]) -> Tensor:
    """Return what each output's each term is divided by, over all parts and processes."""
    device = training.accelerator.device
    counts = torch.zeros(len(targets[0]), len(training.terms), device=device)
    if training.recipe.reduction == "sum":
        return counts + len(targets)
    for part in targets:
        counts += torch.stack([torch.stack([term.count(each).to(counts) for term in training.terms]) for each in part])
    counts = summed(counts, training.accelerator)
    return torch.where(counts > 0, counts, torch.inf)  # what has no pixel that counts adds nothing


def _loss(training: Training, outputs: Sequence[Tensor], targets: Sequence[Targets], counts: Tensor) -> Tensor:
    """Return one part's share of the loss: the sum over outputs and terms, each over its whole count."""
    shares = training.recipe.loss_weights or (1.0,) * len(outputs)
    align_corners = training.segmenter.geometry.align_corners
    losses = []
    for logits, target, share, row in zip(outputs, targets, shares, counts, strict=True):
        compared = resized(logits, target, align_corners=align_corners)
        losses += [
            share * term.weight * term.total(compared, target) / count
            for term, count in zip(training.terms, row, strict=True)
        ]
    return torch.stack(losses).sum()


def _no_number(training: Training, parts: Sequence[Batch], what: str) -> AtrousError:
    recipe = training.recipe
    indices = gathered(torch.cat([part.indices for part in parts]), training.accelerator).tolist()
    pairs = [training.crops.pairs[index] for index in indices]
    names = list(dict.fromkeys(str(getattr(pair, "image", pair)) for pair in pairs))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    if augmentation_of(recipe).mosaic or augmentation_of(recipe).copy_paste:
        more += ", and what was pasted in"
    slower = " or with --precision float32" if recipe.precision != "float32" else ""
    return AtrousError(
        f"the {what} at step {training.step + 1}: start again with a lower --learning-rate (now "
        f"{recipe.learning_rate:g}){slower}. A run's last/ is as it was saved; the step's crops were of "
        f"{', '.join(names[:_NAMED])}{more}"
    )
