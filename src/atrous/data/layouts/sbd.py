"""The layout of SBD, the Semantic Boundaries Dataset: `img/*.jpg`, `cls/*.mat` and the lists `train.txt`, `val.txt`.

The classes are VOC's. `train_noval.txt`, the list of what is in no validation set of VOC, is not read: copy it over
`train.txt` to train on that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atrous.data.dividing import by_lists
from atrous.data.found import Found
from atrous.data.images import is_image_name
from atrous.data.layouts import voc
from atrous.data.pairs import by_key, holds, paired
from atrous.data.wishes import Wishes

ACCEPTED = "img/ + cls/*.mat (SBD)"


def recognise(root: Path) -> Found | None:
    """Return the splits of the dataset, or None when it is laid out otherwise; `dataset/` above is seen through."""
    base = root / "dataset" if (root / "dataset" / "cls").is_dir() else root
    images, masks = base / "img", base / "cls"
    if not images.is_dir() or not masks.is_dir() or not holds(masks, _is_mat):
        return None
    pictures, doubles = by_key(images, is_image_name)
    labels, double_masks = by_key(masks, _is_mat)
    found = by_lists(base, paired(root, pictures, labels, doubles=doubles + double_masks))
    count = len(voc.NAMES)
    told = Wishes(classes=voc.NAMES, colours=voc.palette(count), values=tuple(range(count)), ignore=255)
    return replace(found, told=told)


def _is_mat(name: str) -> bool:
    return name.lower().endswith(".mat")
