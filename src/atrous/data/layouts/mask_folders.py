"""Folders of masks beside annotations: which of them to read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.layouts import folders
from atrous.data.pairs import path_below
from atrous.data.parts import path_of


def first_mask(root: Path) -> Path | None:
    """Return a mask of a folder that has images and masks apart, None for one that has not."""
    with suppress(AtrousError):
        found = folders.recognise(root)
        splits = () if found is None else found.splits.values()
        return next((path_of(pair.mask) for each in splits for pair in each.pairs if pair.mask is not None), None)
    return None


def left_aside(root: Path) -> tuple[str, ...]:
    """Return the line that says that a folder holds masks too, and how they are read; () where none does."""
    mask = first_mask(root)
    if mask is None:
        return ()
    folder = path_below(root, mask.parent)
    return (f"{folder}/ holds masks too, which are left aside for the annotations; --layout folders reads them.",)
