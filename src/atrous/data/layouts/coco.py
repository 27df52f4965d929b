"""The layout of COCO's detection and segmentation annotations: JSON files that list images and outlines of objects.

Any folder is understood in which JSON files with `images`, `annotations` and `categories` lie, and below which the
images do: `annotations/instances_train2017.json` + `train2017/`, `train/_annotations.coco.json` beside its images
(Roboflow), `result.json` + `images/` (Label Studio). The split is that of the file's name, else of its folder's, else
of the image's folders.

Outlines are polygons, whose rings are united, or run lengths, as counts or as COCO's string of them. Classes are the
background and the categories in the order of their ids; masks hold the ids where these are 1 to 254, else the
categories are numbered anew from 1. A crowd is drawn as its class and is no instance. An image without annotations is
all background; an image file that no JSON file lists is left out, and so said. Files of key points and captions count
only where no other file has the same split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.annotations import (
    Gathered,
    Images,
    corners,
    image_size,
    json_files,
    outside,
    parsed,
    split_in,
    text_with,
    whole,
)  # fmt: skip
from atrous.data.categories import Category, Classes, classes_of, read_categories
from atrous.data.found import Found, Problem
from atrous.data.layouts import folders
from atrous.data.pairs import Pair, named
from atrous.data.rle import string_of_counts
from atrous.data.shapes import Form, Runs, Shape, Shapes, polygon

ACCEPTED = "images + JSON files with images, annotations and categories (COCO)"
_WORDS = (b'"images"', b'"annotations"', b'"categories"')


@dataclass(frozen=True)
class _File:
    """A JSON file and the split that it is of."""

    path: Path
    split: str | None
    content: dict[str, Any]

    @property
    def key_points(self) -> bool:
        return any("keypoints" in entry for entry in self.content["annotations"][:10] if isinstance(entry, dict))


@dataclass
class _Image:
    """An image as the files list it: who says so, its size, and its annotations."""

    path: Path
    file: Path
    split: str
    size: tuple[int, int] | None
    annotations: list[dict[str, Any]] = field(default_factory=list)


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with COCO's annotations, or None when it is laid out otherwise.

    Raises `AtrousError` for annotation files that are all broken, whose images are all missing, that hold boxes only,
    or whose categories contradict each other.
    """
    gathered = Gathered()
    files = _files(root, gathered.problems)
    if not files:
        return None
    images = Images(root)
    categories: dict[int, Category] = {}
    listed: dict[Path, _Image] = {}
    for file in files:
        read_categories(file.path, file.content["categories"], categories)
        _assign(file, _list_images(file, images, listed, gathered), gathered.problems)
    if not listed and folders.recognise(root) is not None:
        return None
    if not listed:
        missing = next((name for names in gathered.missing.values() for name in names), "none is listed")
        raise AtrousError(
            f"{files[0].path}: none of the listed images is below {root} (the first: {missing}). Copy the images there."
        )
    _refuse_boxes(files, listed)
    used = {whole(entry.get("category_id")) for image in listed.values() for entry in image.annotations}
    classes = classes_of(root, categories, {number for number in used if number is not None}, background=True)
    for image in listed.values():
        shapes = tuple(dict.fromkeys(_shapes(image, classes, gathered.problems)))
        mask = Shapes(image.file, image.size, shapes, image.path)
        gathered.add(image.split, named(root, image.path, mask))
    _classes_unknown(listed, classes, gathered.problems)
    _unlisted(root, images, listed, gathered)
    return Found(gathered.splits(), classes.told, (*classes.notes, *images.note()), tuple(gathered.problems))


def _files(root: Path, problems: list[Problem]) -> list[_File]:
    """Return the annotation files, those of key points left out where there are others of the same split."""
    files, broken = [], []
    for path in json_files(root):
        data = text_with(path, _WORDS, without=(b'"segments_info"',))
        if data is None:
            continue
        try:
            content = parsed(path, data)
        except AtrousError as error:
            broken.append(error)
            problems.append(Problem("broken-annotation", path, str(error)))
            continue
        if _is_coco(content):
            split = split_in(path.stem, *path.relative_to(root).parts[-2::-1])
            files.append(_File(path, split, content))
    if broken and not files:
        raise broken[0]
    others = {file.split for file in files if not file.key_points}
    return [file for file in files if not file.key_points or file.split not in others]


def _is_coco(content: Any) -> bool:
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        return False
    shown = [entry for entry in content["annotations"][:10] if isinstance(entry, dict)]
    return bool(content["images"]) and any("category_id" in entry for entry in shown)


def _list_images(file: _File, images: Images, listed: dict[Path, _Image], gathered: Gathered) -> dict[int, _Image]:
    """Return the file's images by id, taking those that are found into `listed`."""
    by_id: dict[int, _Image] = {}
    for entry in file.content["images"]:
        number = whole(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("file_name") if number is not None else None
        if number is None or not isinstance(name, str) or not name.strip():
            detail = f"the image {str(entry)[:80]} has no whole number as id, or no file name"
            gathered.problems.append(Problem("broken-annotation", file.path, detail))
            continue
        found = images.find(name, file.path, file.split)
        if len(found) != 1:
            _not_found(file, name, found, gathered)
        elif number in by_id and by_id[number].path != found[0]:
            detail = f"image id {number} belongs to {by_id[number].path.name} and {name}: the second is left out"
            gathered.problems.append(Problem("name-twice", file.path, detail))
        else:
            by_id[number] = _once(file, found[0], entry, listed, gathered)
    return by_id


def _not_found(file: _File, name: str, found: tuple[Path, ...], gathered: Gathered) -> None:
    if found:
        detail = f"{name} may be {found[0]} or {found[1]}: left out"
        gathered.problems.append(Problem("name-twice", file.path, detail))
    else:
        gathered.missing[file.split or split_in(*name.replace("\\", "/").split("/")[-2::-1]) or "train"].append(name)


def _once(file: _File, path: Path, entry: dict[str, Any], listed: dict[Path, _Image], gathered: Gathered) -> _Image:
    """Return the image of a path, which several files may list: the first says its split and size."""
    split = file.split or split_in(*path.relative_to(_above(file.path, path)).parts[-2::-1]) or "train"
    size = image_size(entry.get("height"), entry.get("width"))
    if size is None and (entry.get("height") is not None or entry.get("width") is not None):
        detail = f"{path.name} is said to be {entry.get('height')!r} x {entry.get('width')!r}; the file's size is used"
        gathered.problems.append(Problem("broken-annotation", file.path, detail))
    image = listed.setdefault(path, _Image(path, file.path, split, size))
    if image.split != split:
        detail = f"listed in {image.split} by {image.file.name} and in {split} by {file.path.name}; the first counts"
        gathered.problems.append(Problem("name-twice", path, detail))
    return image


def _above(first: Path, second: Path) -> Path:
    return next(folder for folder in first.parents if folder in second.parents)


def _assign(file: _File, by_id: dict[int, _Image], problems: list[Problem]) -> None:
    """Give every annotation to its image, and tell of those whose image is not listed."""
    known = {whole(entry.get("id")) for entry in file.content["images"] if isinstance(entry, dict)}
    broken, strange = [], []
    for entry in file.content["annotations"]:
        number = whole(entry.get("image_id")) if isinstance(entry, dict) else None
        if number in by_id and number is not None:
            by_id[number].annotations.append(entry)
        elif number is None:
            broken.append(entry)
        elif number not in known:
            strange.append(number)
    if broken:
        detail = f"{len(broken):,} annotations have no image id, first {str(broken[0])[:80]}"
        problems.append(Problem("broken-annotation", file.path, detail))
    if strange:
        detail = f"{len(strange):,} annotations belong to images that are not listed, first image id {strange[0]}"
        problems.append(Problem("broken-annotation", file.path, detail))


def _refuse_boxes(files: list[_File], listed: dict[Path, _Image]) -> None:
    entries = [entry for image in listed.values() for entry in image.annotations]
    if entries and not any(entry.get("segmentation") for entry in entries):
        raise AtrousError(
            f"{files[0].path}: its {len(entries):,} annotations are boxes without outlines, which is data for "
            "detection. Segmentation needs polygons or run lengths: export those."
        )


def _shapes(image: _Image, classes: Classes, problems: list[Problem]) -> Iterator[Shape]:
    for entry in image.annotations:
        value = classes.value.get(whole(entry.get("category_id")) or 0)
        if value is None:
            continue  # told once for all images
        try:
            form = _form(entry.get("segmentation"), image, problems)
        except AtrousError as error:
            detail = f"annotation {entry.get('id')} in {image.file.name}: {error}"
            problems.append(Problem(error.kind or "broken-annotation", image.path, detail))
        else:
            yield Shape(value, form, crowd=bool(entry.get("iscrowd")))


def _form(segmentation: Any, image: _Image, problems: list[Problem]) -> Form:
    if isinstance(segmentation, dict):
        return _runs(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise AtrousError("it has no outline, as boxes for detection have none", kind="broken-annotation")
    rings = [corners(ring) for ring in (segmentation if isinstance(segmentation[0], list) else [segmentation])]
    beyond = None if image.size is None else outside(rings, image.size)
    if beyond is not None:
        problems.append(Problem("shape-outside", image.path, f"{beyond}, in {image.file.name}"))
    return polygon(rings)


def _runs(segmentation: dict[str, Any]) -> Runs:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    given = image_size(*size) if isinstance(size, list) and len(size) == 2 else None
    if given is None or not isinstance(counts, (str, list)):
        raise AtrousError("run lengths need a list or string of counts and a size of two numbers", kind="broken-rle")
    text = counts if isinstance(counts, str) else string_of_counts(counts)
    return Runs(text.encode("utf-8", "replace"), given)


def _classes_unknown(listed: dict[Path, _Image], classes: Classes, problems: list[Problem]) -> None:
    strange: Counter[tuple[Path, str]] = Counter()
    for image in listed.values():
        for entry in image.annotations:
            number = whole(entry.get("category_id"))
            if number not in classes.value:
                strange[image.file, repr(entry.get("category_id"))] += 1
    for (path, identity), count in strange.items():
        detail = f"{count:,} annotations are of category {identity}, which is not listed"
        problems.append(Problem("class-unknown", path, detail))


def _unlisted(root: Path, images: Images, listed: dict[Path, _Image], gathered: Gathered) -> None:
    """Take images of a test folder that no file lists as such, and tell of others beside listed ones."""
    folders = {path.parent for path in listed}
    tests = [image for image in listed.values() if image.split == "test"]
    for path in images:
        if path in listed:
            continue
        if path.parent in folders:
            gathered.problems.append(Problem("image-without-mask", path, "no annotation file lists it: left out"))
        elif not tests and split_in(*path.relative_to(root).parts[-2::-1]) == "test":
            gathered.add("test", Pair(named(root, path, None).name, path, None))
