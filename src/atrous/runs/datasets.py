"""A run's dataset: the folder it is trained on, and folders that are read with its classes and its split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Dataset, Pair, open_dataset
from atrous.data.dataset import dataset_in, stored_split
from atrous.data.facts import identity
from atrous.data.layouts import recognise
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

    `layout` and `masks` say how the folder is laid out, as in `open_dataset`.
    """
    folder = model_folder(run)
    config = read_config(folder)
    found = recognise(Path(data), layout=layout, masks=masks)
    wishes = wished(found.root, classes=None, ignore=None, labels=None, told=found.told)
    space = _as_written(wishes, space or config.space, found.root, run)
    stored = next((path for path in (run / "split.json", folder.parent / "split.json") if path.is_file()), None)
    dataset = dataset_in(found, wishes, space=space)
    if stored is None:
        return dataset
    split = read_json(stored)
    there = {pair.name for pairs in dataset.splits.values() for pair in pairs}
    stored_names = {name for names in split.values() for name in names}
    if stored_names <= there:
        same = replace(dataset, splits=stored_split(dataset.root, dataset.splits, split), made_split=False)
        trained_on = (config.fingerprint or {}).get("sha256")
        return same if trained_on in (None, identity(same)) else dataset
    if stored_names & there:
        missing = sorted(stored_names - there)
        raise AtrousError(
            f"{data}: {len(missing)} of the {len(stored_names)} images that {run} was trained with are missing, "
            f"first {missing[0]!r}; give the whole folder, or one of other images"
        )
    return dataset


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
    """Open the folder that a run was started with; raises `AtrousError` for another one, or for other classes."""
    layout = {name: wishes.pop(name) for name in ("layout", "masks") if name in wishes}
    dataset = data_of(out, data, **layout)
    if {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()} != read_json(out / "split.json"):
        raise AtrousError(
            f"{data}: holds none of the images that {out} was trained with; a run goes on with the data it was started "
            "with"
        )
    space = dataset.space
    stored = {"classes": space.names, "ignore": space.ignore, "labels": space.encoding}
    for name, value in wishes.items():
        given = tuple(value) if isinstance(value, list) else value
        if given is not None and given != stored[name]:
            raise AtrousError(
                f"{out}: the run was started with --{name} {stored[name]}, not {given}; leave --{name} out to resume"
            )
    return dataset


def _as_written(wishes: Wishes, space: LabelSpace, root: Path, run: Path) -> LabelSpace:
    """Return the model's classes as a folder writes them, where its `classes.json` or its layout says how.

    Raises `AtrousError` where the folder's classes are others.
    """
    own = space_as_wished(wishes)
    if wishes.classes in (None, space.names):
        return space if own is None else replace(space, values=own.values, ignore=own.ignore, encoding=own.encoding)
    written = (root / CLASSES_FILE).is_file()
    renamed = own is not None and (own.values, own.encoding) == (space.values, space.encoding)
    if renamed and not written and set(wishes.classes or ()) != set(space.names):
        return space  # the run was started with names of its own, and the layout has others
    path = root / CLASSES_FILE if written else root
    raise AtrousError(
        f"{path}: the classes are {', '.join(wishes.classes or ())}, and {run} was trained on "
        f"{', '.join(space.names)}; a score needs the same classes in the same order"
    )
