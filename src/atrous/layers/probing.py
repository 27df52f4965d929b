"""What a network does to the stride of its maps, seen by following one image through it on the meta device.

The network is copied without its weights and run on an image that has a size and no values, so that even a large one
costs neither memory nor time. Every call that looks at more than one position, or drops positions, is a `Step`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Pair = tuple[int, int]
Operation = Literal[
    "convolution",
    "max pooling",
    "average pooling",
    "transposed convolution",
    "padding",
    "cropping",
    "subsampling",
    "enlarging",
    "attention",
    "moving",
    "average",
]
"""`average` is over the whole map; `subsampling` and `cropping` are by indexing; `moving` is rolling or sampling."""

CONVOLUTION, MAX_POOL, AVERAGE_POOL = "aten::convolution", "aten::max_pool2d_with_indices", "aten::avg_pool2d"
LAYER_NORM = "aten::native_layer_norm"
FIXED_GRIDS = ("aten::_adaptive_avg_pool2d", "aten::adaptive_max_pool2d")
REDUCTIONS = ("mean", "sum", "amax", "var", "std", "var_mean", "std_mean", "linalg_vector_norm", "logsumexp")
PADDINGS = ("aten::constant_pad_nd", "aten::reflection_pad2d", "aten::replication_pad2d", "aten::pad")
ATTENTION = ("aten::bmm", "aten::baddbmm", "scaled_dot_product")
MOVING = ("aten::roll", "aten::grid_sampler", "deform_conv2d", "aten::im2col", "aten::_fft")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call: which module made it, what it is, and the strides of the map before and after, in pixels."""

    path: str
    operation: Operation
    entering: int
    leaving: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil: bool = False


class Map(NamedTuple):
    """How far apart the positions of a map are, in pixels, and how many there are."""

    stride: int
    height: int
    width: int


def without_weights(module: nn.Module) -> nn.Module:
    """Return a copy of `module` in evaluation mode whose parameters and buffers are on the meta device.

    >>> next(without_weights(nn.Conv2d(3, 8, 3)).parameters()).device
    device(type='meta')
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(module, memo).eval()


def steps(module: nn.Module, in_channels: int, size: int) -> tuple[Step, ...]:
    """Run a module of the meta device on one image (1, in_channels, size, size) and return its steps, in order.

    Raises `ValueError` with the module that failed, where the image does not fit.

    >>> found = steps(without_weights(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(2))), 3, 32)
    >>> [(step.path, step.operation, step.entering, step.leaving) for step in found]
    [('0', 'convolution', 1, 2), ('1', 'max pooling', 2, 4)]
    """
    dtype = next((weight.dtype for weight in module.parameters() if weight.is_floating_point()), None)
    image = torch.empty(1, in_channels, size, size, device="meta", dtype=dtype)
    follower = _Follower(dict(module.named_modules()))
    follower.mark(image, Map(1, size, size))
    try:
        with torch.no_grad(), owners(module, follower.owners), follower:
            module(image)
    except Exception as error:  # whatever a forward of anyone's may raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{named(follower.modules, follower.owners[-1])}: {reason}") from error
    return tuple(follower.steps)


def channels_taken(module: nn.Module) -> int | None:
    """Return how many channels the first convolution of `module` takes; None where it has no convolution.

    >>> channels_taken(nn.Sequential(nn.ReLU(), nn.Conv2d(5, 8, 3)))
    5
    """
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return next((layer.in_channels for layer in module.modules() if isinstance(layer, kinds)), None)


def pair(value: Any) -> Pair:
    """Return a kernel, stride or padding, given as one number or more, as (rows, columns).

    >>> pair(3), pair([2])
    ((3, 3), (2, 2))
    """
    first, last = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return first, last


def named(modules: Mapping[str, nn.Module], path: str) -> str:
    """Return how messages call a module.

    >>> named({"": nn.ReLU(), "act": nn.ReLU()}, "act")
    'act (ReLU)'
    """
    return f"{path or 'the module itself'} ({type(modules[path]).__name__})"


@contextmanager
def owners(module: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep the path of the module whose forward is running at the end of `stack`."""
    handles = []
    for path, each in module.named_modules():
        handles.append(each.register_forward_pre_hook(partial(_enter, stack, path)))
        handles.append(each.register_forward_hook(partial(_leave, stack)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(stack: list[str], path: str, *_: Any) -> None:
    stack.append(path)


def _leave(stack: list[str], *_: Any) -> None:
    stack.pop()


class _Follower(TorchDispatchMode):
    """Sees every operation on tensors and remembers which of them are maps."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.modules = modules
        self.owners: list[str] = [""]
        self.steps: list[Step] = []
        self._maps: dict[int, Map] = {}
        self._kept: list[Tensor] = []  # alive, so that no other tensor gets the id of one of these

    def mark(self, tensor: Tensor, found: Map) -> None:
        self._maps[id(tensor)] = found
        self._kept.append(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        maps = [self._maps[id(leaf)] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self._maps]
        if maps:
            left = self._follow(func._schema.name, args, result, max(maps))
            for leaf in tree_leaves(result):
                if left is not None and isinstance(leaf, Tensor):
                    self.mark(leaf, left)
        return result

    def _follow(self, name: str, args: Sequence[Any], result: Any, entering: Map) -> Map | None:
        """Record what `name` does to a map, and return what its result is: another map, or none."""
        x = args[0]
        if name in (CONVOLUTION, MAX_POOL, AVERAGE_POOL) and x.ndim == 4:
            return self._slide(name, args, result, self._arrive(x.shape[2:], entering))
        if name == LAYER_NORM and x.ndim == 4 and len(args[1]) == 1:
            return self._arrive(x.shape[1:3], entering)  # channels last
        if name in FIXED_GRIDS or _averages(name, args, entering):
            self._record("average", entering, entering)
            return None
        if _normalises_by_map(name, args):
            self._record("average", entering, entering)
        elif name in PADDINGS:
            left = Map(entering.stride, *result.shape[-2:])
            self._record("padding", entering, left)
            return left
        elif "upsample" in name or any(each in name for each in (*ATTENTION, *MOVING)):
            attention = any(each in name for each in ATTENTION)
            self._record("enlarging" if "upsample" in name else "attention" if attention else "moving", entering)
        return entering

    def _arrive(self, size: Sequence[int], expected: Map) -> Map:
        """Return the map that has come; where it has another size than it left with, indexing has changed it."""
        height, width = size
        if (height, width) == expected[1:]:
            return expected
        factor = max(1, round(expected.height / height))
        found = Map(expected.stride * factor, height, width)
        self._record("subsampling" if factor > 1 else "cropping", expected, found)
        return found

    def _slide(self, name: str, args: Sequence[Any], result: Any, entering: Map) -> Map | None:
        """Record a convolution or a pooling, whose arguments are those of the aten operator `name`."""
        if name == CONVOLUTION:
            kernel, (stride, padding, dilation, transposed) = args[1].shape[2:], args[3:7]
            ceil, operation = False, "transposed convolution" if transposed else "convolution"
        else:
            given = (*args[1:], *(None,) * 6)
            kernel, stride, padding = given[0], given[1] or given[0], given[2] or 0
            dilation, ceil = ((given[3] or 1), given[4]) if name == MAX_POOL else (1, given[3])
            operation = "max pooling" if name == MAX_POOL else "average pooling"
        out = result[0] if isinstance(result, tuple) else result
        if name == AVERAGE_POOL and pair(kernel) == entering[1:] and not isinstance(self._owner(), nn.AvgPool2d):
            self._record("average", entering)
            return None
        steps = pair(stride)
        left = Map(entering.stride * (1 if operation.startswith("transposed") else max(steps)), *out.shape[2:])
        self._record(
            operation,
            entering,
            left,
            kernel=pair(kernel),
            stride=steps,
            padding=pair(padding),
            dilation=pair(dilation),
            ceil=bool(ceil),
        )
        return left

    def _owner(self) -> nn.Module | None:
        return self.modules.get(self.owners[-1])

    def _record(self, operation: Any, entering: Map, leaving: Map | None = None, **details: Any) -> None:
        path, left = self.owners[-1], (leaving or entering).stride
        self.steps.append(Step(path=path, operation=operation, entering=entering.stride, leaving=left, **details))


def _averages(name: str, args: Sequence[Any], entering: Map) -> bool:
    """Say whether this is a reduction over all positions of a map, flattened or not, channels first or last."""
    if name.removeprefix("aten::") not in REDUCTIONS:
        return False
    x = args[0]
    named_axes = [each for each in args[1:] if isinstance(each, list | tuple)]
    axes: Sequence[int] = named_axes[0] if named_axes else range(x.ndim)
    reduced = 1
    for axis in axes:
        reduced *= x.shape[axis]
    return reduced >= entering.height * entering.width and (x.ndim < 4 or len(axes) > 1)


def _normalises_by_map(name: str, args: Sequence[Any]) -> bool:
    """Say whether this is a norm whose statistics are those of the map itself: group norm, instance norm."""
    if name == "aten::native_group_norm":
        return True
    return name == "aten::native_batch_norm" and bool(args[5])
