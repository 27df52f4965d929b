"""The JSON files of COCO's formats: which there are, and which split each is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.annotations import json_files, parsed, split_of_file, text_with
from atrous.data.found import Problem

_WORDS = (b'"images"', b'"annotations"', b'"categories"')
_SEGMENTS = b'"segments_info"'


@dataclass(frozen=True)
class CocoFile:
    """A JSON file and the split that it is of, None where neither its name nor its folders tell."""

    path: Path
    split: str | None
    content: dict[str, Any]

    @property
    def key_points(self) -> bool:
        """Say whether its annotations are key points of persons."""
        return any("keypoints" in entry for entry in self.content["annotations"][:10] if isinstance(entry, dict))


@dataclass(frozen=True)
class CocoFiles:
    """The files of a folder: those with annotations, those that only list images, and those of panoptic segments."""

    annotated: tuple[CocoFile, ...]
    image_lists: tuple[CocoFile, ...]
    panoptic: tuple[Path, ...]


def coco_files(root: Path, problems: list[Problem]) -> CocoFiles:
    """Return the files of a folder, those of key points left out where there are others of the same split.

    Raises `AtrousError` where all files that look like annotations are broken; of some that are, it tells `problems`.
    """
    files: list[CocoFile] = []
    lists: list[CocoFile] = []
    panoptic, broken = [], []
    for path in json_files(root):
        data = text_with(path, (b'"images"',))
        if data is None:
            continue
        if _SEGMENTS in data:
            panoptic.append(path)
            continue
        wanted = all(word in data for word in _WORDS)
        try:
            read = _read(root, path, data) if wanted or b'"annotations"' not in data else None
        except AtrousError as error:
            broken += [error] * wanted
            problems += [Problem("broken-annotation", path, str(error))] * wanted
            continue
        if read is not None:
            (files if wanted else lists).append(read)
    if broken and not files:
        raise broken[0]
    others = {file.split for file in files if not file.key_points}
    kept = tuple(file for file in files if not file.key_points or file.split not in others)
    return CocoFiles(kept, tuple(lists), tuple(panoptic))


def _read(root: Path, path: Path, data: bytes) -> CocoFile | None:
    """Return a file that is in COCO's format, with annotations or none, else None."""
    if b'"annotations"' not in data and b'"file_name"' not in data:
        return None
    content = parsed(path, data)
    return CocoFile(path, split_of_file(root, path), content) if _is_coco(content) else None


def is_annotated(root: Path) -> bool:
    """Say whether a folder has annotations of objects, in whatever state."""
    return any(text_with(path, _WORDS, without=(_SEGMENTS,)) is not None for path in json_files(root))


def names_listed(file: CocoFile) -> Iterator[str]:
    """Yield the names of the images that a file lists; entries without one are passed over."""
    for entry in file.content["images"]:
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip():
            yield name


def _is_coco(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("images"), list) or not content["images"]:
        return False
    if "annotations" not in content:
        return True
    if not isinstance(content["annotations"], list) or not isinstance(content.get("categories"), list):
        return False
    shown = [entry for entry in content["annotations"][:10] if isinstance(entry, dict)]
    return any("category_id" in entry for entry in shown)
