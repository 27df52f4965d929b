"""Calibration: of pixels that a network is 80 % sure of, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.evaluation.figures import percent, plain, shares

CALIBRATION_DEFINITIONS = {
    "ece": "sum over bins of the share of pixels in it times |accuracy - mean confidence| (expected calibration error)",
    "brier": "mean over pixels of sum_c (p_c - [c is true])^2, 0..2",
    "nll": "mean over pixels of -ln p of the true class, p at least 1e-7 (negative log-likelihood, in nats)",
    "protocol": "confidence is the largest probability of a pixel, bins of it are of equal width and hold their upper "
    "edge; over all counted pixels of the set together; ignored pixels are left out",
}
BINS = 15
_LEAST = 1e-7
_TOLERANCE = 0.01  # eight bits and half precision round sums of many classes as far


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Calibration of a labelled set.

    `counts` is (bins, 3) float64: per bin of confidence its pixels, those that are right, and the sum of confidences.
    `brier_sum` and `nll_sum` are over the pixels.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017 (arXiv 1706.04599), equation 3; Brier,
    "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.

    >>> truth = np.uint8([[0, 0, 0, 1]])
    >>> sure = Calibration.of(truth, np.full((2, 1, 4), 0.5, np.float32) + np.float32([[[0.25]], [[-0.25]]]))
    >>> sure.ece, sure.brier
    (0.0, 0.375)
    """

    counts: NDArray[np.float64]
    brier_sum: float
    nll_sum: float
    images: int

    @classmethod
    def of(cls, truth: NDArray[np.uint8], probabilities: NDArray[Any], *, bins: int = BINS) -> Calibration:
        """Return the calibration of one image or volume.

        `truth` is uint8 of any shape, 255 where ignored, and `probabilities` `(classes, *shape)` floating point, which
        sum to 1 over the classes, within 0.01.

        Raises `ValueError` for other arrays, values that are no such probabilities where the truth is counted, and
        fewer than one bin.
        """
        _check(truth, probabilities, bins)
        counts, sums = np.zeros((bins, 3)), np.zeros(2)
        for row in range(len(truth)):  # a row at a time: copies of all classes of an image would be large
            counted = truth[row] != IGNORE
            given = probabilities[:, row][:, counted].astype(np.float64)
            _check_probabilities(given)
            _count(truth[row][counted], given, counts, sums)
        return cls(counts=counts, brier_sum=float(sums[0]), nll_sum=float(sums[1]), images=1)

    def __add__(self, other: Calibration) -> Calibration:
        """Return the calibration of the images of both.

        Raises `ValueError` where they have different numbers of bins.
        """
        if len(self.counts) != len(other.counts):
            raise ValueError(f"{len(self.counts)} and {len(other.counts)} bins came; those of the same bins are added")
        return Calibration(
            counts=self.counts + other.counts,
            brier_sum=self.brier_sum + other.brier_sum,
            nll_sum=self.nll_sum + other.nll_sum,
            images=self.images + other.images,
        )

    @property
    def pixels(self) -> int:
        """How many pixels are counted."""
        return int(self.counts[:, 0].sum())

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Per bin, the share of its pixels that are right; NaN for an empty one."""
        return shares(self.counts[:, 1], self.counts[:, 0])

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Per bin, the mean confidence of its pixels; NaN for an empty one."""
        return shares(self.counts[:, 2], self.counts[:, 0])

    @property
    def ece(self) -> float:
        """Expected calibration error, 0..1; NaN where nothing is counted."""
        return self._mean(float(np.abs(self.counts[:, 1] - self.counts[:, 2]).sum()))

    @property
    def brier(self) -> float:
        """The Brier score, 0..2; NaN where nothing is counted."""
        return self._mean(self.brier_sum)

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood in nats; NaN where nothing is counted."""
        return self._mean(self.nll_sum)

    @property
    def bins(self) -> list[dict[str, float | int | None]]:
        """The reliability table: per bin `low`, `high`, mean `confidence`, `accuracy` and `pixels`."""
        edges = np.linspace(0, 1, len(self.counts) + 1)
        return [
            {
                "low": float(edges[index]),
                "high": float(edges[index + 1]),
                "confidence": plain(self.confidence[index]),
                "accuracy": plain(self.accuracy[index]),
                "pixels": int(self.counts[index, 0]),
            }
            for index in range(len(self.counts))
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        return {
            **{name: plain(getattr(self, name)) for name in ("ece", "brier", "nll")},
            "bins": self.bins,
            "pixels": self.pixels,
            "images": self.images,
            "definitions": CALIBRATION_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the three scores, each beside its definition, and a line per bin that is not empty."""
        words = CALIBRATION_DEFINITIONS
        lines = [
            f"{'calibration error (ECE)':<24}{percent(self.ece)}   {words['ece']}",
            f"{'Brier score':<24}{_number(self.brier)}   {words['brier']}",
            f"{'negative log-likelihood':<24}{_number(self.nll)}   {words['nll']}",
            f"({len(self.counts)} bins; {self.images} images; {words['protocol']})",
            "",
            "confidence      mean   accuracy        pixels",
        ]
        for edges, mean, right, count in zip(self.bins, self.confidence, self.accuracy, self.counts[:, 0], strict=True):
            if count:
                name = f"{100 * float(edges['low'] or 0):3.0f} to {100 * float(edges['high'] or 0):3.0f}"
                lines.append(f"{name:<13}{percent(mean)}     {percent(right)}{int(count):14,}")
        return "\n".join(lines)

    def _mean(self, total: float) -> float:
        return total / self.pixels if self.pixels else float("nan")


def _count(
    truth: NDArray[np.uint8],
    probabilities: NDArray[np.float64],
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add pixels (n,) with probabilities (classes, n) to the counts of the bins and the two sums."""
    if not truth.size:
        return
    confidence = probabilities.max(0)
    right = probabilities.argmax(0) == truth
    own = probabilities[truth, np.arange(truth.size)]
    bins = len(counts)
    places = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.intp)
    for column, weights in enumerate((None, right, confidence)):
        counts[:, column] += np.bincount(places, weights, minlength=bins)
    sums[0] += float(np.square(probabilities).sum() - 2 * own.sum() + truth.size)
    sums[1] += float(-np.log(np.clip(own, _LEAST, 1)).sum())


def _check(truth: NDArray[Any], probabilities: NDArray[Any], bins: int) -> None:
    if truth.dtype != np.uint8 or not truth.ndim or not truth.size:
        raise ValueError(f"truth is {truth.dtype} of shape {truth.shape}; labels are uint8 of shape (h, w)")
    if probabilities.dtype.kind != "f" or probabilities.shape[1:] != truth.shape or not len(probabilities):
        raise ValueError(
            f"probabilities are {probabilities.dtype} of shape {probabilities.shape}; floating point of shape "
            f"(classes, {', '.join(map(str, truth.shape))}) is needed"
        )
    if bins < 1:
        raise ValueError(f"{bins} bins came; one or more are needed")
    counted = truth[truth != IGNORE]
    if counted.max(initial=0) >= len(probabilities):
        raise ValueError(f"truth has label {counted.max()}; {len(probabilities)} probabilities came for each pixel")


def _check_probabilities(given: NDArray[np.float64]) -> None:
    with np.errstate(invalid="ignore"):
        sums = given.sum(0)
    if not (np.abs(sums - 1) <= _TOLERANCE).all():  # NaN is not within it either
        raise ValueError(
            "probabilities of some pixel do not sum to 1; give those of the classes, after the softmax and not NaN"
        )
    if given.size and not (given.min() >= -_LEAST and given.max() <= 1 + _TOLERANCE):
        raise ValueError(f"probabilities {given.min():g} to {given.max():g} came; they are 0 to 1")


def _number(value: float) -> str:
    return "     -" if np.isnan(value) else f"{value:6.4f}"
