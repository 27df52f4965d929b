"""How many bytes a step of training takes, counted on tensors that have a size and no values.

A whole step is gone through, forward, loss, backward and optimiser, twice, since only the second one holds last step's
gradients and the optimiser's state. What is alive at a time is added up, and the most of it is the answer.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atrous.contract import Recipe
from atrous.contract.recipe import loss_terms
from atrous.layers.memory import channels_last
from atrous.models import build
from atrous.runs.choices import network_options

_FRAGMENTS = 1.1
_LIBRARIES = 250_000_000
"""What lies between the tensors, and what the libraries take once they convolve, both measured."""
_PIXEL_LOSSES = ("cross_entropy", "focal", "hard_pixels")


def training_bytes(recipe: Recipe, facts: Mapping[str, Any], classes: int | None = None) -> int:
    """Return about how many bytes a step of `recipe` takes in a process that trains all crops of its batch.

    They are those of weights, averaged weights, gradients, the optimiser's state, what the forward pass keeps and what
    the backward pass makes, with a tenth for gaps and 250 MB for the libraries. Frozen parts count as if they learnt;
    the Python program and the processes that read images are not in it. `accumulate` changes nothing.

    On a CPU the peak of DeepLab v3+ with ResNet-18, U-Net and FCN-8s, in float32 and bfloat16, at batches of 1 to 8,
    was measured at 0.94 to 1.12 of this, with cross-entropy and SGD. It was not measured on a GPU.

    Raises `ValueError` for a network or options that are not known.
    """
    options = network_options(recipe, dict(facts)) | {"pretrained": False}
    classes = len(facts["classes"]) if classes is None else classes
    live = _Live()
    with FakeTensorMode(), live:
        net = _net(partial(build, recipe.model, classes, **options))
        for tensor in (*net.parameters(), *net.buffers()):
            live.note(tensor.untyped_storage())
        weights = live.now
        optimizer = _optimizer(net, recipe)
        for _ in range(2):
            _step(net, optimizer, recipe, options["in_channels"])
    averaged = weights if recipe.ema else 0
    return round(_FRAGMENTS * (live.peak + averaged)) + _LIBRARIES


def _net(built: Callable[[], nn.Module]) -> Any:
    """Return a network without values; one whose making looks at values is made with them, and then copied."""
    try:
        return channels_last(built()).train()
    except DataDependentOutputException:
        with unset_fake_temporarily(), torch.random.fork_rng(devices=[]):
            net = channels_last(built()).train()
        memo: dict[int, Any] = {id(each): _without_values(each) for each in (*net.parameters(), *net.buffers())}
        return copy.deepcopy(net, memo)


def _without_values(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, `now` and at the most, `peak`; views count once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.note(leaf.untyped_storage())
        return result

    def note(self, storage: Any) -> None:
        """Count a storage until it is gone."""
        if storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.now -= size


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    learning = [each for each in net.parameters() if each.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(learning)
    return torch.optim.SGD(learning, momentum=recipe.momentum)


def _step(net: Any, optimizer: torch.optim.Optimizer, recipe: Recipe, channels: int) -> None:
    height, width = (net.geometry.valid(round(side * recipe.multi_scale[1])) for side in recipe.crop)
    x = torch.zeros(recipe.batch, channels, height, width).contiguous(memory_format=torch.channels_last)
    margin = net.geometry.margin
    size = (height - 2 * margin, width - 2 * margin)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.precision in ("bfloat16", "float16")):
        outputs = net.supervised(x) if hasattr(net, "supervised") else net(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = torch.stack([_loss(logits.float(), size, recipe) for logits in outputs]).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _loss(logits: Tensor, size: tuple[int, int], recipe: Recipe) -> Tensor:
    """Return a loss that takes the memory of the recipe's: a map of probabilities, and for regions one of labels."""
    if recipe.compare == "resized" and logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear")
    labels = torch.zeros(len(logits), *logits.shape[2:], dtype=torch.int64)
    total = torch.zeros(())
    for weight, name in loss_terms(recipe.loss):
        if name in _PIXEL_LOSSES:
            total = total + weight * F.cross_entropy(logits, labels, ignore_index=255)
        else:
            there = F.one_hot(labels, logits.shape[1]).movedim(3, 1).float()
            total = total + weight * (logits.softmax(1) * there).sum()
            total = total + (logits.softmax(1).sort(0).values.sum() if name == "lovasz" else 0)
    return total
