"""The layout of CVAT's export "Segmentation mask 1.1": as VOC's, with the classes in `labelmap.txt`.

A line of it is `name:red,green,blue:parts:actions`; one that begins with # is a comment. Masks are colours, or the
numbers of the lines. The background is the first class here, wherever its line is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from atrous.contract import AtrousError, Colour
from atrous.data.found import Found, Problem
from atrous.data.layouts import voc
from atrous.data.lists import text_of
from atrous.data.pairs import Matched
from atrous.data.wishes import Wishes

ACCEPTED = "labelmap.txt + JPEGImages/ + SegmentationClass/ (CVAT)"

_LINE = re.compile(r"([^:]+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?")


def recognise(root: Path) -> Found | None:
    """Return the splits and classes of the export, or None when the folder is laid out otherwise.

    Raises `AtrousError` for an export without images, and for a `labelmap.txt` that names no class.
    """
    label_map, masks = root / "labelmap.txt", root / "SegmentationClass"
    if not label_map.is_file() or not masks.is_dir():
        return None
    if not (root / "JPEGImages").is_dir():
        raise AtrousError(
            f"{root}: this is CVAT's export of masks without the images. Export it again with the images saved, or put "
            "them into JPEGImages/."
        )
    classes, numbers, problems = _classes(label_map)
    if not classes:
        raise AtrousError(
            f"{label_map}: no line names a class. A line is name:red,green,blue::, such as car:128,0,0::",
            kind="broken-annotation",
        )
    found = voc.found_below(root, root, [masks])
    return replace(found, told=_told(classes, numbers, _first_mask(found.splits)), problems=tuple(problems))


def _classes(path: Path) -> tuple[dict[str, Colour], dict[str, int], list[Problem]]:
    """Return the colour of each class and its number in masks, which lines that are not understood count in too."""
    classes: dict[str, Colour] = {}
    numbers: dict[str, int] = {}
    problems = []
    lines = [(number, line) for number, line in enumerate(text_of(path).splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    for place, (number, line) in enumerate(lines):
        found = _LINE.fullmatch(line.strip())
        name = found[1].strip() if found else ""
        colour = (int(found[2]), int(found[3]), int(found[4])) if found else (-1, -1, -1)
        if not name or not 0 <= min(colour) <= max(colour) <= 255:
            problem = f"line {number}: {line.strip()!r} is not name:red,green,blue:parts:actions"
        elif name in classes or colour in classes.values():
            problem = f"line {number}: {line.strip()!r} repeats a name or a colour"
        else:
            classes[name], numbers[name] = colour, place
            continue
        problems.append(Problem("broken-annotation", path, problem))
    return classes, numbers, problems


def _told(classes: Mapping[str, Colour], numbers: Mapping[str, int], mask: Path | None) -> Wishes:
    """Return the classes, the background first; as colours unless the first mask has numbers."""
    names = sorted(classes, key=lambda name: name.lower() != "background")
    colours = tuple(classes[name] for name in names)
    if mask is None or not _holds_numbers(mask, colours):
        return Wishes(classes=tuple(names), colours=colours, values=colours, labels="colours")
    values = tuple(numbers[name] for name in names)
    return Wishes(classes=tuple(names), colours=colours, values=values, labels="indices")


def _first_mask(splits: Mapping[str, Matched]) -> Path | None:
    masks = (pair.mask for each in splits.values() for pair in each.pairs)
    return next((mask for mask in masks if isinstance(mask, Path)), None)


def _holds_numbers(mask: Path, colours: tuple[Colour, ...]) -> bool:
    """Say whether a mask is grey, or its palette is not that of the classes; False for a file that cannot be read."""
    try:
        with Image.open(mask) as image:
            if image.mode != "P":
                return image.mode in ("L", "1", "I", "I;16")
            seen = image.convert("RGB").getcolors(maxcolors=256) or ()
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
    return not {colour for _, colour in seen} <= set(colours)
