"""Files that lack a partner, share a name, or differ from the rest in depth or channels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from atrous.data.found import Found, Problem
from atrous.data.images import is_image_name

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look

_FOLDERS = 2000  # looked into for pictures that no layout used
_OVERLOOKED = 100
_TIMES = 10


def pairing_problems(found: Found) -> list[Problem]:
    """Return what the layout could not pair, and what was wrong with its lists and annotations."""
    problems = list(found.problems)
    for split, matched in found.splits.items():
        problems += [Problem("image-without-mask", path, "no mask has its name") for path in matched.images_alone]
        problems += [Problem("mask-without-image", path, "no image has its name") for path in matched.masks_alone]
        problems += [Problem("name-twice", path, "another has its name") for path in chain(*matched.doubles)]
        problems += [Problem("listed-missing", Path(name), f"is on the list of {split}") for name in matched.missing]
    return list(dict.fromkeys(problems))


def overlooked_notes(root: Path, found: Found, looks: Sequence[Look]) -> list[str]:
    """Return a note where a folder holds many times more pictures than its layout used; it is counted to a limit."""
    used = {path for look in looks for path in (look.image_path, look.mask_path) if path is not None}
    for matched in found.splits.values():
        used.update((*matched.images_alone, *matched.masks_alone, *chain(*matched.doubles)))
    count, first = 0, None
    for folder, folders, files in islice(os.walk(root), _FOLDERS):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = [name for name in files if is_image_name(name) and Path(folder, name) not in used]
        count += len(here)
        first = first or (Path(folder, min(here)) if here else None)
    if first is None or count < max(_OVERLOOKED, _TIMES * len(used)):
        return []
    return [
        f"layout {found.layout} uses {len(used):,} files, and {count:,} more pictures lie in the folder, such as "
        f"{first.relative_to(root).as_posix()}; name the folder of one dataset, or its --layout"
    ]


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
    return Problem(kind, look.image_path, f"{came}, and most images have {usual}", look.pair.name)
