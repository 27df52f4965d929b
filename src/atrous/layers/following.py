"""A network followed call by call on the meta device: which map reads which, through which windows.

An image without values runs through the network; every call that it meets becomes a `Node` that knows which nodes it
reads. Backwards through them any position of any map finds the exact set of positions, and in the end of pixels, that
it depends on: holes, phases and odd sizes included. A call whose windows are not known here is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atrous.layers.calls import placed_by
from atrous.layers.followed import Call, Followed, Output, Pair, Place


def follow(module: nn.Module, size: Pair, channels: int) -> tuple[Followed, Any]:
    """Run a module of the meta device on one image (1, channels, h, w); return all it met, and what it returned.

    Raises `ValueError` that names the call and its module where it is not known which positions it reads; what the
    module raises passes through.

    >>> from atrous.layers.probing import without_weights
    >>> found, _ = follow(without_weights(nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2))), (9, 9), 3)
    >>> [(node.path, node.size) for node in found.nodes]
    [('', (9, 9)), ('0', (7, 7)), ('1', (3, 3))]
    """
    followed = Followed()
    image = torch.empty(1, channels, *size, device="meta")
    followed.put(image, Place(followed.add(size, (Fraction(1), Fraction(1)), ()), (-2, -1)))
    with torch.no_grad(), _owners(module, followed), _Follower(followed):
        result = module(image)
    return followed, result


class _Follower(TorchDispatchMode):
    """See every call on its way down to the kernels, and write down what it reads."""

    def __init__(self, followed: Followed) -> None:
        super().__init__()
        self.followed = followed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        places = self.followed.placed((args, kwargs))
        if places:
            place = placed_by(self.followed, func, args, kwargs, result, places)
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and place is not None:
                    self.followed.put(leaf, place)
        return result


@contextmanager
def _owners(module: nn.Module, followed: Followed) -> Iterator[None]:
    """Keep `followed.owners` while the module runs, and write down each call of a module as it ends."""
    began: list[tuple[int, int]] = []

    def enter(path: str, each: nn.Module, inputs: Any) -> None:
        followed.owners.append((path, type(each).__name__))
        began.append((len(followed.calls), len(followed.nodes)))

    def leave(path: str, each: nn.Module, inputs: Any, result: Any) -> None:
        followed.owners.pop()
        sources = tuple(dict.fromkeys(place.node for place in followed.placed(inputs)))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        outputs = [(followed.place(tensor), tuple(tensor.shape)) for tensor in tensors]
        known = tuple(Output(place, shape) for place, shape in outputs if place is not None)
        followed.calls.append(Call(path, sources, *began.pop(), len(followed.nodes), known))

    hooks = []
    for path, each in module.named_modules():
        hooks.append(each.register_forward_pre_hook(partial(enter, path)))
        hooks.append(each.register_forward_hook(partial(leave, path)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
