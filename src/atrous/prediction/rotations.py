"""A scorer that looks at an image turned and mirrored in all eight ways of the square, and averages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from atrous.contract import Scorer
from atrous.prediction.passing import geometry_of
from atrous.prediction.views import View, Viewed, packed


def rotated(scorer: Scorer) -> Viewed:
    """Return a scorer whose probabilities are the mean over the eight ways to lay the image, each brought back.

    They are the image, its three turns by quarters, and the mirror images of these four. U-Net's authors average "7
    rotated versions of the input data" and do not say which; the image and the seven ways to turn and mirror it are all
    that need no interpolation. Turned by a quarter, an image of h x w is one of w x h. For images without an up and a
    down, as of microscopes. A scorer to which all eight are alike gives what it gives without, up to rounding.

    Source: U-Net, section 4.

    >>> import numpy as np
    >>> first_row = lambda images: np.eye(2, dtype=np.float32)[:1].T * np.ones((1, 1, 2, 2), np.float32)
    >>> rotated(first_row)(np.zeros((1, 3, 2, 2), np.uint8)).tolist()
    [[[[0.5, 0.5], [0.5, 0.5]]]]
    """
    ways = [(turned, axes) for turned in (False, True) for axes in ((), (2,), (3,), (2, 3))]
    views = tuple(View(partial(_laid, turned=turned, axes=axes), _Back(turned, axes)) for turned, axes in ways)
    return Viewed(scorer, views, geometry_of(scorer))


@dataclass(frozen=True)
class _Back:
    """Mirrors first and swaps rows with columns then: the other way round than `_laid`."""

    turned: bool
    axes: tuple[int, ...]

    def __call__(self, probabilities: Any, _: tuple[int, int]) -> Any:
        return _swapped(_mirrored(probabilities, self.axes), self.turned)


def _laid(images: Any, *, turned: bool, axes: tuple[int, ...]) -> Any:
    return _mirrored(_swapped(images, turned), axes)


def _swapped(array: Any, turned: bool) -> Any:
    return packed(array_namespace(array).permute_dims(array, (0, 1, 3, 2))) if turned else array


def _mirrored(array: Any, axes: tuple[int, ...]) -> Any:
    return packed(array_namespace(array).flip(array, axis=axes)) if axes else array
