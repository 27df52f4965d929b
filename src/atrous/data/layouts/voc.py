"""The layout of PASCAL VOC: JPEGImages, SegmentationClass, and the lists in ImageSets/Segmentation.

Masks are palette files, plain indices or colours. The augmented masks of `SegmentationClassAug` and the plain ones of
`SegmentationClassRaw` or `SegmentationClassPNG` are read where `SegmentationClass` has not as many of the listed ones.
Folders within, such as one for each film, belong to the names. A `class_names.txt`, as labelme writes it, names the
classes; without it they are the twenty of VOC and background.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from atrous.data.found import Found
from atrous.data.images import is_mask_name
from atrous.data.lists import Endings, lines_of
from atrous.data.pairs import Matched, Pair, by_key, listed, named
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
            return replace(found_below(root, base, masks), told=_told(base))
    return None


def found_below(root: Path, base: Path, masks: Sequence[Path]) -> Found:
    """Return the splits that the lists make, the pairs in none, and which folder of masks was taken of several.

    Without lists for `train` and `val`, `trainval`, `trainaug` or `default` stands in for `train`.
    """
    pictures, doubles = by_key(base / "JPEGImages")
    endings = Endings(pictures)
    splits = {split: _Listed(names, endings) for split, names in _lists(base / "ImageSets" / "Segmentation").items()}
    wanted = {key for split in ("train", "val") if split in splits for key in splits[split].there}
    folders = {folder: _Masks(folder, pictures) for folder in masks}
    chosen = max(masks, key=lambda folder: len(wanted & set(folders[folder].of)))
    notes = (f"the masks are those of {chosen.name}/, of {len(masks)} folders of masks",) if len(masks) > 1 else ()
    labels = folders[chosen]
    if not splits:
        pairs = tuple(_pairs(root, pictures, labels.of, taken=()))
        return Found({"train": Matched(pairs, doubles=doubles + labels.doubles)}, notes=notes)
    matched = {
        split: _matched(root, names, pictures, labels.of, masks_optional=split == "test")
        for split, names in splits.items()
    }
    first = next(iter(matched))
    matched[first] = replace(matched[first], doubles=doubles + labels.doubles)
    taken = {key for names in splits.values() for key in names.there}
    return Found(matched, notes=notes, spare=tuple(_pairs(root, pictures, labels.of, taken=taken)))


def _pairs(
    root: Path, pictures: Mapping[str, Path], labels: Mapping[str, Path], *, taken: Collection[str]
) -> Iterator[Pair]:
    """Return the pictures that have a mask as pairs, without those that are taken."""
    return (named(root, path, labels[key]) for key, path in pictures.items() if key in labels and key not in taken)


def _lists(folder: Path) -> dict[str, list[str]]:
    splits = {split: listed(folder / f"{split}.txt") for split in ("train", "val", "test")}
    if not splits["train"] and not splits["val"]:
        stand_ins = (listed(folder / f"{name}.txt") for name in ("trainval", "trainaug", "default"))
        splits["train"] = next(filter(None, stand_ins), [])
    return {split: names for split, names in splits.items() if names}


class _Listed:
    """What a list names: the keys of pictures that are there, and names that are not, or that mean several."""

    def __init__(self, names: Iterable[str], pictures: Endings) -> None:
        self.there: dict[str, None] = {}
        self.missing: list[str] = []
        for name in names:
            found = pictures.find(name)
            if len(found) == 1:
                self.there[found[0]] = None
            else:
                self.missing.append(f"{name} (which may be {found[0]} or {found[1]})" if found else name)


class _Masks:
    """The masks below a folder by the keys of their pictures, and those that share a name."""

    def __init__(self, folder: Path, pictures: Mapping[str, Path]) -> None:
        labels, self.doubles = by_key(folder, is_mask_name)
        self.of = {key: labels[key] for key in pictures if key in labels}
        left = _by_last(set(labels) - set(pictures))
        for last, keys in _by_last(set(pictures) - set(labels)).items():
            others = left.get(last, [])
            if len(keys) == len(others) == 1 and last in (keys[0], others[0]):  # one of the two is in no folder
                self.of[keys[0]] = labels[others[0]]


def _by_last(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[key.rpartition("/")[2]].append(key)
    return found


def _matched(
    root: Path, names: _Listed, pictures: Mapping[str, Path], labels: Mapping[str, Path], *, masks_optional: bool
) -> Matched:
    alone = () if masks_optional else tuple(pictures[key] for key in names.there if key not in labels)
    pairs = tuple(named(root, pictures[key], labels.get(key)) for key in names.there if masks_optional or key in labels)
    return Matched(pairs, alone, missing=tuple(names.missing))


def _told(base: Path) -> Wishes:
    path = base / "class_names.txt"
    if not path.is_file():
        return Wishes()
    names = tuple(name for name in lines_of(path) if name != "__ignore__")
    return Wishes(classes=names, colours=palette(len(names)), values=tuple(range(len(names))), ignore=255)
