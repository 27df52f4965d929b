"""What each call of torch reads, as windows on the maps it is given."""

from __future__ import annotations

from typing import Any

import torch

from atrous.layers.followed import Followed, Place
from atrous.layers.seen_calls import Seen, mean_of, together
from atrous.layers.shape_calls import SHAPES
from atrous.layers.window_calls import WINDOWS

RULES = WINDOWS | SHAPES


def placed_by(followed: Followed, func: Any, args: Any, kwargs: Any, result: Any, places: list[Place]) -> Place | None:
    """Return the place of what a call returned, None where it took only a shape.

    Raises `ValueError` for a call of which it is not known here what it reads.
    """
    name = func._schema.name.removeprefix("aten::")
    if name.startswith("new_") or name.endswith("_like"):
        return None
    distinct = list(dict.fromkeys(places))
    arguments = func._schema.arguments
    given = {each.name: each.default_value for each in arguments if each.has_default_value()}
    given |= dict(zip((each.name for each in arguments), args, strict=False)) | kwargs
    seen = Seen(followed, func, given, result, distinct)
    if all(place.axes is None for place in distinct):
        return mean_of(seen)
    rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if rule is None and torch.Tag.pointwise in func.tags:
        rule = together
    if rule is None:
        raise seen.refuse()
    return rule(seen)
