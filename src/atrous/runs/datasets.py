"""A run's dataset: the folder it is trained on, and folders that are read with its classes and its split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import Dataset, Pair, open_dataset, read_sample
from atrous.data.dataset import dataset_in, splits_in, stored_split, with_spare
from atrous.data.facts import every, identity, same_images, spaced, told_of
from atrous.data.layouts import Found, recognise
from atrous.data.names import composed
from atrous.data.spaces import space_as_wished
from atrous.data.wishes import CLASSES_FILE, Wishes, wished
from atrous.prediction.exported import read_exported
from atrous.store import is_exported, model_folder, read_config, read_json

_LOOKED_AT = 16
"""Masks from which it is seen what a folder without names holds."""


def data_of(
    run: Path,
    data: str | Path,
    *,
    space: LabelSpace | None = None,
    layout: str | None = None,
    masks: str | None = None,
    model: Path | None = None,
) -> Dataset:
    """Open a folder with a run's classes, and with its split where the folder is the one it was trained on.

    It still is that one when files of it were corrected or added; a warning says so, and another where a folder of
    other images seems to mean other classes. `layout` and `masks` say how the folder is laid out, as in
    `open_dataset`. `model` is the one of the run's model folders that tells the classes, its best without it.

    Raises `AtrousError` as `open_dataset`, for other classes, and for a folder in which some of the images are missing.
    """
    given = run if model is None else model
    folder = given if is_exported(given) else model_folder(given)
    config = read_config(folder)
    found = recognise(Path(data), layout=layout, masks=masks)
    wishes = wished(found.root, classes=None, ignore=None, labels=None, told=found.told)
    facts = config.fingerprint or {}
    space = _as_written(wishes, space or config.space, found.root, run, told_of(facts))
    split = split_of(run, folder)
    dataset = dataset_in(found, wishes, space=space)
    own = _with_own_split(dataset, found, run, facts, split) if split is not None else None
    if own is None and wishes.classes is None and wishes.values is None:
        _warn_of_other_classes(dataset, run)
    return own or dataset


def _with_own_split(
    dataset: Dataset, found: Found, run: Path, facts: Mapping[str, Any], split: Mapping[str, Sequence[str]]
) -> Dataset | None:
    """Return the dataset with the split that a run stored, None where it is not the one that it was trained on.

    Raises `AtrousError` where some of the images are missing.
    """
    everything = with_spare(found, dataset.splits)  # the run may have had lists of its own
    there = {pair.name for pairs in everything.values() for pair in pairs}
    stored_names = {name for names in split.values() for name in names}
    if stored_names <= there:
        same = replace(dataset, splits=stored_split(dataset.root, everything, split), made_split=False)
        return same if _was_trained_on(same, facts, run) else None
    if stored_names & there:
        missing = sorted(stored_names - there)
        raise AtrousError(
            f"{dataset.root}: {len(missing)} of the {len(stored_names)} images that {run} was trained with are "
            f"missing, first {missing[0]!r}; give the whole folder, or one of other images"
        )
    return None


def _warn_of_other_classes(dataset: Dataset, run: Path) -> None:
    """Say it where a few masks of a folder without names hold fewer classes than a model has.

    Values that it does not have are an error, once such a mask is read.
    """
    pairs = [pair for pair in every(dataset) if pair.mask is not None]
    present: set[int] = set()
    try:
        for pair in (looked_at := spaced(pairs, _LOOKED_AT)):
            labels = read_sample(pair, dataset.space, instances=False).labels
            present |= set() if labels is None else set(np.unique(labels).tolist()) - {IGNORE}
    except AtrousError:
        return
    classes = len(dataset.space)
    if present and max(present) < classes - 1:
        held = ", ".join(str(dataset.space.values[index]) for index in sorted(present))
        logging.getLogger("atrous").warning(
            "%s: does not name its classes, and the %s hold the values %s, where %s has %d classes (%s): if they mean "
            "others, the scores mean nothing; a %s with the names says what they are",
            dataset.root, f"{len(looked_at)} masks looked at" if len(looked_at) > 1 else "mask", held, run, classes,
            ", ".join(dataset.space.names[:4]) + (", ..." if classes > 4 else ""), CLASSES_FILE,
        )  # fmt: skip


def split_of(run: Path, folder: Path) -> dict[str, list[str]] | None:
    """Return the split that a run stored, or that an exported file carries; None where neither tells.

    `folder` is the run's model folder, or the exported file itself. Raises `AtrousError` for one that is damaged.
    """
    stored = next((path for path in (run / "split.json", folder.parent / "split.json") if path.is_file()), None)
    if stored is not None:
        return _split(stored)
    carried = read_exported(folder)[1].get("split") if is_exported(folder) else None
    return None if carried is None else _checked_split(carried, folder)


def _split(path: Path) -> dict[str, list[str]]:
    """Return a stored split, its names written as those of pairs are."""
    return _checked_split(read_json(path), path)


def _checked_split(stored: Any, path: Path) -> dict[str, list[str]]:
    if not isinstance(stored, dict) or not all(isinstance(names, list) for names in stored.values()):
        raise AtrousError(f"{path}: no split is in it, which names the images of train and val. Take another copy.")
    return {part: [composed(str(name)) for name in names] for part, names in stored.items()}


def _was_trained_on(dataset: Dataset, facts: Mapping[str, Any], run: Path) -> bool:
    """Return whether a folder with the names of a run's images has the images, and say it where files have changed."""
    if facts.get("sha256") in (None, identity(dataset)):
        return True
    log = logging.getLogger("atrous")
    if same_images(dataset, facts):
        log.warning("%s: files have changed since %s was trained with them; its split is kept", dataset.root, run)
        return True
    log.warning("%s: has the names of the images that %s was trained with, and other images", dataset.root, run)
    return False


def pairs_in(dataset: Dataset, split: str) -> tuple[Pair, ...]:
    """Return the pairs of a split; raises `AtrousError` where there are none."""
    if not dataset.splits.get(split):
        there = ", ".join(f"{name} ({len(pairs)})" for name, pairs in dataset.splits.items())
        raise AtrousError(f"{dataset.root}: no images in the split {split!r}; there are {there}")
    return dataset.splits[split]


def data_to_train_on(data: str | Path, **wishes: Any) -> Dataset:
    """Open a folder for a new run; raises `AtrousError` where there is nothing to learn from, or one class only."""
    dataset = open_dataset(data, **wishes)
    if len(dataset.space) < 2:
        raise AtrousError(f"{data}: the masks hold {len(dataset.space)} class; training needs at least 2")
    if not dataset.splits.get("train"):
        raise AtrousError(f"{data}: no images to train on; put some into the split train")
    return dataset


def resumed_data(out: Path, data: str | Path, **wishes: Any) -> Dataset:
    """Open the folder that a run was started with, divided as it was then, whether its lists are given again or not.

    Raises `AtrousError` for another folder, other classes, and lists that divide it otherwise.
    """
    layout: dict[str, Any] = {name: wishes.pop(name) for name in ("layout", "masks") if name in wishes}
    lists = {name: wishes.pop(f"{name}_list", None) for name in ("train", "val")}
    # A run that was never scored has no best/ yet, and goes on from last/ like any other.
    dataset = data_of(out, data, **layout, model=out / "last" if (out / "last").is_dir() else None)
    split = _split(out / "split.json")
    names = {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()}
    if names != split:
        alike = {name for part in names.values() for name in part} & {name for part in split.values() for name in part}
        came = "images of the same names, and not those" if alike else "none of the images"
        raise AtrousError(
            f"{data}: holds {came} that {out} was trained with; a run goes on with the data it was started with"
        )
    _refuse_other_lists(out, data, split, {name: Path(path) for name, path in lists.items() if path}, layout)
    space = dataset.space
    stored = {"classes": space.names, "ignore": space.ignore, "labels": space.encoding}
    for name, value in wishes.items():
        given = tuple(value) if isinstance(value, list) else value
        if given is not None and given != stored[name]:
            raise AtrousError(
                f"{out}: the run was started with --{name} {stored[name]}, not {given}; leave --{name} out to resume"
            )
    return dataset


def _refuse_other_lists(
    out: Path, data: str | Path, split: dict[str, list[str]], lists: dict[str, Path], layout: dict[str, Any]
) -> None:
    """Raise `AtrousError` where lists divide a folder otherwise than the run was started with."""
    if not lists:
        return
    found = recognise(Path(data), **layout)
    named = {name: {pair.name for pair in pairs} for name, pairs in splits_in(found, lists).items()}
    for name, names in split.items():
        if other := set(names) ^ named.get(name, set()):
            flags = " and ".join(f"--{each}-list" for each in lists)
            raise AtrousError(
                f"{' and '.join(map(str, lists.values()))}: {out} was started with others in {name}, "
                f"first {min(other)}; leave {flags} out to resume"
            )


def _as_written(wishes: Wishes, space: LabelSpace, root: Path, run: Path, told: Wishes | None = None) -> LabelSpace:
    """Return the model's classes as a folder writes them, where its `classes.json` or its layout says how.

    `told` is what the folder that the run was trained on said: a run may have given its classes other names.

    Raises `AtrousError` where the folder's classes are others.
    """
    if told == Wishes(classes=wishes.classes, values=wishes.values, ignore=wishes.ignore):
        return space
    renamed = told is not None and wishes.classes == told.classes and len(told.values or ()) == len(told.classes or ())
    if wishes.classes not in (None, space.names) and not renamed:
        raise _other_classes(wishes, space, root, run)
    own = space_as_wished(wishes)
    if own is None:
        return space
    written: dict[Any, Any] = {}
    if told is not None and wishes.classes != space.names:
        written = dict(zip(told.values or (), own.values, strict=True))  # by the names that both folders tell
    values = tuple(written.get(value, value) for value in space.values) if written else own.values
    overruled = told is not None and wishes.ignore == told.ignore
    kept = written.get(space.ignore, space.ignore)
    fits = own.encoding == space.encoding and kept not in values
    ignore = kept if fits and (wishes.ignore is None or overruled) else own.ignore
    return replace(space, values=values, ignore=ignore, encoding=own.encoding)


def _other_classes(wishes: Wishes, space: LabelSpace, root: Path, run: Path) -> AtrousError:
    written = (root / CLASSES_FILE).is_file()
    path, advice = root, f". A {CLASSES_FILE} in the folder with the names of the run finds them by name"
    if written or not set(wishes.classes or ()) <= set(space.names):
        path, advice = root / CLASSES_FILE if written else root, ""
    return AtrousError(
        f"{path}: the classes are {', '.join(wishes.classes or ())}, and {run} was trained on "
        f"{', '.join(space.names)}; a score needs the same classes in the same order{advice}"
    )
