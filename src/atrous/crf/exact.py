"""Mean field with every pair of pixels summed: the specification that the lattice approximates, in float64.

It takes time and memory that grow with the square of the number of pixels, so it is for small images and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core.lattice import Normalisation

MEMORY = 1 << 28
"""How many bytes the pairs may take unless told otherwise: enough for 76 x 76 pixels."""
_BLOCK = 1 << 21


def exact_mean_field(
    logits: NDArray[Any],
    pairwise: Sequence[tuple[NDArray[Any], float]],
    *,
    iterations: int,
    normalisation: Normalisation = "symmetric",
    compatibility: NDArray[Any] | None = None,
    self_message: bool = True,
    memory: int = MEMORY,
) -> NDArray[np.float64]:
    """Return the marginals (labels, points) float64 after some iterations.

    `logits` are (labels, points), `pairwise` has features (d, points), divided by their standard deviations already,
    and their weights. With k_ij = exp(-|f_i - f_j|^2 / 2) and n_i the sum of k_ij over all j, i included, the kernel is
    k_ij / sqrt(n_i n_j) ("symmetric"), k_ij / n_j ("before"), k_ij / n_i ("after") or k_ij ("none"). Without
    `self_message` its diagonal is left out afterwards.

    Every iteration is Q = softmax(logits + C(sum over j of weight K_ij Q_j)). C is the identity where `compatibility`
    is None (Potts), the product with a label's number for (labels,), and minus the product with the matrix for (labels,
    labels).

    Raises `ValueError` where the pairs would take more than `memory` bytes.

    Source: Krahenbuhl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS
    2011, algorithm 1.

    >>> logits, x = np.array([[2.0, 0.0], [0.0, 0.1]]), np.array([[0.0, 1.0]])
    >>> exact_mean_field(logits, [(x, 4.0)], iterations=5).argmax(0).tolist()
    [0, 0]
    """
    check_memory((logits.shape[1],), memory)
    logits = np.asarray(logits, np.float64)
    marginals = _softmax(logits)
    if iterations:
        kernel = _kernel(pairwise, logits.shape[1], normalisation, self_message)
    for _ in range(iterations):
        marginals = _softmax(logits + _compatible(marginals @ kernel.T, compatibility))
    return marginals


def check_memory(shape: tuple[int, ...], memory: int = MEMORY) -> None:
    """Raise `ValueError` where the pairs of that many pixels would take more than `memory` bytes."""
    points = int(np.prod(shape, dtype=np.int64))
    needed = 8 * points**2
    if needed > memory:
        side = int((memory / 8) ** 0.25)
        raise ValueError(
            f"exact mean field of {' x '.join(map(str, shape))} pixels would take {needed / 2**30:.2f} GiB for its "
            f"pairs; {memory / 2**30:.2f} GiB is the limit, that of {side} x {side} pixels: crop the image, or leave "
            "mode at 'full'"
        )


def _kernel(
    pairwise: Sequence[tuple[NDArray[Any], float]], points: int, normalisation: Normalisation, self_message: bool
) -> NDArray[np.float64]:
    """Return the weighted sum of the normalised kernels, (points, points), the only array of that size."""
    total = np.zeros((points, points))
    rows = max(1, _BLOCK // points)
    for given, weight in pairwise:
        features = np.asarray(given, np.float64)
        blocks = [slice(start, start + rows) for start in range(0, points, rows)]
        norm = np.concatenate([_gaussian(features, block).sum(1) for block in blocks])
        before, after = _scales(norm, normalisation)
        for block in blocks:
            total[block] += weight * after[block, None] * _gaussian(features, block) * before
    if not self_message:
        np.fill_diagonal(total, 0)
    return total


def _gaussian(features: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
    """Return k_ij for the pixels i of some rows and all j."""
    squares = sum((feature[rows, None] - feature) ** 2 for feature in features)
    return np.exp(-0.5 * np.asarray(squares))


def _scales(norm: NDArray[np.float64], normalisation: Normalisation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what values are multiplied by before they are summed, and their sums afterwards."""
    one = np.ones_like(norm)
    return {
        "symmetric": (norm**-0.5, norm**-0.5),
        "before": (1 / norm, one),
        "after": (one, 1 / norm),
        "none": (one, one),
    }[normalisation]


def _compatible(messages: NDArray[np.float64], compatibility: NDArray[Any] | None) -> NDArray[np.float64]:
    if compatibility is None:
        return messages
    matrix = np.asarray(compatibility, np.float64)
    return matrix[:, None] * messages if matrix.ndim == 1 else -matrix @ messages


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(0))
    return exponentials / exponentials.sum(0)
