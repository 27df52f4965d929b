"""Windows of networks with a margin: what a scorer can be told of the image around what it labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from atrous.prediction.arrays import beside, from_numpy
from atrous.prediction.passing import geometry_of
from atrous.prediction.window_plan import Region, Window


def takes_surroundings(scorer: Any) -> bool:
    """Return whether windows for a scorer are planned `surrounded`: it offers that, and has a margin to put it in.

    >>> takes_surroundings(lambda images: images)
    False
    """
    geometry = geometry_of(scorer)
    # Logits further apart than pixels are interpolated, which at a window's inner border needs those beyond it.
    return geometry.margin > 0 and geometry.stride == 1 and hasattr(scorer, "surrounded")


def told(scorer: Any, window: Window) -> Any:
    """Return a scorer for what a window reads, that is told which of it is context; the same where none is planned.

    Its results are as large as what is read. In the context probabilities are 0, and labels those of the nearest pixel
    that is inside.

    Raises `ValueError` for a window that is planned `surrounded`, and a scorer that does not offer it.
    """
    if window.context is None:
        return scorer
    if not hasattr(scorer, "surrounded"):
        raise ValueError("windows planned with surrounded=True came with a scorer that does not offer `surrounded`")
    return _Told(scorer, scorer.surrounded(window.context), window.within(window.inside))


@dataclass(frozen=True)
class _Told:
    scorer: Any
    inner: Any
    inside: Region

    def __call__(self, images: Any, /) -> Any:
        found = self.inner(images)
        size = (*found.shape[:2], *images.shape[2:])
        result = array_namespace(found).zeros(size, dtype=found.dtype, device=device(found))
        result[:, :, *self.inside] = found
        return result

    def labels(self, images: Any) -> Any:
        found = self.inner.labels(images)
        for axis, (span, side) in enumerate(zip(self.inside, images.shape[2:], strict=True), 1):
            nearest = np.clip(np.arange(side), span.start, span.stop - 1) - span.start
            found = array_namespace(found).take(found, beside(nearest, found), axis=axis)
        return found

    def from_numpy(self, images: NDArray[Any]) -> Any:
        return from_numpy(self.scorer, images)
