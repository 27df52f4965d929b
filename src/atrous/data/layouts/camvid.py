"""The layout of SegNet's CamVid: `train` beside `trainannot`, and `val`, `test` likewise where there are any."""

from __future__ import annotations

from pathlib import Path

from atrous.data.found import Found
from atrous.data.pairs import match

NAMES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
"""The colours of SegNet's figures, in the order of the names."""

IGNORE_VALUE = 11
ACCEPTED = "train/ + trainannot/ (CamVid)"


def recognise(root: Path) -> Found | None:
    """Return the splits of a CamVid folder, or None when it is laid out otherwise.

    Images and masks are paired by file name; the list files beside them hold paths of another machine and are not read.
    """
    splits = {}
    for split in ("train", "val", "test"):
        images, masks = root / split, root / f"{split}annot"
        if images.is_dir() and masks.is_dir():
            splits[split] = match(root, images, masks)
        elif images.is_dir() and split == "test":
            splits[split] = match(root, images, None)
    return Found(splits) if any(split != "test" or (root / "testannot").is_dir() for split in splits) else None
