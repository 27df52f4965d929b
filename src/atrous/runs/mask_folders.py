"""Two folders of masks, the true ones and somebody's predictions: paired by name, in whatever form each has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import Pair, open_dataset
from atrous.data.census import MaskCensus, count_mask, in_threads
from atrous.data.images import is_mask_name
from atrous.data.layouts import cityscapes, recognise
from atrous.data.pairs import by_key
from atrous.data.parts import Source, mask_pixels, path_of, renumbered
from atrous.data.samples import decode
from atrous.data.spaces import space_as_wished, work_out_space
from atrous.data.wishes import wished
from atrous.evaluation.report import NO_CLASS
from atrous.runs.datasets import pairs_in
from atrous.runs.mask_names import matched_names
from atrous.runs.mask_values import beyond, both_spaces, held_in, number_of
from atrous.runs.mask_volumes import in_slices, whole_masks

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
    split: str | None = None,
    classes: Sequence[str] | None = None,
    ignore: int | tuple[int, int, int] | None = None,
) -> MaskFolders:
    """Pair the masks below two folders and work out what they hold; all of them are read once.

    Names are compared below their folders without suffix, then without endings such as `_mask`, `_pred` or
    `_gtFine_labelIds`, then without folders. `labels` may also be a dataset, of which `split` is taken, "val" for None;
    the classes then are its own. Else they are what `classes.json` beside the masks says, or `classes` in the order of
    the values, or what the masks hold. Predictions may hold the same values, or the indices 0, 1, 2 of the classes.
    Volumes become pairs of slices.

    Raises `AtrousError` for folders that are missing or hold no masks, labels without prediction, names that fit
    several, sizes that differ, predicted values that mean no class, and a split of a folder that has none.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise AtrousError(f"{folder}: no such folder; a folder of masks is wanted")
    truths, known, notes = _truths(labels, split, classes, ignore)
    guesses = _masks_below(predictions)
    matched = matched_names(truths, guesses, labels, predictions)
    both = in_slices([Pair(name, guesses[key], truths[name]) for name, key in matched.items()])
    pairs = [MaskPair(name=pair.name, truth=pair.mask, predicted=pair.image) for pair in both if pair.mask is not None]
    if spare := len(guesses) - len(matched):
        notes.append(f"{spare:,} predictions have no label and are left out")
    return _understood(pairs, known, labels, classes=classes, ignore=ignore, notes=notes)


def _truths(
    labels: Path, split: str | None, classes: Sequence[str] | None, ignore: int | tuple[int, int, int] | None
) -> tuple[dict[str, Source], LabelSpace | None, list[str]]:
    """Return the true masks by name, the classes where they are known, and notes."""
    if _is_dataset(labels):
        part = split or "val"
        dataset = open_dataset(labels, classes=classes, ignore=ignore)
        truths = whole_masks(pairs_in(dataset, part))
        if not truths:
            raise AtrousError(f"{labels}: the split {part!r} has no masks, and a score needs them")
        return truths, dataset.space, [f"labels: the split {part} of a dataset ({dataset.layout})"]
    if split is not None:
        raise AtrousError(f"{labels}: is a folder of masks alone, which has no split {split!r}; leave the split out")
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
    truths, guesses = _censuses(pairs, known)
    _refuse_sizes(truths, guesses)
    space = known or work_out_space(truths, root=labels, layout="masks", classes=classes, ignore=ignore)
    if space.names == cityscapes.told().classes and beyond(guesses, len(space)):
        pairs = [replace(pair, predicted=renumbered(pair.predicted, cityscapes.TRAIN_IDS, IGNORE)) for pair in pairs]
        guesses = in_threads(count_mask, [pair.predicted for pair in pairs])
        notes.append("predictions hold ids of Cityscapes; those that are not counted in it are of no class")
    space, predicted, told = both_spaces(space, guesses, named=known is not None or classes is not None)
    spare = predicted.ignore is not None and number_of(predicted.ignore) in held_in(guesses, predicted)
    if spare:
        told.append(f"predicted pixels of {predicted.ignore} are of no class: where the truth has one they are wrong")
    return MaskFolders(pairs=tuple(pairs), space=space, predicted=predicted, spare=spare, notes=(*notes, *told))


def _censuses(pairs: Sequence[MaskPair], known: LabelSpace | None) -> tuple[list[MaskCensus], list[MaskCensus]]:
    """Return what is in the true masks and in the predicted ones."""
    truths, guesses = _counted(pairs, colours=known is not None and known.encoding == "colours")
    if known is None and any(mask.coloured for mask in (*truths, *guesses)):
        return _counted(pairs, colours=True)  # the colours of one side's palette may be the other's
    return truths, guesses


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
