"""What becomes of atrous rates in a given network and at a given input size."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Degenerate(NamedTuple):
    """An atrous convolution whose outer taps reach beyond the map: its name, its rate, the map's shorter side."""

    name: str
    rate: int
    side: int


def degenerate(net: Any, height: int, width: int) -> list[Degenerate]:
    """Return the atrous convolutions whose rate is not smaller than the map they see, in the order they run.

    There only the centre row or column of a 3x3 kernel meets the map, and where the longer side is not larger either,
    only its centre: it has become a 1x1. The image of height x width pixels is enlarged to a size that the network's
    `geometry` takes. Nothing is computed, and the network stays as it was.

    Source: DeepLab v3 (arXiv 1706.05587) section 3.3 and figure 4.

    >>> from atrous.layers.aspp import ASPP
    >>> degenerate(ASPP(3, 2, rates=(6, 12, 18)), 13, 17)
    [Degenerate(name='branches.3.0', rate=18, side=13)]
    """
    found: list[Degenerate] = []

    def look(name: str, layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        rate, side = max(layer.dilation), min(inputs[0].shape[2:])
        if rate >= side:
            found.append(Degenerate(name, rate, side))

    convolutions = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    hooks = [
        layer.register_forward_pre_hook(partial(look, name))
        for name, layer in convolutions.items()
        if max(layer.kernel_size) > 1 and max(layer.dilation) > 1
    ]
    channels = next(iter(convolutions.values())).in_channels if convolutions else 1
    try:
        _run_on_meta(net, channels, height, width)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def _run_on_meta(net: Any, channels: int, height: int, width: int) -> None:
    geometry = getattr(net, "geometry", None)
    if geometry is not None:
        height, width = (side + sum(geometry.padding(side)) for side in (height, width))
    state = {name: torch.empty_like(tensor, device="meta") for name, tensor in net.state_dict(keep_vars=True).items()}
    training = {module: module.training for module in net.modules()}
    try:
        functional_call(net.eval(), state, torch.empty(1, channels, height, width, device="meta"))
    finally:
        for module, mode in training.items():
            module.training = mode
