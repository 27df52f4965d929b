"""Masks as they ought to be: a part stands in the place of a broken mask and mends it while it is read.

What was soft is cut at one half. What was resized or saved with loss is snapped to its classes: a pixel that has the
level of a class, as a corner of pixels around it has, or as the crest of a line, is sure. Any other becomes the nearest
of the classes that are sure beside it. Where its level lies beyond all of them, as on a line too thin to have kept its
own, it is ignored; of a JPEG, which hardly changes levels, it is the nearest of all classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.data.decoders import turned
from atrous.data.diagnosis import turning
from atrous.data.diagnosis.labels import number
from atrous.data.images import packed, read_image
from atrous.data.parts import Source, image_pixels, mask_pixels, path_of
from atrous.data.samples import decode, laid_mask, object_numbers

SMOOTHED = frozenset({"jpeg-mask", "anti-aliased-mask", "soft-mask"})
_SURE = 12  # of 255: a level or channel this near to a class's is that class, where JPEG changed it
_EXACT = 1
_OVERSHOT = 32  # how far JPEG reaches beyond the levels of an edge
_JPEG_GAP = 16  # levels between classes at least, for what JPEG does to a level not to make it another class
_NEAR_SHARE = {True: 0.8, False: 0.5}  # of the pixels that must be near the level of a class, with loss and without
_CLEARLY = 1.2
_CREST = 2  # pixels beside a crest that are of it


@dataclass(frozen=True)
class Mended:
    """A mask as it ought to be: laid as its image, of its size, and with nothing but classes, 0..n-1, and 255.

    Without `kinds` of problems it is decoded as it would be without this part.
    """

    source: Source
    image: Source
    size: tuple[int, int]
    space: LabelSpace
    kinds: frozenset[str] = frozenset()
    turn: int = 1
    lossy: bool = False

    @property
    def path(self) -> Path:
        """The mask's file."""
        return path_of(self.source)

    def read(self) -> NDArray[np.uint8]:
        """Return labels (h, w); raises `AtrousError` as reading the mask does."""
        mask = turned(self.stored(), self.turn)
        if not self.kinds:
            labels = decode(mask, self.space, self.path)
        elif self.kinds & SMOOTHED:
            labels = self.snapped(mask).labels
        else:
            labels = _labels(mask, self.space, self.path)
        if labels.shape != self.size:
            rows, columns = (np.arange(side) * had // side for side, had in zip(self.size, labels.shape, strict=True))
            labels = labels[rows][:, columns]
        return labels

    def instances(self) -> NDArray[np.int32] | None:
        """Return the object numbers (h, w) of a mask that is sound, None where there are none."""
        if self.kinds or self.turn != 1:
            return None
        if self.space.encoding == "instances":
            return object_numbers(self.stored())
        drawn = getattr(self.source, "instances", None)
        return None if drawn is None else drawn()

    def stored(self) -> NDArray[Any]:
        """Return the mask as it is stored, a JPEG too."""
        coloured = self.space.encoding == "colours"
        if "jpeg-mask" not in self.kinds or not isinstance(self.source, Path):
            return laid_mask(self.image, self.source, self.size, colours=coloured)
        array = read_image(self.source)
        return array if array.shape[2] == 3 and coloured else array[..., 0]

    def snapped(self, mask: NDArray[Any]) -> Snapped:
        """Return what a smoothed mask was."""
        if "soft-mask" in self.kinds and set(self.space.values) == {0, IGNORE} and mask.ndim == 2:
            halves = np.where(2 * mask.astype(np.int32) >= IGNORE, IGNORE, 0)
            return Snapped(decode(halves, self.space, self.path), 0)
        return snapped(mask, self.space, lossy=self.lossy)

    def fits(self) -> bool:
        """Say whether the levels of a smoothed mask tell the classes; those of too near or of other levels do not."""
        if "soft-mask" in self.kinds:
            return {0, IGNORE} <= set(self.space.values)
        mask = self.stored()
        channels = mask.reshape(*mask.shape[:2], -1).astype(np.int32)
        levels = _levels(self.space, channels.shape[2])
        if self.lossy and _least_gap(levels) < _JPEG_GAP:
            return False
        nearest = np.min([np.abs(channels - level).max(axis=2) for level in levels], axis=0)
        return bool((nearest <= (_SURE if self.lossy else _EXACT)).mean() >= _NEAR_SHARE[self.lossy])


@dataclass(frozen=True, eq=False)
class Snapped:
    """Labels (h, w) of a smoothed mask, and how many pixels no class beside them explains."""

    labels: NDArray[np.uint8]
    unexplained: int


def way_on_edges(image: Source, mask: Source) -> int | None:
    """Return the way, of the four that exchange sides, that lays borders of a mask on edges clearly best, else None."""
    pixels, stored = image_pixels(image), mask_pixels(mask)
    ways = {turn: turned(stored, turn) for turn in (5, 6, 7, 8)}
    strengths = {turn: (turning.agreement(pixels, way) or (0.0,))[0] for turn, way in ways.items()}
    best = max(strengths, key=lambda turn: strengths[turn])
    others = [strengths[turn] for turn, way in ways.items() if not np.array_equal(way, ways[best])]
    if others and (strengths[best] < _CLEARLY or strengths[best] < _CLEARLY * max(others)):
        return None
    return best


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
    values = [number(value, coloured=coloured) for value in every]
    return numbers, np.array(values[: len(space)], np.int64), None if space.ignore is None else values[-1]


def snapped(mask: NDArray[Any], space: LabelSpace, *, lossy: bool) -> Snapped:
    """Return the labels of a mask (h, w) or (h, w, 3) that was resized with interpolation, or saved with loss.

    >>> space = LabelSpace(names=("off", "on"), values=(0, 80))
    >>> snapped(np.repeat(np.uint8([[0, 0, 20, 50, 80, 80]]), 4, axis=0), space, lossy=False).labels[0].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    import cv2

    channels = mask.reshape(*mask.shape[:2], -1).astype(np.int32)
    levels = _levels(space, channels.shape[2])
    nearest, distance = _nearest(channels, levels)
    sure = distance <= min(_SURE if lossy else _EXACT, (_least_gap(levels) - 1) // 2)
    seeds = _seeds(channels, nearest, sure, tolerance=_SURE if lossy else _EXACT)
    if not seeds.any():
        return Snapped(_with_ignore(nearest, space), 0)
    labels = np.full(nearest.shape, len(levels), np.uint8)
    least = np.full(nearest.shape, np.iinfo(np.int32).max, np.int32)
    low, high = np.full_like(channels, np.iinfo(np.int32).max), np.full_like(channels, np.iinfo(np.int32).min)
    for label in np.unique(nearest[seeds]).tolist():
        beside = cv2.dilate((seeds & (nearest == label)).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        away = np.abs(channels - levels[label]).max(axis=2)
        closer = beside & (away < least)
        labels[closer], least[closer] = label, away[closer]
        low[beside] = np.minimum(low[beside], levels[label])
        high[beside] = np.maximum(high[beside], levels[label])
    reached = labels < len(levels)
    slack = _OVERSHOT if lossy else max(_EXACT, _least_gap(levels) // 4)
    odd = reached & ((channels < low - slack) | (channels > high + slack)).any(axis=2)
    labels[~reached] = _spread(np.where(seeds, nearest, 0), seeds)[~reached]
    if lossy:
        labels[odd] = nearest[odd]
        return Snapped(_with_ignore(labels, space), 0)
    labels = _with_ignore(labels, space)
    labels[odd] = IGNORE
    return Snapped(labels, int(odd.sum()))


def _with_ignore(labels: NDArray[np.uint8], space: LabelSpace) -> NDArray[np.uint8]:
    return np.where(labels < len(space), labels, np.uint8(IGNORE))


def _nearest(channels: NDArray[np.int32], levels: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the level that each pixel is nearest to, and how far it is."""
    nearest = np.zeros(channels.shape[:2], np.uint8)
    least = np.full(channels.shape[:2], np.iinfo(np.int32).max, np.int32)
    for label, level in enumerate(levels):
        away = np.abs(channels - level).max(axis=2)
        closer = away < least
        nearest[closer], least[closer] = label, away[closer]
    return nearest, least


def _seeds(
    channels: NDArray[np.int32], nearest: NDArray[np.uint8], sure: NDArray[np.bool_], *, tolerance: int
) -> NDArray[np.bool_]:
    """Return the pixels that are of their class for sure: in a square of two by two, or on a crest of a line.

    On the slope of a border a level may be met by chance, along all of it. It is one pixel wide and no crest.
    """
    import cv2

    code = np.where(sure, nearest.astype(np.int32), np.int32(-1))
    alike = (code[:-1, :-1] == code[1:, :-1]) & (code[:-1, :-1] == code[:-1, 1:]) & (code[:-1, :-1] == code[1:, 1:])
    seeds = np.zeros(sure.shape, np.bool_)
    alike &= code[:-1, :-1] >= 0
    for rows, columns in product((slice(-1), slice(1, None)), repeat=2):
        seeds[rows, columns] |= alike
    square = np.ones((3, 3), np.uint8)
    upper, lower = (np.atleast_3d(act(channels.astype(np.float32), square)) for act in (cv2.dilate, cv2.erode))
    crest = sure & ((channels >= upper - tolerance) | (channels <= lower + tolerance)).all(axis=2)
    for label in np.unique(nearest[crest & ~seeds]).tolist():
        mine = crest & (nearest == label)
        beside = cv2.boxFilter(mine.astype(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        seeds |= mine & (beside > _CREST)
    return seeds


def _spread(labels: NDArray[np.uint8], seeds: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return for every pixel the label of the nearest seed."""
    import cv2

    if seeds.all():
        return labels
    _, places = cv2.distanceTransformWithLabels(
        (~seeds).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_place = np.zeros(int(places.max()) + 1, np.uint8)
    of_place[places[seeds]] = labels[seeds]
    return of_place[places]


def _levels(space: LabelSpace, channels: int) -> NDArray[np.int32]:
    """Return the levels (classes, channels) of the classes, and last that of ignore where there is one."""
    known = [*space.values, *([] if space.ignore is None else [space.ignore])]
    return np.array([np.broadcast_to(np.asarray(value), channels) for value in known], np.int32)


def _least_gap(levels: NDArray[np.int32]) -> int:
    """Return the least distance between two classes, 255 where there is one class only."""
    gaps = [int(np.abs(first - second).max()) for place, first in enumerate(levels) for second in levels[:place]]
    return min((gap for gap in gaps if gap > 0), default=IGNORE)
