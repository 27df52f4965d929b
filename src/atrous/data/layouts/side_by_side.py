"""The layout of images and masks in one folder: `x.jpg` beside `x_mask.png`, in split folders or others, or in none.

Endings such as `_mask`, `_label`, `_gt`, `_seg` and `.mask` tell the masks, and `_image` may tell the images. Without
such endings `x.jpg` and `x.png` are an image and its mask where every JPEG has one: labels are not saved as JPEG.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from atrous.data.dividing import divided
from atrous.data.found import Found
from atrous.data.images import is_image_name, is_mask_name
from atrous.data.names import composed, image_core, mask_core
from atrous.data.pairs import files_below, paired, path_below, without_suffix

ACCEPTED = "x.jpg + x_mask.png in one folder (side by side)"

_JPEG = (".jpg", ".jpeg")


def recognise(root: Path) -> Found | None:
    """Return the pairs of a folder where more than half of the images have a mask beside them, else None.

    Folders named after splits make the split, else lists of names do; else all is `train`.
    """
    files = files_below(root, is_mask_name)
    by_name = {composed(path_below(root, path)): path for path in files}
    images, masks = _by_ending(by_name) or _by_suffix(by_name)
    found = paired(root, images, masks)
    if len(found.pairs) <= len(found.images_alone):
        return None
    return divided(root, found)


def _by_ending(files: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, Path]] | None:
    """Return images and masks by name, None where no name with the ending of a mask has an image."""
    names = {name: composed(without_suffix(name)) for name in files}
    others = {name for name in names.values() if mask_core(name) == name.casefold()}
    cores = {core for name in others for core in (name.casefold(), image_core(name))}
    masks = {names[name]: path for name, path in files.items() if names[name] not in others}
    if not any(mask_core(name) in cores for name in masks):
        return None
    images = {names[name]: path for name, path in files.items() if names[name] in others and is_image_name(path.name)}
    return images, masks


def _by_suffix(files: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return JPEGs and other files by name; nothing where a JPEG has no other file of its name, or several."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for name, path in files.items():
        side = images if name.lower().endswith(_JPEG) else masks
        side[without_suffix(name)] = path
    return (images, masks) if images and set(images) == set(masks) and len(files) == 2 * len(images) else ({}, {})
