"""Labels that are nowhere likely, merged into one: inference then costs what the likely ones cost.

The rest label keeps its mass in every pixel's denominator but is told nothing by other pixels. Dropping those labels
instead would change far more, since what is left would be scaled up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf.checks import Unary

_TINY = np.float32(1e-30)
_FLOOR = np.float32(1e-5)  # the kernels' least probability, here shared by labels of which none has any


@dataclass(frozen=True, eq=False)
class Merged:
    """`unary` of the labels `kept` and, last, of the `rest` together; `probabilities` are those of all labels."""

    unary: Unary
    kept: NDArray[np.int64]
    rest: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def compatibility(self, given: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return each label's number, 0 for the rest; `given` is (labels,), or None for Potts (1 each)."""
        return np.append(np.ones(len(self.kept), np.float32) if given is None else given[self.kept], np.float32(0))

    def shared_out(self, marginals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return marginals (labels, points): the rest's is shared by its labels as their probabilities were."""
        shared = np.empty((len(self.kept) + len(self.rest), marginals.shape[1]), np.float32)
        shared[self.kept] = marginals[:-1]
        total = np.sum([self.probabilities[label] for label in self.rest[:1]], axis=0) + _FLOOR
        for label in self.rest[1:]:
            total += self.probabilities[label] + _FLOOR
        scale = marginals[-1] / total
        for label in self.rest:
            np.multiply(self.probabilities[label] + _FLOOR, scale, out=shared[label])
        return shared


def merged(unary: Unary, prune: float) -> Merged | None:
    """Merge the labels whose largest probability over all points is below `prune`.

    `unary` is (labels, points) float32. Returns None where fewer than two labels are so, all are, or `unary` holds what
    cannot be used: all of it is then left to the kernel, which says so.
    """
    if unary.name == "logits" and not np.isfinite(unary.values).all():
        return None
    probabilities = unary.values if unary.name == "probabilities" else _softmax(unary.values)
    peaks = probabilities.max(axis=1)
    rest, kept = np.flatnonzero(peaks < prune), np.flatnonzero(~(peaks < prune))
    if len(rest) < 2 or not len(kept) or any(probabilities[label].min() < 0 for label in rest):
        return None
    values = np.empty((len(kept) + 1, probabilities.shape[1]), np.float32)
    np.take(probabilities, kept, axis=0, out=values[:-1])
    values[-1] = probabilities[rest[0]]
    for label in rest[1:]:
        values[-1] += probabilities[label]
    if unary.name == "logits":
        np.log(np.maximum(values, _TINY, out=values), out=values)
    return Merged(Unary(values, unary.name), kept, rest, probabilities)


def _softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    exponentials = np.subtract(logits, logits.max(0))
    np.exp(exponentials, out=exponentials)
    exponentials /= exponentials.sum(0)
    return exponentials
