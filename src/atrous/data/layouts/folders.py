"""The layout of a folder of images beside a folder of masks, with or without split folders, above or below.

`images/ masks/`, `images/train masks/train` and `train/images train/masks` are all read, as are the usual other
names. `train.txt`, `val.txt` and `test.txt` beside the two folders make the split where no folders do.
"""

from __future__ import annotations

from pathlib import Path

from atrous.data.found import Found
from atrous.data.images import bare
from atrous.data.pairs import SPLITS, Matched, Pair, listed, match
from atrous.data.parts import path_of

_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "gt", "gts", "annots", "annot")
ACCEPTED = "images/ + masks/, images/train/ + masks/train/, or train/images/ + train/masks/"


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with images and masks apart, or None when it is laid out otherwise.

    Where neither folders nor lists make a split, all pairs are in `train`.
    """
    folders = _folders(root)
    images, masks = _first(folders, _IMAGES), _first(folders, _MASKS)
    if images is not None and masks is not None:
        return Found(_split_below(root, images, masks) or _split_by_lists(root, match(root, images, masks)))
    splits = {}
    for name, folder in folders.items():
        if name in SPLITS:
            inner = _folders(folder)
            images, masks = _first(inner, _IMAGES), _first(inner, _MASKS)
            if images is not None and (masks is not None or SPLITS[name] == "test"):
                splits[SPLITS[name]] = match(root, images, masks, masks_optional=SPLITS[name] == "test")
    return Found(splits) if set(splits) - {"test"} else None


def _folders(root: Path) -> dict[str, Path]:
    return {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}


def _first(folders: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _split_below(root: Path, images: Path, masks: Path) -> dict[str, Matched] | None:
    splits = {}
    mask_folders = _folders(masks)
    for name, folder in _folders(images).items():
        if name not in SPLITS:
            continue
        test = SPLITS[name] == "test"
        below = mask_folders.get(name) or next(
            (path for other, path in mask_folders.items() if SPLITS.get(other) == SPLITS[name]), None
        )
        if below is not None or test:
            splits[SPLITS[name]] = match(root, folder, below, masks_optional=test)
    return splits if set(splits) - {"test"} else None


def _split_by_lists(root: Path, found: Matched) -> dict[str, Matched]:
    lists = {split: listed(root / f"{split}.txt") for split in ("train", "val", "test")}
    if not lists["train"]:
        return {"train": found}
    by_stem = {stem: pair for pair in found.pairs for stem in _stems(pair)}
    alone = {path.stem for path in found.images_alone}
    splits = {}
    for split, stems in lists.items():
        if not stems:
            continue
        pairs = {by_stem[stem].name: by_stem[stem] for stem in stems if stem in by_stem}
        missing = tuple(stem for stem in stems if stem not in by_stem and stem not in alone)
        splits[split] = Matched(tuple(pairs.values()), missing=missing)
    first = splits["train"]
    splits["train"] = Matched(first.pairs, found.images_alone, found.masks_alone, found.doubles, first.missing)
    return splits


def _stems(pair: Pair) -> set[str]:
    return {bare(path_of(source)).name for source in (pair.image, pair.mask) if source is not None}
