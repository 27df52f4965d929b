"""Which images follow one another as frames of a film do, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def numbered_on(names: Sequence[str]) -> tuple[bool, ...]:
    """Say of each image whether its name goes on that of the image before it: the first one's never does.

    A name goes on another where both are one but for their last number, which rises by the step that is usual in the
    set. Names of which fewer than half rise by one step are no sequence.

    >>> numbered_on(["a_007", "a_009", "a_011", "b_013"])
    (False, True, True, False)
    >>> numbered_on(["2007_000027", "2007_000032", "2007_000123"])
    (False, False, False)
    """
    rises = [_rise(before, name) for before, name in pairwise(names)]
    usual, often = Counter(rise for rise in rises if rise > 0).most_common(1)[0] if any(rises) else (0, 0)
    if 2 * often <= len(rises):
        return (False,) * len(names)
    return (False, *(rise == usual for rise in rises))


def in_one_folder(names: Sequence[str]) -> tuple[bool, ...]:
    """Say of each image whether it lies in the folder of the image before it: the first one never does.

    >>> in_one_folder(["clip/a", "clip/b", "other/a"])
    (False, True, False)
    """
    folders = [name.rpartition("/")[0] for name in names]
    return (False, *(one == other for one, other in pairwise(folders)))[: len(names)]


def _rise(before: str, name: str) -> int:
    """Return by how much the last number of a name is larger; 0 where the rest is another."""
    first, second = (_NUMBERED.fullmatch(each) for each in (before, name))
    if first is None or second is None:
        return 0
    one, two = first.groups(), second.groups()
    same = one[0] == two[0] and one[2] == two[2]
    return max(0, int(two[1]) - int(one[1])) if same else 0
