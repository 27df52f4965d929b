"""A scorer that looks at several views of an image, each changed in some way, and puts together what it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.prediction.arrays import from_numpy, probabilities_of, sides_of
from atrous.prediction.passing import preprocessing_of, space_of

Combine = Literal["mean", "max"]


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    `there` makes it of images (n, c, h, w), and `back` brings its probabilities to the (height, width) of the image.
    """

    there: Callable[[Any], Any]
    back: Callable[[Any, tuple[int, int]], Any]


@dataclass(frozen=True)
class Viewed:
    """A scorer of several views, without `labels`, since it needs all probabilities.

    They are averaged, or their maximum per class is taken and divided by its sum over the classes. `geometry` is that
    of all views together.
    """

    scorer: Any
    views: tuple[View, ...]
    geometry: Geometry
    combine: Combine = "mean"

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        size = sides_of(images)
        total: Any = None
        for view in self.views:
            found = view.back(probabilities_of(self.scorer, view.there(images)), size)
            total = found if total is None else self._together(total, found)
        if len(self.views) == 1:
            return total
        arrays = array_namespace(total)
        return total / (arrays.sum(total, axis=1, keepdims=True) if self.combine == "max" else len(self.views))

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the inner scorer takes them."""
        return from_numpy(self.scorer, images)

    @property
    def space(self) -> LabelSpace | None:
        """The inner scorer's classes, None where it does not say."""
        return space_of(self.scorer)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The inner scorer's, None where it has none."""
        return preprocessing_of(self.scorer)

    def _together(self, first: Any, second: Any) -> Any:
        return first + second if self.combine == "mean" else array_namespace(first).maximum(first, second)


def packed(array: Any) -> Any:
    """Return an array in the order of its own axes in memory, which not every scorer finds its way without."""
    return array.contiguous() if hasattr(array, "detach") else np.ascontiguousarray(array)
