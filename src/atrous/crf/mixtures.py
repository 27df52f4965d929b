"""Gaussian mixtures of colours, fitted to the strokes of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STEPS = 12
_MOST_SAMPLES = 4000  # of a class; more make the mixture no better
_LEAST_VARIANCE = 9.0  # of colours in Lab, so that a stroke of one colour does not exclude its neighbours


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians with their shares (k,), means (k, c) and covariances (k, c, c)."""

    shares: Array
    means: Array
    covariances: Array

    def log_densities(self, values: NDArray[Any]) -> Array:
        """Return the logarithm of each Gaussian's share times its density, (n, k), for values (n, c).

        The constant of the number of channels is left out.
        """
        columns = []
        for share, mean, factor in zip(self.shares, self.means, np.linalg.cholesky(self.covariances), strict=True):
            white = np.linalg.solve(factor, (values - mean).T)
            columns.append(np.log(share + 1e-12) - 0.5 * (white**2).sum(0) - np.log(np.diag(factor)).sum())
        return np.stack(columns, axis=1)

    def log_density(self, values: NDArray[Any]) -> Array:
        """Return the logarithm of the mixture's density, (n,), for values (n, c)."""
        return np.logaddexp.reduce(self.log_densities(values), axis=1)


def fitted(values: NDArray[Any], components: int) -> Mixture:
    """Return the mixture of at most so many Gaussians that expectation maximisation finds for values (n, c).

    The same values give the same mixture.

    Source: Dempster, Laird and Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977; Rother,
    Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004 (five Gaussians of colours per class).

    >>> fitted(np.float32([[0], [0], [100], [100]]), 2).means.round(3).ravel().tolist()
    [100.0, 0.0]
    """
    random = np.random.default_rng(0)
    if len(values) > _MOST_SAMPLES:
        values = values[random.choice(len(values), _MOST_SAMPLES, replace=False)]
    values = values.astype(np.float64)
    centres = _spread_out(values, components, random)
    nearest = ((values[:, None] - centres) ** 2).sum(2).argmin(1)
    mixture = _of(values, np.eye(len(centres))[nearest])
    for _ in range(_STEPS):
        logs = mixture.log_densities(values)
        mixture = _of(values, np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)))
    return mixture


def _spread_out(values: Array, count: int, random: np.random.Generator) -> Array:
    """Return at most `count` distinct values (k, c), each drawn by its squared distance to those before it."""
    centres = values[[random.integers(len(values))]]
    distances = ((values - centres) ** 2).sum(1)
    while len(centres) < count and distances.any():
        drawn = values[[random.choice(len(values), p=distances / distances.sum())]]
        centres = np.concatenate([centres, drawn])
        distances = np.minimum(distances, ((values - drawn) ** 2).sum(1))
    return centres


def _of(values: Array, shares: Array) -> Mixture:
    """Return the mixture of values (n, c) that belong to its Gaussians by the shares (n, k)."""
    weights = shares.sum(0) + 1e-9
    means = shares.T @ values / weights[:, None]
    apart = values[None] - means[:, None]
    covariances = np.einsum("nk,kni,knj->kij", shares, apart, apart) / weights[:, None, None]
    return Mixture(weights / weights.sum(), means, covariances + _LEAST_VARIANCE * np.eye(values.shape[1]))
