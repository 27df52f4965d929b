"""How much each class counts in a loss, from how often it is in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import median
from typing import Any

from atrous.contract import Recipe

_LARGEST = 10.0


def class_weights_of(recipe: Recipe, classes: Sequence[Mapping[str, Any]]) -> tuple[float, ...] | None:
    """Return the weight of each class that a recipe asks for, None for `"none"`; a class never seen gets 0.

    `classes` are those of a fingerprint: `learnt`, the pixels of each in the training images, and `among`, all that
    count in those of them that hold it. `"median"` is the median of the frequencies divided by the class's own, each
    taken among the images that hold the class. `"root"` is 1 / sqrt of its share of all pixels, at a mean of 1 over
    the classes seen, and then at most 10.

    Raises `ValueError` for another number of weights than of classes, and where there are no pixels to count.

    Source: median frequency balancing is Eigen and Fergus 2015 (arXiv 1411.4734) section 5.3.2, and SegNet (arXiv
    1511.00561) section 3.1.

    >>> road, car = {"learnt": 800, "among": 1000}, {"learnt": 100, "among": 500}
    >>> class_weights_of(Recipe(class_weights="median"), [road, car])
    (0.625, 2.5)
    >>> class_weights_of(Recipe(class_weights=(1, 3)), [road, car])
    (1.0, 3.0)
    """
    wanted = recipe.class_weights
    if wanted == "none":
        return None
    if isinstance(wanted, tuple):
        if len(wanted) != len(classes):
            raise ValueError(
                f"{len(wanted)} class_weights came, and the data has {len(classes)} "
                f"class{'es' if len(classes) > 1 else ''}; give one for each, or median, root or none"
            )
        return wanted
    if not any(_number(each, "learnt") for each in classes):
        raise ValueError(
            f"no training image has a pixel of a class, so that class_weights {wanted} cannot be worked out; give none"
        )
    return _median(classes) if wanted == "median" else _root(classes)


def _median(classes: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    frequencies = [_number(each, "learnt") / max(1, _number(each, "among")) for each in classes]
    middle = median(frequency for frequency in frequencies if frequency)
    return tuple(middle / frequency if frequency else 0.0 for frequency in frequencies)


def _root(classes: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    counts = [_number(each, "learnt") for each in classes]
    roots = [1 / sqrt(count) if count else 0.0 for count in counts]
    mean = sum(roots) / sum(count > 0 for count in counts)
    return tuple(min(_LARGEST, root / mean) for root in roots)


def _number(entry: Mapping[str, Any], name: str) -> int:
    if name not in entry:
        raise ValueError(
            f"the data's fingerprint has no {name!r} of its classes, as those of earlier versions: "
            "give class_weights as numbers"
        )
    return int(entry[name])
