"""Volumes of masks, as other programs write them: paired whole by their names, and scored slice by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from atrous.contract import AtrousError
from atrous.data import Pair
from atrous.data.found import Found
from atrous.data.pairs import Matched
from atrous.data.parts import Source
from atrous.data.volumes import Slice, sliced


def whole_masks(pairs: Sequence[Pair]) -> dict[str, Source]:
    """Return the masks of a dataset by name; the slices of a mask that is one file as that file, by its volume's name.

    Predictions of a volume are one file too.
    """
    slices = Counter(pair.mask.path for pair in pairs if isinstance(pair.mask, Slice))
    found: dict[str, Source] = {}
    for pair in pairs:
        if isinstance(pair.mask, Slice) and slices[pair.mask.path] > 1:
            found[pair.name.rpartition("/")[0]] = pair.mask.path
        elif pair.mask is not None:
            found[pair.name] = pair.mask
    return found


def in_slices(pairs: Sequence[Pair]) -> list[Pair]:
    """Return pairs of two masks, as image the predicted one, with volumes cut into their slices.

    Raises `AtrousError` for a volume that cannot be read, and for two that do not lie on each other.
    """
    found = sliced(Found(splits={"": Matched(tuple(pairs))}))
    if found.problems:
        first = found.problems[0]
        raise AtrousError(f"{first.path}: {first.detail}", kind=first.kind)
    return [replace(pair, image=_of_labels(pair.image)) for pair in found.splits[""].pairs]


def _of_labels(source: Source) -> Source:
    return replace(source, labels=True) if isinstance(source, Slice) else source
