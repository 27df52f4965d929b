"""Mean-field inference in a fully connected CRF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads, kernels
from atrous._core.lattice import Lattice

_MOST_LATTICES = 16
_LARGEST_WEIGHT = 1e24  # times a value of a lattice it is far from the end of float32


def mean_field(
    unary: NDArray[np.float32],
    pairwise: Sequence[tuple[Lattice, float]],
    *,
    iterations: int,
    from_probabilities: bool,
    kept: NDArray[np.int32] | None = None,
    compatibility: NDArray[np.float32] | None = None,
    self_message: bool = True,
    precision: Literal["float32", "float16"] = "float32",
    settle: float = 0.0,
    tolerance: float = 0.0,
) -> NDArray[np.float32] | None:
    """Return the marginals (labels, points) float32 after some iterations, or None where `unary` cannot be used.

    `unary` is (labels, points) float32: probabilities, whose logarithm is taken after clipping to 1e-5..1, or logits.
    It cannot be used where a value is not finite, and as probabilities where one is below 0 or a point's sum is not
    within 0.01 of 1. `pairwise` has lattices of the same points and strips, each with its weight.

    With Q the softmax of the logits, each iteration is Q = softmax(logits + sum of weight C(F Q)), F being the
    lattice's filter. C is the identity where `compatibility` is None (Potts), the product with a label's number where
    it is (labels,), and minus the product with the matrix where it is (labels, labels). Without `self_message`, what a
    point tells itself is taken off.

    `kept` names labels in ascending order; the probabilities of the others are added up, and they take part as one,
    whose number in `compatibility` stands last. In the result it is shared out in proportion to their probabilities.

    `precision` float16 keeps the blurred values in half the memory where the processor converts them; they must stay
    below 65504, as they do with the normalisations "symmetric" and "before". `settle` > 0: a point whose largest
    marginal exceeds 1 - settle after the second iteration keeps its marginals; of two labels in a Potts model all go
    on, which costs less. `tolerance` > 0: once the mean change of the marginals, asked at every sixteenth point, is
    below it, one more iteration is the last.

    Raises `ValueError` for arrays of other shapes, lattices that do not belong together, iterations below 0, weights
    beyond 1e24 and `kept` that are not some of the labels in order.

    Source: Krahenbuhl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS
    2011, algorithm 1.
    """
    unary = np.ascontiguousarray(unary)
    if kept is not None:
        kept = np.ascontiguousarray(kept, np.int32)
        _check_kept(kept, len(unary))
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}; 0 or more is needed")
    _check(unary, pairwise, len(unary) if kept is None else len(kept) + 1, compatibility)
    lattices = [lattice for lattice, _ in pairwise]
    if len(unary) == 2 and compatibility is None and self_message:
        settle = 0.0
    own = None if self_message else [self_response(lattice) for lattice in lattices]
    marginals = np.empty(unary.shape, np.float32)
    usable = kernels().mean_field(
        unary,
        lattices,
        [float(weight) for _, weight in pairwise],
        iterations,
        from_probabilities,
        kept,
        None if compatibility is None else np.ascontiguousarray(compatibility, np.float32),
        own,
        precision == "float16",
        settle,
        tolerance,
        marginals,
    )
    return marginals if usable else None


def peaks(values: NDArray[np.float32], *, threads: int | None = None) -> NDArray[np.float32]:
    """Return the largest value (labels,) of every label of (labels, points) float32.

    >>> peaks(np.float32([[1, 3, 2], [0, 0, 0]])).tolist()
    [3.0, 0.0]
    """
    largest = np.empty(len(values), np.float32)
    kernels().peaks(np.ascontiguousarray(values, np.float32), available_threads(threads), largest)
    return largest


def self_response(lattice: Lattice) -> NDArray[np.float32]:
    """Return (points,) float32: what each point's value adds to its own filtered value.

    Counted as if every vertex on the way were there, which is so but at the rim of the data.
    """
    corners = lattice.dimensions + 1
    apart = np.abs(np.subtract.outer(np.arange(corners), np.arange(corners)))
    paths = 2.0**-apart + 2.0 ** -(corners - apart)
    np.fill_diagonal(paths, 1 + 2.0**-lattice.dimensions)
    own = np.einsum("pa,ab,pb->p", lattice.slice, paths * lattice.gain, lattice.splat, optimize=True)
    return own.astype(np.float32)


def _check(
    unary: NDArray[Any],
    pairwise: Sequence[tuple[Lattice, float]],
    labels: int,
    compatibility: NDArray[np.float32] | None,
) -> None:
    if unary.dtype != np.float32 or unary.ndim != 2 or 0 in unary.shape:
        raise ValueError(f"unary is {unary.dtype} of shape {unary.shape}; float32 of shape (labels, points) is needed")
    points = unary.shape[1]
    if points >= 1 << 31:
        raise ValueError(f"{points} points came; fewer than 2^31 are possible: refine the image in parts")
    if len(pairwise) > _MOST_LATTICES:
        raise ValueError(f"{len(pairwise)} lattices came; {_MOST_LATTICES} are the most")
    for lattice, _ in pairwise:
        first = pairwise[0][0]
        if lattice.points != points or (lattice.shape, lattice.strips) != (first.shape, first.strips):
            raise ValueError(
                f"a lattice has points of {lattice.shape} in {lattice.strips} strips; {points} points, of "
                f"{first.shape} in {first.strips} strips as the first lattice's, are needed"
            )
    if compatibility is not None and compatibility.shape not in ((labels,), (labels, labels)):
        raise ValueError(
            f"compatibility has shape {compatibility.shape}; ({labels},) or ({labels}, {labels}) is needed, for "
            f"{labels} labels"
        )
    largest = sum(abs(weight) for _, weight in pairwise)
    largest *= 1 if compatibility is None else max(1.0, float(np.abs(compatibility).max()))
    if not largest < _LARGEST_WEIGHT:
        raise ValueError(f"weights come to {largest:g} with the compatibility; below {_LARGEST_WEIGHT:g} is needed")


def _check_kept(kept: NDArray[np.int32], labels: int) -> None:
    if kept.ndim != 1 or not 0 < len(kept) < labels or (np.diff(np.r_[-1, kept, labels]) < 1).any():
        raise ValueError(f"kept is {kept.tolist()}; some of the labels 0..{labels - 1} are needed, in ascending order")
