"""Where classes begin: masks from 1, masks whose 0 is no class or changed places with 255, and masks that disagree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from atrous.contract import IGNORE, LabelSpace
from atrous.data.census import total_pixels
from atrous.data.found import Problem
from atrous.data.wishes import Wishes

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look

_FEWEST = 4  # masks from which the absence of 0 says something
_MOSTLY = 0.75
_GREY_STEP = 8  # grey levels that stand for classes are as far apart, at least
_LISTED = 6


def counted_from_one(looks: Sequence[Look], wishes: Wishes) -> tuple[LabelSpace | None, list[Problem]]:
    """Return the classes that masks seem to have been numbered with from 1, and the masks that show it.

    With n names given, n is a value and nothing is beyond it. Without names, 0 is in none of four or more masks and
    the values run from 1 without a gap. ((None, []) where it is not so, or where the values are told.)
    """
    masks = [look.census for look in looks if look.census is not None]
    if wishes.values or wishes.ignore is not None or wishes.labels in ("colours", "instances"):
        return None, []
    if any(mask.coloured for mask in masks):
        return None, []
    present = sorted(set(total_pixels(masks, coloured=False)) - {IGNORE})
    count = len(present) if wishes.classes is None else len(wishes.classes)
    if count < 2 or not present or present[-1] != count or present[0] < 0:
        return None, []
    if wishes.classes is None and (present[0] != 1 or len(masks) < _FEWEST):
        return None, []
    names = wishes.classes or tuple(f"class {value}" for value in present)
    detail = f"its values reach {count} and " + ("0 is never used" if present[0] else f"{count} classes were named")
    if wishes.classes is not None and len(present) > count + 1:
        return None, []
    problems = [
        look.about("zero-convention", detail)
        for look in looks
        if look.census is not None and (wishes.classes is None or count in look.census.pixels)
    ]
    return LabelSpace(names=names, values=tuple(range(1, count + 1)), ignore=0), problems


def mixed_encodings(looks: Sequence[Look], wishes: Wishes) -> list[Problem]:
    """Return the fewer of masks that disagree: some hold indices 1 to n, others grey levels alone, and none both.

    So are masks of 0 and 1 beside others of 0 and 255. (None where the values are told, of colours, of object numbers,
    or where three masks or fewer are of either kind.)
    """
    masked = [look for look in looks if look.census is not None and set(look.census.pixels) - {0}]
    if wishes.values or wishes.labels in ("colours", "instances"):
        return []
    if any(look.census is None or look.census.coloured or min(look.census.pixels) < 0 for look in masked):
        return []
    held = [set(look.census.pixels) - {0, wishes.ignore} for look in masked if look.census is not None]
    values = sorted(set().union(*held))
    run = next((place for place, value in enumerate(values) if value != place + 1), len(values))
    small, large = set(values[:run]), values[run:]
    apart = [second - first for first, second in pairwise([0, *large])]
    if not small or not large or min(apart) < _GREY_STEP or large[-1] > IGNORE or large[0] < 4 * run:
        return []
    levels = [bool(each & set(large)) for each in held]
    if any(level and each & small for level, each in zip(levels, held, strict=True)):
        return []
    groups = [[look for look, level in zip(masked, levels, strict=True) if level == which] for which in (True, False)]
    if min(map(len, groups)) < _FEWEST:
        return []
    fewer, others = sorted(zip(groups, (large, sorted(small)), strict=True), key=lambda group: len(group[0]))
    detail = f"it holds {_some(fewer[1])} beside 0, and {len(others[0]):,} other masks hold {_some(others[1])}"
    return [look.about("mixed-encodings", detail) for look in fewer[0]]


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:_LISTED])) + (", ..." if len(values) > _LISTED else "")


def exchanged_with_ignore(looks: Sequence[Look]) -> list[Problem]:
    """Return the masks of a set in which 255, taken for ignore, is most of every mask and 0 only lines between."""
    masked = [look for look in looks if look.census is not None]
    found = [look for look in masked if look.thin_zero]
    if len(masked) < _FEWEST or len(found) < _MOSTLY * len(masked):
        return []
    detail = "255 is most of it and 0 only lines, as if 0 were ignore and 255 a class; try --ignore 0"
    return [look.about("zero-convention", detail) for look in found]
