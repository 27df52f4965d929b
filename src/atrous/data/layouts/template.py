"""The layout that a template tells: where the mask of an image lies, such as `{parent}/../masks/{stem}_mask.png`.

`{parent}` is the image's folder below the root, `{stem}` its name without suffix, `{name}` its name with it, `{suffix}`
the suffix with its dot, and `{split}` the name of the folder
above it that is named after a split, such as `train` or `validation`. What a template makes is a
path below the root, or else beside the image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from unicodedata import normalize

from atrous.contract import AtrousError
from atrous.data.dividing import divided
from atrous.data.found import Found
from atrous.data.images import bare, is_image_name
from atrous.data.lists import is_file
from atrous.data.names import composed, meaning, split_of
from atrous.data.pairs import Matched, files_below, named

FIELDS = ("parent", "stem", "name", "suffix", "split")
_EXAMPLE = "{parent}/../masks/{stem}_mask.png"


def recognise(root: Path, masks: str) -> Found:
    """Return the pairs that a template of mask paths makes.

    Every image file that is no mask of another is an image, and that in a folder called after masks, such as `labels/`,
    only where there are no others. The split is that of a folder's name, else of lists of
    names, else all is `train`. In `test` an image may be without mask.

    Raises `ValueError` for a template with unknown fields or without a name, `AtrousError` where no image has a mask.
    """
    refuse_template(masks)
    images = files_below(root, is_image_name)
    partner = {image: mask for image in images if (mask := _mask(root, image, masks)) is not None}
    used = {os.path.normpath(mask) for mask in partner.values()}
    pictures = [image for image in images if os.path.normpath(image) not in used]
    found = _matched(root, pictures, partner)
    if not found.pairs:
        raise _nothing_paired(root, masks, images)
    return divided(root, found)


def refuse_template(masks: str) -> None:
    """Raise `ValueError` for a template that holds other than the known fields, or no name of an image.

    >>> refuse_template("masks/{stem}.png")
    """
    fields = re.findall(r"{([^{}]*)}", masks)
    known = f"the fields are {', '.join(f'{{{field}}}' for field in FIELDS)}, as in {_EXAMPLE!r}"
    for field in fields:
        if field not in FIELDS:
            raise ValueError(f"masks {masks!r} came, and {{{field}}} is not known; {known}")
    if re.search(r"[{}]", re.sub(r"{[^{}]*}", "", masks)):
        raise ValueError(f"masks {masks!r} came, with a brace that is alone; {known}")
    if not {"stem", "name"} & set(fields):
        raise ValueError(f"masks {masks!r} came, without {{stem}} or {{name}} to tell one image from another; {known}")


def _mask(root: Path, image: Path, masks: str) -> Path | None:
    below = image.relative_to(root)
    stem = bare(below).name
    split = next((part for part in below.parent.parts if split_of(part)), None)
    values = {"parent": below.parent.as_posix(), "stem": stem, "name": image.name}
    values |= {"suffix": image.name[len(stem) :], "split": split or ""}
    if split is None and "{split}" in masks:
        return None
    text = re.sub(r"{(\w+)}", lambda field: values[field[1]], masks)
    texts = [text] if text.isascii() else [text, composed(text), normalize("NFD", text)]
    for base, name in product((root, image.parent), texts):
        path = os.path.normpath(base / name)
        if is_file(path):
            return None if path == os.path.normpath(image) else Path(path)
    return None


def _nothing_paired(root: Path, masks: str, images: list[Path]) -> AtrousError:
    if not images:
        return AtrousError(f"{root}: there are no images, so the template {masks!r} has nothing to do. Check the path.")
    first = images[0].relative_to(root)
    parent, stem = first.parent.as_posix(), bare(first).name
    return AtrousError(
        f"{root}: none of {len(images):,} images has a mask where {masks!r} says. The first image is "
        f"{first.as_posix()}, whose {{parent}} is {parent} and whose {{stem}} is {stem}. Correct the template."
    )


def _matched(root: Path, pictures: list[Path], partner: Mapping[Path, Path]) -> Matched:
    """Return the pairs and the rest; what lies where only masks lie is a mask without image."""
    outside = [path for path in pictures if not _is_among_masks(root, path)]
    images = outside if any(path in partner for path in outside) else pictures
    paired = [image for image in images if image in partner]
    mask_folders = {partner[image].parent for image in paired} - {image.parent for image in paired}
    owner: dict[Path, Path] = {}
    doubles = []
    for image in paired:
        if (first := owner.setdefault(partner[image], image)) != image:
            doubles.append((first, image))
    return Matched(
        tuple(named(root, image, partner[image]) for image in paired),
        tuple(image for image in images if image not in partner and image.parent not in mask_folders),
        tuple(path for path in pictures if path.parent in mask_folders),
        tuple(doubles),
    )


def _is_among_masks(root: Path, path: Path) -> bool:
    return any(meaning(folder)[0] == "mask" for folder in path.relative_to(root).parent.parts)
