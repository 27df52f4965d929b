"""The layout of PASCAL VOC: JPEGImages, SegmentationClass, and the lists in ImageSets/Segmentation."""

from __future__ import annotations

from pathlib import Path

from atrous.data.found import Found
from atrous.data.pairs import Matched, Pair, images_below, listed, match, named

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
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
    """Return the splits of a VOC folder, or None when it is laid out otherwise.

    Without lists every image that has a mask is in `train`: most images of the original have none.
    """
    images = root / "JPEGImages"
    masks = next(
        (root / name for name in ("SegmentationClass", "SegmentationClassAug") if (root / name).is_dir()), None
    )
    if not images.is_dir() or masks is None:
        return None
    lists = root / "ImageSets" / "Segmentation"
    splits = {split: listed(lists / f"{split}.txt") for split in ("train", "val", "test")}
    if not splits["train"] and not splits["val"]:
        splits["train"] = listed(lists / "trainval.txt")
    if not any(splits.values()):
        return Found({"train": Matched(match(root, images, masks).pairs)})
    pictures = {path.stem: path for path in images_below(images)}
    labels = {path.stem: path for path in images_below(masks)}
    return Found(
        {
            split: _matched(root, names, pictures, labels, masks_optional=split == "test")
            for split, names in splits.items()
            if names
        }
    )


def _matched(
    root: Path, names: list[str], pictures: dict[str, Path], labels: dict[str, Path], *, masks_optional: bool
) -> Matched:
    missing = tuple(name for name in names if name not in pictures)
    there = [name for name in dict.fromkeys(names) if name in pictures]
    alone = () if masks_optional else tuple(pictures[name] for name in there if name not in labels)
    pairs: tuple[Pair, ...] = tuple(
        named(root, pictures[name], labels.get(name)) for name in there if masks_optional or name in labels
    )
    return Matched(pairs, alone, missing=missing)
