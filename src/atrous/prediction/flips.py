"""A scorer that also looks at the mirror images, and averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Literal, get_args

from array_api_compat import array_namespace

from atrous.contract import Scorer
from atrous.prediction.passing import geometry_of
from atrous.prediction.views import View, Viewed, packed

Axis = Literal["horizontal", "vertical"]
_AXES = {"horizontal": 3, "vertical": 2}


def flipped(scorer: Scorer, axes: Sequence[Axis] = ("horizontal",)) -> Viewed:
    """Return a scorer whose probabilities are the mean over the image and its mirror images, each mirrored back.

    `axes` says which: horizontal swaps left and right, vertical top and bottom; both together are four views. A scorer
    to which mirror images are alike gives what it gives without, up to rounding.

    Raises `ValueError` for no axis, unknown ones and ones that repeat.

    Source: DeepLab v3, section 4 (inference strategy: left-right flipped inputs).

    >>> import numpy as np
    >>> left = lambda images: np.broadcast_to(np.array([1, 0], np.float32), (1, 1, 1, 2))
    >>> flipped(left)(np.zeros((1, 3, 1, 2), np.uint8)).tolist()
    [[[[0.5, 0.5]]]]
    """
    named = (axes,) if isinstance(axes, str) else tuple(axes)
    unknown = [axis for axis in named if axis not in get_args(Axis)]
    if unknown or not named or len(set(named)) < len(named):
        raise ValueError(f"axes {named} came; horizontal, vertical or both are accepted, each once")
    numbers = [_AXES[axis] for axis in named]
    chosen = [each for count in range(len(numbers) + 1) for each in combinations(numbers, count)]
    return Viewed(scorer, tuple(_view(each) for each in chosen), geometry_of(scorer))


def _view(axes: tuple[int, ...]) -> View:
    return View(partial(_mirrored, axes=axes), _Back(axes))


@dataclass(frozen=True)
class _Back:
    axes: tuple[int, ...]

    def __call__(self, probabilities: Any, _: tuple[int, int]) -> Any:
        return _mirrored(probabilities, axes=self.axes)


def _mirrored(array: Any, *, axes: tuple[int, ...]) -> Any:
    return packed(array_namespace(array).flip(array, axis=axes)) if axes else array
