"""Calls of torch that look around or resize: what each reads, as windows on the map that enters."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from atrous.layers.followed import Edge, Place
from atrous.layers.reading import SAME, Cells, Resized, Spread, Window, enlarged
from atrous.layers.seen_calls import MAP, Seen


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _need_map(seen: Seen) -> None:
    if seen.axes != MAP or seen.place.flat:
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
    if seen.place.flat:
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
    if any(place.axes != MAP or place.flat for place in seen.places):
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


WINDOWS: dict[str, Callable[[Seen], Place]] = {
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d"), _pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _cells),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    "slice": _slice,
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle,
    "max_unpool2d": _unpool,
    "upsample_bilinear2d": _resize((0, 1)),
    "upsample_bicubic2d": _resize((-1, 0, 1, 2)),
    "upsample_nearest2d": _resize((0,), nearest=0),
    "_upsample_nearest_exact2d": _resize((0,), nearest=0.5),
}
"""The rule of each, by its name in aten."""
