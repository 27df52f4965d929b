"""A folder of images and masks, understood: its pairs, its splits and its classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from pydantic import ValidationError

from atrous.contract import IGNORE, AtrousError, Colour, Encoding, LabelSpace
from atrous.data.census import MaskCensus, Progress, count_mask, in_threads
from atrous.data.found import Found, Problem
from atrous.data.geotiff import georeferenced
from atrous.data.layouts import recognise
from atrous.data.listed_splits import splits_by_lists
from atrous.data.names import composed
from atrous.data.pairs import Matched, Pair, refuse_repeated, refuse_unpaired, split_by_hash
from atrous.data.samples import decode, read_sample
from atrous.data.spaces import GREY_TOLD, OBJECTS_TOLD, complaint, space_as_wished, work_out_space
from atrous.data.volumes import sliced
from atrous.data.wishes import Wishes, wished

_COSTS_A_PAIR = ("unreadable-file", "size-differs", "axes-swapped", "orientation-differs", "place-differs")

__all__ = ["Dataset", "Pair", "decode", "open_dataset", "read_sample"]


@dataclass(frozen=True)
class Dataset:
    """Pairs of images and masks by split, and the classes; `made_split` when no folder or list told the split.

    `told` is what the folder itself says of its classes, before anybody gave them other names.
    """

    root: Path
    layout: str
    splits: dict[str, tuple[Pair, ...]]
    space: LabelSpace
    made_split: bool
    told: Wishes = field(default_factory=Wishes)


def open_dataset(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | Colour | None = None,
    labels: Encoding | None = None,
    layout: str | None = None,
    masks: str | None = None,
    space: LabelSpace | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    train_list: str | Path | None = None,
    val_list: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the dataset in a folder: the layout is recognised, the classes come from the layout or the masks.

    `layout` names one of `layouts.LAYOUTS` and overrides what would be recognised; `masks` is a template for the path
    of an image's mask, such as `"{parent}/../masks/{stem}_mask.png"`. `classes`, `ignore` and `labels` say what the
    masks cannot; a `classes.json` in the folder (`names`, `colours`, `values`, `ignore`, `labels`) comes next, then
    what the layout tells, then a census of all masks, which calls `progress(done, total)`. With `space` nothing is
    worked out. `split` names the pairs of each split, as stored; other pairs are left out. `train_list` and `val_list`
    are files with an image on every line, which `listed_splits.splits_by_lists` reads; the classes stay those of the
    whole folder. Where nothing tells the split, one in five is `val`, by a hash of the name; slices of a volume stay
    together.

    Entries of annotation files that cannot be used are left out, and a warning is logged.

    Raises `AtrousError` for a folder that is missing, empty or laid out otherwise, for images or masks alone, for
    volumes that cannot be read or do not fit their masks, for names in `split` or a list that are not there, and for
    masks whose values are no classes; `ValueError` for `split` and lists at once.

    >>> import tempfile, numpy as np
    >>> from atrous.data import write_image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"):
    ...     write_image(root / name, np.eye(4, dtype=np.uint8))
    >>> open_dataset(root).space.names
    ('class 0', 'class 1')
    """
    found = recognise(Path(root), layout=layout, masks=masks)
    wishes = wished(found.root, classes=classes, ignore=ignore, labels=labels, told=found.told)
    if split is not None and (train_list or val_list):
        raise ValueError("both a split and lists came; either says which images are for what")
    lists = {name: Path(path) for name, path in (("train", train_list), ("val", val_list)) if path is not None}
    return dataset_in(found, wishes, space=space, split=split, lists=lists, progress=progress)


def dataset_in(
    found: Found,
    wishes: Wishes,
    *,
    space: LabelSpace | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    lists: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the dataset of what was found in a folder, as `open_dataset` does, with lists of `train` and `val`."""
    root = found.root
    refuse_unpaired(found.splits.values(), root)
    _refuse_or_warn(found.problems)
    for note in wishes.notes:
        logging.getLogger("atrous").warning("%s: %s", root, note)
    splits, made_split = divided(found, wishes)
    refuse_repeated(chain.from_iterable(splits.values()), root)
    if split is not None:
        splits, made_split = stored_split(root, with_spare(found, splits), split), False
    if space is None:
        counted = with_spare(found, splits) if lists else splits
        space = space_as_wished(wishes) or _space_from_masks(root, found.layout, counted, wishes, progress)
    if lists:
        splits, made_split = splits_in(found, lists), False
    told = wished(root, classes=None, ignore=None, labels=None, told=found.told)
    return Dataset(root, found.layout, splits, space, made_split, told)


def _refuse_or_warn(problems: Sequence[Problem]) -> None:
    """Raise `AtrousError` for a problem that costs a pair, and log a warning for each kind of the others."""
    for problem in problems:
        if problem.kind in _COSTS_A_PAIR:
            count = sum(other.kind == problem.kind for other in problems)
            more = f" {count - 1:,} more have such a problem." if count > 1 else ""
            raise AtrousError(f"{problem.path}: {problem.detail.rstrip('.')}.{more}", kind=problem.kind)
    for kind in dict.fromkeys(problem.kind for problem in problems):
        first, *others = (problem for problem in problems if problem.kind == kind)
        more = f", and {len(others):,} more; atrous inspect lists them" if others else ""
        logging.getLogger("atrous").warning("%s: %s (%s)%s", first.path, first.detail.rstrip("."), kind, more)


def divided(found: Found, wishes: Wishes) -> tuple[dict[str, tuple[Pair, ...]], bool]:
    """Return the splits with `val` taken out of `train` by hash where there is none, and whether that was done."""
    splits = {name: matched.pairs for name, matched in found.splits.items()}
    if "val" in splits or not wishes.divide or len({pair.group or pair.name for pair in splits.get("train", ())}) < 2:
        return splits, False
    return {**splits, **split_by_hash(splits["train"])}, True


def splits_in(found: Found, lists: Mapping[str, Path]) -> dict[str, tuple[Pair, ...]]:
    """Return the splits that lists of `train` and `val` make of what was found; raises as `splits_by_lists`."""
    own = {name: matched.pairs for name, matched in found.splits.items()}
    return splits_by_lists(found.root, with_spare(found, own), train=lists.get("train"), val=lists.get("val"))


def with_spare(found: Found, splits: dict[str, tuple[Pair, ...]]) -> dict[str, tuple[Pair, ...]]:
    """Return the splits, and under `spare` the pairs that the folder's own lists leave out, where there are any."""
    if not found.spare:
        return splits
    spare = sliced(georeferenced(replace(found, splits={"spare": Matched(found.spare)})))
    return {**splits, **{name: matched.pairs for name, matched in spare.splits.items()}}


def stored_split(
    root: Path, splits: dict[str, tuple[Pair, ...]], stored: Mapping[str, Sequence[str]]
) -> dict[str, tuple[Pair, ...]]:
    """Return the pairs that a stored split names, whichever way their letters are stored.

    Raises `AtrousError` when one of them is gone.
    """
    stored = {part: [composed(name) for name in names] for part, names in stored.items()}
    by_name = {pair.name: pair for pair in chain.from_iterable(splits.values())}
    missing = [name for names in stored.values() for name in names if name not in by_name]
    if missing:
        raise AtrousError(
            f"{root}: {len(missing):,} of the names in the stored split are not there, first {missing[0]}. "
            "Use the folder that the run was trained on."
        )
    return {name: tuple(by_name[item] for item in names) for name, names in stored.items()}


def _space_from_masks(
    root: Path, layout: str, splits: dict[str, tuple[Pair, ...]], wishes: Wishes, progress: Progress | None
) -> LabelSpace:
    masks = [pair.mask for pair in chain.from_iterable(splits.values()) if pair.mask is not None]
    colours = wishes.labels == "colours"
    censuses = in_threads(lambda mask: count_mask(mask, colours=colours), masks, progress)
    space = space_from_census(root, layout, censuses, wishes)
    if space.encoding == "instances" and wishes.labels is None:
        logging.getLogger("atrous").warning("%s: %s", root, OBJECTS_TOLD)
    if grey_levels(space, wishes):
        logging.getLogger("atrous").warning("%s: %s", root, GREY_TOLD)
    return space


def space_from_census(root: Path, layout: str, masks: Sequence[MaskCensus], wishes: Wishes) -> LabelSpace:
    """Return the classes of masks already counted; raises `AtrousError` as `open_dataset` does."""
    space = work_out_space(
        masks, root=root, layout=layout, classes=wishes.classes, ignore=wishes.ignore, labels=wishes.labels
    )
    if wishes.colours is None or wishes.colours == space.colours:
        return space
    try:
        return LabelSpace(
            names=space.names, colours=wishes.colours, values=space.values, ignore=space.ignore, encoding=space.encoding
        )
    except ValidationError as error:
        raise AtrousError(f"{wishes.source}: {complaint(error)}.") from error


def grey_levels(space: LabelSpace, wishes: Wishes) -> bool:
    """Return whether 255 is a class of three or more because the masks look like it."""
    return len(space) > 2 and space.ignore is None and IGNORE in space.values and wishes.classes is None
