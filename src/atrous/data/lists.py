"""Lists of a dataset's files, such as `train.txt` and `val.txt`: their lines, and which files the lines mean.

A list made on another machine holds that machine's paths; what is meant is the file below the folder whose path shares
the longest ending with the listed one, if there is one such file only.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.names import SPLITS, composed, meaning

_FOLDERS = ("", "splits", "split", "lists", "list", "ImageSets", "ImageSets/Segmentation")
_ENDINGS = ("", "_list", "_split", "set")
_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
_NEAR = 2  # folders of another machine's path that may be the dataset's own; those above are somebody's home


def text_of(path: Path) -> str:
    """Return what a text file holds; raises `AtrousError` for one that is not in UTF-8, or in UTF-16 with its mark."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise AtrousError(f"{path}: the list cannot be read: {error.strerror}.", kind="unreadable-file") from error
    except UnicodeDecodeError as error:
        raise AtrousError(
            f"{path}: this is not text in UTF-8 (byte {error.start:,}). Save it as UTF-8.", kind="unreadable-file"
        ) from error


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file that hold anything, without blanks around them; raises as `text_of`."""
    return [line.strip() for line in text_of(path).splitlines() if line.strip()]


def split_lists(root: Path, suffixes: Sequence[str] = (".txt",)) -> dict[str, Path]:
    """Return the list of each split that has one, beside the images or in `splits/`, `lists/` or `ImageSets/`.

    The first of these folders that has a list for `train` or `val` counts, and `train.txt` before `train_list.txt`.
    """
    for folder in _FOLDERS:
        place = root / folder
        if not place.is_dir():
            continue
        files = {path.name.lower(): path for path in sorted(place.iterdir()) if path.suffix.lower() in suffixes}
        names = (
            (split, word + ending + end) for end in suffixes for ending in _ENDINGS for word, split in SPLITS.items()
        )
        lists: dict[str, Path] = {}
        for split, name in names:
            if name in files and files[name].is_file():
                lists.setdefault(split, files[name])
        if set(lists) - {"test"}:
            return lists
    return {}


def tabled_lists(root: Path) -> dict[str, Path]:
    """Return the lists of `split_lists` in any of their formats: `.txt`, `.lst`, `.csv`, `.tsv`."""
    return split_lists(root, _SUFFIXES)


def slashed(text: str) -> str:
    r"""Return a listed path with slashes, without quotes, `./`, and detours by `..`.

    >>> slashed(r'"C:\data\a.png"'), slashed("./x/../a.png")
    ('C:/data/a.png', 'a.png')
    """
    text = composed(text.strip().strip("\"'")).replace("\\", "/")
    return posixpath.normpath(re.sub("/+", "/", text)) if text else ""


def is_file(path: str) -> bool:
    """Say whether there is such a file; no for a name that no file can have, where `Path.is_file` may raise."""
    return os.path.isfile(path)  # noqa: PTH113


class Endings:
    """Names with slashes, to be found by how a path ends, as paths of another machine must be."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_ending: dict[str, tuple[str, ...]] = _by_last(self._names, 1)
        self._split_up: set[str] = set()
        self._in_split: dict[tuple[str, str], tuple[str, ...]] = {}

    @cached_property
    def _folders(self) -> set[str]:
        """Every ending of the folders that names lie in."""
        folders = {name.rpartition("/")[0] for name in self._names}
        return {folder[start:] for folder in folders for start in _starts(folder)}

    def find(self, path: str) -> tuple[str, ...]:
        """Return the names that share the longest ending of whole words between slashes with `path`, () for none.

        What comes before that ending may be a folder of another machine, but not one that is here: then the file is
        missing, and another of its name is not meant. Nor is one in the folder of another split than `path` says.

        >>> names = Endings(["train/a.png", "val/a.png", "val/b.png"])
        >>> names.find("/home/me/val/a.png"), names.find("b.png"), names.find("a.png")
        (('val/a.png',), ('val/b.png',), ('train/a.png', 'val/a.png'))
        >>> names.find("train/b.png")
        ()
        """
        if path in self._names:
            return (path,)
        ending, found = self._longest(path)
        if not found:
            return ()
        before = path[: len(path) - len(ending)].rstrip("/")
        if not before:
            return found
        folder = path.rpartition("/")[0]
        if any(folder[start:] in self._folders for start in _starts(folder) if start < len(before)):
            return ()
        split = _split_named(before)
        return found if split is None else self._not_elsewhere(ending, found, split)

    def _longest(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Return the longest ending of a path that names have, and these, in the order of their names."""
        count, ending = 1, path.rpartition("/")[2]
        found = self._by_ending.get(ending, ())
        while len(found) > 1 and len(ending) < len(path):
            if ending not in self._split_up:
                self._split_up.add(ending)
                self._by_ending.update(_by_last((name for name in found if name != ending), count + 1))
            longer = _last(path, count + 1)
            if longer not in self._by_ending:
                break
            count, ending, found = count + 1, longer, self._by_ending[longer]
        return (_shared(found[0], path) if len(found) == 1 else ending), found

    def _not_elsewhere(self, ending: str, found: tuple[str, ...], split: str) -> tuple[str, ...]:
        """Return the names that lie in no folder of another split; kept, since many paths may ask for the same."""
        if (ending, split) not in self._in_split:
            self._in_split[ending, split] = tuple(
                name for name in found if _split_named(name[: len(name) - len(ending)]) in (None, split)
            )
        return self._in_split[ending, split]


def _by_last(names: Iterable[str], count: int) -> dict[str, tuple[str, ...]]:
    """Return names by their last words, without those that have fewer."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        if name.count("/") >= count - 1:
            found[_last(name, count)].append(name)
    return {ending: tuple(several) for ending, several in found.items()}


def _last(path: str, count: int) -> str:
    return "/".join(path.rsplit("/", count)[-count:])


def _starts(path: str) -> list[int]:
    """Return where the words of a path begin; none for an empty one."""
    return [0, *(slash.end() for slash in re.finditer("/", path))] if path else []


def _split_named(folders: str) -> str | None:
    """Return the split that the last folder to speak of one names; of an absolute path only the last two are asked."""
    words = [word for word in folders.split("/") if word]
    words = words[-_NEAR:] if folders.startswith(("/", "..")) or ":" in folders else words
    return next((split for word in reversed(words) if (split := meaning(word)[1]) is not None), None)


def _shared(name: str, path: str) -> str:
    """Return the ending of whole words that two paths share."""
    count = 0
    for mine, theirs in zip(reversed(name.split("/")), reversed(path.split("/")), strict=False):
        if mine != theirs:
            break
        count += 1
    return _last(name, count)
