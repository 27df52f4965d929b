"""The layout of YOLO's segmentation data: images below `images/` and a text file for each below `labels/`.

`images/train/a.jpg` has `labels/train/a.txt`, and `train/images/a.jpg` has `train/labels/a.txt`. Each line is an
object: the number of its class, then x and y of the corners of its outline, in shares of the image's width and height.
Lines of a class and four numbers are boxes, which are data for detection and not outlines.

`data.yaml`, or any YAML file beside the folders that has them, gives the `names`, as a list or by number, and may give
the split as `train`, `val` and `test`: folders or lists of images; else the folders' names tell it. Without names,
`classes.txt` is read; without that, classes are numbered. Masks hold 0 for the background and the class's number + 1.
An image without text file, beside others with one, is all background, as is one whose text file is empty; where texts
have no image either, names may not agree, and such images are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from atrous.contract import AtrousError
from atrous.data.annotations import Gathered, Images, is_there, split_above
from atrous.data.categories import Category, Classes, classes_of
from atrous.data.census import in_threads
from atrous.data.found import Found, Problem
from atrous.data.images import bare
from atrous.data.layouts import mask_folders
from atrous.data.layouts.yolo_texts import LINE, Text, read_text
from atrous.data.lists import lines_of, slashed
from atrous.data.names import composed
from atrous.data.pairs import Pair, files_below, named, path_below, without_suffix
from atrous.data.shapes import Shape, Shapes, polygon
from atrous.data.yaml_keys import Value, read_keys

ACCEPTED = "images/ + labels/ with a text file of polygons for each image (YOLO)"
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_PEEKED = 20
_MOST = 253  # the highest number of a class beside the background


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with YOLO's polygons, or None when it is laid out otherwise.

    Raises `AtrousError` where all objects are boxes, no image is there, or more than 254 classes are used.
    """
    texts = _texts(root)
    if not texts or not _are_labels(texts.values()):
        return None
    read = dict(zip(texts, in_threads(read_text, list(texts.values())), strict=True))
    boxes = sum(text.boxes for text in read.values())
    if boxes and not any(text.outlines for text in read.values()):
        if mask_folders.first_mask(root) is not None:
            return None
        raise AtrousError(
            f"{root}: all {boxes:,} objects of its {len(read):,} label files are boxes (a class and 4 numbers), which "
            "is data for detection. Segmentation needs polygons: export those."
        )
    images, gathered = Images(root), Gathered()
    yaml = _yaml(root)
    classes = _classes(root, yaml, read, gathered.problems)
    splits = _splits(root, yaml, images, gathered)
    notes = _pair_up(root, images, texts, read, classes=classes, splits=splits, gathered=gathered)
    if not any(gathered.pairs.values()):
        if mask_folders.first_mask(root) is not None:
            return None
        raise AtrousError(f"{root}: {len(texts):,} label files came and none of their images. Put them into images/.")
    notes = (*classes.notes, *notes, *mask_folders.left_aside(root))
    return Found(gathered.splits(), classes.told, notes, tuple(gathered.problems))


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
    parts = composed(bare(path).as_posix()).split("/")
    place = max(index for index, part in enumerate(parts[:-1]) if part.lower() == "labels")
    return "/".join([*parts[:place], "images", *parts[place + 1 :]])


def _are_labels(paths: Iterable[Path]) -> bool:
    """Say whether one of the first files begins with a class and numbers, as YOLO's do; others may be read-mes."""
    for _, path in zip(range(_PEEKED), paths, strict=False):
        with suppress(OSError), path.open("rb") as file:
            if LINE.match(file.readline(100_000).decode("utf-8-sig", "replace")):
                return True
    return False


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
    root: Path, yaml: tuple[Path, dict[str, Value]] | None, read: dict[str, Text], problems: list[Problem]
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
    read: dict[str, Text],
    *,
    classes: Classes,
    splits: dict[Path, str],
    gathered: Gathered,
) -> tuple[str, ...]:
    """Put every image with its shapes into its split, and return the lines on those without text file.

    Such an image is background beside others that have one, unless there are texts without image, which may be theirs.
    """
    folders = {key.rpartition("/")[0] for key in texts}
    empty, used = [], set()
    for path in images:
        key = _key(root, path)
        if key is None:
            continue
        split = splits.get(path) or split_above(path_below(root, path)) or "train"
        if key in texts:
            used.add(key)
            mask = Shapes(texts[key], None, tuple(_shapes(read[key], classes)), path)
        elif key.rpartition("/")[0] in folders:
            empty.append((split, path))
            continue
        elif split == "test":
            gathered.add(split, Pair(named(root, path, None).name, path, None))
            continue
        else:
            gathered.problems.append(Problem("image-without-mask", path, "its labels folder is missing: left out"))
            continue
        gathered.add(split, named(root, path, mask))
    strange = {key for key, text in read.items() if text.is_strange() and key not in used}
    gathered.problems += [problem for key, text in read.items() if key not in strange for problem in text.problems]
    alone = [path for key, path in texts.items() if key not in used and key not in strange]
    gathered.problems += [Problem("mask-without-image", path, "there is no image of this name") for path in alone]
    notes = tuple(f"{path_below(root, texts[key])} holds no labels: left out." for key in sorted(strange))
    return notes + _background(root, empty, alone, gathered)


def _background(
    root: Path, images: Sequence[tuple[str, Path]], texts: Sequence[Path], gathered: Gathered
) -> tuple[str, ...]:
    """Take images without text for background and return the line on it; they are problems beside texts alone."""
    if texts:
        detail = f"it has no label file, and {len(texts):,} label files have no image, first {texts[0].name}: left out"
        gathered.problems += [Problem("image-without-mask", path, detail) for _, path in images]
        return ()
    for split, path in images:
        gathered.add(split, named(root, path, Shapes(path, None, (), path)))
    note = f"{len(images):,} images have no label file: they are taken for background, as YOLO does."
    return (note,) if images else ()


def _key(root: Path, path: Path) -> str | None:
    parts = composed(without_suffix(path_below(root, path))).split("/")
    places = [index for index, part in enumerate(parts[:-1]) if part.lower() == "images"]
    return "/".join([*parts[: places[-1]], "images", *parts[places[-1] + 1 :]]) if places else None


def _shapes(text: Text, classes: Classes) -> Iterator[Shape]:
    for number, shares in text.outlines:
        if number + 1 in classes.value:
            corners = np.frombuffer(shares, "<f4").reshape(-1, 2)
            yield Shape(classes.value[number + 1], polygon([corners], relative=True))
