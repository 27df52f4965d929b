"""Files that lack a partner, share a name, or differ from the rest in depth or channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from atrous.data.found import Found, Problem

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look


def pairing_problems(found: Found) -> list[Problem]:
    """Return what the layout could not pair, and what was wrong with its lists and annotations."""
    problems = list(found.problems)
    for split, matched in found.splits.items():
        problems += [Problem("image-without-mask", path, "no mask has its name") for path in matched.images_alone]
        problems += [Problem("mask-without-image", path, "no image has its name") for path in matched.masks_alone]
        problems += [Problem("name-twice", path, "another has its name") for path in chain(*matched.doubles)]
        problems += [Problem("listed-missing", Path(name), f"is on the list of {split}") for name in matched.missing]
    return list(dict.fromkeys(problems))


def mixture_problems(looks: Sequence[Look]) -> tuple[list[Problem], list[str]]:
    """Return the images whose depth or channels are not those of most; grey among colour is a note."""
    seen = [look for look in looks if look.size is not None]
    depths = Counter(look.dtype for look in seen)
    channels = Counter(look.channels for look in seen)
    problems: list[Problem] = []
    if len(depths) > 1:
        usual = depths.most_common(1)[0][0]
        problems += [_odd("mixed-depth", look, look.dtype, usual) for look in seen if look.dtype != usual]
    if set(channels) == {1, 3}:
        return problems, [f"grey images: {channels[1]:,}, in colour: {channels[3]:,}; grey is repeated to three"]
    if len(channels) > 1:
        most = channels.most_common(1)[0][0]
        told = f"{most} channel{'s' if most > 1 else ''}"
        problems += [_odd("mixed-channels", look, str(look.channels), told) for look in seen if look.channels != most]
    return problems, []


def _odd(kind: str, look: Look, came: str, usual: str) -> Problem:
    return Problem(kind, look.image_path, f"{came}, and most images have {usual}")
