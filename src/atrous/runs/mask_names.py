"""Which prediction belongs to which label: by their paths, by what is left of them without endings, by bare names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.parts import Source

_WORDS = (
    "masks?|labels?|lbl|gt|gts|groundtruth|ground_truth|annots?|annotations?|segs?|segmentations?|semantic|pred|preds|"
    "predictions?|predicted|outputs?|out|results?|labelids|trainids|labeltrainids|gtfine|gtcoarse|leftimg8bit"
)
_ENDING = re.compile(rf"[ _.-]({_WORDS})$")
_BEGINNING = re.compile(rf"^({_WORDS})[ _.-]")


def matched_names(
    truths: Mapping[str, Source], guesses: Mapping[str, Source], labels: Path, predictions: Path
) -> dict[str, str]:
    """Return the prediction's name for every label of a folder.

    Raises `AtrousError` for labels with no prediction or with several, and for a prediction of several labels.
    """
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
