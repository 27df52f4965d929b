"""The warping error: how much is wrong after the truth was bent as far towards the prediction as its cells allow.

A membrane a pixel aside costs a pixel error its whole length, and is no mistake to whoever counts cells. So the truth
is bent first, pixel by pixel, never joining, parting, making or losing a cell; what still differs are mistakes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.evaluation.figures import figure, plain
from atrous.evaluation.overlaps import check_cells

WARPING_DEFINITIONS = {
    "warping_error": "share of the pixels in which the warped truth differs from the prediction",
    "pixel_error": "share of the pixels whose class is wrong",
    "protocol": "the truth is warped by flipping pixels that differ from the prediction, while any is left whose flip "
    "changes neither the number of cells nor how membranes surround them: first in rows, then in the order in which "
    "they become free, so what lies aside of its place without touching it stays wrong; cells (second class) are "
    "connected at sides, membranes (first class) at sides and corners; outside the image is membrane, as are ignored "
    "pixels, which are left out of the shares; sums over the set; at the predicted labels, not the best of many "
    "thresholds",
}
_HEADINGS = (("warping error", "warping_error"), ("pixel error", "pixel_error"))


@dataclass(frozen=True, kw_only=True)
class WarpingScores:
    """Warping and pixel error of membranes (class 0) that part cells (class 1), 0..1; NaN where nothing is counted.

    `warped` and `wrong` of `pixels` differ from the prediction after and before warping.

    Source: Jain et al., "Boundary learning by optimization with topological constraints", CVPR 2010, section 2; the
    warping error of the ISBI 2012 challenge and of U-Net's table 1. Its minimum is hard to find; as there, pixels are
    flipped one by one, so the figure is an upper bound.

    >>> truth, aside = np.ones((2, 5, 9), np.uint8)
    >>> truth[:, 4], aside[:, 5] = 0, 0
    >>> WarpingScores.of(truth, aside).warping_error, WarpingScores.of(truth, aside).pixel_error > 0.2
    (0.0, True)
    """

    warped: int
    wrong: int
    pixels: int
    images: int

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> WarpingScores:
        """Return the scores of one image; both are (h, w) uint8 of 0 and 1, and the truth is 255 where ignored.

        Raises `ValueError` for arrays that are not (h, w) integers of one size, and for other classes.
        """
        check_cells(truth, labels)
        counted = truth != IGNORE
        target = (labels == 1) & counted
        differ = warped((truth == 1), target) ^ target
        wrong = ((truth == 1) ^ target) & counted
        counts = (int(np.count_nonzero(each)) for each in (differ & counted, wrong, counted))
        return cls(**dict(zip(("warped", "wrong", "pixels"), counts, strict=True)), images=1)

    def __add__(self, other: WarpingScores) -> WarpingScores:
        """Return the scores of the images of both."""
        return WarpingScores(
            warped=self.warped + other.warped,
            wrong=self.wrong + other.wrong,
            pixels=self.pixels + other.pixels,
            images=self.images + other.images,
        )

    @property
    def warping_error(self) -> float:
        """The share of the counted pixels that are wrong when the truth is warped."""
        return self.warped / self.pixels if self.pixels else float("nan")

    @property
    def pixel_error(self) -> float:
        """The share of the counted pixels that are wrong."""
        return self.wrong / self.pixels if self.pixels else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values, the definitions included; NaN becomes None."""
        values = {field: plain(getattr(self, field)) for _, field in _HEADINGS}
        return {**values, "images": self.images, "definitions": WARPING_DEFINITIONS}

    def as_text(self) -> str:
        """Return the scores in per cent, each beside its definition."""
        lines = [figure(title, getattr(self, field), WARPING_DEFINITIONS[field]) for title, field in _HEADINGS]
        return "\n".join([*lines, f"({self.images} images; {WARPING_DEFINITIONS['protocol']})"])


def warped(truth: NDArray[np.bool_], target: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `truth` (h, w) bent towards `target` by flipping simple points, until none that differs is simple.

    Cells are True. Every pixel flips once at most, so it ends. Regions of True connected at sides and those of False
    connected at sides and corners stay as many as they are, and lie in each other as they do.

    >>> warped(np.array([[True, True, False, False]]), np.array([[True, True, True, False]])).tolist()
    [[True, True, True, False]]
    """
    current = np.pad(truth, 1)
    differ = np.pad(truth != target, 1)
    width = current.shape[1]
    around = [down * width + right for down, right in _RING]
    simple = _simple_points()
    pixels, waiting = bytearray(current.tobytes()), bytearray(differ.tobytes())
    queue = deque(np.flatnonzero(differ).tolist())
    while queue:
        place = queue.popleft()
        if not waiting[place]:
            continue
        code = 0
        for bit, step in enumerate(around):
            code |= pixels[place + step] << bit
        if not simple[code]:
            continue
        pixels[place] ^= 1
        waiting[place] = 0
        queue.extend(place + step for step in around if waiting[place + step])
    flat = np.frombuffer(pixels, np.uint8).reshape(current.shape)
    return flat[1:-1, 1:-1] > 0


_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # clockwise, the sides at even places


@cache
def _simple_points() -> tuple[bool, ...]:
    """Return for each of 256 neighbourhoods, bits as in `_RING`, whether flipping the middle changes no region.

    It does not where the number of connections of Yokoi et al. (1975) is one: of neighbours at sides that are set,
    less those that a corner joins to the next.
    """
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    sides, corners, following = bits[:, ::2], bits[:, 1::2], np.roll(bits[:, ::2], -1, 1)
    return tuple(((sides - sides * corners * following).sum(1) == 1).tolist())
