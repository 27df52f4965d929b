"""The classes of a dataset in spite of what is wrong with it: spoilt masks are named and left out of the reckoning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import dataset as datasets
from atrous.data.census import MaskCensus, total_pixels
from atrous.data.diagnosis import conventions, pictures, smoothing
from atrous.data.found import Problem
from atrous.data.spaces import looks_like_instances, looks_soft, space_as_wished
from atrous.data.wishes import Wishes

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look


def understood(
    root: Path, layout: str, looks: Sequence[Look], wishes: Wishes
) -> tuple[LabelSpace | None, list[Problem]]:
    """Return the classes, None where the masks do not tell, and the problems of masks that are no masks of classes.

    Masks that are pictures or were smoothed at their borders do not count; the others tell the classes.
    """
    problems = [*pictures.picture_problems(looks), *smoothed_problems(looks)]
    kept = [look for look in looks if look.census is not None and not look.spoilt]
    unread = any(look.problems and look.pair.mask is not None for look in looks)
    if not kept and (problems or unread):
        return _named(wishes), problems
    mixed = conventions.mixed_encodings(kept, wishes)
    problems += mixed
    odd = {problem.pair for problem in mixed}
    kept = [look for look in kept if look.pair.name not in odd]
    space, more = conventions.counted_from_one(kept, wishes)
    if space is None:
        space, more = _from_masks(root, layout, kept, wishes)
        more += conventions.exchanged_with_ignore(kept)
    return space, [*problems, *more]


def smoothed_problems(looks: Sequence[Look]) -> list[Problem]:
    """Return the masks whose borders pass through values in between: soft where they are black and white otherwise."""
    problems = []
    for look in looks:
        if look.census is None or not look.spoilt or (look.mask_texture is not None and look.mask_texture.picture):
            continue
        soft = not look.census.coloured and smoothing.only_two_extremes(look.census.pixels)
        seen = look.borders
        detail = f"{seen.smooth:,} of {seen.smooth + seen.sharp:,} borders pass through values in between"
        if soft:
            detail = f"{len(look.census.pixels):,} grey levels: black, white, and what lies in between"
        elif smoothing.saved_with_loss(seen, look.census.pixels):
            detail = f"{len(look.census.pixels):,} values, most of them rare specks at borders, as JPEG leaves them"
        problems.append(look.about("soft-mask" if soft else "anti-aliased-mask", detail))
    return problems


def _named(wishes: Wishes) -> LabelSpace | None:
    try:
        return space_as_wished(wishes)
    except AtrousError:
        return None


def _from_masks(
    root: Path, layout: str, looks: Sequence[Look], wishes: Wishes
) -> tuple[LabelSpace | None, list[Problem]]:
    masks = [look.census for look in looks if look.census is not None]
    try:
        return space_as_wished(wishes) or datasets.space_from_census(root, layout, masks, wishes), []
    except AtrousError as error:
        message = str(error).removeprefix(f"{root}: ")
    coloured = any(mask.coloured for mask in masks)
    if wishes.classes is not None and wishes.labels != "colours" and not coloured:
        ignore = wishes.ignore if isinstance(wishes.ignore, int) else IGNORE
        return LabelSpace(names=wishes.classes, ignore=ignore), []
    kind, strange = _why_not(masks)
    problems = [look.about(kind, message) for look, odd in zip(looks, strange, strict=True) if odd]
    rest = [look for look, odd in zip(looks, strange, strict=True) if not odd]
    if len(rest) < len(looks) / 2 or not problems:
        return None, problems or [Problem(kind, root, message)]
    space, more = _from_masks(root, layout, rest, wishes)
    return space, [*problems, *more]


def _why_not(masks: Sequence[MaskCensus]) -> tuple[str, list[bool]]:
    """Return the kind of problem that keeps masks from telling their classes, and which of them have it."""
    if masks and looks_like_instances(masks):
        return "object-numbers", [len(mask.pixels) > 1 for mask in masks]
    many = [len(mask.pixels) > 2 for mask in masks]
    if any(mask.coloured for mask in masks):
        crowded = [mask.coloured and len(mask.pixels) > 64 for mask in masks]
        if any(crowded):
            return "anti-aliased-mask", crowded
    elif any(many) and looks_soft(total_pixels(masks, coloured=False)):
        return "soft-mask", many
    beyond = [not mask.coloured and (max(mask.pixels) > IGNORE or min(mask.pixels) < 0) for mask in masks]
    return "classes-unknown", next((which for which in (beyond, many) if any(which)), [True] * len(masks))
