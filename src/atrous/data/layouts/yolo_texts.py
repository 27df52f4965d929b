"""The text files of YOLO's segmentation data: a line for each object, its class and the corners of its outline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atrous.contract import AtrousError
from atrous.data.found import Problem
from atrous.data.lists import lines_of

_BEYOND = 0.002  # 1 pixel of 500; the size of the image is not known before it is read
_NO_SHARE = 2.0
LINE = re.compile(r"^\s*\d{1,9}(\.0*)?(\s+[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?){4,}\s*$")
"""A class and four numbers or more."""


@dataclass(frozen=True)
class Text:
    """What a text file holds: (class, corners in shares) of each outline, how many boxes, and what is wrong."""

    outlines: tuple[tuple[int, bytes], ...]
    boxes: int = 0
    problems: tuple[Problem, ...] = ()

    def is_strange(self) -> bool:
        """Say whether nothing in it is as it should be, as in a read-me."""
        return bool(self.problems) and not self.outlines and not self.boxes


def read_text(path: Path) -> Text:
    """Return what a text file holds; what is wrong with a line is a problem, and the line is left out."""
    outlines, problems, boxes = [], [], 0
    try:
        lines = lines_of(path)
    except AtrousError as error:
        return Text((), 0, (Problem("broken-annotation", path, str(error)),))
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) == 5 and LINE.match(line):
            boxes += 1
            continue
        wrong = _wrong(line, words)
        if wrong is not None:
            problems.append(Problem("broken-annotation", path, f"line {number}: {wrong}: left out"))
            continue
        shares = np.array(words[1:], np.float64)
        furthest = max(float(shares.max()) - 1, -float(shares.min()))
        if furthest > _BEYOND:
            detail = f"line {number}: a shape reaches {furthest:.1%} of the image's side beyond it"
            problems.append(Problem("shape-outside", path, detail))
        outlines.append((int(float(words[0])), shares.astype("<f4").tobytes()))
    if boxes:
        problems.append(Problem("broken-annotation", path, f"{boxes:,} of {len(lines):,} objects are boxes: left out"))
    return Text(tuple(outlines), boxes, tuple(problems))


def _wrong(line: str, words: list[str]) -> str | None:
    """Say what is wrong with a line that is no box, if anything is."""
    if not LINE.match(line):
        return f"{line[:40]!r} is no class and numbers"
    if len(words) % 2 == 0:
        return f"{len(words) - 1:,} numbers after the class, which are no pairs of x and y"
    if len(words) < 7:
        return f"{len(words) // 2} corners, and 3 or more enclose something"
    largest = max(abs(float(word)) for word in words[1:])
    return f"a coordinate of {largest:,.6g}, and shares of the image are 0 to 1" if largest > _NO_SHARE else None
