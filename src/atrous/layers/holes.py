"""The hole algorithm layer by layer: what each one must become at an output stride, which cannot, and the change.

With entering and leaving stride s and t of a layer and a wanted stride T:

    stride   becomes  min(t, T) / min(s, T)
    dilation becomes  dilation * s / min(s, T)
    padding  becomes  padding  * s / min(s, T)

With f = s / min(s, T), a strided map of n values has a dense one of L with f (n - 1) < L <= f n. Both bounds matter:
the left one gives every old position a value, the right one puts padding where the strided net had padding. Layers that
round sizes down keep them. Pools that round up are given what they had beyond the border as padding of their own.

Source: DeepLab v1 (arXiv 1412.7062) section 3.1 for the rule; the bounds are derived here and tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from atrous.layers.dilated_pool import DilatedAveragePool, Pair
from atrous.layers.probing import Step, named, pair

CHANGEABLE = ("convolution", "max pooling", "average pooling")
NO_LAYER = "it is called in a forward and is no layer of its own whose numbers could be changed"
REASONS = {
    "transposed convolution": "it enlarges the map again; give the encoder alone",
    "enlarging": "it enlarges the map again; give the encoder alone",
    "padding": "it pads in a forward, or as a layer, where a dense map needs more of it",
    "cropping": "the map that reaches it was cropped by indexing",
    "subsampling": "the map that reaches it was thinned out by indexing or reshaping",
    "attention": "it mixes all positions, so more of them give other values",
    "moving": "it moves values by a number of positions, which are closer on a dense map",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """The new numbers of one layer; `extra` is what a pool that rounds up had beyond the lower and right border."""

    stride: Pair
    padding: Pair
    dilation: Pair
    extra: Pair = (0, 0)


def planned(module: nn.Module, found: Iterable[Step], stride: int) -> dict[str, Change]:
    """Return the change of every layer that must change; raise `ValueError` naming all that cannot."""
    layers, calls = dict(module.named_modules()), defaultdict[str, list[Step]](list)
    for step in found:
        if step.operation != "average":
            calls[step.path].append(step)
    changes, refusals = dict[str, Change](), list[str]()
    for path, its in calls.items():
        touched = next((step for step in its if _must_change(step, stride)), None)
        if touched is None:
            continue
        reason = _refusal(layers, touched, its, stride)
        if reason:
            refusals.append(f"{named(layers, path)}: {touched.operation}: {reason}")
        changes[path] = change_of(touched, stride)
    if refusals:
        raise ValueError(f"output stride {stride} cannot be had. {listed(refusals, '; ')}")
    return changes


def change_of(step: Step, stride: int) -> Change:
    """Return what the layer of `step` is at output stride `stride`."""
    entering = min(step.entering, stride)
    holes, kept = step.entering // entering, min(step.leaving, stride) // entering
    below, right = (_beyond(step, axis) * holes if step.ceil and kept != step.stride[axis] else 0 for axis in (0, 1))
    return Change(
        stride=step.stride if kept == max(step.stride) else (kept, kept),
        padding=(step.padding[0] * holes, step.padding[1] * holes),
        dilation=step.dilation if step.kernel == (1, 1) else (step.dilation[0] * holes, step.dilation[1] * holes),
        extra=(below, right),
    )


def described(step: Step, change: Change) -> str:
    """Return what changes, as `stride 2 -> 1, dilation 1 -> 2`; nothing where nothing does."""
    pairs = [(key, getattr(step, key), getattr(change, key)) for key in ("stride", "padding", "dilation")]
    return ", ".join(f"{key} {_short(old)} -> {_short(new)}" for key, old, new in pairs if old != new)


def apply(module: nn.Module, changes: Mapping[str, Change]) -> None:
    """Change the layers in place; a pool without room for the new numbers is replaced wherever it stands."""
    for path, change in changes.items():
        old = module.get_submodule(path)
        new = _denser(old, change)
        places = [(parent, name) for parent in module.modules() for name, child in parent.named_children()]
        for parent, name in places if new is not old else ():
            if getattr(parent, name, None) is old:
                setattr(parent, name, new)


def listed(names: Iterable[str], separator: str = ", ", shown: int = 4) -> str:
    """Return the first names and how many more there are.

    >>> listed(["a", "b", "c"], shown=2)
    'a, b and 1 more'
    """
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return separator.join(names[:shown]) + more


def _short(value: Pair) -> str:
    return str(value[0] if value[0] == value[1] else value)


def _must_change(step: Step, stride: int) -> bool:
    if step.operation in CHANGEABLE:
        return bool(described(step, change_of(step, stride)))
    return max(step.entering, step.leaving) > stride


def _beyond(step: Step, axis: int) -> int:
    """Return how far a pool that rounds up looks beyond its padding: no window of torch's starts outside the map."""
    reach = step.dilation[axis] * (step.kernel[axis] - 1)
    return max(0, min(step.stride[axis] - 1, reach - step.padding[axis]))


def _refusal(layers: Mapping[str, nn.Module], step: Step, calls: Sequence[Step], stride: int) -> str:
    """Return why the layer that made these calls cannot change as `step` has to; nothing where it can."""
    parents = [step.path.rsplit(".", count)[0] for count in range(step.path.count(".") + 1)]
    if step.kernel == step.stride and any("PatchEmbed" in type(layers[path]).__name__ for path in parents):
        return "it embeds the patches of a transformer, whose later layers know their grid"
    if step.operation not in CHANGEABLE:
        return REASONS[step.operation]
    kind = _refusal_of_convolution if step.operation == "convolution" else _refusal_of_pool
    return _refusal_of_strides(step, calls, stride) or kind(layers[step.path], step, calls)


def _refusal_of_strides(step: Step, calls: Sequence[Step], stride: int) -> str:
    if len({change_of(call, stride) for call in calls if call.operation in CHANGEABLE}) > 1:
        return "one layer is called at several strides"
    if step.stride[0] != step.stride[1]:
        return f"its stride {step.stride} differs by axis"
    if any(each > stride and each % stride for each in (step.entering, step.leaving)):
        return f"it leads from stride {step.entering} to {step.leaving}, which {stride} does not divide"
    return ""


def _refusal_of_convolution(layer: Any, step: Step, calls: Sequence[Step]) -> str:
    if not isinstance(layer, nn.Conv2d):
        return NO_LAYER
    if layer.padding_mode != "zeros":
        return f"its padding is {layer.padding_mode!r}, and only zeros stay where they were"
    if any(call.operation != "convolution" for call in calls):
        return "its own forward pads by the size of the map"
    if (tuple(layer.stride), tuple(layer.dilation)) != (step.stride, step.dilation):
        return "its own forward does not go by its attributes"
    return ""


def _refusal_of_pool(layer: Any, step: Step, _calls: Sequence[Step]) -> str:
    if type(layer).forward not in (nn.MaxPool2d.forward, nn.AvgPool2d.forward):
        return NO_LAYER
    if getattr(layer, "return_indices", False):
        return "its switches would be those of another grid"
    return "" if step.path else "a pool alone is no network"


def _denser(layer: Any, change: Change) -> nn.Module:
    """Return the layer itself with its new numbers, or where it has no room for them, one that has."""
    if isinstance(layer, nn.AvgPool2d):
        return _averaging(layer, change).train(layer.training)
    if isinstance(layer, nn.MaxPool2d):
        kernel = pair(layer.kernel_size)
        room = all(2 * change.padding[axis] <= kernel[axis] for axis in (0, 1))  # torch's bound, holes not counted
        if any(change.extra) or not room:
            (rows, columns), (below, right) = change.padding, change.extra
            border = nn.ConstantPad2d((columns, columns + right, rows, rows + below), float("-inf"))
            pool = nn.MaxPool2d(kernel, change.stride, 0, change.dilation)
            return nn.Sequential(border, pool).train(layer.training)
        layer.ceil_mode = False  # what lay beyond the border would be `extra`
    layer.stride, layer.padding, layer.dilation = change.stride, change.padding, change.dilation
    return layer


def _averaging(layer: nn.AvgPool2d, change: Change) -> DilatedAveragePool:
    return DilatedAveragePool(
        pair(layer.kernel_size),
        stride=change.stride,
        padding=change.padding,
        dilation=change.dilation,
        extra=change.extra,
        count_include_pad=layer.count_include_pad,
        divisor_override=layer.divisor_override,
    )
