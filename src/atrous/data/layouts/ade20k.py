"""The layout of ADE20K's scene parsing: `images/{training,validation}` and `annotations/{training,validation}`.

The masks hold 1..150, and 0 where the scene has something else, which is not counted. `objectInfo150.csv` or `.txt`
names the classes. A folder of images and annotations is taken for ADE20K only where there is such a file, or where its
images are called `ADE_...`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from atrous.data.found import Found, Problem
from atrous.data.images import is_image_name, is_mask_name
from atrous.data.lists import lines_of
from atrous.data.names import split_of
from atrous.data.pairs import Matched, files_in, folders_in, holds, match
from atrous.data.wishes import Wishes

ACCEPTED = "images/training/ADE_*.jpg + annotations/training/ (ADE20K)"

_COUNT = 150
_INFO = ("objectInfo150.csv", "objectInfo150.txt")


def recognise(root: Path) -> Found | None:
    """Return the splits and classes of the dataset, or None when it is laid out otherwise.

    Without split folders the names `ADE_train_` and `ADE_val_` tell the split, where there are both.
    `ADEChallengeData2016/` is seen through.
    """
    for base in (root, root / "ADEChallengeData2016"):
        images, masks = base / "images", base / "annotations"
        info = next((path for name in _INFO if (path := base / name).is_file()), None)
        if images.is_dir() and holds(masks, is_mask_name) and (info is not None or _is_named_so(images)):
            told, problems = _classes(info)
            return Found(_splits(root, images, masks), told, problems=problems)
    return None


def _is_named_so(images: Path) -> bool:
    """Say whether the first image, here or in the folder of a split, has a name of the dataset."""
    places = [images, *(path for path in folders_in(images) if split_of(path.name))]
    first = next((path for place in places for path in files_in(place, is_image_name)[:1]), None)
    return first is not None and first.name.startswith(("ADE_train_", "ADE_val_", "ADE_test_"))


def _splits(root: Path, images: Path, masks: Path) -> dict[str, Matched]:
    splits = {}
    for folder in folders_in(images):
        split, labels = split_of(folder.name), masks / folder.name
        if split == "test" or (split is not None and labels.is_dir()):
            splits[split] = match(root, folder, labels if labels.is_dir() else None)
    return splits or _splits_by_name(match(root, images, masks))


def _splits_by_name(found: Matched) -> dict[str, Matched]:
    of_val = tuple(pair for pair in found.pairs if pair.name.rpartition("/")[2].startswith("ADE_val_"))
    rest = tuple(pair for pair in found.pairs if not pair.name.rpartition("/")[2].startswith("ADE_val_"))
    if not of_val or not rest:
        return {"train": found}
    return {"train": replace(found, pairs=rest), "val": Matched(of_val)}


def _classes(info: Path | None) -> tuple[Wishes, tuple[Problem, ...]]:
    numbered = tuple(f"class {index}" for index in range(1, _COUNT + 1))
    names = numbered if info is None else _names(info)
    problems: tuple[Problem, ...] = ()
    if len(names) != _COUNT:
        detail = f"{len(names)} classes are listed, and the masks have {_COUNT}; they are numbered instead"
        names, problems = numbered, (Problem("broken-annotation", info or Path(), detail),)
    return Wishes(classes=names, values=tuple(range(1, _COUNT + 1)), ignore=0), problems


def _names(info: Path) -> tuple[str, ...]:
    """Return the first name of every class, or as many of its names as tell it from those before."""
    names: list[str] = []
    for line in lines_of(info)[1:]:
        columns = line.split(",") if info.suffix == ".csv" else line.split("\t")
        words = [word.strip() for word in re.split("[;,]", columns[-1])]
        tries = [", ".join(words[:count]) for count in range(1, len(words) + 1)]
        names.append(next((name for name in tries if name not in names), f"{tries[-1]} {len(names) + 1}"))
    return tuple(names)
