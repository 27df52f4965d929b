"""What a network makes of the same few images after every validation, on a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import IGNORE, LabelSpace
from atrous.data import Pair
from atrous.data.facts import spaced
from atrous.data.writers import atomic
from atrous.draw import contact_sheet, displayed, overlay
from atrous.runs.scoring import Shown

SAMPLES = "samples"
_WIDEST, _HIGHEST, _NARROWEST = 360, 480, 240  # pixels of a picture on a sheet
_LONGEST = 24  # letters of a name
_GAP = 6
_QUALITY = 85


def chosen_samples(pairs: Sequence[Pair], count: int = 4) -> list[Pair]:
    """Return the images that a run shows: up to `count` with masks, evenly spaced from the first to the last."""
    return spaced([pair for pair in pairs if pair.mask is not None], count)


def draw_samples(out: Path, epoch: int, space: LabelSpace, shown: Sequence[Shown]) -> None:
    """Write `samples/EPOCH.jpg`: a row for each image, itself, its labels and its predicted labels over it.

    Above a row stand the image's name and the share of its pixels that are right, below all the classes' colours.
    Earlier sheets are thinned out: the first one stays, then each that is at twice the epoch of the one before, and
    this one, so that a long run has a dozen. Without any image nothing is written.
    """
    if not shown:
        return
    path = out / SAMPLES / f"{epoch:04d}.jpg"
    rows = [_row(*each, space) for each in shown]
    sheet = _stacked([*rows, *_legend(space, shown, max(row.shape[1] for row in rows))])
    with atomic(path) as temporary:
        Image.fromarray(sheet).save(temporary, quality=_QUALITY, optimize=True)
    for earlier in _superfluous(_sheets(path.parent), epoch):
        earlier.unlink(missing_ok=True)


def _row(
    name: str, image: NDArray[Any], labels: NDArray[np.uint8], predicted: NDArray[np.uint8], space: LabelSpace
) -> NDArray[np.uint8]:
    counted = labels != IGNORE
    right = f": {100 * float((labels == predicted)[counted].mean()):.1f} % right" if counted.any() else ""
    width, height = _fitting(*labels.shape)
    picture = displayed(image)
    smaller = cv2.INTER_AREA if width < labels.shape[1] else cv2.INTER_NEAREST
    small = np.asarray(cv2.resize(picture, (width, height), interpolation=smaller), np.uint8)
    drawn = [
        overlay(small, cv2.resize(each, (width, height), interpolation=cv2.INTER_NEAREST), space, legend=False)
        for each in (labels, predicted)
    ]
    return contact_sheet([[small, *drawn]], titles=[_shorter(name), "labels", f"prediction{right}"], gap=_GAP)


def _shorter(name: str) -> str:
    """Return a name without its folders where it is too long to stand above a picture."""
    return name if len(name) <= _LONGEST else name.rpartition("/")[2]


def _fitting(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) of a picture on a sheet; tiny ones are enlarged by a whole number."""
    enlarged = max(1, min(_NARROWEST // width, _NARROWEST // height))
    share = min(1.0, _WIDEST / width, _HIGHEST / height) if enlarged == 1 else enlarged
    return max(1, round(width * share)), max(1, round(height * share))


def _legend(space: LabelSpace, shown: Iterable[Shown], width: int) -> list[NDArray[np.uint8]]:
    """Return the strip that names the colours of the classes in the labels and predictions that are shown."""
    there = np.unique(np.concatenate([np.unique(each) for _, _, *both in shown for each in both]))
    present = there[there != IGNORE]
    if not len(present):
        return []
    line = np.resize(present, (1, max(width, len(present)))).astype(np.uint8)
    return [overlay(np.zeros(line.shape, np.uint8), line, space)[1:]]


def _stacked(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    widest = max(part.shape[1] for part in parts)
    return np.vstack(
        [np.pad(part, ((0, 0), (0, widest - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    )


def _sheets(folder: Path) -> list[tuple[int, Path]]:
    found = [(int(path.stem), path) for path in folder.glob("*.jpg") if path.stem.isascii() and path.stem.isdigit()]
    return sorted(found)


def _superfluous(sheets: Sequence[tuple[int, Path]], newest: int) -> list[Path]:
    """Return the sheets that go; what a killed run drew beyond the newest is among them."""
    kept: list[int] = []
    gone = []
    for number, path in sheets:
        if number == newest or not kept or 2 * kept[-1] <= number < newest:
            kept.append(number)
        else:
            gone.append(path)
    return gone
