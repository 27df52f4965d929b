"""What each call of torch reads, as windows on the maps it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor

from atrous.layers.followed import Edge, Followed, Node, Place
from atrous.layers.reading import SAME, Cells, Reads, Resized, Spread, Window, enlarged

MAP = (-2, -1)
BOTH = (SAME, SAME)


class Seen:
    """One call as its rule sees it: arguments by name, the result, the places of the maps among the arguments."""

    def __init__(self, followed: Followed, func: Any, given: dict[str, Any], result: Any, places: list[Place]) -> None:
        self.followed, self.func, self.given, self.places = followed, func, given, places
        self.result: Tensor = result[0] if isinstance(result, tuple | list) else result
        spatial = [place for place in places if place.axes is not None]
        self.place = spatial[0] if spatial else places[0]

    @property
    def axes(self) -> tuple[int, int]:
        """Where height and width are in the first map; only asked for where it has them."""
        return self.place.axes or MAP

    @property
    def node(self) -> Node:
        """The first map's node."""
        return self.followed.nodes[self.place.node]

    def refuse(self, why: str = "it is not known here which positions it reads") -> ValueError:
        """Return the error that names this call."""
        path, kind = self.followed.owners[-1]
        where = f"{path} ({kind})" if path else kind or "the module"
        return ValueError(f"{where} calls {self.func.overloadpacket}: {why}; its receptive field cannot be told")

    def windows(self, reads: tuple[Reads, Reads], size: Sequence[int] | None = None, **facts: Any) -> Place:
        """Return a new map of the result's size, or of `size`, that reads the first one so, and all of any mean."""
        node, axes = self.node, self.axes
        others = [place for place in self.places if place != self.place]
        if any(place.axes is not None for place in others):
            raise self.refuse()
        edges = [Edge(self.place.node, reads), *(Edge(place.node, None) for place in others)]
        stride = (node.stride[0] * reads[0].scale, node.stride[1] * reads[1].scale)
        size = size or [self.result.shape[axis] for axis in axes]
        return Place(self.followed.add(size, stride, edges, **facts), axes)

    def moved(self, axes: tuple[int, int]) -> Place:
        """Return the same map with its height and width elsewhere."""
        return Place(self.place.node, axes)

    def along(self, dimension: int) -> int:
        """Return a dimension of the first argument, counted from the last."""
        return dimension if dimension < 0 else dimension - self.given["self"].ndim


def placed_by(followed: Followed, func: Any, args: Any, kwargs: Any, result: Any, places: list[Place]) -> Place | None:
    """Return the place of what a call returned, None where it took only a shape.

    Raises `ValueError` for a call of which it is not known here what it reads.
    """
    name = func._schema.name.removeprefix("aten::")
    if name.startswith("new_") or name.endswith("_like"):
        return None
    distinct = list(dict.fromkeys(places))
    arguments = func._schema.arguments
    given = {each.name: each.default_value for each in arguments if each.has_default_value()}
    given |= dict(zip((each.name for each in arguments), args, strict=False)) | kwargs
    seen = Seen(followed, func, given, result, distinct)
    if all(place.axes is None for place in distinct):
        return _mean_of(seen)
    rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if rule is None and torch.Tag.pointwise in func.tags:
        rule = _together
    if rule is None:
        raise seen.refuse()
    return rule(seen)


# Maps that meet -------------------------------------------------------------------------------------------------------


def _together(seen: Seen) -> Place:
    """Position j reads position j of every map, and all of every mean."""
    return _meeting(seen, tuple(seen.result.shape[axis] for axis in seen.axes))


def _meeting(seen: Seen, size: Sequence[int]) -> Place:
    maps, axes = [place for place in seen.places if place.axes is not None], seen.axes
    merged = axes[0] == axes[1]
    if any(place.axes != axes for place in maps):
        raise seen.refuse("its maps have height and width in different dimensions")
    written = seen.given.get("self")
    if seen.func._schema.is_mutable and len(seen.places) > 1 and isinstance(written, Tensor) and written._is_view():
        raise seen.refuse("it writes into a part of another map")
    if len(seen.places) == 1 and (merged or seen.node.size == size):
        return seen.place
    edges = [Edge(place.node, BOTH if merged else _spread_over(seen, place, size)) for place in maps]
    edges += [Edge(place.node, None) for place in seen.places if place.axes is None]
    return Place(seen.followed.add(seen.node.size if merged else size, seen.node.stride, edges), axes)


def _spread_over(seen: Seen, place: Place, size: Sequence[int]) -> tuple[Reads, Reads]:
    """Return how a map is read when it is broadcast: a side of 1 is read by all."""
    own = seen.followed.nodes[place.node].size
    rows, columns = (Window(step=0) if side == 1 != leaving else SAME for side, leaving in zip(own, size, strict=True))
    return rows, columns


def _joined(seen: Seen) -> Place:
    """Concatenation along channels."""
    dimension = seen.given["dim"]
    if dimension % seen.result.ndim - seen.result.ndim in seen.axes:
        raise seen.refuse("it joins maps along height or width")
    return _together(seen)


def _stacked(seen: Seen) -> Place:
    """Concatenation along a new dimension."""
    place, new = _meeting(seen, seen.node.size), seen.given["dim"] % seen.result.ndim - seen.result.ndim
    first, last = (axis if axis > new else axis - 1 for axis in place.axes or MAP)
    return Place(place.node, (first, last))


def _mean_of(seen: Seen) -> Place:
    """Whatever is computed from means alone reads all that they read."""
    if len(seen.places) == 1:
        return Place(seen.places[0].node, None)
    edges = [Edge(place.node, None) for place in seen.places]
    return Place(seen.followed.add((1, 1), seen.node.stride, edges), None)


def _with_mean(seen: Seen) -> Place:
    """Position j reads position j, and through a statistic the whole map."""
    node = seen.node
    edges = [Edge(seen.place.node, BOTH), *(Edge(place.node, None) for place in seen.places)]
    return Place(seen.followed.add(node.size, node.stride, edges), seen.axes)


# Windows --------------------------------------------------------------------------------------------------------------


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _need_map(seen: Seen) -> None:
    if seen.axes != MAP:
        raise seen.refuse("its height and width are not the last two dimensions")


def _convolution(seen: Seen) -> Place:
    _need_map(seen)
    given = seen.given
    if given["input"].ndim != 4 or seen.followed.place(given["input"]) != seen.place:
        raise seen.refuse()
    kernel = _pair(tuple(given["weight"].shape[2:]))
    sides = list(zip(kernel, *(_pair(given[key]) for key in ("stride", "padding", "dilation")), strict=True))
    rows, columns = (
        Spread(size, stride, padding, rate) if given["transposed"] else _window(size, stride, padding, rate)
        for size, stride, padding, rate in sides
    )
    rate = (1, 1) if given["transposed"] else _pair(given["dilation"])
    return seen.windows((rows, columns), kernel=kernel, rate=rate)


def _window(size: int, stride: int, padding: int, rate: int = 1) -> Window:
    return Window(tuple(range(0, size * rate, rate)), stride, -padding)


def _pool(seen: Seen) -> Place:
    _need_map(seen)
    given = seen.given
    kernel = _pair(given["kernel_size"])
    stride = _pair(given["stride"]) if given["stride"] else kernel
    padding, rate = _pair(given["padding"]), _pair(given.get("dilation", 1))
    rows, columns = (_window(*side) for side in zip(kernel, stride, padding, rate, strict=True))
    return seen.windows((rows, columns), kernel=kernel)


def _cells(seen: Seen) -> Place:
    _need_map(seen)
    cells = _pair(seen.given["output_size"])
    if cells == (1, 1):
        return Place(seen.place.node, None)
    rows, columns = (
        SAME if side == count else Cells(side, count) for side, count in zip(seen.node.size, cells, strict=True)
    )
    return seen.windows((rows, columns))


def _pad(seen: Seen) -> Place:
    """Zeros, or the border mirrored or repeated: taken as what would lie there, did the image go on."""
    amounts = list(seen.given.get("pad") or seen.given["padding"])
    before = [amounts[2 * -axis - 2] if 2 * -axis <= len(amounts) else 0 for axis in seen.axes]
    return seen.windows((Window(start=-before[0]), Window(start=-before[1])))


def _slice(seen: Seen) -> Place:
    given = seen.given
    dimension = seen.along(given["dim"])
    if dimension not in seen.axes:
        return seen.place
    if seen.axes[0] == seen.axes[1]:
        raise seen.refuse("it cuts a flattened map")
    side = given["self"].shape[dimension]
    start = given["start"] or 0
    start = max(0, start + side) if start < 0 else min(start, side)
    cut = Window(step=given["step"], start=start)
    return seen.windows((cut if dimension == seen.axes[0] else SAME, cut if dimension == seen.axes[1] else SAME))


def _shuffle(seen: Seen) -> Place:
    _need_map(seen)
    reads = Resized(Fraction(1, seen.given["upscale_factor"]), taps=(0,))
    return seen.windows((reads, reads))


def _unshuffle(seen: Seen) -> Place:
    _need_map(seen)
    factor = seen.given["downscale_factor"]
    reads = Window(tuple(range(factor)), factor)
    return seen.windows((reads, reads))


def _unpool(seen: Seen) -> Place:
    """Windows do not overlap, and a value lies where the maximum was: within the window that it came from."""
    rows, columns = (
        Resized(Fraction(1, -(-leaving // entering)), taps=(0,))
        for entering, leaving in zip(seen.node.size, seen.result.shape[-2:], strict=True)
    )
    if any(place.axes != MAP for place in seen.places):
        raise seen.refuse()
    stride = (seen.node.stride[0] * rows.scale, seen.node.stride[1] * columns.scale)
    edges = [Edge(place.node, (rows, columns)) for place in seen.places]
    return Place(seen.followed.add(seen.result.shape[-2:], stride, edges), MAP)


def _resize(taps: tuple[int, ...], nearest: float | None = None) -> Callable[[Seen], Place]:
    """Return the rule of an interpolation; `nearest` is where in its cell a position that takes one value looks."""

    def rule(seen: Seen) -> Place:
        _need_map(seen)
        given = seen.given
        sides = zip(seen.node.size, seen.result.shape[-2:], (given["scales_h"], given["scales_w"]), strict=True)
        rows, columns = (
            enlarged(entering, leaving, taps, corners=given.get("align_corners", False), factor=factor)
            for entering, leaving, factor in sides
        )
        if nearest is not None:
            rows, columns = (Resized(each.scale, each.scale * Fraction(nearest), (0,)) for each in (rows, columns))
        return seen.windows((rows, columns))

    return rule


# Other shapes, same positions -----------------------------------------------------------------------------------------


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
    """Find height and width in the new shape: they keep their size and what lies after them."""
    old, new = tuple(seen.given["self"].shape), tuple(seen.result.shape)
    height, width = seen.node.size
    rows, columns = seen.axes
    after_width = prod(old[columns:]) // old[columns]
    after_height = after_width * width if rows == columns else prod(old[rows:]) // old[rows]
    found: dict[str, int] = {}
    for axis in range(-1, -len(new) - 1, -1):
        after = prod(new[axis:]) // max(1, new[axis])
        for name, side, wanted in (("width", width, after_width), ("height", height, after_height)):
            if (new[axis], after) == (side, wanted) and name not in found and axis not in found.values():
                found[name] = axis
                break
        flattened = after == after_width and new[axis] % (height * width) == 0
        if flattened and after_height == after_width * width:
            found.setdefault("both", axis)
    if "width" in found and "height" in found:
        return seen.moved((found["height"], found["width"]))
    if "both" in found:
        return seen.moved((found["both"], found["both"]))
    raise seen.refuse(f"it makes {new} of {old}, which takes the positions of a map apart")


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
    return _with_mean(seen) if seen.along(seen.given["dim"]) in seen.axes else seen.place


def _batch_norm(seen: Seen) -> Place:
    return _with_mean(seen) if seen.given["training"] else seen.place


def _layer_norm(seen: Seen) -> Place:
    return _with_mean(seen) if max(seen.axes) >= -len(seen.given["normalized_shape"]) else seen.place


def _product(seen: Seen) -> Place:
    """A matrix product: with weights it keeps the positions that it does not sum over; else everything meets."""
    left, right = (seen.given[name] for name in _FACTORS[seen.func._schema.name.removeprefix("aten::")])
    place = seen.followed.place(left)
    summed = -1
    if place is None:
        place, summed = seen.followed.place(right), -2
    if len(seen.places) > 1 or place is None or place.axes is None or summed in place.axes:
        return _mean_of(seen)
    return place


_FACTORS = {
    "mm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}

RULES: dict[str, Callable[[Seen], Place]] = {
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d"), _pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _cells),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    **dict.fromkeys(("slice", "narrow"), _slice),
    **dict.fromkeys(("select", "unbind"), _unbind),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "cat": _joined,
    "stack": _stacked,
    **dict.fromkeys(("expand", "hardswish", "_prelu_kernel", "rrelu_with_noise", "clone", "_to_copy"), _together),
    **dict.fromkeys(("detach", "alias", "lift_fresh", "native_dropout"), _as_it_was),
    **dict.fromkeys(("view", "_unsafe_view", "unsqueeze", "squeeze", "_reshape_alias"), _reshape),
    **dict.fromkeys(("transpose", "t"), _transpose),
    "permute": _permute,
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle,
    "max_unpool2d": _unpool,
    "upsample_bilinear2d": _resize((0, 1)),
    "upsample_bicubic2d": _resize((-1, 0, 1, 2)),
    "upsample_nearest2d": _resize((0,), nearest=0),
    "_upsample_nearest_exact2d": _resize((0,), nearest=0.5),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "logsumexp", "linalg_vector_norm"),
        _reduce,
    ),
    **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    "native_batch_norm": _batch_norm,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _with_mean,
    **dict.fromkeys(_FACTORS, _product),
}
