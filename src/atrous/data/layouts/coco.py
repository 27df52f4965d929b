"""The layout of COCO's detection and segmentation annotations: JSON files that list images and outlines of objects.

Any folder is understood in which JSON files with `images`, `annotations` and `categories` lie, and below which the
images do: `annotations/instances_train2017.json` + `train2017/`, `train/_annotations.coco.json` beside its images
(Roboflow), `result.json` + `images/` (Label Studio). The split is that of the file's name, else of its folder's, else
of the image's folders.

Outlines are polygons, whose rings are united, or run lengths, as counts or as COCO's string of them. Classes are the
background and the categories in the order of their ids; masks hold the ids where these are 1 to 254, else the
categories are numbered anew from 1. Of several files, categories of the same name are the same. A crowd is drawn as its
class and is no instance. An image without annotations is all background; an image file that no JSON file lists is left
out, and so said. Where two files that list the same categories annotate an image, the one with the shorter name counts,
as one is likely a copy of the other. Files of key points and captions count only where no other file has the same
split, and files without annotations only for the test images that they list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.annotations import Gathered, Images, corners, image_size, outside, split_above, whole
from atrous.data.categories import Category, Classes, classes_of, read_categories, renumbered_note
from atrous.data.found import Found, Problem
from atrous.data.layouts import mask_folders
from atrous.data.layouts.coco_files import CocoFile, CocoFiles, coco_files, names_listed
from atrous.data.lists import slashed
from atrous.data.pairs import Pair, named, path_below
from atrous.data.rle import string_of_counts
from atrous.data.shapes import Form, Runs, Shape, Shapes, polygon

ACCEPTED = "images + JSON files with images, annotations and categories (COCO)"


@dataclass(frozen=True)
class _Annotation:
    """An entry, the id of its category as all files are numbered, None for a strange one, and the file."""

    entry: dict[str, Any]
    category: int | None
    file: Path


@dataclass
class _Image:
    """An image as the files list it: who says so, its size, and its annotations."""

    path: Path
    file: Path
    split: str
    size: tuple[int, int] | None
    annotations: list[_Annotation] = field(default_factory=list)


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with COCO's annotations, or None when it is laid out otherwise.

    Where the images are missing or the annotations are boxes, and a folder of masks is there, it is the latter's.

    Raises `AtrousError` for annotation files that are all broken, whose images are all missing, that hold boxes only,
    or whose categories contradict each other.
    """
    gathered = Gathered()
    files = coco_files(root, gathered.problems)
    if not files.annotated:
        return None
    images = Images(root)
    categories: dict[int, Category] = {}
    listed: dict[Path, _Image] = {}
    tables: dict[Path, dict[int, int]] = {}
    for file in files.annotated:
        table = tables[file.path] = read_categories(file.path, file.content["categories"], categories)
        _assign(file, _list_images(root, file, images, listed, gathered), table, gathered.problems)
    wrong = _no_images(root, files, listed, gathered) or _boxes_only(files, listed)
    if wrong is not None:
        if mask_folders.first_mask(root) is not None:
            return None
        raise wrong
    _leave_out_copies(listed, tables, gathered.problems)
    used = {each.category for image in listed.values() for each in image.annotations}
    classes = classes_of(root, categories, {number for number in used if number is not None}, background=True)
    for image in listed.values():
        shapes = tuple(dict.fromkeys(_shapes(image, classes, gathered.problems)))
        gathered.add(image.split, named(root, image.path, Shapes(image.file, image.size, shapes, image.path)))
    _classes_unknown(listed, classes, gathered.problems)
    _unlisted(root, images, listed, _test_images(files, images), gathered)
    other_ids = (line for path, table in tables.items() for line in renumbered_note(root, path, table, categories))
    notes = (*classes.notes, *other_ids, *images.note(), *_notes(root, files))
    return Found(gathered.splits(), classes.told, notes, tuple(gathered.problems))


def _notes(root: Path, files: CocoFiles) -> tuple[str, ...]:
    """Return the lines on what else there is, and is not read."""
    names = ", ".join(path_below(root, path) for path in files.panoptic[:3])
    segments = (f"left aside: {names}; with their PNG files unpacked, --layout coco-panoptic reads them.",)
    return (*(segments if names else ()), *mask_folders.left_aside(root))


def _list_images(
    root: Path, file: CocoFile, images: Images, listed: dict[Path, _Image], gathered: Gathered
) -> dict[int, _Image]:
    """Return the file's images by id, taking those that are found into `listed`.

    Images that another file lists in another split are none of its own.
    """
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
        elif (image := _once(root, file, found[0], entry, listed, gathered)) is not None:
            by_id[number] = image
    return by_id


def _not_found(file: CocoFile, name: str, found: tuple[Path, ...], gathered: Gathered) -> None:
    if found:
        detail = f"{name} may be {found[0]} or {found[1]}: left out"
        gathered.problems.append(Problem("name-twice", file.path, detail))
    else:
        gathered.missing[file.split or split_above(slashed(name)) or "train"].append(name)


def _once(
    root: Path, file: CocoFile, path: Path, entry: dict[str, Any], listed: dict[Path, _Image], gathered: Gathered
) -> _Image | None:
    """Return the image of a path, which several files may list: the first says its split and size.

    None where that is another split, so that what is to be tested is never learnt.
    """
    split = file.split or split_above(path_below(root, path)) or "train"
    size = image_size(entry.get("height"), entry.get("width"))
    if size is None and (entry.get("height") is not None or entry.get("width") is not None):
        detail = f"{path.name} is said to be {entry.get('height')!r} x {entry.get('width')!r}; the file's size is used"
        gathered.problems.append(Problem("broken-annotation", file.path, detail))
    image = listed.setdefault(path, _Image(path, file.path, split, size))
    if image.split != split:
        detail = f"listed in {image.split} by {image.file.name} and in {split} by {file.path.name}; the first counts"
        gathered.problems.append(Problem("name-twice", path, detail))
        return None
    return image


def _assign(file: CocoFile, by_id: dict[int, _Image], table: dict[int, int], problems: list[Problem]) -> None:
    """Give every annotation to its image, and tell of those whose image is not listed."""
    known = {whole(entry.get("id")) for entry in file.content["images"] if isinstance(entry, dict)}
    broken, strange = [], []
    for entry in file.content["annotations"]:
        number = whole(entry.get("image_id")) if isinstance(entry, dict) else None
        if number in by_id and number is not None:
            own = whole(entry.get("category_id"))
            category = None if own is None else table.get(own)
            by_id[number].annotations.append(_Annotation(entry, category, file.path))
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


def _no_images(root: Path, files: CocoFiles, listed: dict[Path, _Image], gathered: Gathered) -> AtrousError | None:
    if listed:
        return None
    missing = next((name for names in gathered.missing.values() for name in names), "none is listed")
    return AtrousError(
        f"{files.annotated[0].path}: none of the listed images is below {root} (the first: {missing}). "
        "Copy the images there."
    )


def _boxes_only(files: CocoFiles, listed: dict[Path, _Image]) -> AtrousError | None:
    entries = [each.entry for image in listed.values() for each in image.annotations]
    if not entries or any(entry.get("segmentation") for entry in entries):
        return None
    return AtrousError(
        f"{files.annotated[0].path}: its {len(entries):,} annotations are boxes without outlines, which is data for "
        "detection. Segmentation needs polygons or run lengths: export those."
    )


def _leave_out_copies(
    listed: dict[Path, _Image], tables: Mapping[Path, Mapping[int, int]], problems: list[Problem]
) -> None:
    """Of files that list the same categories and annotate an image, keep what the one with the shortest name says.

    An old copy is usually named after what it is a copy of, and the dates of files do not survive copying.
    """
    categories = {path: set(table.values()) for path, table in tables.items()}
    copies: Counter[tuple[Path, Path]] = Counter()
    for image in listed.values():
        kept: list[Path] = []
        for path in sorted({each.file for each in image.annotations}, key=lambda path: (len(path.name), path)):
            first = next((other for other in kept if categories[other] & categories[path]), None)
            if first is None:
                kept.append(path)
            else:
                copies[first, path] += 1
        image.annotations = [each for each in image.annotations if each.file in kept]
    for (first, path), count in copies.items():
        images = f"{count:,} image{'s' * (count > 1)}"
        detail = f"{first.name} annotates {images} of it too, with the same categories, as where one is an old copy"
        why = "its name is shorter" if len(first.name) < len(path.name) else "its name comes first"
        told = f"{detail}: {first.name} counts, since {why}. Move away the one that is not wanted"
        problems.append(Problem("broken-annotation", path, told))


def _shapes(image: _Image, classes: Classes, problems: list[Problem]) -> Iterator[Shape]:
    for each in image.annotations:
        value = None if each.category is None else classes.value.get(each.category)
        if value is None:
            continue  # told once for all images
        try:
            form = _form(each, image, problems)
        except AtrousError as error:
            detail = f"annotation {each.entry.get('id')} in {each.file.name}: {error}"
            problems.append(Problem(error.kind or "broken-annotation", image.path, detail))
        else:
            yield Shape(value, form, crowd=bool(each.entry.get("iscrowd")))


def _form(annotation: _Annotation, image: _Image, problems: list[Problem]) -> Form:
    segmentation = annotation.entry.get("segmentation")
    if isinstance(segmentation, dict):
        return _runs(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise AtrousError("it has no outline, as boxes for detection have none", kind="broken-annotation")
    rings = [corners(ring) for ring in (segmentation if isinstance(segmentation[0], list) else [segmentation])]
    beyond = None if image.size is None else outside(rings, image.size)
    if beyond is not None:
        problems.append(Problem("shape-outside", image.path, f"{beyond}, in {annotation.file.name}"))
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
        for each in image.annotations:
            if each.category not in classes.value:
                strange[each.file, repr(each.entry.get("category_id"))] += 1
    for (path, identity), count in strange.items():
        detail = f"{count:,} annotations are of category {identity}, which is not listed"
        problems.append(Problem("class-unknown", path, detail))


def _test_images(files: CocoFiles, images: Images) -> set[Path]:
    """Return the test images that files without annotations list, as far as they are there."""
    found: set[Path] = set()
    for file in files.image_lists:
        for name in names_listed(file) if file.split == "test" else ():
            means = images.find(name, file.path, file.split)
            found.update(means if len(means) == 1 else ())
    return found


def _unlisted(root: Path, images: Images, listed: dict[Path, _Image], tests: set[Path], gathered: Gathered) -> None:
    """Take the test images without annotations, or of a test folder that no file lists, and tell of others."""
    folders = {path.parent for path in listed}
    known = tests or any(image.split == "test" for image in listed.values())
    for path in images:
        if path in listed:
            continue
        if path in tests or (not known and path.parent not in folders and _is_test(root, path)):
            gathered.add("test", Pair(named(root, path, None).name, path, None))
        elif path.parent in folders:
            gathered.problems.append(Problem("image-without-mask", path, "no annotation file lists it: left out"))


def _is_test(root: Path, path: Path) -> bool:
    return split_above(path_below(root, path)) == "test"
