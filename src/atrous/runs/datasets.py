"""A run's dataset: the folder it is trained on, and folders that are read with its classes and its split."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Dataset, Pair, open_dataset
from atrous.data.dataset import dataset_in, splits_in, stored_split, with_spare
from atrous.data.facts import identity, same_images, told_of
from atrous.data.layouts import recognise
from atrous.data.names import composed
from atrous.data.spaces import space_as_wished
from atrous.data.wishes import CLASSES_FILE, Wishes, wished
from atrous.store import model_folder, read_config, read_json


def data_of(
    run: Path,
    data: str | Path,
    *,
    space: LabelSpace | None = None,
    layout: str | None = None,
    masks: str | None = None,
) -> Dataset:
    """Open a folder with a run's classes, and with its split where the folder is the one it was trained on.

    It still is that one when files of it were corrected or added; a warning says so. `layout` and `masks` say how the
    folder is laid out, as in `open_dataset`.

    Raises `AtrousError` as `open_dataset`, for other classes, and for a folder in which some of the images are missing.
    """
    folder = model_folder(run)
    config = read_config(folder)
    found = recognise(Path(data), layout=layout, masks=masks)
    wishes = wished(found.root, classes=None, ignore=None, labels=None, told=found.told)
    facts = config.fingerprint or {}
    space = _as_written(wishes, space or config.space, found.root, run, told_of(facts))
    stored = next((path for path in (run / "split.json", folder.parent / "split.json") if path.is_file()), None)
    dataset = dataset_in(found, wishes, space=space)
    if stored is None:
        return dataset
    split = _split(stored)
    everything = with_spare(found, dataset.splits)  # the run may have had lists of its own
    there = {pair.name for pairs in everything.values() for pair in pairs}
    stored_names = {name for names in split.values() for name in names}
    if stored_names <= there:
        same = replace(dataset, splits=stored_split(dataset.root, everything, split), made_split=False)
        return same if _was_trained_on(same, facts, run) else dataset
    if stored_names & there:
        missing = sorted(stored_names - there)
        raise AtrousError(
            f"{data}: {len(missing)} of the {len(stored_names)} images that {run} was trained with are missing, "
            f"first {missing[0]!r}; give the whole folder, or one of other images"
        )
    return dataset


def _split(path: Path) -> dict[str, list[str]]:
    """Return a stored split, its names written as those of pairs are."""
    stored = read_json(path)
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
    dataset = data_of(out, data, **layout)
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
