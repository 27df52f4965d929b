"""What the tests of `training.distributed` run: by itself, or in processes started by torchrun, with the same results.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/distributed_programs.py FOLDER

Each case trains a small network and writes into FOLDER what it ends with: its losses and its whole state. The
images' ignored parts are of very different sizes, so that a mean of means would be another loss. Last of all, one
of the processes fails.
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.contract import AtrousError, Geometry, LabelSpace, Preprocessing, Recipe, Sample
from atrous.models import Segmenter
from atrous.training import Training, load_state, prepared, save_state, train
from atrous.training.batches import Crops, loader
from atrous.training.checkpoints import state_of
from atrous.training.distributed import (
    any_asks,
    full_state,
    gathered,
    load_full_state,
    sharded,
    sharding_asked,
    share_buffers,
    summed,
)
from atrous.training.losses import terms_of
from atrous.training.optimizers import optimizer_of
from atrous.training.preparing import Supervised, accelerator_for

RECIPE = Recipe(crop=32, batch=4, epochs=2, learning_rate=0.1, warm_up=0, seed=1, precision="float32")
SAMPLES = 12


class Net(nn.Module):
    """An encoder and a classifier at half the images' size."""

    geometry = Geometry(multiple=4, minimum=4, stride=2)

    def __init__(self, norm: Callable[[int], nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.encoder = nn.Sequential(convolution, norm(8), nn.ReLU(), nn.Dropout(dropout))
        self.classify = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.classify(self.encoder(x))


class Twofold(Net):
    """The same with a second output for its loss, at a quarter of the size."""

    def supervised(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of both losses."""
        logits = self(x)
        return logits, F.avg_pool2d(logits, 2)


def group(channels: int) -> nn.Module:
    """Return a norm of a single image."""
    return nn.GroupNorm(2, channels)


def read(index: int) -> Sample:
    """Return stripes of three classes; of every other image nearly all is ignored."""
    random = np.random.default_rng(index)
    labels = np.repeat(random.integers(0, 3, (10, 40)), 4, axis=0).astype(np.uint8)
    image = (labels * 80)[..., None] + random.integers(0, 60, (40, 40, 3))
    labels[(4 if index % 2 else 36) :] = 255
    return Sample(image=image.astype(np.uint8), labels=labels)


def begun(net: nn.Module, **changes: Any) -> Training:
    """Return a training of `net`, with changes to the recipe."""
    recipe = replace(RECIPE, **changes)
    segmenter = Segmenter(net, LabelSpace(names=("a", "b", "c")), Preprocessing())
    return prepared(segmenter, crops_for(recipe), device="cpu", workers=0)


def crops_for(recipe: Recipe) -> Crops:
    """Return the samples as crops."""
    return Crops(pairs=range(SAMPLES), read=read, size=recipe.crop, channels=3, fill=(0.0,) * 3, recipe=recipe)


CASES: dict[str, Callable[[], Any]] = {
    "group": lambda: begun(Net(group)),
    "frozen norm": lambda: begun(Net(nn.BatchNorm2d), freeze_norm=True),
    "accumulated": lambda: begun(Net(group), accumulate=2, batch=2),
    "two outputs": lambda: begun(Twofold(group), loss="cross_entropy+0.5*dice", loss_weights=(1.0, 0.4)),
    "clipped": lambda: begun(Net(group), optimizer="adamw", learning_rate=0.01, clip=0.05, ema=0.9),
    "thawed": lambda: begun(Net(group), freeze=("encoder",), freeze_epochs=1),
}


def ended(training: Any, losses: list[float]) -> dict[str, Tensor]:
    """Return losses, state, averages and what the optimiser remembers, as one dictionary of tensors."""
    share_buffers(training.segmenter.net, training.accelerator)
    averages = training.averaged.state() if training.averaged is not None else {}
    return {
        "losses": torch.tensor(losses, dtype=torch.float64),
        **packed(full_state(training.segmenter.net)),
        **packed(averages, "average."),
        **packed(state_of(training), "optimizer."),
    }


def packed(values: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return copies that can be written."""
    return {
        f"{prefix}{name}": torch.as_tensor(value).detach().clone(memory_format=torch.contiguous_format)
        for name, value in values.items()
    }


def equal_cases(folder: Path) -> None:
    """Train every case to its end."""
    for name, case in CASES.items():
        training = case()
        result = ended(training, [step.loss for step in train(training)])
        if training.accelerator.is_main_process:
            save_file(result, folder / f"{name}.safetensors")


def resumed_case(folder: Path) -> None:
    """Train with dropout and batch norm: at once, and in two halves with a checkpoint between them."""
    whole = begun(Net(nn.BatchNorm2d, dropout=0.3))
    at_once = ended(whole, [step.loss for step in train(whole)])
    first = begun(Net(nn.BatchNorm2d, dropout=0.3))
    early = [step.loss for step in itertools.islice(train(first), 2)]
    stored(first, folder / "half")
    second = begun(Net(nn.BatchNorm2d, dropout=0.3))
    torch.manual_seed(second.accelerator.process_index)  # what is left of a process's past must not matter
    put_back(second, folder / "half")
    again = ended(second, early + [step.loss for step in train(second)])
    rank = second.accelerator.process_index
    save_file(at_once, folder / f"at once, {rank}.safetensors")
    save_file(again, folder / f"resumed, {rank}.safetensors")


def sharded_case(folder: Path) -> None:
    """Train with weights shared out; the checkpoint after two steps and the end are written whole."""
    training = shards(Twofold(group)) if "RANK" in os.environ else begun(Twofold(group), **SHARDED)
    losses = [step.loss for step in itertools.islice(train(training), 2)]
    stored(training, folder / "shares")
    losses += [step.loss for step in train(training)]
    result = ended(training, losses)
    if training.accelerator.is_main_process:
        save_file(result, folder / "sharded.safetensors")


SHARDED = {"optimizer": "adamw", "learning_rate": 0.01, "clip": 0.05, "loss_weights": (1.0, 0.4)}


def shards(net: nn.Module) -> Training:
    """Return a training of `net` whose weights are shared out among the processes."""
    recipe = replace(RECIPE, **SHARDED)
    segmenter = Segmenter(net, LabelSpace(names=("a", "b", "c")), Preprocessing())
    with sharding_asked():
        accelerator = accelerator_for(recipe, "cpu")
    segmenter.net = sharded(segmenter.net, accelerator)
    place = accelerator.process_index, accelerator.num_processes
    return Training(
        segmenter=segmenter,
        net=Supervised(segmenter.net),
        optimizer=accelerator.prepare(optimizer_of(segmenter.net, recipe)),
        accelerator=accelerator,
        batches=loader(crops_for(recipe), workers=0, shard=place),
        recipe=recipe,
        terms=terms_of(recipe, classes=3),
    )


def stored(training: Training, folder: Path) -> None:
    """Write a checkpoint, as a run does."""
    share_buffers(training.segmenter.net, training.accelerator)
    weights, optimizer = full_state(training.segmenter.net), state_of(training)
    if training.accelerator.is_main_process:
        folder.mkdir()
        save_state(folder, training, optimizer=optimizer)
        save_file(packed(weights), folder / "net")
    training.accelerator.wait_for_everyone()


def put_back(training: Training, folder: Path) -> None:
    """Give a training the state of a checkpoint."""
    load_full_state(training.segmenter.net, load_file(folder / "net"))
    load_state(folder, training)


def told(folder: Path) -> None:
    """Write what processes tell each other."""
    accelerator = begun(Net(group)).accelerator
    rank, large = accelerator.process_index, 2**53
    results = {
        "array": summed(np.array([large + rank], np.int64), accelerator).tolist(),
        "integer": summed(large + rank, accelerator),
        "number": summed(0.1, accelerator),
        "tensor": summed(torch.tensor([1, 2]), accelerator).tolist(),
        "gathered": gathered(torch.tensor([rank, 10 + rank]), accelerator).tolist(),
        "second asks": any_asks(rank == 1, accelerator),
        "nobody asks": any_asks(False, accelerator),
    }
    if accelerator.is_main_process:
        torch.save(results, folder / "told.pt")


def main(folder: Path) -> None:
    """Do all, and write into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    told(folder)
    equal_cases(folder)
    resumed_case(folder)
    sharded_case(folder)


def fail_in_one() -> None:
    """Fail in the last process, while the others wait for the gradients of its second step."""
    training = begun(Net(group))
    steps = train(training)
    next(steps)
    if training.accelerator.is_last_process:
        raise AtrousError("only this process found something wrong")
    next(steps)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]))
    torch.distributed.barrier()
    (Path(sys.argv[1]) / "done").touch()
    fail_in_one()
