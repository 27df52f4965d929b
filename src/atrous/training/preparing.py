"""What a run is made of before its first step: device, processes, optimiser and batches, by Accelerate."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, TorchDynamoPlugin
from torch import Tensor, nn

from atrous.contract import AtrousError, Recipe
from atrous.training.averaging import Averaged
from atrous.training.batches import Crops, loader
from atrous.training.distributed import is_sharded, sharded, sharding_asked, with_synchronised_norms
from atrous.training.freezing import freeze, set_modes
from atrous.training.loop import Training
from atrous.training.losses import check_weights, terms_of
from atrous.training.optimizers import optimizer_of
from atrous.training.statistics import check_measurable

_ACCELERATE = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Supervised(nn.Module):
    """A network as training calls it: `forward` is the network's `supervised`, the logits of every loss."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net.supervised(images)


def prepared(
    segmenter: Any,
    crops: Crops,
    *,
    device: str | None = None,
    workers: int | None = None,
    class_weights: Sequence[float] | None = None,
) -> Training:
    """Place the network, its optimiser and its batches on the device, by Accelerate.

    `segmenter` has `net` (images to logits), `normalised(images)`, `geometry` and `space`. `device` None takes a GPU
    where there is one; under `accelerate launch` or torchrun every process takes its share of each batch.
    `class_weights` are the loss's, one per class.

    Raises `AtrousError` for a device this machine does not have, `ValueError` for a batch that the processes cannot
    share evenly, for `workers` below 0, for another number of loss weights than of the network's outputs, for parts to
    freeze that the network does not have, for statistics to measure that it would not have, and for a compiled network
    of several processes that is to be thawed.
    """
    if workers is not None and workers < 0:
        raise ValueError(f"workers {workers} came; 0 or more processes read images, and 0 is none beside the network's")
    recipe = crops.recipe
    if recipe.loss_weights:
        check_weights(_outputs(segmenter, crops.channels), recipe.loss_weights)
    if not recipe.freeze_epochs:
        freeze(segmenter.net, recipe.freeze)
    set_modes(segmenter.net, freeze_norm=recipe.freeze_norm)
    if recipe.measure_norm:
        check_measurable(segmenter.net)
    with sharding_asked() as shares:
        accelerator = accelerator_for(recipe, device)
    processes = accelerator.num_processes
    if recipe.batch % processes:
        raise ValueError(f"batch {recipe.batch} cannot be shared by {processes} processes: make it a multiple")
    if recipe.compile and recipe.freeze_epochs and processes > 1:
        raise ValueError(
            f"--compile and --freeze-epochs {recipe.freeze_epochs} came for {processes} processes: what was compiled "
            "with frozen parts cannot be thawed there; leave one of the two out, or take one process"
        )
    if recipe.measure_norm and recipe.batch == processes:
        check_measurable(segmenter.net, _smallest(crops))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, min(8, cores // processes - 1)) if workers is None else workers
    shard = (accelerator.process_index, processes)
    batches = loader(crops, workers=workers, shard=shard, pin=accelerator.device.type == "cuda")
    segmenter.net = with_synchronised_norms(segmenter.net, accelerator)
    segmenter.to(accelerator.device)
    whole = _sharded(segmenter, accelerator) if shares and processes > 1 else None
    optimizer = optimizer_of(segmenter.net, recipe)
    net, optimizer = _shared(segmenter.net, optimizer, accelerator)
    weights = None if class_weights is None else torch.tensor(class_weights, device=accelerator.device)
    return Training(
        segmenter=segmenter,
        net=net,
        optimizer=optimizer,
        accelerator=accelerator,
        batches=batches,
        recipe=recipe,
        terms=terms_of(recipe, classes=len(segmenter.space), class_weights=weights),
        averaged=Averaged(segmenter.net, recipe.ema) if recipe.ema else None,
        copy=whole,
    )


def _smallest(crops: Crops) -> Tensor:
    """Return the smallest batch that a process may be given, (1, c, h, w), of nothing."""
    return torch.zeros(1, crops.channels, *min((crops.size, *crops.sizes), key=math.prod))


def _sharded(segmenter: Any, accelerator: Accelerator) -> Any:
    """Share the network's weights out among the processes; return a copy that has room for all of them."""
    whole = copy.deepcopy(segmenter)
    for net in (whole.net, segmenter.net):  # for the precision only
        accelerator.prepare_model(net, evaluation_mode=True)
    segmenter.net = sharded(segmenter.net, accelerator)
    return whole


def _shared(net: Any, optimizer: Any, accelerator: Accelerator) -> tuple[Any, Any]:
    """Return network and optimiser as Accelerate wraps them for the processes and the precision."""
    if is_sharded(net):
        supervised = hasattr(net, "supervised")
        outer = accelerator.prepare_model(Supervised(net), evaluation_mode=True) if supervised else net
        return outer, accelerator.prepare(optimizer)
    if hasattr(net, "supervised"):
        # Gradients are shared by processes, and precision is lowered, only where the prepared module's own forward is
        # called: so `supervised` becomes one. The net is evaluated by its own, which takes the same precision.
        accelerator.prepare_model(net, evaluation_mode=True)
        net = Supervised(net)
    return accelerator.prepare(net, optimizer)


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


def accelerator_for(recipe: Recipe, device: str | None) -> Accelerator:
    """Return Accelerate's accelerator for a recipe on a device; raises `AtrousError` for one that is not here."""
    # Accelerate keeps one state per process and refuses another precision; every run here begins afresh.
    AcceleratorState._reset_state(reset_partial_state=True)
    kind = (device or ("cuda" if torch.cuda.is_available() else "cpu")).partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        have = ", ".join(name for name, there in present.items() if there)
        raise AtrousError(f"device {device!r} is not here; this machine has {have}")
    precision = resolved_precision(recipe.precision, kind)
    if precision == "float16" and kind != "cuda":
        raise AtrousError(f"precision float16 needs a GPU, and the device is {kind}: take float32 or bfloat16")
    numbered = {"ACCELERATE_TORCH_DEVICE": device} if device is not None and ":" in device and kind != "cpu" else {}
    os.environ |= numbered
    try:
        return Accelerator(
            cpu=kind == "cpu",
            mixed_precision=_ACCELERATE[precision],
            # Said in words, since Accelerate reads what is left open from the environment.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_plugin=TorchDynamoPlugin(backend="inductor" if recipe.compile else "no"),
        )
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


@contextmanager
def reproducible(wanted: bool) -> Iterator[None]:
    """Let only algorithms run that give the same result every time, where that is wanted; afterwards all as before."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are not repeatable without
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
