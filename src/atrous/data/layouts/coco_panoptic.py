"""The layout of COCO's panoptic annotations: JSON files that list segments, and a folder of PNG files for each.

`annotations/panoptic_val2017.json` lies beside `annotations/panoptic_val2017/`, whose PNG files are named after the
images; the pixels of a segment have its id as colour, red + 256 green + 65536 blue, and `segments_info` says which
category it is. The folder is the one named like the JSON file, else the one whose colours are those ids. Files in the
format of two channels, red the category and green the number of the object (255 a crowd), are read where they are the
only ones.

Classes are the categories in the order of their ids, which are the masks' values where they fit. Pixels of no segment
are ignored, as COCO does; there is no background. Crowds are drawn as their class and are no instances. All images are
understood that lie anywhere below the root.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError
from atrous.data.annotations import Gathered, Images, json_files, parsed, split_above, split_of_file, text_with, whole
from atrous.data.categories import Category, classes_of, read_categories, renumbered_note
from atrous.data.decoders import turned
from atrous.data.found import Found, Problem
from atrous.data.images import bare, packed, read_mask
from atrous.data.layouts import mask_folders
from atrous.data.layouts.coco_files import is_annotated
from atrous.data.names import composed
from atrous.data.pairs import named, path_below
from atrous.data.shapes import fitting

ACCEPTED = "images + a JSON file with segments_info + a folder of PNG files of segment ids (COCO panoptic)"
_CROWD = 255
_WORDS = (b'"segments_info"', b'"annotations"', b'"categories"')


@dataclass(frozen=True)
class Segments:
    """A mask whose colours are ids of segments: `table` has (id, value of its class, number of the instance or 0).

    With `two_channels` red is the id of the category, and `table` has (category, value, 0); green numbers the objects.
    """

    path: Path
    table: tuple[tuple[int, int, int], ...]
    image: Path
    two_channels: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The image's file, whose EXIF turn counts."""
        return (self.image,)

    def read(self) -> NDArray[np.int32]:
        """Return (h, w) values of classes, 255 for pixels of no segment.

        Raises `AtrousError` for a colour that is the id of no segment.
        """
        return self._looked_up(1, IGNORE)

    def instances(self) -> NDArray[np.int32]:
        """Return (h, w) numbers of the segments, 0 for crowds and pixels of none."""
        if not self.two_channels:
            return self._looked_up(2, 0)
        pixels, turn = self._pixels()
        objects = np.where(pixels[..., 1] == _CROWD, 0, packed(pixels))
        present, numbers = np.unique(objects, return_inverse=True)
        first = int(present[0] != 0)
        return turned(numbers.reshape(objects.shape).astype(np.int32) + first, turn)

    def _looked_up(self, column: int, rest: int) -> NDArray[np.int32]:
        pixels, turn = self._pixels()
        ids = segment_ids(pixels, two_channels=self.two_channels)
        known = np.array([(0, rest, rest), *sorted(self.table)], np.int64)
        place = np.minimum(np.searchsorted(known[:, 0], ids), len(known) - 1)
        strange = known[place, 0] != ids
        if strange.any():
            raise AtrousError(
                f"{self.path}: {int(strange.sum()):,} pixels have the id {int(ids[strange][0])}, which is none of the "
                f"{len(self.table)} segments that are listed. Was the file smoothed, or is it another image's?",
                kind="label-outside",
            )
        return turned(known[place, column].astype(np.int32), turn)

    def _pixels(self) -> tuple[NDArray[Any], int]:
        pixels = read_mask(self.path, colours=True)
        return pixels, fitting(self.path, (pixels.shape[0], pixels.shape[1]), self.image)[1]


def segment_ids(pixels: NDArray[Any], *, two_channels: bool = False) -> NDArray[np.int64]:
    """Return the ids that colours (h, w, 3) stand for.

    >>> segment_ids(np.array([[[1, 2, 0]]], np.uint8)).tolist()
    [[513]]
    """
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return red if two_channels else red + 256 * green + 65536 * blue


@dataclass(frozen=True)
class _File:
    """A JSON file, the split that it is of, and the folder of its PNG files, which it calls by name."""

    path: Path
    split: str | None
    content: dict[str, Any]
    folder: Path
    two_channels: bool


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with COCO's panoptic annotations, or None when it is laid out otherwise.

    Raises `AtrousError` for annotation files that are all broken, whose PNG files or images are all missing, or whose
    categories contradict each other.
    """
    contents = _contents(root)
    if not contents:
        return None
    images, gathered = Images(root), Gathered()
    found = {path: _with_folder(root, path, content, images) for path, content in contents.items()}
    files = [file for file in found.values() if file is not None]
    if len(files) < len(found) and (is_annotated(root) or mask_folders.first_mask(root) is not None):
        return None
    _refuse_no_folder(root, contents, found)
    categories: dict[int, Category] = {}
    tables = {file.path: read_categories(file.path, file.content["categories"], categories) for file in files}
    used = {table[number] for file, table in zip(files, tables.values(), strict=True) for number in _used(file, table)}
    classes = classes_of(root, categories, used, background=False)
    for file in files:
        value = {number: classes.value[same] for number, same in tables[file.path].items() if same in classes.value}
        _gather(root, file, images, value=value, gathered=gathered)
    if not any(gathered.pairs.values()):
        missing = next((name for names in gathered.missing.values() for name in names), "none is listed")
        raise AtrousError(
            f"{files[0].path}: none of the listed images is below {root} (the first: {missing}). Copy the images there."
        )
    other_ids = (line for path, table in tables.items() for line in renumbered_note(root, path, table, categories))
    notes = (*classes.notes, *other_ids, *images.note(), *mask_folders.left_aside(root))
    return Found(gathered.splits(), replace(classes.told, ignore=IGNORE), notes, tuple(gathered.problems))


def _refuse_no_folder(root: Path, contents: dict[Path, dict[str, Any]], found: dict[Path, _File | None]) -> None:
    path = next((path for path, file in found.items() if file is None), None)
    if path is not None:
        raise AtrousError(
            f"{path}: no folder below {root} holds its PNG files of segment ids (the first: "
            f"{next(iter(_masks_listed(contents[path])), 'none')}). Unpack them into a folder {path.stem} beside the "
            "JSON file."
        )


def _contents(root: Path) -> dict[Path, dict[str, Any]]:
    found = {}
    for path in json_files(root):
        data = text_with(path, _WORDS)
        content = None if data is None else parsed(path, data)
        lists = ("annotations", "categories")
        if isinstance(content, dict) and all(isinstance(content.get(name), list) for name in lists):
            found[path] = content
    return found


def _entries(file: _File) -> list[dict[str, Any]]:
    return [entry for entry in file.content["annotations"] if isinstance(entry, dict) and "segments_info" in entry]


def _segments_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    segments = entry.get("segments_info")
    return [segment for segment in segments if isinstance(segment, dict)] if isinstance(segments, list) else []


def _used(file: _File, known: Container[int]) -> set[int]:
    """Return the ids of those of the file's categories that segments have."""
    segments = (segment for entry in _entries(file) for segment in _segments_of(entry))
    numbers = {whole(segment.get("category_id")) for segment in segments}
    return {number for number in numbers if number is not None and number in known}


def _masks_listed(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of a file by the name of their PNG file."""
    entries = [entry for entry in content["annotations"] if isinstance(entry, dict)]
    return {_mask_name(entry): entry for entry in entries}


def _mask_name(entry: dict[str, Any]) -> str:
    return Path(composed(str(entry.get("file_name", "")))).name


def _with_folder(root: Path, path: Path, content: dict[str, Any], images: Images) -> _File | None:
    """Return the file with the folder of its PNG files: named like it, or whose colours are the listed ids."""
    split = split_of_file(root, path)
    names = _masks_listed(content)
    folders: dict[Path, Path] = {}
    for image in images:
        if composed(image.name) in names:
            folders.setdefault(image.parent, image)
    for folder in sorted(folders, key=lambda folder: folder.name != path.stem):
        entry = names[composed(folders[folder].name)]
        for two_channels in (False, True):
            if _fits(folders[folder], entry, two_channels=two_channels) and (not two_channels or _only(folders, names)):
                return _File(path, split, content, folder, two_channels)
    return None


def _only(folders: dict[Path, Path], names: dict[str, dict[str, Any]]) -> bool:
    """Say whether no folder holds the ids themselves, so that the format of two channels is to be read."""
    return not any(_fits(file, names[composed(file.name)], two_channels=False) for file in folders.values())


def _fits(file: Path, entry: dict[str, Any], *, two_channels: bool) -> bool:
    """Say whether at least nine in ten of a picture's pixels have a listed id or none."""
    try:
        ids = segment_ids(read_mask(file, colours=True), two_channels=two_channels)
    except AtrousError:
        return False
    key = "category_id" if two_channels else "id"
    listed = [number for segment in _segments_of(entry) if (number := whole(segment.get(key))) is not None]
    return float(np.isin(ids, [0, *listed]).mean()) >= 0.9 and bool(np.isin(ids, listed).any() or not listed)


def _gather(root: Path, file: _File, images: Images, *, value: Mapping[int, int], gathered: Gathered) -> None:
    """Take the file's images with their segments into `gathered`; `value` is that of each of the file's categories."""
    listed = file.content.get("images")
    records = (
        {whole(each.get("id")): each for each in listed if isinstance(each, dict)} if isinstance(listed, list) else {}
    )
    for entry in _entries(file):
        if not _mask_name(entry):
            detail = f"the entry of image {entry.get('image_id')!r} names no PNG file: left out"
            gathered.problems.append(Problem("broken-annotation", file.path, detail))
            continue
        mask = images.at(path_below(root, file.folder / _mask_name(entry)))
        name = str(records.get(whole(entry.get("image_id")), {}).get("file_name") or "")
        name = name or bare(Path(_mask_name(entry))).name + ".jpg"
        found = images.find(name, file.path, file.split, masks=file.folder)
        split = file.split or (split_above(path_below(root, found[0])) if found else None) or "train"
        if not found:
            gathered.missing[split].append(name)
        elif len(found) > 1:
            detail = f"{name} may be {found[0]} or {found[1]}: left out"
            gathered.problems.append(Problem("name-twice", file.path, detail))
        elif mask is None:
            detail = f"{_mask_name(entry)} is listed and not there"
            gathered.problems.append(Problem("image-without-mask", found[0], detail))
        else:
            table = _table(file, entry, found[0], value=value, problems=gathered.problems)
            gathered.add(split, named(root, found[0], Segments(mask, table, found[0], file.two_channels)))


def _table(
    file: _File, entry: dict[str, Any], image: Path, *, value: Mapping[int, int], problems: list[Problem]
) -> tuple[tuple[int, int, int], ...]:
    """Return (id, value, number of the instance) of the segments; those of an unknown category are ignored."""
    rows: dict[int, tuple[int, int, int]] = {}
    for number, segment in enumerate(_segments_of(entry), start=1):
        identity, category = whole(segment.get("id")), whole(segment.get("category_id"))
        key = category if file.two_channels else identity
        if identity is None or key is None or not 0 < key < 1 << 24:
            detail = f"segment {str(segment)[:80]} has no id from 1 to 16777215"
            problems.append(Problem("broken-annotation", image, f"{detail}, in {file.path.name}"))
            continue
        label = value.get(category) if category is not None else None
        if label is None:
            detail = f"a segment is of category {segment.get('category_id')!r}, which {file.path.name} does not list"
            problems.append(Problem("class-unknown", image, f"{detail}: ignored"))
        if key in rows and not file.two_channels:
            problems.append(Problem("broken-annotation", image, f"segment {key} is listed twice in {file.path.name}"))
        rows[key] = (key, IGNORE if label is None else label, 0 if segment.get("iscrowd") else number)
    return tuple(rows.values())
