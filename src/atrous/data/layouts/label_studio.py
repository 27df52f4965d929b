"""The layout of Label Studio: a JSON export, a list of tasks, and the images anywhere below the root.

Each task names its image (`/data/upload/1/0a1b2c3d-x.jpg`, `/data/local-files/?d=images/x.jpg`, or a URL), which is
found by the end of that path, with and without the eight digits and dash that an upload puts before the name. Polygons,
rectangles, ellipses (turned or not) and brushes are read, in shares of 100 of the image. JSON-MIN is read too. Of the
annotations of a task the one marked as ground truth counts, else the first that was not cancelled; a task without any
is left out, and so said. Exports in COCO's, YOLO's or VOC's format are read as those layouts. Classes are the
background and the labels in alphabetical order. Of several labels on a region the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from atrous.contract import AtrousError
from atrous.data.annotations import (
    Gathered,
    Images,
    corners,
    finite,
    image_size,
    json_files,
    outside,
    parsed,
    split_above,
    split_of_file,
    text_with,
)
from atrous.data.categories import Category, Classes, classes_of
from atrous.data.found import Found, Problem
from atrous.data.images import is_image_name
from atrous.data.layouts import mask_folders
from atrous.data.names import composed
from atrous.data.pairs import named, path_below
from atrous.data.shapes import Brush, Ellipse, Form, Shape, Shapes, polygon

ACCEPTED = "images + a JSON export of tasks (Label Studio)"
_KINDS = ("polygon", "rectangle", "ellipse", "brush")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class _Task:
    """A task of an export: the file, the image's address, its regions, and how many annotations were left out."""

    file: Path
    address: str
    regions: tuple[dict[str, Any], ...] | None
    others: int = 0


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with a Label Studio export, or None when it is laid out otherwise.

    Raises `AtrousError` for an export whose images are all missing, and for more than 254 labels.
    """
    gathered = Gathered()
    tasks = [task for path in json_files(root) for task in _tasks(path, gathered.problems)]
    if not tasks:
        return None
    images = Images(root)
    labels = sorted({label for task in tasks for region in task.regions or () if (label := _label(region, task))})
    if not labels:
        if mask_folders.first_mask(root) is not None:
            return None
        raise AtrousError(
            f"{tasks[0].file}: no region of its {len(tasks):,} tasks has a label and an outline, which segmentation "
            "needs. Label some with polygons or the brush, and export again."
        )
    categories = {number: Category(label) for number, label in enumerate(labels, start=1)}
    classes = classes_of(root, categories, categories, background=True)
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    for task in tasks:
        _gather(root, task, images, classes=classes, numbers=numbers, gathered=gathered)
    if not any(gathered.pairs.values()):
        _refuse_no_images(root, tasks)
        return None
    gathered.tell_unlisted(images, "it has no task: left out")
    notes = (*_several(tasks), *mask_folders.left_aside(root))
    return Found(gathered.splits(), classes.told, notes, tuple(gathered.problems))


def _refuse_no_images(root: Path, tasks: list[_Task]) -> None:
    """Raise where the folder cannot be of another layout: an export came without images."""
    if mask_folders.first_mask(root) is None:
        raise AtrousError(
            f"{tasks[0].file}: none of the images of its {len(tasks):,} tasks is below {root}, or none has annotations "
            f"(the first image: {tasks[0].address}). Copy the images there."
        )


def _several(tasks: list[_Task]) -> tuple[str, ...]:
    several = sum(task.others > 0 for task in tasks)
    note = f"{several:,} tasks have several annotations: ground truth counts, else the first that was not cancelled."
    return (note,) if several else ()


def _tasks(path: Path, problems: list[Problem]) -> Iterator[_Task]:
    """Yield the tasks of a file, none for JSON of another kind."""
    data = text_with(path, (b'"original_width"',))
    if data is None:
        return
    try:
        content = parsed(path, data)
    except AtrousError as error:
        problems.append(Problem("broken-annotation", path, str(error)))
        return
    for entry in content if isinstance(content, list) else [content]:
        if isinstance(entry, dict) and (task := _task(path, entry)) is not None:
            yield task


def _task(path: Path, entry: dict[str, Any]) -> _Task | None:
    if isinstance(entry.get("result"), list) and isinstance(entry.get("task"), dict):
        entry = {**entry["task"], "annotations": [entry]}
    data = entry.get("data")
    annotations = entry.get("annotations", entry.get("completions"))
    if isinstance(data, dict) and isinstance(annotations, list):
        address, (regions, others) = _address(data), _counting(annotations)
    else:
        address, others = _address(entry), 0
        regions = tuple(region for value in entry.values() for region in _flat_regions(value))
    return None if address is None else _Task(path, address, regions, others)


def _address(data: dict[str, Any]) -> str | None:
    """Return the image's address: that of `image`, else the first text that ends like an image's name."""
    texts = [value for _, value in sorted(data.items(), key=lambda item: item[0] != "image") if isinstance(value, str)]
    return next((text for text in texts if is_image_name(_paths(text)[0])), None)


def _paths(address: str) -> list[str]:
    """Return the paths that an address may mean, the likeliest first."""
    try:
        parts = urlsplit(address)
        path = parse_qs(parts.query).get("d", [""])[0] or unquote(parts.path)
    except ValueError:
        path = address
    path = path.replace("\\", "/")
    folder, slash, name = path.rpartition("/")
    return list(dict.fromkeys([path, folder + slash + _UPLOAD.sub("", name)]))


def _counting(annotations: list[Any]) -> tuple[tuple[dict[str, Any], ...] | None, int]:
    """Return the regions of the annotation that counts, None where none does, and how many others there are."""
    valid = [
        each
        for each in annotations
        if isinstance(each, dict) and not each.get("was_cancelled") and isinstance(each.get("result"), list)
    ]
    if not valid:
        return None, 0
    first = next((each for each in valid if each.get("ground_truth")), valid[0])
    results = [region for region in first["result"] if isinstance(region, dict)]
    labels = {str(region.get("id")): region["value"].get("labels") for region in results if _is_labels(region)}
    return tuple(_with_labels(region, labels) for region in results if not _is_labels(region)), len(valid) - 1


def _is_labels(region: dict[str, Any]) -> bool:
    return region.get("type") == "labels" and isinstance(region.get("value"), dict)


def _with_labels(region: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """Return the region as JSON-MIN writes it: the fields of its value beside the size, and its labels."""
    value = region.get("value")
    shared = {key: region.get(key) for key in ("original_width", "original_height", "image_rotation", "type")}
    identity = str(region.get("id"))
    more = {"labels": labels[identity]} if identity in labels else {}
    return {**more, **(value if isinstance(value, dict) else {}), **shared}


def _flat_regions(value: Any) -> Iterator[dict[str, Any]]:
    for region in value if isinstance(value, list) else []:
        if isinstance(region, dict) and "original_width" in region:
            yield region


def _kind(region: dict[str, Any]) -> str | None:
    """Return the kind of a region's form by its fields, None for what has no area, such as key points and choices."""
    if "points" in region:
        return "polygon"
    if "radiusX" in region:
        return "ellipse"
    if "rle" in region:
        return "brush"
    return "rectangle" if "width" in region and "height" in region else None


def _label(region: dict[str, Any], task: _Task) -> str | None:
    kind = _kind(region)
    labels = region.get(f"{kind}labels") or region.get("labels") if kind else None
    first = labels[0] if isinstance(labels, list) and labels else labels
    return composed(first.strip()) if isinstance(first, str) and first.strip() else None


def _gather(
    root: Path, task: _Task, images: Images, *, classes: Classes, numbers: dict[str, int], gathered: Gathered
) -> None:
    found = next((found for path in _paths(task.address) if (found := images.find(path, task.file))), ())
    if len(found) != 1:
        if found:
            detail = f"{task.address} may be {found[0]} or {found[1]}: left out"
            gathered.problems.append(Problem("name-twice", task.file, detail))
        else:
            gathered.missing["train"].append(task.address)
        return
    image = found[0]
    if task.regions is None:
        detail = f"its task in {task.file.name} has no annotation, or a cancelled one: left out"
        gathered.problems.append(Problem("image-without-mask", image, detail))
        return
    size = next((size for each in task.regions if (size := _size(each))), None)
    shapes = tuple(_shapes(task, image, size, classes=classes, numbers=numbers, problems=gathered.problems))
    split = split_of_file(root, task.file) or split_above(path_below(root, image)) or "train"
    gathered.add(split, named(root, image, Shapes(task.file, size, shapes, image)))


def _size(region: dict[str, Any]) -> tuple[int, int] | None:
    return image_size(region.get("original_height"), region.get("original_width"))


def _shapes(
    task: _Task,
    image: Path,
    size: tuple[int, int] | None,
    *,
    classes: Classes,
    numbers: dict[str, int],
    problems: list[Problem],
) -> Iterator[Shape]:
    for number, region in enumerate(task.regions or (), start=1):
        if _kind(region) is None:
            continue
        label = _label(region, task)
        try:
            if label is None or size is None or _size(region) != size or region.get("image_rotation"):
                raise AtrousError(_reason(region, label, size), kind="broken-annotation")
            form = _form(region, size, lambda beyond: problems.append(Problem("shape-outside", image, beyond)))
        except AtrousError as error:
            detail = f"region {number} in {task.file.name}: {error}: left out"
            problems.append(Problem(error.kind or "broken-annotation", image, detail))
        else:
            yield Shape(classes.value[numbers[label]], form)


def _reason(region: dict[str, Any], label: str | None, size: tuple[int, int] | None) -> str:
    if label is None:
        return "it has no label"
    if region.get("image_rotation"):
        return f"the image was turned by {region['image_rotation']} degrees when it was labelled"
    return f"its original size is {region.get('original_height')} x {region.get('original_width')}, and {size} before"


def _form(region: dict[str, Any], size: tuple[int, int], tell: Any) -> Form:
    """Return the form of a region in pixels of an image of this size; `tell` hears of corners outside."""
    kind = _kind(region)
    if kind == "brush":
        return _brush(region["rle"])
    scale = np.array(size[::-1]) / 100
    if kind == "ellipse":
        x, y, first, second = (_number(region, key) for key in ("x", "y", "radiusX", "radiusY"))
        axes = (first * float(scale[0]), second * float(scale[1]))
        return Ellipse(x * float(scale[0]), y * float(scale[1]), axes, _number(region, "rotation", 0.0))
    ring = corners(region["points"]) * scale if kind == "polygon" else _rectangle(region, scale)
    beyond = outside([ring], size)
    if beyond is not None:
        tell(beyond)
    return polygon([ring])


def _number(region: dict[str, Any], key: str, missing: float | None = None) -> float:
    number = finite(region.get(key, missing))
    if number is None:
        raise AtrousError(f"{key} is {region.get(key)!r}, and a number is wanted", kind="broken-annotation")
    return number


def _rectangle(region: dict[str, Any], scale: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the corners of a rectangle, which is turned clockwise as seen around its first."""
    x, y, width, height = (_number(region, key) for key in ("x", "y", "width", "height"))
    angle = np.deg2rad(_number(region, "rotation", 0.0))
    along = width * scale[0] * np.array([np.cos(angle), np.sin(angle)])
    down = height * scale[1] * np.array([-np.sin(angle), np.cos(angle)])
    first = np.array([x, y]) * scale
    return np.stack([first, first + along, first + along + down, first + down])


def _brush(numbers: Any) -> Brush:
    try:
        return Brush(bytes([*numbers]))
    except (TypeError, ValueError):
        raise AtrousError("its run lengths are no list of bytes", kind="broken-rle") from None
