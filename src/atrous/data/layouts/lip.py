"""The layout of Look into Person: `train_images/ train_segmentations/ val_images/ val_segmentations/`.

The 20 classes begin with the background; the masks hold 0..19, and 255 where nothing is to be learnt.
"""

from __future__ import annotations

from pathlib import Path

from atrous.data.found import Found
from atrous.data.pairs import match
from atrous.data.wishes import Wishes

NAMES = (
    "background", "hat", "hair", "glove", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
    "jumpsuits", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe", "right-shoe",
)  # fmt: skip
ACCEPTED = "train_images/ + train_segmentations/ (LIP)"


_INNER = ("", "TrainVal_images", "TrainVal_parsing_annotations")


def recognise(root: Path) -> Found | None:
    """Return the splits of the dataset, or None when it is laid out otherwise; `test_images/` have no masks.

    The folders may also lie in `TrainVal_images/` and `TrainVal_parsing_annotations/`, as in the original archive.
    """
    splits = {}
    for split in ("train", "val"):
        images, masks = _folder(root, f"{split}_images"), _folder(root, f"{split}_segmentations")
        if images is not None and masks is not None:
            splits[split] = match(root, images, masks)
    if not splits:
        return None
    if (test := _folder(root, "test_images")) is not None:
        splits["test"] = match(root, test, None)
    return Found(splits, Wishes(classes=NAMES, values=tuple(range(len(NAMES))), ignore=255))


def _folder(root: Path, name: str) -> Path | None:
    return next((path for inner in _INNER if (path := root / inner / name).is_dir()), None)
