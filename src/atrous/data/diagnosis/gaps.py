"""Classes that one split shows and another does not, and classes that are rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.data.found import Problem

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look

_EXPECTED = 3.0  # fewer images than this may be missing from val by chance
_RARE = 0.01
_NAMED = 8


def gap_problems(
    looks: Sequence[Look], space: LabelSpace | None, counts: NDArray[np.int64]
) -> tuple[list[Problem], list[str]]:
    """Return the classes of val that train lacks, and those of train that val lacks.

    Each is a problem of the first image that shows the class. What val lacks is one where three or more of its images
    ought to show the class, as many as do in train, slices of a volume counting once; else a note.
    """
    if space is None:
        return [], []
    groups = {split: _shown(looks, counts, split) for split in ("train", "val")}
    (trained, train), (validated, val) = groups["train"], groups["val"]
    if not train or not val:
        return [], []
    problems, rare = [], []
    for index, name in enumerate(space.names):
        if index in validated and index not in trained:
            detail = f"{name} is on {_images(len(validated[index]))} of val and on none of train"
            problems.append(_about_first(looks, counts[:, index], "class-missing-in-train", detail, split="val"))
        elif index in trained and index not in validated:
            expected = len(trained[index]) / train * val
            detail = f"{name} is on {_images(len(trained[index]))} of train and on none of val"
            if expected >= _EXPECTED:
                problems.append(_about_first(looks, counts[:, index], "class-missing-in-val", detail, split="train"))
            else:
                rare.append(name)
    return problems, [f"val lacks classes that are rare in train: {_some(rare)}"] if rare else []


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _shown(looks: Sequence[Look], counts: NDArray[np.int64], split: str) -> tuple[dict[int, set[str]], int]:
    """Return the groups that show each class in a split, and how many groups there are."""
    shown: dict[int, set[str]] = {}
    every = set()
    for row, look in enumerate(looks):
        if look.split == split and look.census is not None:
            group = look.pair.group or look.pair.name
            every.add(group)
            for index in np.flatnonzero(counts[row, :-2]).tolist():
                shown.setdefault(index, set()).add(group)
    return shown, len(every)


def _about_first(looks: Sequence[Look], pixels: NDArray[np.int64], kind: str, detail: str, *, split: str) -> Problem:
    look = next(look for look, count in zip(looks, pixels, strict=True) if look.split == split and count)
    return Problem(kind, look.image_path, detail, look.pair.name)


def balance_notes(space: LabelSpace | None, counts: NDArray[np.int64]) -> list[str]:
    """Return what there is to say of rare classes, and of classes that never occur."""
    if space is None or not counts[:, :-2].any():
        return []
    pixels = counts[:, :-2].sum(axis=0, dtype=np.int64)
    notes = []
    absent = [name for name, count in zip(space.names, pixels, strict=True) if not count]
    if absent:
        notes.append(f"{len(absent)} of {len(space)} classes never occur: {_some(absent)}")
    shares = pixels / pixels.sum()
    rare = [f"{name} {share:.2%}" for name, share in zip(space.names, shares, strict=True) if 0 < share < _RARE]
    if rare:
        notes.append(
            f"classes with less than {_RARE:.0%} of the pixels: {_some(rare)}. "
            "Pixel accuracy hardly notices them; look at their IoU, and give them a share of the crops with "
            "--crops balanced"
        )
    return notes
