"""Calls of torch that keep each position to itself: other shapes, sums over channels, norms, matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from atrous.layers.followed import Place
from atrous.layers.seen_calls import MAP, Seen, mean_of, meeting, together, with_mean


def _joined(seen: Seen) -> Place:
    """Concatenation along channels."""
    dimension = seen.given["dim"]
    if dimension % seen.result.ndim - seen.result.ndim in seen.axes:
        raise seen.refuse("it joins maps along height or width")
    return together(seen)


def _stacked(seen: Seen) -> Place:
    """Concatenation along a new dimension."""
    place, new = meeting(seen, seen.node.size), seen.given["dim"] % seen.result.ndim - seen.result.ndim
    first, last = (axis if axis > new else axis - 1 for axis in place.axes or MAP)
    return place._replace(axes=(first, last))


def _as_it_was(seen: Seen) -> Place:
    return seen.place


def _permute(seen: Seen) -> Place:
    order = [seen.along(each) for each in seen.given["dims"]]
    first, last = (order.index(axis) - len(order) for axis in seen.axes)
    return seen.moved((first, last))


def _transpose(seen: Seen) -> Place:
    names = [name for name in ("dim0", "dim1") if name in seen.given]
    one, other = (seen.along(seen.given[name]) for name in names) if names else (-1, -2)
    swap = {one: other, other: one}
    return seen.moved((swap.get(seen.axes[0], seen.axes[0]), swap.get(seen.axes[1], seen.axes[1])))


def _unbind(seen: Seen) -> Place:
    dimension = seen.along(seen.given["dim"])
    if dimension in seen.axes:
        raise seen.refuse("it takes a map apart along height or width")
    first, last = (axis + 1 if axis < dimension else axis for axis in seen.axes)
    return seen.moved((first, last))


def _split(seen: Seen) -> Place:
    if seen.along(seen.given["dim"]) in seen.axes:
        raise seen.refuse("it takes a map apart along height or width")
    return seen.place


def _reshape(seen: Seen) -> Place:
    """Find height and width in the new shape: there too the same number of values lies between two positions."""
    old, new = tuple(seen.given["self"].shape), tuple(seen.result.shape)
    found: list[tuple[int, int, bool]] = []
    for axis, apart, side in zip(seen.axes, seen.place.apart, seen.node.size, strict=True):
        steps = apart * prod(old[axis:]) // old[axis]
        taken = [each for each, _, _ in found] if side == 1 else []
        fitting = [each for each in _fitting(new, steps, side) if each[0] not in taken]
        if not fitting:
            raise seen.refuse(f"it makes {new} of {old}, which takes the positions of a map apart")
        found.append(fitting[0])
    (rows, row_apart, row_shared), (columns, column_apart, column_shared) = found
    return Place(seen.place.node, (rows, columns), (row_apart, column_apart), row_shared or column_shared)


def _fitting(shape: Sequence[int], steps: int, side: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the dimensions that hold `side` positions, `steps` values apart: how far apart in it, and if shared."""
    for axis in range(-len(shape), 0):
        after = prod(shape[axis:]) // shape[axis]
        apart = steps // after
        if steps % after == 0 and apart > 0 and shape[axis] % (apart * side) == 0:
            yield axis, apart, shape[axis] != side


def _reduce(seen: Seen) -> Place:
    """A mean, a sum or a maximum: over all positions, over none, or over one axis, which is not known here."""
    dimensions = seen.given.get("dim")
    if dimensions is None or dimensions == []:
        return Place(seen.place.node, None)
    gone = {seen.along(each) for each in ([dimensions] if isinstance(dimensions, int) else dimensions)}
    hit = [axis in gone for axis in seen.axes]
    if all(hit):
        return Place(seen.place.node, None)
    if any(hit):
        raise seen.refuse("it reduces one axis of a map and keeps the other")
    if seen.given.get("keepdim"):
        return seen.place
    first, last = (axis + sum(1 for each in gone if each > axis) for axis in seen.axes)
    return seen.moved((first, last))


def _softmax(seen: Seen) -> Place:
    return with_mean(seen) if seen.along(seen.given["dim"]) in seen.axes else seen.place


def _batch_norm(seen: Seen) -> Place:
    return with_mean(seen) if seen.given["training"] else seen.place


def _layer_norm(seen: Seen) -> Place:
    return with_mean(seen) if max(seen.axes) >= -len(seen.given["normalized_shape"]) else seen.place


def _product(seen: Seen) -> Place:
    """A matrix product: with weights it keeps the positions that it does not sum over; else everything meets."""
    left, right = (seen.given[name] for name in _FACTORS[seen.func._schema.name.removeprefix("aten::")])
    place = seen.followed.place(left)
    summed = -1
    if place is None:
        place, summed = seen.followed.place(right), -2
    if len(seen.places) > 1 or place is None or place.axes is None or summed in place.axes:
        return mean_of(seen)
    return place


_FACTORS = {
    "mm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}

SHAPES: dict[str, Callable[[Seen], Place]] = {
    **dict.fromkeys(("select", "unbind"), _unbind),
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "cat": _joined,
    "stack": _stacked,
    **dict.fromkeys(("expand", "hardswish", "_prelu_kernel", "clone", "_to_copy"), together),
    **dict.fromkeys(("detach", "alias", "native_dropout"), _as_it_was),
    **dict.fromkeys(("view", "_unsafe_view", "unsqueeze", "squeeze", "_reshape_alias"), _reshape),
    **dict.fromkeys(("transpose", "t"), _transpose),
    "permute": _permute,
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "logsumexp", "linalg_vector_norm"),
        _reduce,
    ),
    **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    "native_batch_norm": _batch_norm,
    "native_layer_norm": _layer_norm,
    "native_group_norm": with_mean,
    **dict.fromkeys(_FACTORS, _product),
}
"""The rule of each, by its name in aten."""
