"""The series of DICOM images that pairs are slices of: a volume each, whatever their patients and files are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.dicom_headers import header_of, heights
from atrous.data.dicom_series import Stack, stacks
from atrous.data.pairs import Pair
from atrous.data.parts import path_of


@dataclass(frozen=True)
class Series:
    """A stack, and the pair of every slice that is wanted, by (path, frame), in order of place."""

    stack: Stack
    pairs: dict[tuple[Path, int], Pair]


def series_of(pairs: Sequence[Pair]) -> list[Series]:
    """Return the stacks that the DICOM images of pairs make; raises `AtrousError` for one that does not fit."""
    headers = {path: header_of(path) for path in dict.fromkeys(path_of(pair.image) for pair in pairs)}
    by_frame = {}
    for pair in pairs:
        path = path_of(pair.image)
        by_frame[path, _frame(pair, headers[path].positions, headers[path].orientation)] = pair
    made, problems = stacks(headers.values())
    if problems:
        raise AtrousError(f"{problems[0].path}: {problems[0].detail}. Remove it.", kind=problems[0].kind)
    return [
        Series(
            stack,
            {key: by_frame[key] for one in stack.slices if (key := (one.image.path, one.frame)) in by_frame},
        )
        for stack in made
    ]


def _frame(pair: Pair, positions: Sequence[Any], orientation: Sequence[float] | None) -> int:
    """Return the frame that the image of a pair is; slices of a volume are counted along its normal."""
    frame = getattr(pair.image, "frame", None)
    if frame is not None:
        return int(frame)
    index = int(getattr(pair.image, "index", 0))
    along = heights(positions, orientation)
    return index if along is None else sorted(range(len(along)), key=along.__getitem__)[index]


def series_names(series: Iterable[Series], root: Path, *, separator: str = "/") -> list[str]:
    """Return a name for each series: that of its folder below `root`, or of its file where that holds many frames.

    Names are those of files and folders alone, never of patients. Two series may have the same.
    """
    return [_name(each.stack, root, separator) for each in series]


def _name(stack: Stack, root: Path, separator: str) -> str:
    first = stack.first
    folder = first.path.with_suffix("") if len(first.positions) > 1 else first.path.parent
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else (folder.name,)
    return re.sub(r"^\.", "_", separator.join(parts)) or root.resolve().name or "series"


def apart(names: Iterable[str]) -> list[str]:
    """Return names with a number after those that others have before them, in capital or small letters.

    >>> apart(["ct", "CT", "ct-2", "mr"])
    ['ct', 'CT-2', 'ct-2-2', 'mr']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        number, free = 2, name
        while free.casefold() in taken:
            number, free = number + 1, f"{name}-{number}"
        taken.add(free.casefold())
        found.append(free)
    return found
