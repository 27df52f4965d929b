"""What a scorer says of itself, which those that wrap it pass on."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Any

from atrous.contract import Geometry, LabelSpace, Preprocessing


def geometry_of(scorer: Any) -> Geometry:
    """Return a scorer's `geometry`; where it has none, that of a network of any size without margin.

    >>> geometry_of(lambda images: images).margin
    0
    """
    found = getattr(scorer, "geometry", None)
    return found if isinstance(found, Geometry) else Geometry()


def space_of(scorer: Any) -> LabelSpace | None:
    """Return a scorer's classes, `space`; None where it has none."""
    found = getattr(scorer, "space", None)
    return found if isinstance(found, LabelSpace) else None


def geometry_of_all(scorers: Sequence[Any]) -> Geometry:
    """Return the geometry that windows for several scorers at once need: that of all, where it is the same.

    Of several it has the finest grid that all share, and the largest margin, rounded up to that grid.

    >>> geometry_of_all([lambda images: images]) == Geometry()
    True
    """
    found = {geometry_of(scorer) for scorer in scorers}
    if len(found) == 1:
        return found.pop()
    grid = lcm(*(each.multiple for each in found), *(each.stride for each in found))
    margin = max(each.margin for each in found)
    return Geometry(multiple=grid, minimum=max(each.minimum for each in found), margin=-(-margin // grid) * grid)


def preprocessing_of(scorer: Any) -> Preprocessing | None:
    """Return a scorer's `preprocessing`, None where it has none."""
    found = getattr(scorer, "preprocessing", None)
    return found if isinstance(found, Preprocessing) else None
