"""What the names of files and folders say: which split, and which mask belongs to which image."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal
from unicodedata import normalize

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The folder names that mean a split, in small letters, and what the split is called here."""

Kind = Literal["image", "mask"]

_IMAGES = (
    "images", "image", "imgs", "img", "img_dir", "image_dir", "images_dir", "jpegimages", "pngimages", "input",
    "inputs", "photos", "photo", "pictures", "frames", "image_2", "rgb", "original", "originals", "x",
)  # fmt: skip
_MASKS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "mask_dir", "masks_dir", "label_dir",
    "gt", "gts", "groundtruth", "ground_truth", "annots", "annot", "anns", "ann", "segmentationclass", "segmentation",
    "segmentations", "segs", "seg", "semantic", "target", "targets", "y",
)  # fmt: skip
_KINDS: dict[str, Kind] = {**dict.fromkeys(_IMAGES, "image"), **dict.fromkeys(_MASKS, "mask")}

_MASK_WORDS = (
    "masks?|labels?|lbl|gt|gts|groundtruth|ground_truth|annots?|annotations?|segs?|segmentations?|semantic|"
    "labelids|trainids|labeltrainids"
)
_MASK_ENDING = re.compile(rf"[ _.-]({_MASK_WORDS}|l)$")
_MASK_BEGINNING = re.compile(rf"^({_MASK_WORDS})[ _.-]")
_IMAGE_ENDING = re.compile(r"[ _.-](image|img|rgb|photo|input|sat)$")
_IMAGE_BEGINNING = re.compile(r"^(image|img|rgb|photo|input)[ _.-]")


def split_of(name: str) -> str | None:
    """Return the split that a folder's name means, None for any other name; a year at its end is left out.

    >>> split_of("Training"), split_of("val2017"), split_of("cats")
    ('train', 'val', None)
    """
    return SPLITS.get(re.sub(r"_?(19|20)\d\d$", "", name.lower()))


@lru_cache(maxsize=2**16)
def meaning(name: str) -> tuple[Kind | None, str | None]:
    """Return what a folder's name says: whether it holds images or masks, and the split; None where it is silent.

    >>> meaning("train_images"), meaning("Masks"), meaning("validation"), meaning("cats")
    (('image', 'train'), ('mask', None), (None, 'val'), (None, None))
    """
    low = re.sub(r"[ .-]", "_", name.lower())
    first, _, rest = low.partition("_")
    start, _, last = low.rpartition("_")
    for word, kind in ((low, ""), ("", low), (first, rest), (last, start)):
        if (not word or split_of(word)) and (not kind or kind in _KINDS):
            return _KINDS.get(kind), split_of(word)
    return None, None


def mask_core(name: str) -> str:
    """Return what a mask's name, without suffix, has in common with its image's.

    >>> mask_core("city/Frame 7_mask"), mask_core("gt-12")
    ('city/frame 7', '12')
    """
    return _core(name, _MASK_ENDING, _MASK_BEGINNING)


def image_core(name: str) -> str:
    """Return what an image's name, without suffix, has in common with its mask's.

    >>> image_core("001_image")
    '001'
    """
    return _core(name, _IMAGE_ENDING, _IMAGE_BEGINNING)


def composed(name: str) -> str:
    """Return the name with letters and their marks as one character: some systems store them apart."""
    return name if name.isascii() else normalize("NFC", name)


def _core(name: str, ending: re.Pattern[str], beginning: re.Pattern[str]) -> str:
    folder, slash, last = name.casefold().rpartition("/")
    short = ending.sub("", last)
    return folder + slash + (short if short != last else beginning.sub("", last) or last)


def partners(images: Iterable[str], masks: Collection[str]) -> dict[str, str]:
    """Return the mask's name of every image that has one; no mask is given to two images.

    Equal names come first, then those that are equal without endings such as `_mask` or `_image`, or such beginnings,
    and whatever the case of letters. Where no name meets so, what all images and what all masks begin and end with is
    left out, if that gives every image a mask.

    >>> partners(["a", "b_image"], ["a", "b_gt"])
    {'a': 'a', 'b_image': 'b_gt'}
    >>> partners(["21_training", "22_training"], ["21_manual1", "22_manual1"])
    {'21_training': '21_manual1', '22_training': '22_manual1'}
    """
    images = list(images)
    found = {name: name for name in images if name in masks}
    if len(found) == len(images):
        return found
    taken = set(found)
    free: dict[str, str] = {}
    for name in masks:
        if name not in taken:
            free.setdefault(mask_core(name), name)
    for name in images:
        if name not in found:
            mask = free.pop(name.casefold(), None) or free.pop(image_core(name), None)
            if mask is not None:
                found[name] = mask
    return found or _partners_by_difference(images, masks)


def _partners_by_difference(images: list[str], masks: Collection[str]) -> dict[str, str]:
    pictures, labels = _differing(images), _differing(masks)
    if len(images) < 2 or len(pictures) < len(images) or len(labels) < len(masks) or not set(pictures) <= set(labels):
        return {}
    return {name: labels[core] for core, name in pictures.items()}


def _differing(names: Collection[str]) -> dict[str, str]:
    """Return the names by what is left of each without the words that all begin and end with."""
    split = [(name, *name.rpartition("/")[::2]) for name in names]
    lasts = [last for _, _, last in split]
    before = _shared_beginning(lasts)
    after = _shared_beginning([last[before:][::-1] for last in lasts])
    return {f"{folder}/{last[before : len(last) - after]}": name for name, folder, last in split}


def _shared_beginning(names: Collection[str]) -> int:
    """Return how many characters all names begin with, without digits at their end: numbers are never cut."""
    first, last = min(names, default=""), max(names, default="")
    same = next((index for index, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), len(first))
    return len(first[:same].rstrip("0123456789"))
