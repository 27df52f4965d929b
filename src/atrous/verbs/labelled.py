"""The labelled images that a model is scored on, and none that it was trained with unawares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace
    from atrous.data import Dataset, Pair

SPLIT = "val"
"""What is scored where no split is named."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images with masks; `numbered` says whether objects have numbers, `notes` what a reader of the scores must know.

    `reading` is how the folder was read, as plain values.
    """

    dataset: Dataset
    pairs: tuple[Pair, ...]
    space: LabelSpace
    numbered: bool
    split: str
    reading: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def labelled(
    model: str | Path, data: str | Path, *, split: str | None, ignore: Any, layout: str | None, masks: str | None
) -> Labelled:
    """Return the images of a split, "val" for None, with a model's classes.

    Raises `AtrousError` where some have no mask; and where no split is named, and the model was trained with images of
    the folder of which nobody knows which.
    """
    from atrous.contract import AtrousError
    from atrous.data.parts import path_of
    from atrous.runs import data_of, pairs_in

    dataset = data_of(Path(model), data, layout=layout, masks=masks)
    space = _ignoring(dataset.space, ignore)
    pairs = pairs_in(dataset, split or SPLIT)
    alone = [pair for pair in pairs if pair.mask is None]
    if alone:
        raise AtrousError(
            f"{data}: {len(alone):,} of the {len(pairs):,} images in {split or SPLIT} have no mask, first "
            f"{path_of(alone[0].image)}; a score needs one of each"
        )
    return Labelled(
        dataset=dataset,
        pairs=pairs,
        space=space,
        numbered=space.encoding == "instances" or hasattr(pairs[0].mask, "instances"),
        split=split or SPLIT,
        reading={"ignore": ignore, "layout": layout, "masks": masks},
        notes=_learnt_from(Path(model), dataset, split),
    )


def _ignoring(space: LabelSpace, ignore: Any) -> LabelSpace:
    if ignore is None:
        return space
    if ignore in space.values:
        raise ValueError(f"ignore {ignore} came, which is the class {space.names[space.values.index(ignore)]!r}")
    return replace(space, ignore=ignore)


def _learnt_from(model: Path, dataset: Dataset, split: str | None) -> tuple[str, ...]:
    """Return a note, which is logged too, where images that are scored may be among those that were trained with.

    Raises `AtrousError` where they may be and nobody named a split.
    """
    import logging

    from atrous.contract import AtrousError

    if not _is_divided_otherwise(model, dataset):
        return ()
    words = (
        "was trained with images of this folder, and does not say with which: some that are scored may be among them"
    )
    if split is None:
        raise AtrousError(
            f"{model}: {words}. Score the run, put its split.json beside the model, export it again from the run, or "
            f"name the split: --split {SPLIT} scores what the folder takes for it"
        )
    logging.getLogger("atrous").warning("%s: %s", model, words)
    return (f"the model {words}",)


def _is_divided_otherwise(model: Path, dataset: Dataset) -> bool:
    """Say whether a model was trained with images of this folder, and may have been with others than its train."""
    from atrous.data.facts import identity, same_images
    from atrous.runs import split_of
    from atrous.store import is_exported, model_folder, read_config

    folder = model if is_exported(model) else model_folder(model)
    facts = read_config(folder).fingerprint or {}
    if not facts.get("sha256") or split_of(model, folder) is not None:
        return False
    counts = {name: len(pairs) for name, pairs in dataset.splits.items()}
    differ = any(counts.get(name) != many for name, many in (facts.get("splits") or {}).items())
    if not dataset.made_split and not differ:
        return False
    return facts["sha256"] == identity(dataset) or bool(facts.get("samples") and same_images(dataset, facts))
