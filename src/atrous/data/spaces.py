"""Working out the classes of a dataset from what its masks hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from atrous.contract import IGNORE, AtrousError, Colour, Encoding, LabelSpace
from atrous.data.census import MaskCensus, total_pixels, unpacked
from atrous.data.layouts import camvid, voc
from atrous.data.wishes import ABSENT, Wishes

_MOST_VALUES = 64  # more distinct values than this are a soft mask or object numbers, or classes that need naming
_MOST_GREYS = 12  # levels that stand for classes at a distance
_MANY_MASKS, _RUN, _FAR, _SLIPS = 10, 2, 8, 3
_ENOUGH = 3  # masks of two objects or more, before their numbers are taken for those of objects unasked
_MOST_CONTIGUOUS = 254  # unless they run from 0 without a gap, as class indices do


def work_out_space(
    masks: Sequence[MaskCensus],
    *,
    root: Path,
    layout: str,
    classes: Sequence[str] | None = None,
    ignore: int | Colour | None = None,
    labels: Encoding | None = None,
) -> LabelSpace:
    """Return the classes that the masks hold, as far as they tell, and as given where they do not.

    255 is ignore unless it is one of exactly two values, or the last of grey levels that are spread, such as 0, 128 and
    255, and no fewer names were given. Masks that number objects, differently in each of three or more, are taken for
    such. A value of one mask among ten or more, far beyond the others, is no class. Raises `AtrousError` where the
    values are no classes: soft masks, numbers of objects in fewer masks, too many colours; and where the given names do
    not fit them.
    """
    if labels is None and ignore is None and len(classes or "01") == 2 and _surely_instances(masks):
        labels = "instances"
    coloured = labels != "indices" and (labels == "colours" or any(mask.coloured for mask in masks))
    if labels == "indices":
        _refuse_coloured(masks)
    if labels == "instances":
        return instance_space(classes, ignore)
    total = total_pixels(masks, coloured=coloured)
    if not total:
        raise AtrousError(f"{root}: there are no masks to work the classes out from. Add masks, or give --classes.")
    if coloured:
        return _colour_space(total, root, layout, classes, ignore)
    numbered = labels is None and looks_like_instances(masks)
    return _index_space(total, masks, root=root, layout=layout, classes=classes, ignore=ignore, numbered=numbered)


def space_as_wished(wishes: Wishes) -> LabelSpace | None:
    """Return the classes if the wishes are complete without a look at the masks, else None."""
    if wishes.labels == "instances":
        return instance_space(wishes.classes, wishes.ignore)
    values = wishes.values
    if wishes.labels == "colours" and (values is None or not isinstance(values[0], tuple)):
        values = wishes.colours
    if wishes.classes is None or values is None:
        return None
    coloured = wishes.labels == "colours" or (wishes.labels is None and isinstance(values[0], tuple))
    ignore = wishes.ignore if wishes.ignore is not None or coloured else IGNORE
    if wishes.ignore is None and IGNORE in values:
        ignore = None
    try:
        return LabelSpace(
            names=wishes.classes,
            colours=wishes.colours or (),  # left out, coloured classes have the colours of their masks
            values=values,
            ignore=ignore,
            encoding="colours" if coloured else "indices",
        )
    except ValidationError as error:
        raise AtrousError(f"{wishes.source}: {complaint(error)}.") from error


def complaint(error: ValidationError) -> str:
    """Return the first thing that is wrong, in the words of who found it."""
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def instance_space(classes: Sequence[str] | None, ignore: int | Colour | None) -> LabelSpace:
    """Return the two classes of object numbers: 0 is the first, every other number the second."""
    names = tuple(classes or ("background", "object"))
    if len(names) != 2:
        raise AtrousError(
            f"{len(names)} classes came; object numbers tell two apart, such as --classes background,cell."
        )
    return LabelSpace(names=names, ignore=ignore, encoding="instances")


def _refuse_coloured(masks: Sequence[MaskCensus]) -> None:
    for mask in masks:
        if mask.coloured:
            raise AtrousError(f"{mask.path}: colours came, and indices were asked for. Try --labels colours.")


def _colour_space(
    total: Counter[int], root: Path, layout: str, classes: Sequence[str] | None, ignore: int | Colour | None
) -> LabelSpace:
    if len(total) > _MOST_VALUES:
        rare = sum(1 for pixels in total.values() if pixels < sum(total.values()) / 1e4)
        raise AtrousError(
            f"{root}: the masks hold {len(total):,} colours, {rare:,} of them on less than 1 pixel in 10,000. "
            "They were smoothed or saved with loss: make them again without, or give classes.json the true colours."
        )
    found = sorted(unpacked(value) for value in total)
    border = (224, 224, 192)
    known = voc.palette(len(voc.NAMES))
    if layout == "voc" and classes is None and set(found) <= {*known, border}:
        return LabelSpace(names=voc.NAMES, colours=known, values=known, ignore=border, encoding="colours")
    void = (ignore,) * 3 if isinstance(ignore, int) else ignore
    colours = tuple(colour for colour in found if colour != void)
    names = tuple(classes) if classes is not None else _numbered(colours)
    if len(names) != len(colours):
        listed = " ".join(f"({red},{green},{blue})" for red, green, blue in colours[:12])
        raise AtrousError(
            f"{root}: {len(names)} classes were given and the masks hold {len(colours)} colours: {listed}. "
            "Names belong to the colours in this order; give as many, and --ignore for one that is none."
        )
    return LabelSpace(names=names, colours=colours, values=colours, ignore=void, encoding="colours")


def _numbered(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(len(values)))


def _index_space(
    total: Counter[int],
    masks: Sequence[MaskCensus],
    *,
    root: Path,
    layout: str,
    classes: Sequence[str] | None,
    ignore: int | Colour | None,
    numbered: bool,
) -> LabelSpace:
    if ignore is not None and not isinstance(ignore, int):
        raise AtrousError(f"{root}: the ignore colour {ignore} came, and the masks hold indices. Give one number.")
    if classes is None:
        total = _without_strays(total, masks)
    present = sorted(total)
    eleven = layout == "camvid" and present[0] >= 0 and present[-1] <= camvid.IGNORE_VALUE
    if eleven and ignore in (None, camvid.IGNORE_VALUE) and len(classes or camvid.NAMES) == len(camvid.NAMES):
        return LabelSpace(names=tuple(classes or camvid.NAMES), colours=camvid.COLOURS, ignore=camvid.IGNORE_VALUE)
    if present == [0, 255] and ignore is None and (classes is None or len(classes) == 2):
        return LabelSpace(names=tuple(classes or ("background", "foreground")), values=(0, 255), ignore=None)
    void = IGNORE if ignore is None else ignore
    if ignore is None and _ends_in_class(total, classes):
        return LabelSpace(names=tuple(classes or _called(present)), values=tuple(present), ignore=None)
    values = [value for value in present if value != void]
    if not values:
        raise AtrousError(
            f"{root}: every pixel of every mask is {void}, the ignore value. Check --ignore, or the masks."
        )
    if classes is not None:
        return _named_space(values, masks, root, classes, void)
    if layout == "voc" and values[-1] < len(voc.NAMES):
        return LabelSpace(names=voc.NAMES, colours=voc.palette(len(voc.NAMES)), ignore=void)
    _refuse_numbers(values, total, root, numbered=numbered)
    return _found_space(values, void)


def _found_space(values: list[int], void: int) -> LabelSpace:
    if _spread(values):
        return LabelSpace(names=_called(values), values=tuple(values), ignore=void)
    every = [value for value in range(values[-1] + 1) if value != void]
    return LabelSpace(names=_called(every), values=tuple(every), ignore=void)


def _called(values: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"class {value}" for value in values)


def _ends_in_class(total: Counter[int], classes: Sequence[str] | None) -> bool:
    """Return whether 255 is one of three grey levels or more that stand for classes, and not what is ignored."""
    present = sorted(total)
    if not 3 <= len(present) <= _MOST_GREYS or present[-1] != IGNORE or present[0] < 0:
        return False
    meant = len(classes) == len(present) if classes is not None else not looks_soft(total)
    return meant and _spread(present[:-1]) and _spread(present)


def _without_strays(total: Counter[int], masks: Sequence[MaskCensus]) -> Counter[int]:
    """Return the values without those of one mask among many that lie far beyond the numbers of all: a slip of the pen.

    They are no classes, so the mask is named where it is read.
    """
    last = next((value for value in range(IGNORE) if value + 1 not in total), 0)
    if len(masks) < _MANY_MASKS or last < _RUN:
        return total
    far = {value for value in total if last + _FAR <= value != IGNORE}
    lonely = {value for value in far if sum(value in mask.pixels for mask in masks) == 1}
    if far != lonely or len(far) > _SLIPS or max(total) > IGNORE:
        return total
    return Counter({value: count for value, count in total.items() if value not in lonely})


def _spread(values: list[int]) -> bool:
    """Return whether a few grey levels stand for classes, such as 0, 128 and 254, rather than indices."""
    gaps = [second - first for first, second in pairwise(values)]
    return values[-1] >= 32 and (not gaps or min(gaps) >= 8)


def _named_space(
    values: list[int], masks: Sequence[MaskCensus], root: Path, classes: Sequence[str], void: int
) -> LabelSpace:
    count = len(classes)
    indices = [value for value in range(count + 1) if value != void][:count]
    if set(values) <= set(indices):
        return LabelSpace(names=tuple(classes), values=tuple(indices), ignore=void)
    if len(values) == count and _spread(values):
        return LabelSpace(names=tuple(classes), values=tuple(values), ignore=void)
    outside = next(value for value in values if value not in indices)
    mask = next(mask for mask in masks if outside in mask.pixels)
    raise label_outside(mask.path, outside, mask.pixels[outside], indices, void)


def label_outside(path: Path, label: int, pixels: int, accepted: Sequence[int], ignore: int | None) -> AtrousError:
    """Return the error to raise for a mask with a label that is neither a class nor ignore."""
    held = [value for value in accepted if value < ABSENT]
    run = bool(held) and held[-1] - held[0] == len(held) - 1
    span = f"outside {held[0]}..{held[-1]}" if run else f"none of {', '.join(map(str, held[:12])) or 'the classes'}"
    rest = "" if ignore is None else f" and is not the ignore value {ignore}"
    return AtrousError(
        f"{path}: label {label} is {span}{rest}. {pixels:,} pixel{'s have' if pixels != 1 else ' has'} it. "
        "Is this a colour mask? Try --labels colours."
    )


def _refuse_numbers(values: list[int], total: Counter[int], root: Path, *, numbered: bool) -> None:
    if numbered:
        raise AtrousError(
            f"{root}: the masks hold 0 and numbers that run from 1 to {values[-1]:,} and differ from image to image; "
            "these look like object numbers, not classes. Try --labels instances, or --labels indices if they are "
            "classes."
        )
    if looks_soft(total):
        raise AtrousError(
            f"{root}: the masks hold {len(total):,} grey levels between 0 and 255, as a smoothed or soft mask does; "
            "a level is no class. Round them at one half and save 0 and 255, or give --classes."
        )
    if values[0] < 0 or values[-1] > _MOST_CONTIGUOUS:
        raise AtrousError(
            f"{root}: the masks hold values from {values[0]:,} to {values[-1]:,}; classes are 0..254. "
            "If they number objects, try --labels instances."
        )


def looks_soft(total: Counter[int]) -> bool:
    """Return whether grey levels fade from 0 to 255 instead of naming classes."""
    between = [value for value in total if value not in (0, IGNORE)]
    if not between or max(total) > IGNORE or min(total) < 0:
        return False
    if len(total) > _MOST_VALUES and max(between) - min(between) + 1 > len(between):
        return True
    if len(total) > 200:
        return True
    few = sum(total[value] for value in between) < 0.1 * total.total()
    return {0, IGNORE} <= set(total) and len(between) >= 3 and max(between) >= 128 and few


GREY_TOLD = "255 is a class, since the masks hold grey levels that are spread; --ignore 255 makes it none"
"""What is said where 255 is the last of several grey levels, and was taken for a class unasked."""

OBJECTS_TOLD = (
    "the masks number objects, so 0 is background and every other number an object; with --labels indices, numbers are "
    "classes"
)
"""What is said where masks were taken for numbers of objects unasked."""


def _surely_instances(masks: Sequence[MaskCensus]) -> bool:
    return sum(1 for mask in masks if len(mask.pixels) > 2) >= _ENOUGH and looks_like_instances(masks)


def looks_like_instances(masks: Sequence[MaskCensus]) -> bool:
    """Return whether nearly every mask holds 0 and the numbers 1 to some n of its own, as object numbers do."""
    highest = []
    for mask in masks:
        numbers = [value for value in mask.pixels if value != 0]
        full = not mask.wide and IGNORE in mask.pixels  # every level of a byte is a ramp of grey, not a count
        if numbers and not mask.coloured and not full and max(numbers) == len(numbers):
            highest.append(max(numbers))
    filled = sum(1 for mask in masks if set(mask.pixels) - {0})
    if not highest or len(highest) < 0.9 * filled:
        return False
    return max(highest) > 20 and (len(set(highest)) > 1 or len(masks) == 1)
