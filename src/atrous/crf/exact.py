"""Mean field with every pair of pixels summed: the specification that the lattice approximates, in float64.

It takes time and memory that grow with the square of the number of pixels, so it is for small images and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from atrous._core.lattice import Normalisation
from atrous.crf import parameters
from atrous.crf.checks import array

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
    and their weights. With `k_ij = exp(-|f_i - f_j|^2 / 2)` and n_i the sum of k_ij over all j, i included, the kernel
    is k_ij / sqrt(n_i n_j) ("symmetric"), k_ij / n_j ("before"), k_ij / n_i ("after") or k_ij ("none"). Without
    `self_message` its diagonal is left out afterwards.

    Every iteration is Q = softmax(logits + C(sum over j of weight K_ij Q_j)). C is the identity where `compatibility`
    is None (Potts), the product with a label's number for (labels,), and minus the product with the matrix for (labels,
    labels).

    Raises `TypeError` for what is no array or no number, and `ValueError` for other shapes, NaN and infinity,
    parameters out of range, and where the pairs would take more than `memory` bytes.

    Source: Krahenbuhl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS
    2011, algorithm 1.

    >>> logits, x = np.array([[2.0, 0.0], [0.0, 0.1]]), np.array([[0.0, 1.0]])
    >>> exact_mean_field(logits, [(x, 4.0)], iterations=5).argmax(0).tolist()
    [0, 0]
    """
    logits = _checked_logits(logits)
    labels, points = logits.shape
    iterations = parameters.whole("iterations", iterations, 0)
    parameters.choice("normalisation", normalisation, get_args(Normalisation))
    kernels = [_checked_kernel(number, pair, points) for number, pair in enumerate(pairwise)]
    penalties = _checked_compatibility(compatibility, labels)
    check_memory((points,), memory)
    marginals = softmax(logits)
    if iterations:
        kernel = _kernel(kernels, points, normalisation, self_message)
    for _ in range(iterations):
        marginals = softmax(logits + _compatible(marginals @ kernel.T, penalties))
    return marginals


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax over axis 0 of finite floating-point numbers, of their dtype.

    >>> softmax(np.float32([[0, 900], [0, 0]])).tolist()
    [[0.5, 1.0], [0.5, 0.0]]
    """
    with np.errstate(over="ignore"):  # a difference that is too large for the dtype is minus infinity, as good as it
        shares = np.subtract(logits, logits.max(0))
    np.exp(shares, out=shares)
    shares /= shares.sum(0)
    return shares


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


def _checked_logits(logits: Any) -> NDArray[np.float64]:
    logits = array(logits, "logits")
    if logits.dtype.kind not in "fiu" or logits.ndim != 2 or not logits.size:
        raise ValueError(
            f"logits are {logits.dtype} of shape {logits.shape}; numbers (labels, points) are needed, each at least 1: "
            "give logits.reshape(labels, -1) of an image's"
        )
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity; every value must be finite")
    return logits.astype(np.float64)


def _checked_kernel(index: int, pair: Any, points: int) -> tuple[NDArray[np.float64], float]:
    name = f"kernel {index} of pairwise"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} is a {type(pair).__name__}; a pair (features, weight) is needed")
    features = array(pair[0], f"features of {name}")
    if features.dtype.kind not in "fiu" or features.ndim != 2 or features.shape[1] != points or not len(features):
        raise ValueError(
            f"features of {name} are {features.dtype} of shape {features.shape}; numbers (d, {points}) are needed, of "
            "the points that the logits have"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"features of {name} hold NaN or infinity; every feature of every point must be finite")
    return features.astype(np.float64), parameters.number(f"the weight of {name}", pair[1], below=parameters.VAST)


def _checked_compatibility(given: Any, labels: int) -> NDArray[np.float64] | None:
    if given is None:
        return None
    values = parameters.compatibility(given)
    parameters.compatibility_array(values, labels)
    return None if values == "potts" else np.asarray(values, np.float64)


def _kernel(
    pairwise: Sequence[tuple[NDArray[np.float64], float]], points: int, normalisation: Normalisation, self_message: bool
) -> NDArray[np.float64]:
    """Return the weighted sum of the normalised kernels, (points, points), the only array of that size."""
    total = np.zeros((points, points))
    rows = max(1, _BLOCK // points)
    for features, weight in pairwise:
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
    squares = np.zeros((len(features[0, rows]), features.shape[1]))
    with np.errstate(over="ignore"):  # points that are too far apart for a square have nothing in common
        for feature in features:
            squares += (feature[rows, None] - feature) ** 2
    return np.exp(-0.5 * squares)


def _scales(norm: NDArray[np.float64], normalisation: Normalisation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what values are multiplied by before they are summed, and their sums afterwards."""
    one = np.ones_like(norm)
    return {
        "symmetric": (norm**-0.5, norm**-0.5),
        "before": (1 / norm, one),
        "after": (one, 1 / norm),
        "none": (one, one),
    }[normalisation]


def _compatible(messages: NDArray[np.float64], penalties: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if penalties is None:
        return messages
    return penalties[:, None] * messages if penalties.ndim == 1 else -penalties @ messages
