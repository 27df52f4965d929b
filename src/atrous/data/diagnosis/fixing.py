"""A corrected copy of a dataset: what can be mended is, what cannot is left out, and each is said; the data stay.

A mask is mended while it is read, by a part that stands in its place, so the copy is an ordinary conversion to images
and index masks. Nothing is guessed: what has no remedy that is surely right is left as it is and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.data import conversion
from atrous.data.census import Progress
from atrous.data.dataset import Dataset
from atrous.data.decoders import turned
from atrous.data.diagnosis import turning
from atrous.data.images import packed, read_image
from atrous.data.pairs import Pair
from atrous.data.parts import Source, image_pixels, mask_pixels, path_of
from atrous.data.samples import decode

if TYPE_CHECKING:
    from atrous.data.diagnosis.examination import Examination
    from atrous.data.diagnosis.looks import Look

_SAME_SHAPE = 0.02  # sides whose ratio differs by more are of another picture
_SURE = 12  # of 255: a level or channel this near to a class's is that class
_JPEG_GAP = 16  # levels between classes at least, for what JPEG does to a level not to make it another class
_JPEG_SHARE = 0.8  # of the pixels that must be near the level of a class

_OUT = {
    "unreadable-file": "left out, with what belongs to it",
    "too-many-pixels": "left out",
    "dicom-without-pixels": "left out",
    "broken-annotation": "the entries that cannot be read left out",
    "broken-rle": "left out, with their images",
    "class-unknown": "the entries left out",
    "shape-outside": "cut off at the image's border",
    "mask-is-image": "left out, with their images",
    "image-without-mask": "left out",
    "mask-without-image": "left out",
    "name-twice": "the first of each name taken",
    "listed-missing": "taken off the list",
    "all-ignore-mask": "left out, with their images",
    "identical-files": "the first of each taken",
    "near-duplicate": "left out, those of train kept",
}
_MENDED = {
    "jpeg-mask": "each pixel given the class that it is nearest to",
    "anti-aliased-mask": "each pixel of a border given the class of the nearest pixel that has one",
    "soft-mask": "rounded at one half",
    "size-differs": "the mask resized with nearest neighbour; where its proportions are others, left out",
    "axes-swapped": "turned so that borders lie on edges",
    "orientation-differs": "turned as the image is",
    "label-outside": "such pixels made ignore",
}
_TAKES_PAIR = {"unreadable-file", "too-many-pixels", "dicom-without-pixels", "broken-rle"}
_TAKES_FILE = {"mask-is-image", "near-duplicate"}


@dataclass(frozen=True)
class Fixed:
    """A corrected copy: its folder and images, what was `done` to each kind of finding, and what is `left`."""

    out: str
    images: int
    done: tuple[str, ...]
    left: tuple[str, ...]

    def as_text(self) -> str:
        """Return the report as lines of plain text.

        >>> print(Fixed("new", 3, ("soft-mask (2): rounded at one half",), ()).as_text())
        corrected copy in new: 3 images
          soft-mask (2): rounded at one half
        """
        if not self.images:
            return f"no corrected copy: {'; '.join(self.left)}"
        lines = [f"corrected copy in {self.out}: {self.images:,} images", *(f"  {line}" for line in self.done)]
        return "\n".join([*lines, *(f"  not mended: {line}" for line in self.left)])


@dataclass(frozen=True)
class Mended:
    """A mask as it ought to be: turned, of its image's size, and with nothing but classes, 0..n-1, and 255."""

    source: Source
    image: Source
    size: tuple[int, int]
    space: LabelSpace
    kinds: frozenset[str]
    turn: int = 1

    @property
    def path(self) -> Path:
        """The mask's file."""
        return path_of(self.source)

    def read(self) -> NDArray[np.uint8]:
        """Return labels (h, w); raises `AtrousError` as reading the mask does."""
        mask = turned(self._stored(), self.turn)
        if "axes-swapped" in self.kinds:
            mask = _on_edges(image_pixels(self.image), mask)
        labels = _snapped(mask, self.space) if self._smooth else _labels(mask, self.space, self.path)
        if labels.shape != self.size:
            rows, columns = (np.arange(side) * had // side for side, had in zip(self.size, labels.shape, strict=True))
            labels = labels[rows][:, columns]
        return labels

    @property
    def _smooth(self) -> bool:
        return bool(self.kinds & {"jpeg-mask", "anti-aliased-mask", "soft-mask"})

    def _stored(self) -> NDArray[Any]:
        coloured = self.space.encoding == "colours"
        if "jpeg-mask" not in self.kinds or not isinstance(self.source, Path):
            return mask_pixels(self.source, colours=coloured)
        array = read_image(self.source)
        return array if array.shape[2] == 3 and coloured else array[..., 0]


def fixed(examination: Examination, out: str | Path, *, progress: Progress | None = None) -> Fixed:
    """Write a corrected copy of an examined dataset into the new folder `out`, as images and index masks.

    Where the classes are not known, or no image is left, nothing is written and `left` says why. Raises `AtrousError`
    for files that cannot be read, `ValueError` for an `out` that `conversion.check_out` refuses.
    """
    space = _space(examination)
    if space is None:
        kinds = ", ".join(dict.fromkeys(problem.kind for problem in examination.problems))
        told = "Say them with --classes, --labels or --ignore."
        return Fixed(str(out), 0, (), (f"the masks do not tell their classes ({kinds}). {told}",))
    splits = _mended_splits(examination, space)
    if not any(splits.values()):
        return Fixed(str(out), 0, (), ("no image would be left once the broken ones are out",))
    plain = LabelSpace(names=space.names, colours=space.colours)
    dataset = Dataset(examination.root, examination.found.layout, splits, plain, examination.made_split)
    done = conversion.convert(dataset, Path(out), to="masks", progress=progress)
    lost = sum(1 for look in examination.looks if _is_lost_jpeg(look, space))
    counts = Counter(problem.kind for problem in examination.problems)
    counts["jpeg-mask"] -= lost
    told = {**_OUT, **_MENDED}
    left = [f"{kind} ({count:,})" for kind, count in counts.items() if kind not in told]
    if lost:
        left.append(f"jpeg-mask ({lost:,}): their levels are not those of the classes; left out, with their images")
    return Fixed(
        str(out),
        done.images,
        tuple(f"{kind} ({count:,}): {told[kind]}" for kind, count in counts.items() if kind in told and count > 0),
        tuple(left),
    )


def _space(examination: Examination) -> LabelSpace | None:
    soft = any(problem.kind == "soft-mask" for problem in examination.problems)
    if soft and (examination.space is None or len(examination.space) != 2):
        return LabelSpace(names=("background", "foreground"), values=(0, IGNORE), ignore=None)
    return examination.space


def _mended_splits(examination: Examination, space: LabelSpace) -> dict[str, tuple[Pair, ...]]:
    looks = examination.looks
    turns = examination.turns
    by_file = _kinds_of_files(examination)
    seen: set[bytes] = set()
    splits: dict[str, list[Pair]] = {split: [] for split in examination.splits}
    for row, look in enumerate(looks):
        kinds = {problem.kind for problem in look.problems} | by_file.get(look.mask_path, set())
        kinds |= by_file.get(look.image_path, set()) if isinstance(look.pair.image, Path) else set()
        repeated = look.digest is not None and look.digest in seen
        if repeated or kinds & (_TAKES_PAIR | _TAKES_FILE) or _all_ignored(examination, row) or _another_shape(look):
            continue
        if _is_lost_jpeg(look, space):
            continue
        if look.digest is not None:
            seen.add(look.digest)
        splits[look.split].append(_mended(look, frozenset(kinds), space, turns.get(row, 1)))
    return {split: tuple(pairs) for split, pairs in splits.items()}


def _kinds_of_files(examination: Examination) -> dict[Path | None, set[str]]:
    """Return the kinds that belong to whole files; what a mask's file says of all its images is left to the looks."""
    shared = Counter(look.mask_path for look in examination.looks)
    kinds: dict[Path | None, set[str]] = {}
    for problem in examination.problems:
        if problem.kind in _MENDED or (problem.kind in _TAKES_FILE and shared[problem.path] < 2):
            kinds.setdefault(problem.path, set()).add(problem.kind)
    return kinds


def _all_ignored(examination: Examination, row: int) -> bool:
    counts = examination.counts[row]
    return bool(counts[-2]) and not counts[:-2].any() and not counts[-1]


def _another_shape(look: Look) -> bool:
    """Say whether a mask is of other proportions than its image: it is of another image."""
    if look.census is None or look.size is None or any(each.kind == "axes-swapped" for each in look.problems):
        return False
    height, width = (had / side for had, side in zip(look.census.size, look.size, strict=True))
    return abs(height / width - 1) > _SAME_SHAPE


def _is_lost_jpeg(look: Look, space: LabelSpace) -> bool:
    """Say whether a mask is a JPEG whose levels do not tell its classes: too near to each other, or others at all."""
    if not isinstance(look.pair.mask, Path) or not any(each.kind == "jpeg-mask" for each in look.problems):
        return False
    array = read_image(look.pair.mask).astype(np.int32)
    coloured = space.encoding == "colours" and array.shape[2] == 3
    levels = _levels(space, 3 if coloured else 1)
    distances = [np.abs((array if coloured else array[..., :1]) - level).max(axis=2) for level in levels]
    return _least_gap(levels) < _JPEG_GAP or bool((np.min(distances, axis=0) <= _SURE).mean() < _JPEG_SHARE)


def _mended(look: Look, kinds: frozenset[str], space: LabelSpace, turn: int) -> Pair:
    if look.pair.mask is None or look.size is None:
        return look.pair
    return replace(look.pair, mask=Mended(look.pair.mask, look.pair.image, look.size, space, kinds, turn))


def _on_edges(image: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Return a mask whose sides are exchanged in the one of four ways in which its borders lie on edges best."""
    ways = [turned(mask, turn) for turn in (5, 6, 7, 8)]
    strengths = [(turning.agreement(image, way) or (0.0,))[0] for way in ways]
    return ways[int(np.argmax(strengths))]


def _labels(mask: NDArray[Any], space: LabelSpace, path: Path) -> NDArray[np.uint8]:
    """Return the labels of a mask; a pixel of a value that is no class is ignored."""
    if space.encoding == "instances":
        return decode(mask, space, path)
    numbers, values, void = _as_numbers(mask, space)
    order = np.argsort(values)
    place = np.minimum(np.searchsorted(values[order], numbers), len(values) - 1)
    labels = order[place].astype(np.uint8)
    labels[(values[order][place] != numbers) | (numbers == void)] = IGNORE
    return labels


def _as_numbers(mask: NDArray[Any], space: LabelSpace) -> tuple[NDArray[Any], NDArray[np.int64], int | None]:
    """Return a mask, the values of the classes and that of ignore, all as single numbers."""
    numbers: Any = packed(mask) if mask.ndim == 3 else mask.astype(np.int64)
    coloured = space.encoding == "colours"
    if coloured and mask.ndim == 2:
        numbers = numbers * 0x010101
    every = [*space.values, *([] if space.ignore is None else [space.ignore])]
    values = [_number(value, coloured=coloured) for value in every]
    return numbers, np.array(values[: len(space)], np.int64), None if space.ignore is None else values[-1]


def _number(value: Any, *, coloured: bool) -> int:
    if isinstance(value, int):
        return value * 0x010101 if coloured else value
    return int(packed(np.asarray(value)))


def _snapped(mask: NDArray[Any], space: LabelSpace) -> NDArray[np.uint8]:
    """Return the class, or ignore, of the nearest pixel that is surely of one: of its level, as all around it are."""
    import cv2

    channels = mask.reshape(*mask.shape[:2], -1).astype(np.int32)
    levels = _levels(space, channels.shape[2])
    distances = np.stack([np.abs(channels - level).max(axis=2) for level in levels])
    nearest = distances.argmin(axis=0).astype(np.uint8)
    gap = _least_gap(levels)
    sure = distances.min(axis=0) <= min(_SURE, (gap - 1) // 2)
    same = cv2.erode(nearest, np.ones((3, 3), np.uint8)) == cv2.dilate(nearest, np.ones((3, 3), np.uint8))
    sure = sure & same if (sure & same).any() else sure
    if sure.any() and not sure.all():
        _, places = cv2.distanceTransformWithLabels(
            (~sure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_place = np.zeros(int(places.max()) + 1, np.uint8)
        of_place[places[sure]] = nearest[sure]
        nearest = of_place[places]
    labels = nearest.copy()
    labels[nearest >= len(space)] = IGNORE
    return labels


def _levels(space: LabelSpace, channels: int) -> NDArray[np.int32]:
    """Return the levels (classes, channels) of the classes, and last that of ignore where there is one."""
    known = [*space.values, *([] if space.ignore is None else [space.ignore])]
    return np.array([np.broadcast_to(np.asarray(value), channels) for value in known], np.int32)


def _least_gap(levels: NDArray[np.int32]) -> int:
    """Return the least distance between two classes, 255 where there is one class only."""
    gaps = [int(np.abs(first - second).max()) for place, first in enumerate(levels) for second in levels[:place]]
    return max(1, min(_positive(gaps), default=IGNORE))


def _positive(gaps: Iterable[int]) -> list[int]:
    return [gap for gap in gaps if gap > 0]
