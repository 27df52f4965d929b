"""The layout of PASCAL VOC: JPEGImages, SegmentationClass, and the lists in ImageSets/Segmentation.

Masks are palette files, plain indices or colours. The augmented masks of `SegmentationClassAug` and the plain ones of
`SegmentationClassRaw` or `SegmentationClassPNG` are read where `SegmentationClass` has not as many of the listed ones.
A `class_names.txt`, as labelme writes it, names the classes; without it they are the twenty of VOC and background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from atrous.data.found import Found
from atrous.data.images import bare, is_image_name, is_mask_name
from atrous.data.lists import lines_of
from atrous.data.names import composed
from atrous.data.pairs import Matched, files_below, listed, match, named
from atrous.data.wishes import Wishes

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG", "SegmentationClassRaw")
ACCEPTED = "JPEGImages/ + SegmentationClass/ (VOC)"


def palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return the first `count` colours of VOC's palette, whose bits are those of the index, dealt out to R, G and B.

    >>> palette(3)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    colours = []
    for index in range(count):
        channels = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        colours.append((channels[0], channels[1], channels[2]))
    return tuple(colours)


def recognise(root: Path) -> Found | None:
    """Return the splits of a VOC folder, or None when it is laid out otherwise; `VOCdevkit/VOC2012` is seen through.

    Without lists every image that has a mask is in `train`: most images of the original have none.
    """
    for base in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        masks = [base / name for name in MASK_FOLDERS if (base / name).is_dir()]
        if masks and (base / "JPEGImages").is_dir():
            splits, notes = splits_below(root, base, masks)
            return Found(splits, _told(base), notes)
    return None


def splits_below(root: Path, base: Path, masks: Sequence[Path]) -> tuple[dict[str, Matched], tuple[str, ...]]:
    """Return the splits that the lists make, and which folder of masks was taken where there are several.

    Without lists for `train` and `val`, `trainval`, `trainaug` or `default` stands in for `train`.
    """
    lists = base / "ImageSets" / "Segmentation"
    splits = {split: listed(lists / f"{split}.txt") for split in ("train", "val", "test")}
    if not splits["train"] and not splits["val"]:
        stand_ins = (listed(lists / f"{name}.txt") for name in ("trainval", "trainaug", "default"))
        splits["train"] = next(filter(None, stand_ins), [])
    wanted = {*splits["train"], *splits["val"]}
    folders = {folder: _by_stem(folder, is_mask_name) for folder in masks}
    chosen = max(masks, key=lambda folder: len(wanted & set(folders[folder])))
    notes = (f"the masks are those of {chosen.name}/, of {len(masks)} folders of masks",) if len(masks) > 1 else ()
    if not any(splits.values()):
        return {"train": Matched(match(root, base / "JPEGImages", chosen).pairs)}, notes
    pictures = _by_stem(base / "JPEGImages", is_image_name)
    return {
        split: _matched(root, names, pictures, folders[chosen], masks_optional=split == "test")
        for split, names in splits.items()
        if names
    }, notes


def _by_stem(folder: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
    return {composed(bare(path).name): path for path in files_below(folder, wanted)}


def _matched(
    root: Path, names: list[str], pictures: dict[str, Path], labels: dict[str, Path], *, masks_optional: bool
) -> Matched:
    missing = tuple(name for name in names if name not in pictures)
    there = [name for name in dict.fromkeys(names) if name in pictures]
    alone = () if masks_optional else tuple(pictures[name] for name in there if name not in labels)
    pairs = tuple(named(root, pictures[name], labels.get(name)) for name in there if masks_optional or name in labels)
    return Matched(pairs, alone, missing=missing)


def _told(base: Path) -> Wishes:
    path = base / "class_names.txt"
    if not path.is_file():
        return Wishes()
    names = tuple(name for name in lines_of(path) if name != "__ignore__")
    return Wishes(classes=names, colours=palette(len(names)), values=tuple(range(len(names))), ignore=255)
