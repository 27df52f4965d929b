"""What the files of a converted dataset are called, and the images among them: copied where that keeps every bit."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, Sample
from atrous.data.census import Progress, in_threads
from atrous.data.dataset import Dataset
from atrous.data.geotiff import Raster, RasterMask
from atrous.data.images import SUFFIXES, mask_orientation
from atrous.data.names import SPLITS, composed
from atrous.data.pairs import Pair
from atrous.data.parts import Source, path_of
from atrous.data.samples import read_sample
from atrous.data.writers import atomic, write_image

Say = Callable[[str], None]
Answer = TypeVar("Answer")

USUAL = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""The suffixes of images that the tools of every format open; others are written anew."""

_CONTAINERS = {*SPLITS, "image", "images", "img", "imgs", "img_dir", "jpegimages", "leftimg8bit", "imagestr"}
_LISTED_BADLY = re.compile(r"[^\S ]|[,\\]")


@dataclass(frozen=True)
class Place:
    """A pair, its split, and the `name` of its new files: a path with slashes and without suffix."""

    split: str
    name: str
    pair: Pair


def places(dataset: Dataset, *, flat: bool = False, say: Say | None = None) -> list[Place]:
    """Return where each pair goes, by a name that no other of its split has, in capital or small letters.

    Leading folders such as `images/train` are left out, since the target has its own. With `flat` the other folders
    become part of the name, no other of any split has it, and commas and tabs, which end a name in a list, become
    underscores. An image without mask has a place in `test` alone, where it is usual; `say` is told of the others.
    """
    taken: set[tuple[str, str]] = set()
    found = []
    for split, pairs in dataset.splits.items():
        alone = [pair.name for pair in pairs if pair.mask is None and split != "test"]
        if alone and say is not None:
            say(f"{counted(len(alone), 'image')} of {split} without a mask left out, first {alone[0]}")
        for pair in pairs:
            if pair.mask is not None or split == "test":
                name = _unique(_new_name(pair.name, flat=flat), "" if flat else split, taken)
                found.append(Place(split, name, pair))
    return found


def named_alike(dataset: Dataset) -> Dataset:
    """Return the dataset with images outside of its folder named below what they share, not from the disk's root.

    A list may name `../pics/a.png` or `/home/somebody/pics/a.png`; where they lie is nobody's business in a copy.
    """
    outside = {
        pair.name: path_of(pair.image).parent
        for pair in chain.from_iterable(dataset.splits.values())
        if not path_of(pair.image).is_relative_to(dataset.root)
    }
    if not outside:
        return dataset
    shared = Path(os.path.commonpath([os.path.normpath(folder) for folder in outside.values()]))
    above = composed("/".join(part for part in shared.parts if part not in ("..", shared.anchor))) + "/"

    def named(pair: Pair) -> Pair:
        return replace(pair, name=pair.name.removeprefix(above)) if pair.name in outside else pair

    return replace(dataset, splits={split: tuple(map(named, pairs)) for split, pairs in dataset.splits.items()})


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _new_name(name: str, *, flat: bool) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")] or ["image"]
    while len(parts) > 1 and parts[0].lower() in _CONTAINERS:
        parts = parts[1:]
    # What begins with a dot is hidden from every reader.
    parts = [f"_{part[1:]}" if part.startswith(".") else part for part in parts]
    return _listable("_".join(parts)) if flat else "/".join(parts)


def _listable(name: str) -> str:
    """Return the name as a line of a list keeps it: no commas or tabs, no spaces around it, no suffix of an image."""
    name = _LISTED_BADLY.sub("_", name)
    name = re.sub(r"^ | $", "_", name)
    return f"{name}_" if name.lower().endswith(SUFFIXES) else name


def _unique(name: str, scope: str, taken: set[tuple[str, str]]) -> str:
    """Return the name, with a number after it where another has it; systems that mix up Abc and abc are minded."""
    number, free = 2, name
    while (scope, free.casefold()) in taken:
        number, free = number + 1, f"{name}-{number}"
    taken.add((scope, free.casefold()))
    return free


def for_each(
    placed: Sequence[Place], dataset: Dataset, function: Callable[[Place, Sample], Answer], progress: Progress | None
) -> list[Answer]:
    """Return `function(place, sample)` of every place, in order; a few samples are in memory at a time."""
    return in_threads(lambda place: function(place, read_sample(place.pair, dataset.space)), placed, progress)


def put_image(source: Source, image: NDArray[Any], target: Path, *, kept: Sequence[str] = USUAL) -> Path:
    """Write an image as `target` with a suffix, and return the path.

    A file whose suffix is one of `kept`, georeferenced or not, is copied byte by byte; other pixels are written as PNG,
    or as TIFF where a PNG cannot hold their depth or channels. Raises `AtrousError` when the disk refuses.
    """
    file = source.path if isinstance(source, Raster) else source
    if isinstance(file, Path) and file.suffix.lower() in kept:
        path = target.with_name(target.name + file.suffix)
        with atomic(path) as temporary:
            shutil.copyfile(file, temporary)
        return path
    plain = image.shape[2] in (1, 3) and image.dtype in (np.uint8, np.uint16)
    path = target.with_name(target.name + (".png" if plain else ".tif"))
    write_image(path, image)
    return path


@dataclass(frozen=True)
class Facts:
    """What was met in a sample that a format may not hold."""

    ignored: int = 0
    turned: bool = False
    objects: int = 0
    located: bool = False
    mask_located: bool = False


def facts_of(place: Place, sample: Sample) -> Facts:
    """Return the facts of a sample; EXIF matters where the image is a file, which is copied as it is."""
    source = place.pair.image
    return Facts(
        ignored=0 if sample.labels is None else int((sample.labels == IGNORE).sum()),
        turned=isinstance(source, Path) and source.suffix.lower() in (".jpg", ".jpeg") and _is_turned(source),
        objects=0 if sample.instances is None else len(np.unique(sample.instances[sample.instances != 0])),
        located=sample.place is not None and not isinstance(source, Raster),
        mask_located=isinstance(place.pair.mask, RasterMask) and place.pair.mask.place is not None,
    )


def _is_turned(path: Path) -> bool:
    try:
        return mask_orientation(path) != 1
    except AtrousError:
        return False


def say_lost(facts: Sequence[Facts], say: Say | None, *, ignore: str = "", objects: str = "") -> None:
    """Tell what was lost: `ignore` says what became of ignored pixels, `objects` of object numbers; "" is kept."""
    if say is None:
        return
    ignored = [fact.ignored for fact in facts if fact.ignored]
    if ignore and ignored:
        say(f"{counted(sum(ignored), 'ignored pixel')} in {counted(len(ignored), 'image')}: {ignore}")
    if objects and (total := sum(fact.objects for fact in facts)):
        say(f"{counted(total, 'numbered object')}: {objects}")
    if turned := sum(fact.turned for fact in facts):
        say(f"{counted(turned, 'image')} turned by EXIF, copied byte by byte; the labels lie as an image is seen")
    if located := sum(fact.located for fact in facts):
        say(f"{counted(located, 'image')} with spacing or georeference, which this format does not hold")
    if mask_located := sum(fact.mask_located for fact in facts):
        say(f"{counted(mask_located, 'mask')} with a georeference, which the new labels do not hold, as images do")


def say_unlabelled(placed: Sequence[Place], say: Say | None, fate: str) -> None:
    """Tell the `fate` of images without mask in a split where others have one."""
    bare = [place for place in placed if place.pair.mask is None]
    labelled = {place.split for place in placed if place.pair.mask is not None}
    if say is not None and (mixed := [place.name for place in bare if place.split in labelled]):
        say(f"{counted(len(mixed), 'image')} without a mask beside others with one, first {mixed[0]}: {fate}")
