"""Images and the masks that belong to them, found by name."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.images import SUFFIXES, is_image_name, is_mask_name
from atrous.data.lists import lines_of, slashed
from atrous.data.names import SPLITS, composed, partners
from atrous.data.parts import Source, path_of

__all__ = [
    "SPLITS", "Matched", "Pair", "by_key", "files_below", "files_in", "folders_in", "holds", "images_below", "listed",
    "match", "named", "paired", "path_below", "refuse_repeated", "refuse_unpaired", "split_by_hash", "without_suffix",
]  # fmt: skip

_VAL_SHARE = 0.2
_SERIES = re.compile(r"(.+?)(?:[_\-. ]?(?:slice|frame|layer|[_\-. ][zts])[_\-. ]?|/)\d+", re.IGNORECASE)
"""Names of slices and frames: what they are of, or the folder that is theirs, and a number."""


@dataclass(frozen=True)
class Pair:
    """An image and its mask, or None; `name` is the image's path below the root without suffix, with slashes.

    Pairs of the same `group`, such as the slices of a volume, are never divided between splits; None is a group of its
    own. Letters and their marks are one character in names, so that a folder has the same names on every system.
    """

    name: str
    image: Source
    mask: Source | None
    group: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", composed(self.name))
        if self.group is not None:
            object.__setattr__(self, "group", composed(self.group))


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
    return [Path(text) for text in _texts_below(folder, wanted)]


def _texts_below(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    found = []
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and _is_new(place, name, entered)]
        found += [f"{place}{os.sep}{name}" for name in names if not name.startswith(".") and wanted(name)]
    return sorted(found, key=lambda text: text.replace(os.sep, "/"))


def _is_new(place: str, name: str, entered: set[str]) -> bool:
    """Say whether a folder was not entered before, and remember that it was: links may lead round in a circle."""
    real = os.path.realpath(f"{place}{os.sep}{name}")
    if real in entered:
        return False
    entered.add(real)
    return True


def holds(folder: Path, wanted: Callable[[str], bool]) -> bool:
    """Say whether any file below the folder has a `wanted` name; it looks no further than the first."""
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        if any(wanted(name) for name in names if not name.startswith(".")):
            return True
        folders[:] = [name for name in folders if not name.startswith(".") and _is_new(place, name, entered)]
    return False


def files_in(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Return the files directly in the folder whose name is `wanted`, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return [folder / name for name in sorted(names) if wanted(name)]


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in the folder, links to folders too, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def named(root: Path, image: Path, mask: Source | None) -> Pair:
    """Return the pair with its name: the image's path below `root` without suffix."""
    return Pair(without_suffix(path_below(root, image)), image, mask)


def path_below(root: Path, path: Path) -> str:
    """Return the path below the root with slashes; as `Path.relative_to`, but quick enough for 100,000 files.

    >>> path_below(Path("data"), Path("data/a/b.png"))
    'a/b.png'
    """
    above, text = f"{root.as_posix()}/", path.as_posix()
    return text[len(above) :] if text.startswith(above) else path.relative_to(root).as_posix()


def without_suffix(name: str) -> str:
    """Return the name as `images.bare` does.

    >>> without_suffix("a.b/c.nii.gz"), without_suffix("a.b/c")
    ('a.b/c', 'a.b/c')
    """
    if name.lower().endswith(".nii.gz"):
        return name[:-7]
    dot = name.rfind(".")
    return name[:dot] if dot > name.rfind("/") + 1 else name


def match(root: Path, images: Path, masks: Path | None, *, masks_optional: bool = False) -> Matched:
    """Pair the images below one folder with the masks below another, as `names.partners` does.

    Names are compared below their folders and without suffix. Without a mask folder, or with `masks_optional`, an image
    may stay without mask.
    """
    pictures, doubles = by_key(images)
    if masks is None:
        return Matched(tuple(named(root, path, None) for path in pictures.values()), doubles=doubles)
    labels, double_masks = by_key(masks, is_mask_name)
    return paired(root, pictures, labels, masks_optional=masks_optional, doubles=doubles + double_masks)


def paired(
    root: Path,
    pictures: Mapping[str, Path],
    labels: Mapping[str, Path],
    *,
    masks_optional: bool = False,
    doubles: tuple[tuple[Path, Path], ...] = (),
) -> Matched:
    """Pair images and masks by their keys, as `names.partners` does."""
    found = partners(pictures, labels)
    alone = () if masks_optional else tuple(path for key, path in pictures.items() if key not in found)
    pairs = tuple(
        named(root, path, labels[found[key]] if key in found else None)
        for key, path in pictures.items()
        if masks_optional or key in found
    )
    used = set(found.values())
    return Matched(pairs, alone, tuple(path for key, path in labels.items() if key not in used), doubles)


def by_key(
    folder: Path, wanted: Callable[[str], bool] = is_image_name, *, flat: bool = False
) -> tuple[dict[str, Path], tuple[tuple[Path, Path], ...]]:
    """Return the wanted files by their path below the folder, without suffix; and those that share one, by twos.

    Of a `flat` folder only the files directly in it count.
    """
    found: dict[str, Path] = {}
    doubles = []
    for path in files_in(folder, wanted) if flat else files_below(folder, wanted):
        first = found.setdefault(composed(without_suffix(path_below(folder, path))), path)
        if first is not path:
            doubles.append((first, path))
    return found, tuple(doubles)


def listed(path: Path) -> list[str]:
    """Return the name on every line of a list file, with its folders and without an image suffix; [] for no file.

    Of a line the first word counts (up to a tab or comma).
    """
    if not path.is_file():
        return []
    names = (slashed(line.replace(",", "\t").split("\t")[0]) for line in lines_of(path))
    return [without_suffix(name) if name.lower().endswith(SUFFIXES) else name for name in names if name]


def refuse_unpaired(matched: Iterable[Matched], root: Path) -> None:
    """Raise `AtrousError` for images without mask, masks without image, names used twice and listed names missing."""
    for found in matched:
        if found.doubles:
            first, second = found.doubles[0]
            raise AtrousError(
                f"{root}: {len(found.doubles):,} names are used by several files, first {_below(first, root)} and "
                f"{_below(second, root)}. Remove or rename one of each.",
                kind="name-twice",
            )
        if found.missing:
            raise AtrousError(
                f"{root}: {len(found.missing):,} of the listed files are not there, first {found.missing[0]}. "
                "Copy them, or take them off the list.",
                kind="listed-missing",
            )
        if found.images_alone:
            raise AtrousError(
                f"{root}: {_some(found.images_alone, root, 'image', 'have', 'has')} no mask. "
                "Add masks of the same name, or move the images out of the folder.",
                kind="image-without-mask",
            )
        if found.masks_alone:
            raise AtrousError(
                f"{root}: {_some(found.masks_alone, root, 'mask', 'have', 'has')} no image. "
                "Add images of the same name, or move the masks out of the folder.",
                kind="mask-without-image",
            )


def refuse_repeated(pairs: Iterable[Pair], root: Path | None = None) -> None:
    """Raise `AtrousError` for two pairs of one name: what is stored by name would be one's for both."""
    seen: dict[str, Pair] = {}
    for pair in pairs:
        first = seen.setdefault(pair.name, pair)
        if first is not pair and first != pair:
            where = "" if root is None else f"{root}: "
            raise AtrousError(
                f"{where}the name {pair.name!r} is that of two pairs, {path_of(first.image)} and "
                f"{path_of(pair.image)}. Rename one of them.",
                kind="name-twice",
            )


def _some(paths: tuple[Path, ...], root: Path, noun: str, many: str, one: str) -> str:
    names = ", ".join(_below(path, root) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths):,} {noun}{'s' if len(paths) > 1 else ''} ({names}) {many if len(paths) > 1 else one}"


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def split_by_hash(pairs: Iterable[Pair]) -> dict[str, tuple[Pair, ...]]:
    """Return `train` and `val`, about one in five: a pair's place hangs on its name alone, whatever else there is.

    Pairs of a group stay together, where the group's name decides; so do images whose names are those of slices or
    frames of one thing, such as `case7_slice012`, where there are two things or more. Of two or more groups each split
    gets at least one.

    >>> sorted(split_by_hash([Pair("a", Path("a.png"), None), Pair("b", Path("b.png"), None)]))
    ['train', 'val']
    """
    pairs = tuple(pairs)
    groups = _groups(pairs, by_series=True)
    if len(groups) < 2:
        groups = _groups(pairs, by_series=False)
    ordered = sorted(groups, key=_place)
    count = sum(_place(name) < _VAL_SHARE for name in ordered)
    if len(ordered) >= 2:
        count = min(max(count, 1), len(ordered) - 1)
    chosen = (
        (part, [pair for name in names for pair in groups[name]])
        for part, names in (("train", ordered[count:]), ("val", ordered[:count]))
    )
    return {part: tuple(sorted(members, key=lambda pair: pair.name)) for part, members in chosen}


def _groups(pairs: Iterable[Pair], *, by_series: bool) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        series = _SERIES.fullmatch(pair.name) if by_series and pair.group is None else None
        groups[series[1] if series else pair.group or pair.name].append(pair)
    return groups


def _place(name: str) -> float:
    return int(sha256(name.encode()).hexdigest()[:8], 16) / 2**32
