"""The layouts of Hugging Face's `datasets`: tables saved to disk, Parquet files, and images with a metadata file.

    dataset_dict.json, train/state.json, train/data-00000-of-00001.arrow     save_to_disk
    data/train-00000-of-00001.parquet, or default/train/0000.parquet         a clone of the hub
    train/metadata.jsonl (or .csv) with file_name and mask_file_name         imagefolder

A row has a column of images and one of masks. `id2label.json` names the classes. Nothing is fetched, and no loading
script is run.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atrous.contract import IGNORE, AtrousError
from atrous.data.found import Found, Problem
from atrous.data.lists import is_file
from atrous.data.pairs import SPLITS, Matched, Pair, named
from atrous.data.rows import PARQUET, Row, filled, schema_and_rows, unreadable
from atrous.data.wishes import Wishes

ACCEPTED = "dataset_dict.json or data/*.parquet with columns image and label (Hugging Face)"

_IMAGES = ("image", "img", "images", "pixel_values", "photo", "picture", "input")
_MASKS = (
    "mask", "label", "annotation", "segmentation", "labels", "masks", "annotations", "semantic_segmentation",
    "segmentation_mask", "seg", "seg_map", "label_mask", "semantic", "gt", "ground_truth", "target",
)  # fmt: skip
_METADATA = ("metadata.jsonl", "metadata.csv")


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder of tables, or None when it is laid out otherwise.

    Rows without a mask are images alone in `test`, and problems elsewhere. Raises `AtrousError` for tables that are
    damaged, or in which no column of images and one of masks can be told apart.
    """
    tables, notes = _tables(root)
    if not tables:
        return _image_folder(root)
    try:
        return _found(root, tables, notes)
    except AtrousError:
        if all(path.suffix == PARQUET for _, path in tables) and _other_folders(root, tables):
            return None  # something lies beside the images of another layout
        raise


def _other_folders(root: Path, tables: list[tuple[str, Path]]) -> set[str]:
    """Return the folders of the root that hold no tables."""
    ours = {path.relative_to(root).parts[0] for _, path in tables}
    return {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")} - ours


def _found(root: Path, tables: list[tuple[str, Path]], notes: tuple[str, ...]) -> Found | None:
    splits: dict[str, list[Pair]] = {}
    problems: list[Problem] = []
    counted: Counter[str] = Counter()
    for split, path in tables:
        pairs = splits.setdefault(split, [])
        columns = _columns(path)
        if columns is None:
            if path.suffix == PARQUET:
                return None  # a folder may hold tables of something else beside its images
            raise _no_columns(path)
        rows, alone = _rows(path, split, counted[split], columns)
        counted[split] += schema_and_rows(path)[1]
        pairs += rows
        problems += alone
    told, broken = _told(root)
    return Found(
        {split: Matched(tuple(pairs)) for split, pairs in splits.items()},
        told=told,
        notes=notes,
        problems=(*problems, *broken),
    )


def _tables(root: Path) -> tuple[list[tuple[str, Path]], tuple[str, ...]]:
    """Return split and path of every table, and a note for the splits that have another name."""
    if (root / "dataset_dict.json").is_file():
        folders = [path.parent for path in sorted(root.glob("*/state.json"))]
        known = [folder for folder in folders if folder.name.lower() in SPLITS]
        others = [folder.name for folder in folders if folder not in known]
        notes = (f"Splits that are neither train, val nor test are left out: {', '.join(others)}.",) if others else ()
        found = [(SPLITS[folder.name.lower()], path) for folder in known for path in _arrow_files(folder)]
        if not found:
            raise AtrousError(f"{root}: dataset_dict.json is there and no split with it. Copy the whole dataset.")
        return found, notes
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file():
        return [("train", path) for path in _arrow_files(root)], ()
    below = {path.relative_to(root) for depth in ("*", "*/*", "*/*/*") for path in root.glob(depth + PARQUET)}
    seen = sorted(path for path in below if not any(part.startswith(".") for part in path.parts))
    return [(_split_of(path), root / path) for path in seen if (root / path).is_file()], ()


def _arrow_files(folder: Path) -> list[Path]:
    state = folder / "state.json"
    stored = _json(state)
    files = stored.get("_data_files") if isinstance(stored, dict) else None
    listed = files if isinstance(files, list) and files else [None]
    names = [file.get("filename") if isinstance(file, dict) else None for file in listed]
    if not all(isinstance(name, str) and name for name in names):
        raise AtrousError(
            f"{state}: it does not list the files of the table under _data_files. Save the dataset again."
        )
    paths = [folder / str(name) for name in names]
    gone = [path for path in paths if path.parent.resolve() != folder.resolve() or not path.is_file()]
    if gone:
        raise AtrousError(f"{state}: the table {gone[0].name} that it lists is not beside it. Copy the whole dataset.")
    return paths


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise AtrousError(f"{path}: this is not JSON ({error}). Copy it again.", kind="broken-annotation") from error


def _split_of(path: Path) -> str:
    """Return the split that a table's name begins with, or else its innermost folder that is called as one."""
    begins = re.split(r"[^a-z]", path.stem.lower())[0]
    names = [begins, *(parent.name.lower() for parent in path.parents)]
    return next((SPLITS[name] for name in names if name in SPLITS), "train")


def _columns(path: Path) -> tuple[str, str] | None:
    """Return the names of the columns of images and of masks, None where they cannot be told."""
    schema, _ = schema_and_rows(path)
    features = _features(schema, path)
    pictures = [name for name in schema.names if _holds_pictures(schema.field(name).type, features.get(name))]
    arrays = [name for name in schema.names if _holds_arrays(schema.field(name).type)]
    image = next((name for name in _IMAGES if name in pictures), None)
    mask = next((name for name in _MASKS if name in (*pictures, *arrays)), None)
    if len(pictures) == 2:
        image = image or next((name for name in pictures if name != mask), None)
        mask = mask or next((name for name in pictures if name != image), None)
    image = image or next((name for name in _IMAGES if name in arrays), None)
    return None if image is None or mask is None or image == mask else (image, mask)


def _features(schema: Any, path: Path) -> Mapping[str, Any]:
    stored = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stored)["info"]["features"] if stored else {}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unreadable(path, error) from error
    return features if isinstance(features, dict) else {}


def _holds_pictures(kind: Any, feature: Any) -> bool:
    if isinstance(feature, dict) and "_type" in feature:
        return bool(feature["_type"] == "Image")
    fields = {kind.field(index).name for index in range(kind.num_fields)}
    return "bytes" in fields or str(kind) in ("binary", "large_binary")


def _holds_arrays(kind: Any) -> bool:
    return str(kind).count("list<") >= 2 or "Array2D" in str(kind) or "Array3D" in str(kind)


def _no_columns(path: Path) -> AtrousError:
    schema, _ = schema_and_rows(path)
    return AtrousError(
        f"{path}: the columns {', '.join(schema.names)} came, and one of images and one of masks are wanted. "
        "Call them image and label: dataset.rename_column."
    )


def _rows(path: Path, split: str, first: int, columns: tuple[str, str]) -> tuple[list[Pair], list[Problem]]:
    pairs, problems = [], []
    images, masks = (filled(path, column) for column in columns)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if image and (mask or split == "test"):
            labels = Row(path, index, columns[1], masks=True) if mask else None
            pairs.append(Pair(f"{split}/{first + index:06d}", Row(path, index, columns[0]), labels))
        else:
            kind = "image-without-mask" if image else "mask-without-image"
            problems.append(Problem(kind, path, f"row {index} has no {columns[1] if image else columns[0]}"))
    return pairs, problems


def _told(root: Path) -> tuple[Wishes, list[Problem]]:
    """Return what `id2label.json` says of the classes, and what is wrong with it."""
    path = root / "id2label.json"
    if not path.is_file():
        return Wishes(), []
    try:
        stored = _json(path)
        names = {int(number): str(name) for number, name in stored.items()}
    except (AtrousError, ValueError, AttributeError, TypeError) as error:
        return Wishes(), [Problem("broken-annotation", path, str(error))]
    names.pop(IGNORE, None)
    if not names or len(set(names.values())) < len(names):
        return Wishes(), [Problem("broken-annotation", path, "names are missing or come twice")]
    values = tuple(sorted(names))
    return Wishes(classes=tuple(names[value] for value in values), values=values), []


def _image_folder(root: Path) -> Found | None:
    splits: dict[str, list[Pair]] = {}
    problems: list[Problem] = []
    for path in [root / name for name in _METADATA] + [found for name in _METADATA for found in root.glob(f"*/{name}")]:
        if not path.is_file():
            continue
        split = SPLITS.get(path.parent.name.lower(), "train") if path.parent != root else "train"
        for entry in _entries(path, problems):
            key = next(
                (f"{name}{end}" for end in ("_file_name", "") for name in _MASKS if f"{name}{end}" in entry), None
            )
            if not isinstance(entry.get("file_name"), str) or key is None or not isinstance(entry[key], str):
                continue
            image, mask = (path.parent / entry[name] for name in ("file_name", key))
            missing = [each for each in (image, mask) if not _is_below(root, each)]
            if missing:
                problems.append(Problem("listed-missing", path, f"{missing[0].name[:80]} is not there"))
            else:
                splits.setdefault(split, []).append(named(root, image, mask))
    if not splits:
        return None
    return Found({split: Matched(tuple(pairs)) for split, pairs in splits.items()}, problems=tuple(problems))


def _is_below(root: Path, path: Path) -> bool:
    return path.is_relative_to(root) and ".." not in path.parts and is_file(str(path))


def _entries(path: Path, problems: list[Problem]) -> Iterator[Mapping[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        problems.append(Problem("broken-annotation", path, str(error)))
        return
    if path.suffix == ".csv":
        yield from csv.DictReader(lines)
        return
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            yield entry
        else:
            problems.append(Problem("broken-annotation", path, f"line {number} is no JSON object"))
