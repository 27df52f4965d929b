"""The layout of LabelMe: a JSON file for each image, beside it or in a folder of its own.

`imagePath` says which image is meant, by a path from the JSON file; where there is no such file, the image is found by
the end of that path, and else by the name of the JSON file. An image that is only inside the JSON file (`imageData`) is
not read: save it as a file. Shapes are polygons, rectangles, turned ones (`rotation`), circles, masks, lines and
points; lines are drawn 10 pixels wide and points as discs of radius 5, as LabelMe does. Shapes of one label and
`group_id` are one object.

Classes are the labels in alphabetical order after `_background_`, which is where no shape is. Shapes of the label
`__ignore__` are ignored. A JSON file without shapes says that all is background.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError
from atrous.data.annotations import Gathered, Images, corners, image_size, outside, parsed, split_above
from atrous.data.census import in_threads
from atrous.data.found import Found, Problem
from atrous.data.layouts import mask_folders
from atrous.data.lists import slashed
from atrous.data.names import composed
from atrous.data.pairs import files_below, named, path_below
from atrous.data.shapes import Ellipse, Form, Picture, Polygon, Shape, Shapes, polygon, stroke
from atrous.data.wishes import Wishes

ACCEPTED = "images + a JSON file with shapes and imagePath for each (LabelMe)"
_BACKGROUND = "_background_"
_IGNORED = "__ignore__"
_LINE_WIDTH, _POINT_RADIUS = 10.0, 5.0
_OUTLINES = ("polygon", "rotation")
_PEEKED = 5


@dataclass(frozen=True)
class _File:
    """What a JSON file says, without the image in it."""

    path: Path
    image: str
    size: tuple[int, int] | None
    shapes: tuple[Any, ...]


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with LabelMe's files, or None when it is laid out otherwise.

    Raises `AtrousError` where none of the images is there, or more than 254 labels are used.
    """
    paths = files_below(root, lambda name: name.lower().endswith(".json"))
    if not any(isinstance(_read(path), _File) for path in _spread(paths)):
        return None
    read = in_threads(_read, paths)
    files = [each for each in read if isinstance(each, _File)]
    images, gathered = Images(root), Gathered()
    gathered.problems += [each for each in read if isinstance(each, Problem)]
    value = _values(root, files)
    for file in files:
        _gather(root, file, images, value=value, gathered=gathered)
    if not any(gathered.pairs.values()):
        _refuse_no_images(root, files)
        return None
    gathered.tell_unlisted(images, "it has no JSON file: left out")
    labels = sorted((number, label) for label, number in value.items() if label != _IGNORED)
    told = Wishes(
        classes=tuple(label for _, label in labels), values=tuple(number for number, _ in labels), ignore=IGNORE
    )
    notes = (*images.note(), *mask_folders.left_aside(root))
    return Found(gathered.splits(), told, notes, tuple(gathered.problems))


def _spread(paths: list[Path]) -> list[Path]:
    """Return a few of the paths, from the first to the last, so that a folder of another kind is soon known."""
    places = {round(place) for place in np.linspace(0, len(paths) - 1, min(len(paths), _PEEKED))}
    return [paths[place] for place in sorted(places)]


def _read(path: Path) -> _File | Problem | None:
    """Return what a file says, None for JSON of another kind, or what is wrong with one that begins like LabelMe's."""
    data = path.read_bytes() if path.is_file() else b""
    if b'"shapes"' not in data or b'"imagePath"' not in data:
        return None if data.strip() else Problem("broken-annotation", path, "the file is empty")
    try:
        content = parsed(path, data)
    except AtrousError as error:
        return Problem("broken-annotation", path, str(error))
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        return Problem("broken-annotation", path, "`shapes` is no list")
    image = content.get("imagePath")
    size = image_size(content.get("imageHeight"), content.get("imageWidth"))
    return _File(path, image if isinstance(image, str) else "", size, tuple(shapes))


def _values(root: Path, files: list[_File]) -> dict[str, int]:
    labels = {label for file in files for shape in file.shapes if (label := _label(shape)) is not None}
    names = sorted(labels - {_BACKGROUND, _IGNORED})
    if len(names) > 254:
        raise AtrousError(
            f"{root}: {len(names):,} labels are used, and 254 are possible beside the background, since labels are one "
            "byte. Merge or remove labels.",
            kind="classes-unknown",
        )
    return {_BACKGROUND: 0, _IGNORED: IGNORE} | {name: index for index, name in enumerate(names, start=1)}


def _label(shape: Any) -> str | None:
    label = shape.get("label") if isinstance(shape, dict) else None
    if isinstance(label, (int, float)) and not isinstance(label, bool):
        return str(label)
    return composed(label.strip()) if isinstance(label, str) and label.strip() else None


def _refuse_no_images(root: Path, files: list[_File]) -> None:
    """Raise where the folder cannot be of another layout: files of LabelMe came without images."""
    if mask_folders.first_mask(root) is None:
        raise AtrousError(
            f"{root}: {len(files):,} JSON files of LabelMe came, and none of their images; the first is "
            f"{files[0].image!r} of {files[0].path.name}. Put the images beside the JSON files."
        )


def _gather(root: Path, file: _File, images: Images, *, value: dict[str, int], gathered: Gathered) -> None:
    split = split_above(path_below(root, file.path))
    image = _image(root, file, images, split)
    split = split or (None if image is None else split_above(path_below(root, image))) or "train"
    if image is None:
        gathered.missing[split].append(f"{file.image or 'an image'} (of {file.path.relative_to(root).as_posix()})")
        return
    shapes = tuple(_shapes(file, image, value, gathered.problems))
    gathered.add(split, named(root, image, Shapes(file.path, file.size, shapes, image)))


def _image(root: Path, file: _File, images: Images, split: str | None) -> Path | None:
    """Return the image that lies where `imagePath` says, else one that it may mean, else the JSON file's namesake."""
    folder = file.path.parent.relative_to(root).as_posix()
    beside = images.at(f"{folder}/{slashed(file.image)}")
    if beside is not None:
        return beside
    found = images.find(file.image, file.path, split)
    return found[0] if len(found) == 1 else images.like(file.path, split)


def _shapes(file: _File, image: Path, value: dict[str, int], problems: list[Problem]) -> Iterator[Shape]:
    for number, shape in enumerate(file.shapes, start=1):
        label = _label(shape)
        try:
            if label is None:
                raise AtrousError("it has no label", kind="broken-annotation")
            form = _form(shape, file, problems)
        except AtrousError as error:
            detail = f"shape {number} of {image.name}: {error}: left out"
            problems.append(Problem(error.kind or "broken-annotation", file.path, detail))
        else:
            group = shape.get("group_id")
            part_of = None if group is None else str(group)
            yield Shape(value[label], form, crowd=label in (_BACKGROUND, _IGNORED), part_of=part_of)


def _form(shape: dict[str, Any], file: _File, problems: list[Problem]) -> Form:
    kind = shape.get("shape_type") or "polygon"
    least = 3 if kind in _OUTLINES else 1 if kind in ("point", "points") else 2
    points = corners(shape.get("points"), least=least)
    beyond = None if file.size is None else outside([points], file.size)
    if beyond is not None:
        problems.append(Problem("shape-outside", file.path, beyond))
    if kind in _OUTLINES:
        return polygon([points])
    if kind == "rectangle":
        return _rectangle(points)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return Ellipse(float(points[0, 0]), float(points[0, 1]), (radius, radius))
    return _thin(kind, shape, points)


def _thin(kind: Any, shape: dict[str, Any], points: NDArray[np.float64]) -> Form:
    if kind in ("line", "linestrip"):
        return stroke(points, _LINE_WIDTH)
    if kind in ("point", "points"):
        return stroke(points[:1], 2 * _POINT_RADIUS)
    if kind == "mask":
        return _picture(shape.get("mask"), points)
    raise AtrousError(f"the shape type {kind!r} came, which encloses nothing", kind="broken-annotation")


def _rectangle(points: NDArray[np.float64]) -> Polygon:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return polygon([np.array([[left, top], [right, top], [right, bottom], [left, bottom]])])


def _picture(text: Any, points: NDArray[np.float64]) -> Picture:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise AtrousError("its mask is no picture in base64", kind="broken-annotation") from None
    left, top = np.floor(points.min(axis=0)).astype(int)
    return Picture(data, int(top), int(left))
