"""What each call of a network's modules costs: multiply-adds, and bytes of what its layers put out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from atrous.layers.followed import Pair

FLOAT = 4
"""Bytes of a value, as float32."""


class Cost(NamedTuple):
    """Multiply-adds of convolutions and matrix products, and bytes of what the layers put out, in float32."""

    multiply_adds: int
    memory: int


def costs(net: nn.Module, size: Pair, channels: int) -> list[Cost]:
    """Run a network of the meta device on one image and return the cost of each call of a module, as they ended.

    The last is that of the whole network. What a layer writes in place of its input takes no memory again.

    >>> from atrous.layers.probing import without_weights
    >>> costs(without_weights(nn.Conv2d(3, 8, 3, padding=1)), (10, 10), 3)
    [Cost(multiply_adds=21600, memory=3200)]
    """
    found: list[Cost] = []
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, _noted(net, counter, found):
        net(torch.empty(1, channels, *size, device="meta"))
    return found


@contextmanager
def _noted(net: nn.Module, counter: FlopCounterMode, found: list[Cost]) -> Iterator[None]:
    began: list[tuple[int, int]] = []
    # Tensors are kept, so that the id of one that is gone does not become another's.
    known: dict[int, Tensor] = {}
    total = [0]

    def enter(module: nn.Module, inputs: Any) -> None:
        began.append((counter.get_total_flops(), total[0]))
        known.update({id(leaf): leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)})

    def leave(module: nn.Module, inputs: Any, result: Any, *, leaf: bool) -> None:
        for tensor in tree_leaves(result) if leaf else ():
            if isinstance(tensor, Tensor) and id(tensor) not in known:
                known[id(tensor)] = tensor
                total[0] += tensor.numel() * FLOAT
        flops, memory = began.pop()
        found.append(Cost((counter.get_total_flops() - flops) // 2, total[0] - memory))

    hooks = []
    for module in net.modules():
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(partial(leave, leaf=not any(True for _ in module.children()))))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
