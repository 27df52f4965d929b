"""The layout of Look into Person: `train_images/ train_segmentations/ val_images/ val_segmentations/`.

The 20 classes begin with the background; the masks hold 0..19, and 255 where nothing is to be learnt. Others have
folders of these names too, so the images must be called as LIP's are, `77_471474.jpg`, or lie in its archive's folders.
"""

from __future__ import annotations

import re
from pathlib import Path

from atrous.data.found import Found
from atrous.data.images import is_image_name
from atrous.data.pairs import files_in, match
from atrous.data.wishes import Wishes

NAMES = (
    "background", "hat", "hair", "glove", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
    "jumpsuits", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe", "right-shoe",
)  # fmt: skip
ACCEPTED = "train_images/ + train_segmentations/ (LIP)"

_INNER = ("", "TrainVal_images", "TrainVal_parsing_annotations")
_PEEKED = 20
_NAME = re.compile(r"\d+_\d+")
_NOTE = "the classes are taken to be the 20 of Look into Person; if they are others, write a classes.json"


def recognise(root: Path) -> Found | None:
    """Return the splits of the dataset, or None when it is laid out otherwise; `test_images/` have no masks.

    The folders may also lie in `TrainVal_images/` and `TrainVal_parsing_annotations/`, as in the original archive.
    """
    splits = {}
    for split in ("train", "val"):
        images, masks = _folder(root, f"{split}_images"), _folder(root, f"{split}_segmentations")
        if images is not None and masks is not None:
            splits[split] = match(root, images, masks)
    if not splits or not _is_lip(root):
        return None
    if (test := _folder(root, "test_images")) is not None:
        splits["test"] = match(root, test, None)
    return Found(splits, Wishes(classes=NAMES, values=tuple(range(len(NAMES))), ignore=255), notes=(_NOTE,))


def _is_lip(root: Path) -> bool:
    if any((root / name).is_dir() for name in _INNER if name):
        return True
    folder = _folder(root, "train_images") or _folder(root, "val_images")
    first = files_in(folder, is_image_name)[:_PEEKED] if folder is not None else []
    return bool(first) and all(_NAME.fullmatch(path.stem) for path in first)


def _folder(root: Path, name: str) -> Path | None:
    return next((path for inner in _INNER if (path := root / inner / name).is_dir()), None)
