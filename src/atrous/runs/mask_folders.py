"""Two folders of masks, the true ones and somebody's predictions: paired by name, in whatever form each has them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import open_dataset
from atrous.data.census import MaskCensus, count_mask, in_threads, total_pixels, unpacked
from atrous.data.images import is_mask_name
from atrous.data.layouts import cityscapes, recognise
from atrous.data.pairs import by_key
from atrous.data.parts import Source, mask_pixels, path_of, renumbered
from atrous.data.samples import decode
from atrous.data.spaces import space_as_wished, work_out_space
from atrous.data.wishes import wished
from atrous.evaluation.report import NO_CLASS
from atrous.runs.datasets import pairs_in

_WORDS = (
    "masks?|labels?|lbl|gt|gts|groundtruth|ground_truth|annots?|annotations?|segs?|segmentations?|semantic|pred|preds|"
    "predictions?|predicted|outputs?|out|results?|labelids|trainids|labeltrainids|gtfine|gtcoarse|leftimg8bit"
)
_ENDING = re.compile(rf"[ _.-]({_WORDS})$")
_BEGINNING = re.compile(rf"^({_WORDS})[ _.-]")
_OF_MASKS_ALONE = ("side-by-side",)
"""Layouts that a folder of masks alone may look like: a.png and a_gt.png are two masks there."""
_IDS, _TRAIN_IDS = "_labelids", "_labeltrainids"


@dataclass(frozen=True, kw_only=True)
class MaskPair:
    """A true mask and the predicted one, under the true one's name."""

    name: str
    truth: Source
    predicted: Source


@dataclass(frozen=True, kw_only=True)
class MaskFolders:
    """Masks in pairs. `space` says what the true ones hold, `predicted` what the predictions do, of the same classes.

    With `spare` some predicted pixels are of no class, and `counted` has one more for them. `notes` say what was
    decided and who was left out.
    """

    pairs: tuple[MaskPair, ...]
    space: LabelSpace
    predicted: LabelSpace
    spare: bool
    notes: tuple[str, ...]

    @property
    def counted(self) -> LabelSpace:
        """The classes as they are counted."""
        names, colours = self.space.names, self.space.colours
        return LabelSpace(names=(*names, NO_CLASS), colours=(*colours, (0, 0, 0))) if self.spare else self.space

    def labels(self, pair: MaskPair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return truth and prediction (h, w) uint8 of a pair; raises `AtrousError` for masks that cannot be read."""
        truth, found = (
            decode(mask_pixels(mask, colours=space.encoding == "colours"), space, path_of(mask))
            for mask, space in ((pair.truth, self.space), (pair.predicted, self.predicted))
        )
        return truth, np.where(found == IGNORE, np.uint8(len(self.space)), found) if self.spare else found


def mask_folders(
    predictions: Path,
    labels: Path,
    *,
    split: str = "val",
    classes: Sequence[str] | None = None,
    ignore: int | tuple[int, int, int] | None = None,
) -> MaskFolders:
    """Pair the masks below two folders and work out what they hold; all of them are read once.

    Names are compared below their folders without suffix, then without endings such as `_mask`, `_pred` or
    `_gtFine_labelIds`, then without folders. `labels` may also be a dataset, of which `split` is taken; the classes
    then are its own. Else they are what `classes.json` beside the masks says, or `classes` in the order of the values,
    or what the masks hold. Predictions may hold the same values, or the indices 0, 1, 2 of the classes.

    Raises `AtrousError` for folders that are missing or hold no masks, labels without prediction, names that fit
    several, sizes that differ, and predicted values that mean no class.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise AtrousError(f"{folder}: no such folder; a folder of masks is wanted")
    truths, known, notes = _truths(labels, split, classes, ignore)
    guesses = _masks_below(predictions)
    matched = _matched(truths, guesses, labels, predictions)
    pairs = [MaskPair(name=name, truth=truths[name], predicted=guesses[key]) for name, key in matched.items()]
    if spare := len(guesses) - len(pairs):
        notes.append(f"{spare:,} predictions have no label and are left out")
    return _understood(pairs, known, labels, classes=classes, ignore=ignore, notes=notes)


def _truths(
    labels: Path, split: str, classes: Sequence[str] | None, ignore: int | tuple[int, int, int] | None
) -> tuple[dict[str, Source], LabelSpace | None, list[str]]:
    """Return the true masks by name, the classes where they are known, and notes."""
    if _is_dataset(labels):
        dataset = open_dataset(labels, classes=classes, ignore=ignore)
        truths = {pair.name: pair.mask for pair in pairs_in(dataset, split) if pair.mask is not None}
        if not truths:
            raise AtrousError(f"{labels}: the split {split!r} has no masks, and a score needs them")
        return truths, dataset.space, [f"labels: the split {split} of a dataset ({dataset.layout})"]
    truths = dict(_masks_below(labels))
    told = None
    if all(name.casefold().endswith((_IDS, _TRAIN_IDS)) for name in truths) and classes is None:
        told = cityscapes.told()
        truths = {name: _train_ids(name, mask) for name, mask in truths.items()}
    return truths, space_as_wished(wished(labels, classes=classes, ignore=ignore, labels=None, told=told)), []


def _is_dataset(folder: Path) -> bool:
    try:
        found = recognise(folder)
    except AtrousError:
        return False
    if found.layout in _OF_MASKS_ALONE:
        return False
    return any(pair.mask is not None for each in found.splits.values() for pair in each.pairs)


def _train_ids(name: str, mask: Source) -> Source:
    return renumbered(mask, cityscapes.TRAIN_IDS, rest=IGNORE) if name.casefold().endswith(_IDS) else mask


def _masks_below(folder: Path) -> dict[str, Source]:
    """Return the mask files by their path below the folder; of Cityscapes' kinds of mask only those of ids."""
    found, doubles = by_key(folder, is_mask_name)
    if doubles:
        first, second = doubles[0]
        raise AtrousError(f"{folder}: {first.name} and {second.name} have one name; remove or rename one of each")
    for ending in (_IDS, _TRAIN_IDS):
        if any(name.casefold().endswith(ending) for name in found):
            found = {name: path for name, path in found.items() if name.casefold().endswith(ending)}
    if not found:
        raise AtrousError(f"{folder}: no masks in this folder; PNG, TIFF and other formats without loss are read")
    return dict(found)


def _matched(
    truths: Mapping[str, Source], guesses: Mapping[str, Source], labels: Path, predictions: Path
) -> dict[str, str]:
    """Return the prediction's name for every label; raises `AtrousError` for labels with none or with several."""
    keys: tuple[Callable[[str], str], ...] = (str, _core, _bare)  # from strict to lenient
    levels = [_grouped(guesses, key) for key in keys]
    found: dict[str, str] = {}
    missing = []
    for name in truths:
        fits = next((level[key(name)] for level, key in zip(levels, keys, strict=True) if key(name) in level), [])
        if len(fits) > 1:
            raise AtrousError(f"{predictions}: {' and '.join(fits[:3])} all fit the label {name}; leave one in place")
        if fits:
            found[name] = fits[0]
        else:
            missing.append(name)
    if missing:
        raise AtrousError(
            f"{predictions}: {len(missing):,} of the {len(truths):,} labels in {labels} have no prediction, first "
            f"{', '.join(missing[:3])}. A score over part of a set is no score: predict them too, or take their labels "
            "away."
        )
    _refuse_shared(found, predictions)
    return found


def _refuse_shared(found: Mapping[str, str], predictions: Path) -> None:
    for key, names in _grouped(found, found.__getitem__).items():
        if len(names) > 1:
            raise AtrousError(f"{predictions}: {key} fits several labels: {' and '.join(names[:3])}. Rename one.")


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for name in names:
        grouped[key(name)].append(name)
    return dict(grouped)


def _bare(name: str) -> str:
    return _core(name.rpartition("/")[2])


def _core(name: str) -> str:
    """Return a name without all endings and beginnings that say what a mask is.

    >>> _core("val/A_000294_gtFine_labelIds"), _core("mask_7"), _core("7_pred")
    ('val/a_000294', '7', '7')
    """
    folder, slash, last = name.casefold().rpartition("/")
    while (short := _ENDING.sub("", last)) != last:
        last = short
    return folder + slash + (_BEGINNING.sub("", last) or last)


def _understood(
    pairs: Sequence[MaskPair],
    known: LabelSpace | None,
    labels: Path,
    *,
    classes: Sequence[str] | None,
    ignore: int | tuple[int, int, int] | None,
    notes: list[str],
) -> MaskFolders:
    """Return the pairs with what both sides hold."""
    coloured = known is not None and known.encoding == "colours"
    truths, guesses = _counted(pairs, colours=coloured)
    if known is None and any(mask.coloured for mask in (*truths, *guesses)):
        truths, guesses = _counted(pairs, colours=True)  # the colours of one side's palette may be the other's
    _refuse_sizes(truths, guesses)
    space = known or work_out_space(truths, root=labels, layout="masks", classes=classes, ignore=ignore)
    if space.names == cityscapes.told().classes and _beyond(guesses, len(space)):
        pairs = [replace(pair, predicted=renumbered(pair.predicted, cityscapes.TRAIN_IDS, IGNORE)) for pair in pairs]
        guesses = in_threads(count_mask, [pair.predicted for pair in pairs])
        notes.append("predictions hold ids of Cityscapes; those that are not counted in it are of no class")
    space, predicted, told = _both(space, guesses, named=known is not None or classes is not None)
    spare = predicted.ignore is not None and _number(predicted.ignore) in _held(guesses, predicted)
    if spare:
        told.append(f"predicted pixels of {predicted.ignore} are of no class: where the truth has one they are wrong")
    return MaskFolders(pairs=tuple(pairs), space=space, predicted=predicted, spare=spare, notes=(*notes, *told))


def _counted(pairs: Sequence[MaskPair], *, colours: bool) -> tuple[list[MaskCensus], list[MaskCensus]]:
    count = partial(count_mask, colours=colours)
    return in_threads(count, [pair.truth for pair in pairs]), in_threads(count, [pair.predicted for pair in pairs])


def _refuse_sizes(truths: Sequence[MaskCensus], guesses: Sequence[MaskCensus]) -> None:
    other = [(truth, guess) for truth, guess in zip(truths, guesses, strict=True) if truth.size != guess.size]
    if other:
        truth, guess = other[0]
        raise AtrousError(
            f"{guess.path}: the prediction is {guess.size[0]} x {guess.size[1]} (height x width) and its label "
            f"{truth.path} is {truth.size[0]} x {truth.size[1]}; {len(other):,} of {len(truths):,} pairs differ. "
            "Scores are of the labels' resolution: predict at that size, since resizing changes what is scored."
        )


def _beyond(masks: Sequence[MaskCensus], count: int) -> bool:
    return any(count <= value != IGNORE for mask in masks for value in mask.pixels)


def _held(masks: Sequence[MaskCensus], space: LabelSpace) -> set[int]:
    return set(total_pixels(masks, coloured=space.encoding == "colours"))


def _number(value: int | tuple[int, int, int]) -> int:
    return value if isinstance(value, int) else (value[0] << 16) | (value[1] << 8) | value[2]


def _both(space: LabelSpace, guesses: Sequence[MaskCensus], *, named: bool) -> tuple[LabelSpace, LabelSpace, list[str]]:
    """Return what the true masks hold, what the predictions do, and notes; raise where values mean no class."""
    held = _held(guesses, space)
    void = set() if space.ignore is None else {_number(space.ignore)}
    values = [_number(value) for value in space.values]
    two = len(space) == 2 and held == {0, 255} and values != [0, 255]
    if held - void <= set(values) and not two:
        return space, space, []
    if two:
        return space, _of_values(space, (0, 255), None), ["predictions hold 0 and 255, taken for the two classes"]
    plain = {value for mask in guesses for value in mask.pixels}
    if plain - {IGNORE} <= set(range(len(space))) and not any(mask.coloured for mask in guesses):
        note = f"predictions hold 0 to {len(space) - 1}, taken for the classes in their order"
        return space, _of_values(space, tuple(range(len(space))), IGNORE), [note]
    if named or space.encoding == "instances":
        raise _unknown(guesses, space, set(values) | void)
    more = _extended(space, sorted(held - void - set(values)))
    return more, more, ["some classes are in predictions only"]


def _of_values(space: LabelSpace, values: tuple[int, ...], ignore: int | None) -> LabelSpace:
    return LabelSpace(names=space.names, colours=space.colours, values=values, ignore=ignore)


def _extended(space: LabelSpace, more: Sequence[int]) -> LabelSpace:
    if space.encoding == "colours":
        values = (*space.values, *(unpacked(value) for value in more))
        names = (*space.names, *(f"class {len(space) + index}" for index in range(len(more))))
        colours = tuple(value for value in values if isinstance(value, tuple))
        return LabelSpace(names=names, colours=colours, values=values, ignore=space.ignore, encoding="colours")
    names = (*space.names, *(f"class {value}" for value in more))
    return LabelSpace(names=names, values=(*space.values, *more), ignore=space.ignore)


def _unknown(guesses: Sequence[MaskCensus], space: LabelSpace, accepted: set[int]) -> AtrousError:
    mask, value = next((mask, value) for mask in guesses for value in sorted(mask.pixels) if value not in accepted)
    shown = unpacked(value) if mask.coloured else value
    listed = ", ".join(f"{value} ({name})" for value, name in list(zip(space.values, space.names, strict=True))[:8])
    return AtrousError(
        f"{mask.path}: the prediction holds {shown} on {mask.pixels[value]:,} pixels, and the classes are {listed}"
        f"{', ...' if len(space) > 8 else ''}. Predictions hold these values, or 0 to {len(space) - 1} in their order."
    )
