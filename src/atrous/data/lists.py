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
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.names import SPLITS, composed

_FOLDERS = ("", "splits", "split", "lists", "list", "ImageSets", "ImageSets/Segmentation")
_ENDINGS = ("", "_list", "_split", "set")
_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")


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
    """Names with slashes, to be found by how a path ends."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_last[name.rpartition("/")[2]].append(name)

    def find(self, path: str) -> tuple[str, ...]:
        """Return the names that share the longest ending of whole words between slashes with `path`, () for none.

        >>> names = Endings(["train/a.png", "val/a.png", "val/b.png"])
        >>> names.find("/home/me/val/a.png"), names.find("b.png"), names.find("a.png")
        (('val/a.png',), ('val/b.png',), ('train/a.png', 'val/a.png'))
        """
        candidates = self._by_last.get(path.rpartition("/")[2], ())
        if path in candidates:
            return (path,)
        lengths = {name: _shared(name, path) for name in candidates}
        longest = max(lengths.values(), default=0)
        return tuple(name for name, length in lengths.items() if length == longest)


def _shared(name: str, path: str) -> int:
    count = 0
    for mine, theirs in zip(reversed(name.split("/")), reversed(path.split("/")), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
