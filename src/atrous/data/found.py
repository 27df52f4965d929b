"""What a layout found in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atrous.data.pairs import Matched, Pair
from atrous.data.wishes import Wishes


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file: the `kind` of finding, the file, and what exactly, where there is more to say.

    `pair` is the name of the pair that is meant, where that is known: a file may hold many, as a volume does.
    """

    kind: str
    path: Path
    detail: str = ""
    pair: str = ""


@dataclass(frozen=True)
class Found:
    """The splits of a folder, what its layout says of the classes, and what there is to tell.

    `notes` are lines that are no problems, such as how many listed paths were of another machine. `problems` are those
    met while annotation files were read, which do not keep the rest from being used; `spare` are pairs that the
    folder's own lists leave out, and other lists may name. `layout`, and `root`, the folder that has it, are filled in
    by `recognise`.
    """

    splits: Mapping[str, Matched]
    told: Wishes = field(default_factory=Wishes)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    spare: tuple[Pair, ...] = ()
    layout: str = ""
    root: Path = Path()
