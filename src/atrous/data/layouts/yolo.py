"""The layout of YOLO's segmentation data: images below `images/` and a text file for each below `labels/`.

`images/train/a.jpg` has `labels/train/a.txt`, and `train/images/a.jpg` has `train/labels/a.txt`. Each line is an
object: the number of its class, then x and y of the corners of its outline, in shares of the image's width and height.
Lines of a class and four numbers are boxes, which are data for detection and not outlines.

`data.yaml`, or any YAML file beside the folders that has them, gives the `names`, as a list or by number, and may give
the split as `train`, `val` and `test`: folders or lists of images; else the folders' names tell it. Without names,
`classes.txt` is read; without that, classes are numbered. Masks hold 0 for the background and the class's number + 1.
An image without text file, beside others with one, is all background, as is one whose text file is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atrous.contract import AtrousError
from atrous.data.annotations import Gathered, Images, is_there, split_in
from atrous.data.categories import Category, Classes, classes_of
from atrous.data.census import in_threads
from atrous.data.found import Found, Problem
from atrous.data.images import bare
from atrous.data.lists import lines_of, slashed
from atrous.data.pairs import Pair, files_below, named
from atrous.data.shapes import Shape, Shapes, polygon
from atrous.data.yaml_keys import Value, read_keys

ACCEPTED = "images/ + labels/ with a text file of polygons for each image (YOLO)"
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_PEEKED = 20
_MOST = 253  # the highest number of a class beside the background
_BEYOND = 0.002  # 1 pixel of 500; the size of the image is not known before it is read
_NO_SHARE = 2.0
_NUMBERS = re.compile(r"^\s*\d{1,9}(\.0*)?(\s+[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?){4,}\s*$")


@dataclass(frozen=True)
class _Text:
    """What a text file holds: (class, corners in shares) of each outline, how many boxes, and what is wrong."""

    outlines: tuple[tuple[int, bytes], ...]
    boxes: int = 0
    problems: tuple[Problem, ...] = ()


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with YOLO's polygons, or None when it is laid out otherwise.

    Raises `AtrousError` where all objects are boxes, no image is there, or more than 254 classes are used.
    """
    texts = _texts(root)
    if not texts or not _are_labels(texts.values()):
        return None
    read = dict(zip(texts, in_threads(_read, list(texts.values())), strict=True))
    boxes = sum(text.boxes for text in read.values())
    if boxes and not any(text.outlines for text in read.values()):
        raise AtrousError(
            f"{root}: all {boxes:,} objects of its {len(read):,} label files are boxes (a class and 4 numbers), which "
            "is data for detection. Segmentation needs polygons: export those."
        )
    images, gathered = Images(root), Gathered()
    gathered.problems += [problem for text in read.values() for problem in text.problems]
    yaml = _yaml(root)
    classes = _classes(root, yaml, read, gathered.problems)
    splits = _splits(root, yaml, images, gathered)
    empty = _pair_up(root, images, texts, read, classes=classes, splits=splits, gathered=gathered)
    if not any(gathered.pairs.values()):
        raise AtrousError(f"{root}: {len(texts):,} label files came and none of their images. Put them into images/.")
    note = f"{empty:,} images have no label file: they are taken for background, as YOLO does."
    return Found(
        gathered.splits(), classes.told, (*classes.notes, *((note,) if empty else ())), tuple(gathered.problems)
    )


def _texts(root: Path) -> dict[str, Path]:
    """Return the text files below folders called `labels`, by the name that their image has, without suffix."""
    found: dict[str, Path] = {}
    for folder in sorted(path for pattern in ("", "*/", "*/*/") for path in root.glob(f"{pattern}[Ll]abels")):
        if folder.is_dir():
            for path in files_below(folder, lambda name: name.lower().endswith(".txt") and name != "classes.txt"):
                found[_image_key(path.relative_to(root))] = path
    return found


def _image_key(path: Path) -> str:
    """Return a path without suffix in which the last folder called `labels` is called `images`."""
    parts = list(bare(path).parts)
    place = max(index for index, part in enumerate(parts[:-1]) if part.lower() == "labels")
    return "/".join([*parts[:place], "images", *parts[place + 1 :]])


def _are_labels(paths: Iterable[Path]) -> bool:
    """Say whether one of the first files that hold anything begins with a class and numbers, as YOLO's do."""
    for _, path in zip(range(_PEEKED), paths, strict=False):
        with path.open("rb") as file:
            first = file.readline(100_000).decode("utf-8-sig", "replace")
        if first.strip():
            return _NUMBERS.match(first) is not None
    return False


def _read(path: Path) -> _Text:
    outlines, problems, boxes = [], [], 0
    try:
        lines = lines_of(path)
    except AtrousError as error:
        return _Text((), 0, (Problem("broken-annotation", path, str(error)),))
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) == 5 and _NUMBERS.match(line):
            boxes += 1
            continue
        wrong = _wrong(line, words)
        if wrong is not None:
            problems.append(Problem("broken-annotation", path, f"line {number}: {wrong}: left out"))
            continue
        shares = np.array(words[1:], np.float64)
        furthest = max(float(shares.max()) - 1, -float(shares.min()))
        if furthest > _BEYOND:
            detail = f"line {number}: a shape reaches {furthest:.1%} of the image's side beyond it"
            problems.append(Problem("shape-outside", path, detail))
        outlines.append((int(float(words[0])), shares.astype("<f4").tobytes()))
    if boxes:
        problems.append(Problem("broken-annotation", path, f"{boxes:,} of {len(lines):,} objects are boxes: left out"))
    return _Text(tuple(outlines), boxes, tuple(problems))


def _wrong(line: str, words: list[str]) -> str | None:
    """Say what is wrong with a line that is no box, if anything is."""
    if not _NUMBERS.match(line):
        return f"{line[:40]!r} is no class and numbers"
    if len(words) % 2 == 0:
        return f"{len(words) - 1:,} numbers after the class, which are no pairs of x and y"
    if len(words) < 7:
        return f"{len(words) // 2} corners, and 3 or more enclose something"
    largest = max(abs(float(word)) for word in words[1:])
    return f"a coordinate of {largest:,.6g}, and shares of the image are 0 to 1" if largest > _NO_SHARE else None


def _yaml(root: Path) -> tuple[Path, dict[str, Value]] | None:
    """Return the first YAML file beside the folders that has names, and its keys."""
    keys = ("names", "path", *(word for words in _SPLITS.values() for word in words))
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in (".yaml", ".yml") and path.is_file())
    for path in sorted(paths, key=lambda path: path.stem not in ("data", "dataset")):
        found = read_keys(path, keys)
        if isinstance(found.get("names"), (list, dict)):
            return path, found
    return None


def _classes(
    root: Path, yaml: tuple[Path, dict[str, Value]] | None, read: dict[str, _Text], problems: list[Problem]
) -> Classes:
    used = {number for text in read.values() for number, _ in text.outlines}
    names = _names(root, yaml)
    if not names:
        numbers = used if max(used, default=0) > _MOST else range(max(used, default=0) + 1)
        names = {number: f"class {number}" for number in numbers}
    strange = sorted(used - set(names))
    if strange:
        count = sum(number not in names for text in read.values() for number, _ in text.outlines)
        detail = f"{count:,} objects are of class {strange[0]} or others that have no name: left out"
        problems.append(Problem("class-unknown", root if yaml is None else yaml[0], detail))
    categories = {number + 1: Category(name) for number, name in names.items()}
    return classes_of(root, categories, {number + 1 for number in used}, background=True)


def _names(root: Path, yaml: tuple[Path, dict[str, Value]] | None) -> dict[int, str]:
    names = None if yaml is None else yaml[1]["names"]
    if isinstance(names, dict):
        strange = next((key for key in names if not (key.isdecimal() and len(key) < 10)), None)
        if strange is not None and yaml is not None:
            raise AtrousError(f"{yaml[0]}: the name number {strange!r} came; names are numbered 0, 1, ... Correct it.")
        return {int(key): name for key, name in names.items()}
    if names is None:
        lists = (path for path in (root / "classes.txt", root / "labels" / "classes.txt") if path.is_file())
        names = next((lines_of(path) for path in lists), [])
    return dict(enumerate(names))


def _splits(
    root: Path, yaml: tuple[Path, dict[str, Value]] | None, images: Images, gathered: Gathered
) -> dict[Path, str]:
    """Return the split of every image that the YAML file gives one; the first counts."""
    splits: dict[Path, str] = {}
    if yaml is None:
        return splits
    path, keys = yaml
    for split, words in _SPLITS.items():
        given = next((keys[word] for word in words if keys.get(word)), None)
        for place in [given] if isinstance(given, str) else given or []:
            target = _below(root, path, keys.get("path"), slashed(place))
            if target is None:
                if split != "test":
                    gathered.problems.append(Problem("listed-missing", path, f"{split}: there is no {place}"))
                continue
            for image in _images_of(target, images, gathered.missing[split]):
                splits.setdefault(image, split)
    return splits


def _below(root: Path, yaml: Path, base: Value, place: str) -> Path | None:
    """Return the file or folder below the root that a place in the YAML file means, by its longest ending."""
    parts = [part for part in place.split("/") if part not in ("..", "")]
    before = [part for part in slashed(base).split("/") if part not in ("..", "")] if isinstance(base, str) else []
    for words in (before + parts, parts):
        for first in range(len(words)):
            target = root.joinpath(*words[first:])
            if is_there(target):
                return target
    return None


def _images_of(target: Path, images: Images, missing: list[str]) -> Iterator[Path]:
    if target.is_dir():
        yield from (path for path in images if path.is_relative_to(target))
        return
    for line in lines_of(target):
        found = images.find(line, target)
        if len(found) == 1:
            yield found[0]
        else:
            missing.append(line)


def _pair_up(
    root: Path,
    images: Images,
    texts: dict[str, Path],
    read: dict[str, _Text],
    *,
    classes: Classes,
    splits: dict[Path, str],
    gathered: Gathered,
) -> int:
    """Put every image with its shapes into its split, and return how many have no text file beside others that do."""
    folders = {key.rpartition("/")[0] for key in texts}
    empty, used = 0, set()
    for path in images:
        key = _key(root, path)
        if key is None:
            continue
        split = splits.get(path) or split_in(*path.relative_to(root).parts[-2::-1]) or "train"
        if key in texts:
            used.add(key)
            mask = Shapes(texts[key], None, tuple(_shapes(read[key], classes)), path)
        elif key.rpartition("/")[0] in folders:
            empty += 1
            mask = Shapes(path, None, (), path)
        elif split == "test":
            gathered.add(split, Pair(named(root, path, None).name, path, None))
            continue
        else:
            gathered.problems.append(Problem("image-without-mask", path, "its labels folder is missing: left out"))
            continue
        gathered.add(split, named(root, path, mask))
    alone = (path for key, path in texts.items() if key not in used)
    gathered.problems += [Problem("mask-without-image", path, "there is no image of this name") for path in alone]
    return empty


def _key(root: Path, path: Path) -> str | None:
    parts = list(bare(path.relative_to(root)).parts)
    places = [index for index, part in enumerate(parts[:-1]) if part.lower() == "images"]
    return "/".join([*parts[: places[-1]], "images", *parts[places[-1] + 1 :]]) if places else None


def _shapes(text: _Text, classes: Classes) -> Iterator[Shape]:
    for number, shares in text.outlines:
        if number + 1 in classes.value:
            corners = np.frombuffer(shares, "<f4").reshape(-1, 2)
            yield Shape(classes.value[number + 1], polygon([corners], relative=True))
