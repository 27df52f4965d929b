"""The layout of lists: `train.txt` and `val.txt` with an image and its mask on every line.

Space, tab, comma or semicolon stand between the two, as in the lists of PaddleSeg, Caffe and HRNet; names may have
spaces themselves. Paths are relative to the folder or to the list. Those of another machine, such as
`/home/somebody/data/images/a.png` or `D:\\data\\images\\a.png`, are found by their endings.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.found import Found
from atrous.data.images import bare, is_image_name, is_mask_name
from atrous.data.lists import Endings, is_file, lines_of, slashed, tabled_lists
from atrous.data.names import composed, meaning
from atrous.data.pairs import Matched, Pair, files_below, path_below

ACCEPTED = "train.txt + val.txt with an image and its mask on every line (lists)"

_PEEKED = 20


def recognise(root: Path) -> Found | None:
    """Return the splits that the lists make, or None where there are no lists with two columns.

    Images and masks that are in no list are left out. A line of one path is an image without mask.

    Raises `AtrousError` for lists of two columns of which no line's files are there.
    """
    lists = tabled_lists(root)
    if not any(_columns(line) for path in lists.values() for line in _peeked(path)):
        _refuse_unreadable(lists.values())
        return None
    files = _Files(root)
    splits, notes = {}, []
    for split, path in lists.items():
        lines = [files.read(line, path.parent) for line in lines_of(path) if not line.startswith("#")]
        splits[split] = _matched(root, lines, masks_optional=split == "test")
        if foreign := sum(line.foreign for line in lines):
            notes.append(f"{foreign:,} paths of {path.name} were of another machine and were found by their endings")
    if not any(each.pairs for each in splits.values()):
        raise _nothing_there(root, [path.name for path in lists.values()], splits)
    return Found(splits, notes=tuple(notes))


def names_pairs(root: Path) -> bool:
    """Say whether there are lists of images with their masks, and their first lines name files that are there."""
    for path in tabled_lists(root).values():
        lines = [line for line in _peeked(path) if _columns(line)]
        if lines:
            files = _Files(root)
            return any(files.read(line, path.parent).mask is not None for line in lines)
    return False


def _peeked(path: Path) -> list[str]:
    """Return the first lines of a list; none of a file that is no text in UTF-8, which may be anything."""
    try:
        return lines_of(path)[:_PEEKED]
    except AtrousError:
        return []


def _refuse_unreadable(lists: Iterable[Path]) -> None:
    """Raise `AtrousError` for a list that is no text in UTF-8; a table of that name may be about something else."""
    for path in lists:
        if path.suffix.lower() in (".txt", ".lst"):
            lines_of(path)


def _nothing_there(root: Path, lists: list[str], splits: dict[str, Matched]) -> AtrousError:
    first = next(name for each in splits.values() for name in (*each.missing, ""))
    return AtrousError(
        f"{root}: none of the files that {' and '.join(lists)} list is below this folder, first {first}. "
        "Name the folder that holds the images, or correct the paths."
    )


def _columns(line: str) -> list[tuple[str, str]]:
    """Return the ways in which a line is the paths of an image and a mask, the clearest first; the rest is left out."""
    ways = [line.split(separator)[:2] for separator in ("\t", ",", ";")]
    ways += [[line[: gap.start()], line[gap.end() :]] for gap in re.finditer(r"\s+", line)]
    ways += [line.split()[:2]]
    named = dict.fromkeys((slashed(way[0]), slashed(way[1])) for way in ways if len(way) == 2)
    return [(first, second) for first, second in named if is_image_name(first) and is_mask_name(second)]


@dataclass(frozen=True)
class _Line:
    """What a line means: files that are there, names that are not, and how many were found by their endings."""

    image: Path | None = None
    mask: Path | None = None
    missing: tuple[str, ...] = ()
    foreign: int = 0


class _Files:
    """The files that lists may mean: those below the root, and any that a path leads to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths = {composed(path_below(root, path)): path for path in files_below(root, is_mask_name)}
        self._endings = Endings(self._paths)

    def read(self, line: str, folder: Path) -> _Line:
        """Return what a line of a list in `folder` means; endings are compared only where a path leads nowhere."""
        ways = [{name: self._exact(name, folder) for name in names} for names in _columns(line)]
        for way in ways:
            if all(way.values()):
                return _line(way)
        whole = slashed(line)
        alone = {whole: self._exact(whole, folder)}
        if alone[whole] is not None:
            return _line(alone)
        tries = [self._by_ending(way) for way in ways or ([alone] if is_image_name(whole) else [])]
        return min(tries, key=lambda each: len(each.missing), default=_Line())

    def _exact(self, name: str, folder: Path) -> Path | None:
        known = self._paths.get(name)
        if known is None and folder != self._root:
            known = self._paths.get(posixpath.normpath(f"{path_below(self._root, folder)}/{name}"))
        if known is None and name.startswith(("/", "../")):
            path = posixpath.normpath(posixpath.join(folder.as_posix(), name))
            if is_file(path):
                return self._paths.get(os.path.relpath(path, self._root).replace(os.sep, "/"), Path(path))
        return known or self._paths.get(name.lstrip("/"))

    def _by_ending(self, way: Mapping[str, Path | None]) -> _Line:
        found = {name: self._endings.find(name) for name, path in way.items() if path is None}
        near = {name: self._paths[names[0]] for name, names in found.items() if len(names) == 1}
        files = {**way, **near}
        if len({split for path in files.values() if path is not None and (split := self._split(path))}) > 1:
            files.update(dict.fromkeys(near))  # the image of one split and the mask of another are no pair
        return replace(_line(files), foreign=sum(files[name] is not None for name in near))

    def _split(self, path: Path) -> str | None:
        above, text = f"{self._root.as_posix()}/", path.as_posix()
        folders = text[len(above) :].split("/")[:-1] if text.startswith(above) else []
        return next((split for folder in folders if (split := meaning(folder)[1]) is not None), None)


def _line(way: Mapping[str, Path | None]) -> _Line:
    """Return the line of one or two names and their files."""
    files = [*way.values(), None]
    return _Line(files[0], files[1], tuple(name for name, path in way.items() if path is None))


def _matched(root: Path, lines: list[_Line], *, masks_optional: bool) -> Matched:
    pairs: dict[str, _Line] = {}
    alone: list[Path] = []
    doubles: list[tuple[Path, Path]] = []
    for line in lines:
        if line.image is None or line.missing:
            continue
        if line.mask is None and not masks_optional:
            alone.append(line.image)
            continue
        first = pairs.setdefault(_name(root, line.image), line)
        if (first.image, first.mask) != (line.image, line.mask):
            doubles.append((first.mask or line.image, line.mask or line.image))
    return Matched(
        tuple(Pair(name, line.image, line.mask) for name, line in pairs.items() if line.image is not None),
        tuple(alone),
        doubles=tuple(doubles),
        missing=tuple(name for line in lines for name in line.missing),
    )


def _name(root: Path, image: Path) -> str:
    """Return the pair's name; of an image that is elsewhere its whole path, without what would lead out of a folder."""
    below = image.relative_to(root) if image.is_relative_to(root) else image
    return "/".join(part for part in bare(below).parts if part not in ("..", below.anchor))
