"""What the labels of each mask come to: pixels of each class, of ignore, and of values that are neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atrous.contract import Colour, LabelSpace
from atrous.data.census import MaskCensus, unpacked
from atrous.data.found import Problem
from atrous.data.images import packed

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look

_USUAL = 0.25  # where more masks than this are empty, images without objects belong to the set


def class_pixels(mask: MaskCensus, space: LabelSpace) -> tuple[list[int], int, dict[int, int]]:
    """Return the pixels of each class, of ignore, and of each value that is neither (colours packed)."""
    pixels = mask.pixels
    if space.encoding == "instances":
        ignored = pixels.get(space.ignore, 0) if isinstance(space.ignore, int) else 0
        first = pixels.get(0, 0)
        return [first, sum(pixels.values()) - first - ignored], ignored, {}
    if space.encoding == "colours" and not mask.coloured:
        pixels = {value * 0x010101: count for value, count in pixels.items()}
    elif space.encoding == "indices" and mask.coloured:
        return [0] * len(space), 0, pixels
    void = None if space.ignore is None else number(space.ignore, coloured=space.encoding == "colours")
    values = [number(value) for value in space.values]
    classes = [pixels.get(value, 0) for value in values]
    outside = {value: count for value, count in pixels.items() if value != void and value not in values}
    return classes, 0 if void is None else pixels.get(void, 0), outside


def number(value: int | Colour, *, coloured: bool = False) -> int:
    """Return what a census calls a value: a colour packed, and with `coloured` a grey level as the colour it is."""
    if isinstance(value, int):
        return value * 0x010101 if coloured else value
    return int(packed(np.asarray(value)))


def counts_of(looks: Sequence[Look], space: LabelSpace | None) -> NDArray[np.int64]:
    """Return a row for each look: pixels of each class, of ignore, and outside; 0 throughout without a mask."""
    count = 0 if space is None else len(space)
    table = np.zeros((len(looks), count + 2), np.int32 if count > 64 else np.int64)
    for row, look in enumerate(looks):
        if look.census is not None and space is not None:
            classes, ignored, outside = class_pixels(look.census, space)
            table[row] = [*classes, ignored, sum(outside.values())]
    return table


def label_problems(
    looks: Sequence[Look], space: LabelSpace | None, counts: NDArray[np.int64]
) -> tuple[list[Problem], list[str]]:
    """Return masks with labels outside, with nothing but ignore, or with the first class alone; and notes."""
    if space is None:
        return [], []
    masked = [row for row, look in enumerate(looks) if look.census is not None]
    problems = [_outside(looks[row], space) for row in masked if counts[row, -1]]
    problems += [
        looks[row].about("all-ignore-mask", f"all {counts[row, -2]:,} pixels are ignore")
        for row in masked
        if not counts[row, -1] and not counts[row, :-2].any()
    ]
    empty = [row for row in masked if counts[row, 0] and not counts[row, 1:-2].any() and not counts[row, -1]]
    lone = [row for row in empty if looks[row].pair.group is None]
    seen = np.flatnonzero(counts[:, :-2].any(axis=0))
    if len(seen) == 1 and len(masked) > 1 and not counts[:, -1].any():
        return [*problems, *_nothing(looks, masked, space.names[seen[0]])], []
    if len(space) < 2 or not empty:
        return problems, []
    notes = []
    if len(lone) > _USUAL * len(masked) or len(masked) == 1 or len(lone) < len(empty):
        notes = [f"{len(empty):,} of {len(masked):,} masks hold {space.names[0]} alone"]
        lone = []
    detail = f"every pixel that counts is {space.names[0]}"
    return [*problems, *(looks[row].about("empty-mask", detail) for row in lone)], notes


def _nothing(looks: Sequence[Look], rows: Sequence[int], name: str) -> list[Problem]:
    return [looks[row].about("nothing-labelled", f"{name} alone, as on all masks") for row in rows]


def _outside(look: Look, space: LabelSpace) -> Problem:
    outside = {} if look.census is None else class_pixels(look.census, space)[2]
    value = min(outside)
    pixels = f"{outside[value]:,} pixel{'s have' if outside[value] != 1 else ' has'} it"
    more = f" and {len(outside) - 1:,} more such values came" if len(outside) > 1 else ""
    if (look.census is not None and look.census.coloured) or space.encoding == "colours":
        return look.about("label-outside", f"colour {unpacked(value)} is no class; {pixels}{more}")
    values = [value for value in space.values if isinstance(value, int)]
    run = sorted(values) == list(range(min(values), max(values) + 1))
    span = f"outside {min(values)}..{max(values)}" if run else f"none of {', '.join(map(str, values[:12]))}"
    return look.about("label-outside", f"label {value} is {span}; {pixels}{more}")
