"""Images and the masks that belong to them, found by name."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.images import SUFFIXES, bare, is_image_name, is_mask_name
from atrous.data.parts import Source

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""The folder names that mean a split, in small letters, and what the split is called here."""

_VAL_SHARE = 0.2
_MASK_ENDING = re.compile(r"[_-](mask|masks|label|labels|gt|annot|annotation|seg)$", re.IGNORECASE)
_IMAGE_ENDING = re.compile(r"[_-](image|img)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image and its mask, or None; `name` is the image's path below the root without suffix, with slashes.

    Pairs of the same `group`, such as the slices of a volume, are never divided between splits; None is a group of its
    own.
    """

    name: str
    image: Source
    mask: Source | None
    group: str | None = None


@dataclass(frozen=True)
class Matched:
    """What the files of one split came to: pairs, and what could not be paired."""

    pairs: tuple[Pair, ...]
    images_alone: tuple[Path, ...] = ()
    masks_alone: tuple[Path, ...] = ()
    doubles: tuple[tuple[Path, Path], ...] = ()
    missing: tuple[str, ...] = ()


def images_below(folder: Path) -> list[Path]:
    """Return all image files below the folder, sorted by path; hidden files and folders are left out.

    Links to folders are followed, and a folder that a link has led to before is not entered again.
    """
    return files_below(folder, lambda name: name.lower().endswith(SUFFIXES))


def files_below(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Return the files below the folder whose name is `wanted`, as `images_below` does."""
    found = []
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and _is_new(place, name, entered)]
        found += [Path(place, name) for name in names if not name.startswith(".") and wanted(name)]
    return sorted(found, key=lambda path: path.as_posix())


def _is_new(place: str, name: str, entered: set[str]) -> bool:
    """Say whether a folder was not entered before, and remember that it was: links may lead round in a circle."""
    real = os.path.realpath(Path(place, name))
    if real in entered:
        return False
    entered.add(real)
    return True


def named(root: Path, image: Path, mask: Path | None) -> Pair:
    """Return the pair with its name: the image's path below `root` without suffix."""
    return Pair(bare(image.relative_to(root)).as_posix(), image, mask)


def match(root: Path, images: Path, masks: Path | None, *, masks_optional: bool = False) -> Matched:
    """Pair the images below one folder with the masks below another.

    Names are compared below their folders and without suffix; endings such as `_mask`, `_label` and `_gt`, and
    `_image` on images, are left out where the whole names do not meet. Without a mask folder, or with
    `masks_optional`, an image may stay without mask.
    """
    pictures, doubles = _by_key(images)
    if masks is None:
        return Matched(tuple(named(root, path, None) for path in pictures.values()), doubles=tuple(doubles))
    labels, double_masks = _by_key(masks, is_mask_name)
    shortened = {_MASK_ENDING.sub("", key): path for key, path in labels.items()}
    pairs, alone, used = [], [], set()
    for key, image in pictures.items():
        mask = labels.get(key) or shortened.get(key) or shortened.get(_IMAGE_ENDING.sub("", key))
        if mask is None and not masks_optional:
            alone.append(image)
            continue
        used.add(mask)
        pairs.append(named(root, image, mask))
    masks_alone = tuple(path for path in labels.values() if path not in used)
    return Matched(tuple(pairs), tuple(alone), masks_alone, tuple(doubles + double_masks))


def _by_key(
    folder: Path, wanted: Callable[[str], bool] = is_image_name
) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    doubles = []
    for path in files_below(folder, wanted):
        key = bare(path.relative_to(folder)).as_posix()
        if key in found:
            doubles.append((found[key], path))
        else:
            found[key] = path
    return found, doubles


def listed(path: Path) -> list[str]:
    """Return the bare name on every line of a list file, [] where there is none.

    Of a line the first word counts (up to a tab or comma), without folders, which are those of the machine that the
    list was made on, and without an image suffix.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = [re.split(r"[\t,]", line)[0].strip().replace("\\", "/").rsplit("/", 1)[-1] for line in lines]
    return [name[: -len(Path(name).suffix)] if name.lower().endswith(SUFFIXES) else name for name in names if name]


def refuse_unpaired(matched: Iterable[Matched], root: Path) -> None:
    """Raise `AtrousError` for images without mask, masks without image, names used twice and listed names missing."""
    for found in matched:
        if found.doubles:
            first, second = found.doubles[0]
            raise AtrousError(
                f"{root}: {len(found.doubles):,} names are used by several files, first {_below(first, root)} and "
                f"{_below(second, root)}. Remove or rename one of each."
            )
        if found.missing:
            raise AtrousError(
                f"{root}: {len(found.missing):,} listed names have no image, first {found.missing[0]}. "
                "Copy the images, or take the names off the list."
            )
        if found.images_alone:
            raise AtrousError(
                f"{root}: {_some(found.images_alone, root, 'image', 'have', 'has')} no mask. "
                "Add masks of the same name, or move the images out of the folder."
            )
        if found.masks_alone:
            raise AtrousError(
                f"{root}: {_some(found.masks_alone, root, 'mask', 'have', 'has')} no image. "
                "Add images of the same name, or move the masks out of the folder."
            )


def _some(paths: tuple[Path, ...], root: Path, noun: str, many: str, one: str) -> str:
    names = ", ".join(_below(path, root) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths):,} {noun}{'s' if len(paths) > 1 else ''} ({names}) {many if len(paths) > 1 else one}"


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def split_by_hash(pairs: Iterable[Pair]) -> dict[str, tuple[Pair, ...]]:
    """Return `train` and `val`, about one in five: a pair's place hangs on its name alone, whatever else there is.

    Pairs of a group stay together, where the group's name decides. Of two or more groups each split gets at least one.

    >>> sorted(split_by_hash([Pair("a", Path("a.png"), None), Pair("b", Path("b.png"), None)]))
    ['train', 'val']
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group or pair.name].append(pair)
    ordered = sorted(groups, key=_place)
    count = sum(_place(name) < _VAL_SHARE for name in ordered)
    if len(ordered) >= 2:
        count = min(max(count, 1), len(ordered) - 1)
    chosen = (
        (part, [pair for name in names for pair in groups[name]])
        for part, names in (("train", ordered[count:]), ("val", ordered[:count]))
    )
    return {part: tuple(sorted(members, key=lambda pair: pair.name)) for part, members in chosen}


def _place(name: str) -> float:
    return int(sha256(name.encode()).hexdigest()[:8], 16) / 2**32
