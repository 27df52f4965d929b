"""Labels that are nowhere likely take part as one: inference then costs what the likely ones cost.

That one keeps its mass in every pixel's denominator but is told nothing by other pixels. Dropping those labels instead
would change far more, since what is left would be scaled up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous import _core
from atrous.crf.checks import Unary
from atrous.crf.exact import softmax


def softened(unary: Unary) -> Unary:
    """Return the unary as probabilities, by a softmax where it is logits; as it is where that cannot be done."""
    if unary.name == "probabilities" or not np.isfinite(unary.values).all():
        return unary
    return Unary(softmax(unary.values), "probabilities")


def likely(probabilities: NDArray[Any], prune: float, threads: int | None) -> NDArray[np.int32] | None:
    """Return the labels whose probability (labels, points) is somewhere `prune` or more, in order.

    None where no two labels, or all, are below it: there is nothing to gain then.
    """
    kept = np.flatnonzero(~(_core.peaks(probabilities, threads=threads) < prune)).astype(np.int32)
    return kept if 0 < len(kept) < len(probabilities) - 1 else None


def rest_apart(given: NDArray[np.float32] | None, kept: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return each kept label's number and 0 for the rest; `given` is (labels,), or None for Potts (1 each)."""
    return np.append(np.ones(len(kept), np.float32) if given is None else given[kept], np.float32(0))
