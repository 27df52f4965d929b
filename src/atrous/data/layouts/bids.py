"""The layout of BIDS with masks among the derivatives, as ivadomed reads it, pictures and volumes alike.

    sub-01/[ses-01/]anat/sub-01_T1w.nii.gz
    derivatives/labels/sub-01/[ses-01/]anat/sub-01_T1w_seg-manual.nii.gz, sub-01_T1w_lesion-manual.nii.gz

What follows the image's name is the target: `_seg-manual` is `seg`, `_seg-axon-manual` is `axon`. All targets of the
folder become classes above the background. Where targets overlap, the one with fewer pixels on the picture is on top.
An image that lacks one of the targets counts as without; one that has none is left out. `_dseg` holds several classes
as numbers and is read as it is. Points (`_labels-disc-manual`) are no areas and are left out. A subject's images are
never divided between splits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError
from atrous.data.found import Found
from atrous.data.images import bare, is_image_name, is_mask_name
from atrous.data.names import composed
from atrous.data.pairs import Matched, Pair, files_below
from atrous.data.parts import Source, mask_pixels, path_of, paths_of
from atrous.data.wishes import Wishes

ACCEPTED = "sub-*/ + derivatives/labels/sub-*/ (BIDS)"
_BETWEEN = 1e-3  # the share of pixels between off and on from which a mask is soft
_NUMBERED = "dseg"
_POINTS = "labels-"


@dataclass(frozen=True)
class Targets:
    """A mask of several files, each of one target: `values` has the class of each, and 0 is where there is none."""

    sources: tuple[Source, ...]
    values: tuple[int, ...]

    @property
    def path(self) -> Path:
        """The file of the first target."""
        return path_of(self.sources[0])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of all targets."""
        return tuple(path for source in self.sources for path in paths_of(source))

    def read(self) -> NDArray[Any]:
        """Return (h, w) uint8: the targets one above the other, the one with most pixels lowest; 255 is undecided.

        A target is off at 0 and on at its other end, 1 or 255. A few pixels between, as edits leave them, are 255.

        Raises `AtrousError` for a soft mask, for other numbers, and for targets of different sizes.
        """
        masks = [_off_and_on(source) for source in self.sources]
        for source, mask in zip(self.sources, masks, strict=True):
            if mask.shape != masks[0].shape:
                raise AtrousError(
                    f"{path_of(source)}: this mask is {mask.shape[0]} x {mask.shape[1]} (height x width) and "
                    f"{self.path} is {masks[0].shape[0]} x {masks[0].shape[1]}. Make them equal.",
                    kind="size-differs",
                )
        labels = np.zeros(masks[0].shape, np.uint8)
        for mask, value in sorted(zip(masks, self.values, strict=True), key=lambda pair: -int((pair[0] == 1).sum())):
            labels[mask == 1] = value
        for mask in masks:
            labels[mask == IGNORE] = IGNORE
        return labels


def _off_and_on(source: Source) -> NDArray[np.uint8]:
    """Return a mask of one target as 0, 1 and 255 for what lies between."""
    mask = mask_pixels(source)
    path = path_of(source)
    if mask.ndim == 3:
        raise AtrousError(f"{path}: a colour mask came, and the mask of a target is 0 and 1, or 0 and 255.")
    levels, counts = np.unique(mask, return_counts=True)
    if levels[0] < 0 or (levels[-1] > 1 and levels[-1] != IGNORE):
        raise AtrousError(
            f"{path}: the values {', '.join(map(str, levels[:6].tolist()))} came, and the mask of a target is 0 and 1, "
            "or 0 and 255. Name a mask of several classes _dseg.",
            kind="label-outside",
        )
    between = (levels > 0) & (levels < levels[-1])
    if counts[between].sum() > _BETWEEN * mask.size:
        raise AtrousError(
            f"{path}: {int(counts[between].sum()):,} pixels have one of {int(between.sum())} levels between 0 and "
            f"{levels[-1]}, as in a soft mask. Round it at one half.",
            kind="soft-mask",
        )
    result = (mask == max(int(levels[-1]), 1)).astype(np.uint8)
    result[(mask > 0) & (mask < levels[-1])] = IGNORE
    return result


def recognise(root: Path) -> Found | None:
    """Return the images of a BIDS folder that have masks, or None when it is laid out otherwise."""
    if not any(root.glob("sub-*/")):
        return None
    labels = _labels(root)
    if labels is None:
        return None
    masks, alone = _masks_by_image(root, labels)
    targets = sorted({target for found in masks.values() for target in found} - {_NUMBERED})
    numbered = any(_NUMBERED in found for found in masks.values())
    if numbered and targets:
        raise AtrousError(
            f"{labels}: masks _dseg, which hold classes as numbers, and masks of {', '.join(targets)} came. "
            "Keep one kind."
        )
    areas = [target for target in targets if not target.startswith(_POINTS)]
    pairs = tuple(_pair(root, image, found, areas) for image, found in masks.items() if {*areas, _NUMBERED} & {*found})
    if not pairs:
        return None
    told = Wishes() if numbered else _classes(areas)
    notes = _notes(masks, targets, areas, sum(1 for _ in _images(root)) - len(pairs))
    return Found({"train": Matched(pairs, masks_alone=tuple(alone))}, told, tuple(notes))


def _labels(root: Path) -> Path | None:
    """Return the folder of masks: `derivatives/labels`, else the first of the derivatives that has subjects."""
    derived = root / "derivatives"
    if not derived.is_dir():
        return None
    folders = [derived / "labels", *sorted(path for path in derived.iterdir() if path.is_dir())]
    return next((folder for folder in folders if any(folder.glob("sub-*/"))), None)


def _images(root: Path) -> Iterator[Path]:
    for subject in sorted(root.glob("sub-*/")):
        yield from files_below(subject, is_image_name)


def _masks_by_image(root: Path, labels: Path) -> tuple[dict[Path, dict[str, Path]], list[Path]]:
    """Return the masks of every image by target, and the masks of areas that have no image."""
    images = {composed(bare(path.relative_to(root)).as_posix()): path for path in _images(root)}
    found: dict[Path, dict[str, Path]] = defaultdict(dict)
    alone = []
    for subject in sorted(labels.glob("sub-*/")):
        for mask in files_below(subject, is_mask_name):
            stem = composed(bare(mask.relative_to(labels)).as_posix())
            ends = [at for at, sign in enumerate(stem) if sign == "_" and stem[:at] in images]
            if ends:
                found[images[stem[: ends[-1]]]][_target(stem[ends[-1] + 1 :])] = mask
            elif f"_{_POINTS}" not in stem:
                alone.append(mask)
    return dict(sorted(found.items())), alone


def _target(ending: str) -> str:
    """Return the name of a target: `seg-axon-manual` is `axon`, `lesion-manual` is `lesion`, `seg-manual` is `seg`."""
    return re.sub(r"^(seg|label)-(?=.)", "", re.sub(r"-manual$", "", ending)) or ending


def _pair(root: Path, image: Path, found: dict[str, Path], areas: list[str]) -> Pair:
    there = [target for target in areas if target in found]
    mask: Source = Targets(tuple(found[target] for target in there), tuple(areas.index(target) + 1 for target in there))
    name = bare(image.relative_to(root))
    return Pair(name.as_posix(), image, mask if there else found[_NUMBERED], group=name.parts[0])


def _classes(areas: list[str]) -> Wishes:
    names = ("background", *areas)
    return Wishes(classes=names, labels="indices", values=tuple(range(len(names))))


def _notes(masks: dict[Path, dict[str, Path]], targets: list[str], areas: list[str], without: int) -> Iterator[str]:
    """Yield what was left out, and which targets are not drawn on every image."""
    for target in targets:
        count = sum(target in found for found in masks.values())
        if target not in areas:
            yield f"{count:,} masks of {target} hold points, which are no areas, and were left out"
        elif count < len(masks):
            yield f"{len(masks) - count:,} of {len(masks):,} images with masks lack {target}: counted as without"
    if without:
        yield f"{without:,} images have no mask and were left out"
