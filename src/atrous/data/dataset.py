"""A folder of images and masks, understood: its pairs, its splits and its classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from atrous.contract import IGNORE, AtrousError, Colour, Encoding, LabelSpace
from atrous.data import camvid, folders, voc
from atrous.data.census import MaskCensus, Progress, count_mask, in_threads
from atrous.data.pairs import Matched, Pair, images_below, refuse_unpaired, split_by_hash
from atrous.data.samples import decode, read_sample
from atrous.data.spaces import instance_space, work_out_space

__all__ = ["Dataset", "Pair", "decode", "open_dataset", "read_sample"]

_LAYOUTS = (("camvid", camvid), ("voc", voc), ("folders", folders))
_ENCODINGS = ("indices", "colours", "instances")
CLASSES_FILE = "classes.json"


@dataclass(frozen=True)
class Dataset:
    """Pairs of images and masks by split, and the classes; `made_split` when no folder or list told the split."""

    root: Path
    layout: str
    splits: dict[str, tuple[Pair, ...]]
    space: LabelSpace
    made_split: bool


@dataclass(frozen=True)
class Wishes:
    """What the caller or `classes.json` says of the masks; None is for the masks to tell."""

    classes: tuple[str, ...] | None = None
    ignore: int | Colour | None = None
    labels: Encoding | None = None
    colours: tuple[Colour, ...] | None = None
    values: tuple[int | Colour, ...] | None = None


def open_dataset(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | Colour | None = None,
    labels: Encoding | None = None,
    space: LabelSpace | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the dataset in a folder: the layout is recognised, the classes come from the masks.

    `classes`, `ignore` and `labels` say what the masks cannot; a `classes.json` in the folder (`names`, `colours`,
    `values`, `ignore`, `labels`) comes next, then a census of all masks, which calls `progress(done, total)`. With
    `space` nothing is worked out. `split` names the pairs of each split, as stored; other pairs are left out. Where
    nothing tells the split, one in five is `val`, by a hash of the name.

    Raises `AtrousError` for a folder that is missing, empty or laid out otherwise, for images or masks alone, for
    names in `split` that are not there, and for masks whose values are no classes.

    >>> import tempfile, numpy as np
    >>> from atrous.data import write_image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"):
    ...     write_image(root / name, np.eye(4, dtype=np.uint8))
    >>> open_dataset(root).space.names
    ('class 0', 'class 1')
    """
    root = Path(root)
    layout, found = recognise(root)
    refuse_unpaired(found.values(), root)
    splits, made_split = divided({name: matched.pairs for name, matched in found.items()})
    if split is not None:
        splits, made_split = stored_split(root, splits, split), False
    if space is None:
        wishes = wished(root, classes=classes, ignore=ignore, labels=labels)
        space = space_as_wished(wishes) or _space_from_masks(root, layout, splits, wishes, progress)
    return Dataset(root, layout, splits, space, made_split)


def recognise(root: Path) -> tuple[str, dict[str, Matched]]:
    """Return the name of the folder's layout and what was found of each split; raises `AtrousError` if none fits."""
    if not root.is_dir():
        came = "this is a file" if root.exists() else "no such folder"
        raise AtrousError(f"{root}: {came}, and a folder of images and masks is wanted. Check the path.")
    inside = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    if not inside:
        raise AtrousError(f"{root}: the folder is empty. Put images/ and masks/ into it.")
    accepted = "; ".join(module.ACCEPTED for _, module in _LAYOUTS)
    for name, module in _LAYOUTS:
        found = module.recognise(root)
        if found is None:
            continue
        if not any(matched.pairs or matched.images_alone or matched.masks_alone for matched in found.values()):
            raise AtrousError(f"{root}: the folders are there and hold no images. Accepted are: {accepted}.")
        return name, found
    listed = ", ".join(inside[:8]) + (f" and {len(inside) - 8:,} more" if len(inside) > 8 else "")
    loose = len(images_below(root))
    raise AtrousError(
        f"{root}: no layout of images and masks was recognised. It holds {listed} ({loose:,} image files in all). "
        f"Accepted are: {accepted}."
    )


def divided(splits: dict[str, tuple[Pair, ...]]) -> tuple[dict[str, tuple[Pair, ...]], bool]:
    """Return the splits with `val` taken out of `train` by hash where there is none, and whether that was done."""
    if "val" in splits or "train" not in splits or len(splits["train"]) < 2:
        return splits, False
    return {**splits, **split_by_hash(splits["train"])}, True


def stored_split(
    root: Path, splits: dict[str, tuple[Pair, ...]], stored: Mapping[str, Sequence[str]]
) -> dict[str, tuple[Pair, ...]]:
    """Return the pairs that a stored split names; raises `AtrousError` where one of them is not there."""
    """Return the pairs that a stored split names; raises `AtrousError` when one of them is gone."""
    by_name = {pair.name: pair for pair in chain.from_iterable(splits.values())}
    missing = [name for names in stored.values() for name in names if name not in by_name]
    if missing:
        raise AtrousError(
            f"{root}: {len(missing):,} of the names in the stored split are not there, first {missing[0]}. "
            "Use the folder that the run was trained on."
        )
    return {name: tuple(by_name[item] for item in names) for name, names in stored.items()}


def wished(
    root: Path, *, classes: Sequence[str] | None, ignore: int | Colour | None, labels: Encoding | None
) -> Wishes:
    """Return what was given, completed by the folder's `classes.json`."""
    if labels is not None and labels not in _ENCODINGS:
        raise ValueError(f"labels {labels!r} came; indices, colours and instances are possible")
    if isinstance(classes, str):
        raise TypeError(f"classes {classes!r} came; a sequence of names is wanted, such as ('road', 'car')")
    path = root / CLASSES_FILE
    stored = _classes_file(path) if path.is_file() else {}
    same = classes is None or tuple(classes) == tuple(stored.get("names") or classes)
    return Wishes(
        classes=tuple(classes) if classes is not None else _tuple(stored.get("names")),
        ignore=ignore if ignore is not None else _value(stored.get("ignore")),
        labels=labels if labels is not None else stored.get("labels"),
        colours=_tuple(stored.get("colours")) if same else None,
        values=_tuple(stored.get("values")) if same else None,
    )


def _classes_file(path: Path) -> dict[str, Any]:
    fields = ("names", "colours", "values", "ignore", "labels")
    example = '{"names": ["road", "car"], "values": [0, 1], "ignore": 255}'
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AtrousError(f"{path}: this is not JSON ({error}). An example: {example}.") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("names"), list):
        raise AtrousError(f"{path}: a list of names is missing. An example: {example}.")
    strange = sorted(set(stored) - set(fields))
    if strange:
        raise AtrousError(f"{path}: the field {strange[0]!r} is not known. The fields are {', '.join(fields)}.")
    if stored.get("labels") not in (None, *_ENCODINGS):
        raise AtrousError(f"{path}: labels {stored['labels']!r} came; indices, colours and instances are possible.")
    return stored


def _tuple(items: list[Any] | None) -> tuple[Any, ...] | None:
    return None if items is None else tuple(_value(item) for item in items)


def _value(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item


def space_as_wished(wishes: Wishes) -> LabelSpace | None:
    """Return the classes if the wishes are complete without a look at the masks, else None."""
    if wishes.labels == "instances":
        return instance_space(wishes.classes, wishes.ignore)
    values = wishes.values or (wishes.colours if wishes.labels == "colours" else None)
    if wishes.classes is None or values is None:
        return None
    coloured = wishes.labels == "colours" or (wishes.labels is None and isinstance(values[0], tuple))
    ignore = wishes.ignore if wishes.ignore is not None or coloured else IGNORE
    if wishes.ignore is None and len(values) == 2 and IGNORE in values:
        ignore = None
    try:
        return LabelSpace(
            names=wishes.classes,
            colours=wishes.colours or (),  # left out, coloured classes have the colours of their masks
            values=values,
            ignore=ignore,
            encoding="colours" if coloured else "indices",
        )
    except ValidationError as error:
        raise AtrousError(f"{CLASSES_FILE}: {error.errors()[0]['msg']}. Correct the file.") from error


def _space_from_masks(
    root: Path, layout: str, splits: dict[str, tuple[Pair, ...]], wishes: Wishes, progress: Progress | None
) -> LabelSpace:
    paths = [pair.mask for pair in chain.from_iterable(splits.values()) if pair.mask is not None]
    colours = wishes.labels == "colours"
    masks = in_threads(lambda path: count_mask(path, colours=colours), paths, progress)
    return space_from_census(root, layout, masks, wishes)


def space_from_census(root: Path, layout: str, masks: Sequence[MaskCensus], wishes: Wishes) -> LabelSpace:
    """Return the classes of masks already counted; raises `AtrousError` as `open_dataset` does."""
    space = work_out_space(
        masks, root=root, layout=layout, classes=wishes.classes, ignore=wishes.ignore, labels=wishes.labels
    )
    if wishes.colours is None or wishes.colours == space.colours:
        return space
    try:
        return LabelSpace(
            names=space.names, colours=wishes.colours, values=space.values, ignore=space.ignore, encoding=space.encoding
        )
    except ValidationError as error:
        raise AtrousError(f"{root / CLASSES_FILE}: {error.errors()[0]['msg']}. Correct the file.") from error
