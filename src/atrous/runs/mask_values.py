"""What predicted masks hold, where the true ones are known: the same values, or indices, or other classes too."""

from __future__ import annotations

from collections.abc import Sequence

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data.census import MaskCensus, total_pixels, unpacked


def beyond(masks: Sequence[MaskCensus], count: int) -> bool:
    """Say whether masks hold values that are no index of so many classes, nor ignored."""
    return any(count <= value != IGNORE for mask in masks for value in mask.pixels)


def held_in(masks: Sequence[MaskCensus], space: LabelSpace) -> set[int]:
    """Return the values that masks hold, colours as one number."""
    return set(total_pixels(masks, coloured=space.encoding == "colours"))


def number_of(value: int | tuple[int, int, int]) -> int:
    """Return a value as one number, a colour too."""
    return value if isinstance(value, int) else (value[0] << 16) | (value[1] << 8) | value[2]


def both_spaces(
    space: LabelSpace, guesses: Sequence[MaskCensus], *, named: bool
) -> tuple[LabelSpace, LabelSpace, list[str]]:
    """Return what the true masks hold, what the predictions do, and notes; raise where values mean no class."""
    held = held_in(guesses, space)
    void = set() if space.ignore is None else {number_of(space.ignore)}
    values = [number_of(value) for value in space.values]
    two = len(space) == 2 and held == {0, 255} and values != [0, 255]
    if held - void <= set(values) and not two:
        return space, space, []
    if two:
        return space, _of_values(space, (0, 255), None), ["predictions hold 0 and 255, taken for the two classes"]
    plain = {value for mask in guesses for value in mask.pixels}
    if plain - {IGNORE} <= set(range(len(space))) and not any(mask.coloured for mask in guesses):
        note = f"predictions hold 0 to {len(space) - 1}, taken for the classes in their order"
        return space, _of_values(space, tuple(range(len(space))), IGNORE), [note]
    if named or space.encoding == "instances":
        raise _unknown(guesses, space, set(values) | void)
    more = _extended(space, sorted(held - void - set(values)))
    return more, more, ["some classes are in predictions only"]


def _of_values(space: LabelSpace, values: tuple[int, ...], ignore: int | None) -> LabelSpace:
    return LabelSpace(names=space.names, colours=space.colours, values=values, ignore=ignore)


def _extended(space: LabelSpace, more: Sequence[int]) -> LabelSpace:
    if space.encoding == "colours":
        values = (*space.values, *(unpacked(value) for value in more))
        names = (*space.names, *(f"class {len(space) + index}" for index in range(len(more))))
        colours = tuple(value for value in values if isinstance(value, tuple))
        return LabelSpace(names=names, colours=colours, values=values, ignore=space.ignore, encoding="colours")
    names = (*space.names, *(f"class {value}" for value in more))
    return LabelSpace(names=names, values=(*space.values, *more), ignore=space.ignore)


def _unknown(guesses: Sequence[MaskCensus], space: LabelSpace, accepted: set[int]) -> AtrousError:
    mask, value = next((mask, value) for mask in guesses for value in sorted(mask.pixels) if value not in accepted)
    shown = unpacked(value) if mask.coloured else value
    listed = ", ".join(f"{value} ({name})" for value, name in list(zip(space.values, space.names, strict=True))[:8])
    return AtrousError(
        f"{mask.path}: the prediction holds {shown} on {mask.pixels[value]:,} pixels, and the classes are {listed}"
        f"{', ...' if len(space) > 8 else ''}. Predictions hold these values, or 0 to {len(space) - 1} in their order."
    )
