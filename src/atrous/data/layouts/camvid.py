"""The layouts of CamVid: SegNet's `train` beside `trainannot`, and the original of 701 images with 32 colours.

In SegNet's there are `val`, `test` and their annotations likewise; the numbers are those of eleven classes, 11 is not
counted. The original has `701_StillsRaw_full/x.png`, `LabeledApproved_full/x_L.png` and `label_colors.txt`, whose lines
are `red green blue name`; `Void` is not counted.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from atrous.contract import AtrousError, Colour
from atrous.data.dividing import by_lists
from atrous.data.found import Found, Problem
from atrous.data.lists import text_of
from atrous.data.pairs import match
from atrous.data.wishes import Wishes

NAMES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
"""The colours of SegNet's figures, in the order of the names."""

IGNORE_VALUE = 11
ACCEPTED = "train/ + trainannot/ (CamVid)"

_STILLS = ("701_StillsRaw_full", "images", "raw")
_LABELS = ("LabeledApproved_full", "labels", "label")
_LINE = re.compile(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*)")


def recognise(root: Path) -> Found | None:
    """Return the splits of a CamVid folder, or None when it is laid out otherwise.

    Images and masks are paired by file name; SegNet's lists hold paths of another machine and are not read.
    """
    splits = {}
    for split in ("train", "val", "test"):
        images, masks = root / split, root / f"{split}annot"
        if images.is_dir() and masks.is_dir():
            splits[split] = match(root, images, masks)
        elif images.is_dir() and split == "test":
            splits[split] = match(root, images, None)
    if any(split != "test" or (root / "testannot").is_dir() for split in splits):
        return Found(splits)
    return _original(root)


def _original(root: Path) -> Found | None:
    images = next((path for name in _STILLS if (path := root / name).is_dir()), None)
    masks = next((path for name in _LABELS if (path := root / name).is_dir()), None)
    colours = root / "label_colors.txt"
    if images is None or masks is None or not colours.is_file():
        return None
    told, problems = _classes(colours)
    found = by_lists(root, match(root, images, masks))
    return replace(found, told=told, problems=problems)


def _classes(path: Path) -> tuple[Wishes, tuple[Problem, ...]]:
    classes: dict[str, Colour] = {}
    problems = []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        found = _LINE.fullmatch(line.strip())
        colour = (int(found[1]), int(found[2]), int(found[3])) if found else (256, 256, 256)
        if found and max(colour) <= 255 and found[4] not in classes and colour not in classes.values():
            classes[found[4]] = colour
        elif line.strip():
            detail = f"line {number}: {line.strip()!r} is not red green blue name, or repeats one"
            problems.append(Problem("broken-annotation", path, detail))
    void = classes.pop("Void", None)
    if not classes:
        raise AtrousError(
            f"{path}: no line names a class. A line is red green blue name, such as 64 0 128 Car.",
            kind="broken-annotation",
        )
    colours = tuple(classes.values())
    told = Wishes(classes=tuple(classes), colours=colours, values=colours, ignore=void, labels="colours")
    return told, tuple(problems)
