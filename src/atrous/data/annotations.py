"""Annotation files in JSON and the images they speak of: which files there are, what is in them, what was found.

Annotation files name images by paths of the machine they were made on, of a server, or by bare names; what is meant is
the image below the root whose path shares the longest ending with that.
"""

from __future__ import annotations

import json
import math
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.found import Problem
from atrous.data.images import bare, is_image_name
from atrous.data.lists import Endings, slashed
from atrous.data.names import composed, meaning, split_of
from atrous.data.pairs import Matched, Pair, files_below, path_below
from atrous.data.parts import path_of

_MOST = 200  # files in one folder; formats with a file for all images come with fewer
_DEPTH = 3
_MOST_FOLDERS = 2000
_LONGEST = 10_000_000  # pixels of a side
_ABSOLUTE = re.compile(r"^(/|[A-Za-z]:/|[a-z]+://)")


def json_files(root: Path) -> list[Path]:
    """Return the JSON files in the root and three folders deep, but for folders that hold hundreds of them.

    Of thousands of folders the first are looked into.
    """
    found: list[Path] = []
    folders = [(root, 0)]
    for folder, depth in folders:  # grows on the way, so the shallow ones come first
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
        names = [entry.name for entry in visible if entry.name.lower().endswith(".json")]
        if len(names) <= _MOST:
            found += [folder / name for name in names if (folder / name).is_file()]
        if depth < _DEPTH and len(folders) < _MOST_FOLDERS:
            folders += [(Path(entry.path), depth + 1) for entry in visible if entry.is_dir()]
    return sorted(found)


def is_there(path: Path) -> bool:
    """Say whether a path that a file names exists; one that no file can have does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def text_with(path: Path, words: Sequence[bytes], *, without: Sequence[bytes] = ()) -> bytes | None:
    """Return what a file holds if it holds all these words and none of the others, else None.

    So a large file of another format costs no more than being read once.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if all(word in data for word in words) and not any(word in data for word in without) else None


def parsed(path: Path, data: bytes) -> Any:
    """Return the JSON of a file's bytes; raises `AtrousError` for what is none, such as a file that was cut off."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise AtrousError(
            f"{path}: this is not JSON ({error}). Export or copy the annotations again.", kind="broken-annotation"
        ) from error


def whole(value: Any) -> int | None:
    """Return a whole number of JSON as int, None for anything else.

    >>> whole(3.0), whole(True), whole("3")
    (3, None, None)
    """
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def finite(value: Any) -> float | None:
    """Return a number of JSON as float, None for anything else, NaN and infinity among it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e30:
        return None
    return float(value) if math.isfinite(value) else None


def image_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Return (height, width) if both are whole numbers that a side can have, else None."""
    rows, columns = whole(height), whole(width)
    if rows is None or columns is None or not (0 < rows <= _LONGEST and 0 < columns <= _LONGEST):
        return None
    return rows, columns


def corners(values: Any, *, least: int = 3) -> NDArray[np.float64]:
    """Return (n, 2) corners x, y of a flat list of numbers, or of a list of pairs.

    Raises `AtrousError` for anything but finite numbers, an odd number of them, and fewer than `least` corners.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        array = np.empty(1, object)
    if array.ndim == 0 or (array.size and array.dtype.kind not in "iuf"):
        raise _broken("a polygon is no list of numbers")
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 2) or array.size % 2:
        raise _broken(f"a polygon of {array.size:,} numbers came, which are no pairs of x and y")
    array = array.astype(np.float64).reshape(-1, 2)
    if array.size and not (array.min() > -1e9 and array.max() < 1e9):  # which no NaN passes
        raise _broken("a polygon has a coordinate that is not finite, or far too large")
    if len(array) < least:
        raise _broken(f"a polygon of {len(array)} corners came; {least} or more enclose something")
    return array


def _broken(what: str) -> AtrousError:
    return AtrousError(what, kind="broken-annotation")


def outside(rings: Sequence[NDArray[Any]], size: tuple[int, int]) -> str | None:
    """Return how far corners lie outside an image (height, width), in words, None if that is no more than 1 pixel."""
    if not rings:
        return None
    low = min(float(ring.min()) for ring in rings)
    right, bottom = (max(float(ring[:, axis].max()) for ring in rings) for axis in (0, 1))
    furthest = max(-low, right - size[1], bottom - size[0])
    return f"a shape reaches {furthest:,.1f} pixels beyond the image" if furthest > 1 else None


def split_in(*words: str) -> str | None:
    """Return the split that the names of files or folders speak of, the first that does.

    >>> split_in("instances_train2017.json"), split_in("annotations", "my-valid-set"), split_in("trains")
    ('train', 'val', None)
    """
    for word in words:
        for part in re.split(r"[^a-z0-9]+", word.lower()):
            if (split := split_of(part)) is not None:
                return split
    return None


def split_above(name: str) -> str | None:
    """Return the split that the folders of a path with slashes speak of.

    A folder that is called like a split counts, the outermost first; where there is none, a word in a folder's name
    does, the innermost first.

    >>> split_above("images/train/test_cam/a.jpg"), split_above("my val set/a.jpg"), split_above("train.jpg")
    ('train', 'val', None)
    """
    folders = name.split("/")[:-1]
    called = (split for split in map(split_of, folders) if split is not None)
    return next(called, None) or split_in(*reversed(folders))


def split_of_file(root: Path, path: Path) -> str | None:
    """Return the split that the name of a JSON file speaks of, else that its folders do."""
    return split_in(path.stem) or split_above(path_below(root, path))


class Images:
    """The images below a root, to be found by what an annotation file calls them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths = {composed(path.relative_to(root).as_posix()): path for path in files_below(root, is_image_name)}
        self._endings = Endings(self._paths)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self.foreign = 0

    def __iter__(self) -> Any:
        return iter(self._paths.values())

    def __len__(self) -> int:
        return len(self._paths)

    def at(self, name: str) -> Path | None:
        """Return the image at a path with slashes from the root, detours by `..` resolved; None where there is none."""
        return self._paths.get(composed(posixpath.normpath(name)))

    def find(self, name: str, near: Path, split: str | None = None, *, masks: Path | None = None) -> tuple[Path, ...]:
        """Return the images that a name may mean: one, or none, or several that nothing tells apart.

        Where there are several, what lies in a folder that is called like one of masks comes last. `near` is the
        annotation file: an image beside it or below its folder comes first, then one in a folder of the same split,
        then one in a folder that the annotation file is named after. What lies directly in `masks` is none.
        """
        wanted = slashed(name)
        names = tuple(each for each in self._endings.find(wanted) if self._paths[each].parent != masks)
        if len(names) > 1:
            names = self._nearest(names, near, split)
        self.foreign += bool(names) and _ABSOLUTE.match(wanted) is not None
        return tuple(self._paths[each] for each in names)

    def like(self, path: Path, split: str | None = None) -> Path | None:
        """Return the one image that is named like an annotation file, but for the suffix; None for none or several."""
        if not self._by_stem:
            for name in self._paths:
                self._by_stem[bare(Path(name)).name].append(name)
        names = tuple(self._by_stem.get(composed(path.stem), ()))
        names = self._nearest(names, path, split) if len(names) > 1 else names
        return self._paths[names[0]] if len(names) == 1 else None

    def _nearest(self, names: tuple[str, ...], near: Path, split: str | None) -> tuple[str, ...]:
        beside = near.parent.relative_to(self.root).as_posix() + "/"
        tests = (
            lambda name: all(meaning(folder)[0] != "mask" for folder in name.split("/")[:-1]),
            lambda name: beside != "./" and name.startswith(beside),
            lambda name: split is not None and split_above(name) == split,
            lambda name: len(folder := name.rpartition("/")[0].rpartition("/")[2]) > 1 and near.stem.endswith(folder),
        )
        for test in tests:
            names = tuple(name for name in names if test(name)) or names
        return names

    def note(self) -> tuple[str, ...]:
        """Return the line that says how many paths of another machine were understood, if any were."""
        told = f"{self.foreign:,} listed paths are of another machine; the images were found by the end of the path."
        return (told,) if self.foreign else ()


@dataclass
class Gathered:
    """Pairs by split, as they are found in annotation files, and what went wrong with them."""

    pairs: dict[str, dict[str, Pair]] = field(default_factory=lambda: defaultdict(dict))
    missing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    doubles: dict[str, list[tuple[Path, Path]]] = field(default_factory=lambda: defaultdict(list))
    problems: list[Problem] = field(default_factory=list)

    def add(self, split: str, pair: Pair) -> None:
        """Take a pair into a split; one whose name is taken becomes a double, or a problem if the image is the same."""
        first = self.pairs[split].setdefault(pair.name, pair)
        if first is pair or not isinstance(first.image, Path) or not isinstance(pair.image, Path):
            return
        if first.image == pair.image:
            self.problems.append(Problem("name-twice", pair.image, _annotated_twice(first, pair)))
        else:
            self.doubles[split].append((first.image, pair.image))

    def tell_unlisted(self, images: Images, reason: str) -> None:
        """Make a problem of the images that are in no pair and lie beside some that are, but for those told of."""
        used = {pair.image for pairs in self.pairs.values() for pair in pairs.values()}
        told = {problem.path for problem in self.problems}
        beside = {image.parent for image in used if isinstance(image, Path)}
        alone = (path for path in images if path not in used and path not in told and path.parent in beside)
        self.problems += [Problem("image-without-mask", path, reason) for path in alone]

    def splits(self) -> dict[str, Matched]:
        """Return the pairs of each split, by name."""
        return {
            split: Matched(
                tuple(sorted(self.pairs[split].values(), key=lambda pair: pair.name)),
                doubles=tuple(self.doubles[split]),
                missing=tuple(self.missing[split]),
            )
            for split in ("train", "val", "test")
            if self.pairs[split] or self.missing[split]
        }


def _annotated_twice(first: Pair, second: Pair) -> str:
    """Say in words that annotations say twice what is in an image."""
    one, two = (path_of(pair.mask or first.image) for pair in (first, second))
    if one == two:
        return f"{one.name} annotates it more than once: the first counts"
    return f"{one.name} and {two.name} both annotate it, as where an export is there twice: {one.name} counts"
