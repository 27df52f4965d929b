"""Predictions as COCO annotations: a file per image, and one of all images made of these.

An annotation is one connected region: polygons, or run lengths where it has a hole. The background has none. Categories
have the numbers that conversion to COCO gives them: 0 is left to a class called background, others count from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data.conversion.coco import runs_of
from atrous.data.conversion.coco_polygons import outlines
from atrous.data.conversion.numbering import numbering, shown
from atrous.data.writers import atomic
from atrous.draw import background
from atrous.prediction.regions import regions

Coco = dict[str, Any]
_INFO = {"description": "predicted by atrous"}


def coco(labels: NDArray[np.uint8], space: LabelSpace, *, file_name: str) -> Coco:
    """Return labels (h, w) of one image, called `file_name`, as the content of a COCO file.

    >>> made = coco(np.array([[0, 1]], np.uint8), LabelSpace(names=("background", "car")), file_name="a.jpg")
    >>> made["annotations"][0]["segmentation"], made["annotations"][0]["category_id"]
    ([[1, 0, 1, 1, 2, 1, 2, 0]], 1)
    """
    numbers, empty = numbering(space), background(space)
    annotations = [
        {"category_id": numbers.numbers[runs.label], **outlines(runs)}
        for runs in runs_of(labels, regions(labels))
        if runs.label not in (IGNORE, empty)
    ]
    named = dict(shown((numbers.numbers[label], space.names[label]) for label in numbers.labels()))
    categories = [
        {"id": numbers.numbers[label], "name": named[numbers.numbers[label]], "color": list(space.colours[label])}
        for label in numbers.labels()
    ]
    image = {"id": 1, "file_name": file_name, "width": labels.shape[1], "height": labels.shape[0]}
    return {
        "info": _INFO,
        "images": [image],
        "categories": categories,
        "annotations": [{"id": number, "image_id": 1, **each} for number, each in enumerate(annotations, start=1)],
    }


def write_coco(path: Path, labels: NDArray[np.uint8], space: LabelSpace, *, file_name: str) -> None:
    """Write what `coco` returns; raises `AtrousError` where the disk refuses."""
    _write(path, coco(labels, space, file_name=file_name))


def joined_coco(out: Path) -> Path | None:
    """Write `OUT/coco.json` of all files below `OUT/coco`, and return it; None where there are none.

    Images and annotations are numbered anew, in the order of the files' paths. The files stay.

    Raises `AtrousError` for a file that is damaged, or whose categories are not those of the others.
    """
    parts = _parts(out / "coco")
    path, first = next(parts, (out, None))
    if first is None:
        return None
    with atomic(out / "coco.json") as temporary, temporary.open("w", encoding="utf-8") as file:
        head = json.dumps({"info": _INFO, "categories": first["categories"]}, ensure_ascii=False)
        file.write(head[:-1] + ', "annotations": [')
        images: list[Coco] = []
        between = ""
        for annotation in _renumbered(chain([(path, first)], parts), images):
            file.write(between + json.dumps(annotation, ensure_ascii=False))
            between = ",\n"
        file.write('], "images": ' + json.dumps(images, ensure_ascii=False) + "}")
    return out / "coco.json"


def _renumbered(parts: Iterable[tuple[Path, Coco]], images: list[Coco]) -> Iterator[Coco]:
    """Yield the annotations of all files with numbers of their own, and put their images into `images`."""
    categories, number = None, 0
    for path, part in parts:
        categories = categories or part["categories"]
        if part["categories"] != categories:
            raise AtrousError(
                f"{path}: its categories are not those of the files before it, so another model wrote it. Remove "
                "what that model wrote, and predict again."
            )
        image = len(images) + 1
        images.append({**part["images"][0], "id": image})
        for annotation in part["annotations"]:
            number += 1
            yield {**annotation, "id": number, "image_id": image}


def _parts(folder: Path) -> Iterator[tuple[Path, Coco]]:
    """Yield the files below a folder with their content; hidden ones are not whole."""
    for path in sorted(folder.rglob("*.json")):
        if not path.name.startswith("."):
            yield path, _read(path)


def _read(path: Path) -> Coco:
    try:
        part = json.loads(path.read_text(encoding="utf-8"))
        sound = len(part["images"]) == 1 and all(each["image_id"] == 1 for each in part["annotations"])
        sound = sound and isinstance(part["images"][0], dict) and isinstance(part["categories"], list)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AtrousError(f"{path}: this file cannot be read ({error}). Remove it and predict again.") from error
    if not sound:
        raise AtrousError(f"{path}: this is no COCO file of one image. Remove it and predict again.")
    return dict(part)


def _write(path: Path, content: Coco) -> None:
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
