"""A learning rate found by trying: each step takes a larger one, until the loss grows.

Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017 (arXiv 1506.01186), section 3.3, the
range test. That the rate grows by the same factor at each step, and that it ends at
four times the lowest loss, is fastai's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atrous.contract import AtrousError, Recipe, Sample
from atrous.data import Dataset, Pair
from atrous.runs.building import begun
from atrous.training import Training, one_step, reproducible
from atrous.training.batches import Batch
from atrous.training.freezing import set_modes

_GROWN = 4.0
"""How many times the lowest loss ends the search."""
_SOONEST = 10
"""Steps before which a growing loss ends nothing: the first batches differ more than the rates do."""
_LEAST = 20
"""Steps without which there is no course of the loss to speak of."""
_CERTAIN = 0.02
"""The share of its first value that a loss has to fall by, to have fallen."""
_REACH = 0.04
"""The share of the steps over which the loss is averaged, to either side."""
_ABOUT = 0.08
"""The share of the steps, to either side, over which a slope is taken."""
_SINGLE = 5
"""Of so many losses in a row the middle one counts: a batch that is nothing like the others leaves no trace."""
_RANGES = {"sgd": (1e-6, 1.0), "adamw": (1e-7, 0.1)}

_NO_FALL = (
    "The loss never fell by more than it differs between batches: no rate is suggested. A fall is easier to see with "
    "more --steps, a larger --batch, --pretrained weights, or rates from a higher --largest."
)
_HIGHER = "The loss still fell at the last rate, so that nothing shows where it grows: a higher --largest does."
_SUDDEN = "The loss was lowest just before the end: how near a rate may come to it is not seen, so stay well below."
_ALL = "all were tried"


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """What a search came to: the rates, in order, the loss at each, and the same smoothed.

    `suggested` is the rate below the lowest loss at which the smoothed one falls most steeply over the rate's
    logarithm, `tenth` a tenth of the rate at which it is lowest; both are None where it does not fall. Where it is
    lowest at the last rates, `suggested` is no more than `tenth`. `ended` says why there are no more rates,
    `recipe_rate` is what the recipe has.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float | None
    tenth: float | None
    lowest: float
    ended: str
    recipe_rate: float

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "suggested": self.suggested,
            "tenth": self.tenth,
            "lowest": self.lowest,
            "recipe_rate": self.recipe_rate,
            "ended": self.ended,
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }

    def as_text(self) -> str:
        """Return what was tried, and what it suggests or why nothing."""
        at = self.rates.index(self.lowest)
        tried = (
            f"{len(self.rates)} steps, rates from {self.rates[0]:.2g} to {self.rates[-1]:.2g}; {self.ended}\n"
            f"the smoothed loss was {self.smoothed[0]:.3g} at first and {self.smoothed[at]:.3g} at its lowest, at "
            f"{self.lowest:.2g}"
        )
        if self.suggested is None or self.tenth is None:
            return f"{tried}\n{_NO_FALL}"
        rows = [
            ("steepest fall", self.suggested, "   suggested"),
            ("a tenth of the lowest", self.tenth, ""),
            ("in the recipe", self.recipe_rate, ""),
        ]
        if self.suggested == self.tenth:
            rows[:2] = [("a tenth of the lowest", self.tenth, "   suggested")]
        table = "\n".join(f"{words:<24}{rate:>10.2g}{more}" for words, rate, more in rows)
        edge = f"\n\n{_HIGHER if self.ended == _ALL else _SUDDEN}" if _at_the_edge(at, self.rates) else ""
        return f"{tried}\n\n{table}{edge}"


def found_rate(
    dataset: Dataset,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    device: str | None = None,
    workers: int | None = None,
    steps: int = 100,
    smallest: float | None = None,
    largest: float | None = None,
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RateSearch:
    """Train for `steps` steps, at rates from `smallest` to `largest`, and say which rate is a good one.

    The network, the crops and the loss are the recipe's, in float32 or less as it says; its schedule, its averaged
    weights and its compilation are left out, and parts that it freezes for a while stay frozen. `encoder_rate` and
    `bias_rate` are shares of each rate. Without bounds they are 1e-6 and 1 for SGD, a tenth of that for AdamW, and
    where the loss is a sum over pixels as much less as a crop has pixels. Nothing is written, and random numbers go on
    as if nothing had been.

    Raises `ValueError` for fewer than 20 steps and for bounds that are none, `AtrousError` where the loss is no number
    from the beginning, and what `begun` does.
    """
    smallest, largest = _bounds(recipe, smallest, largest)
    if steps < _LEAST:
        raise ValueError(f"steps {steps} came; {_LEAST} or more show the course of the loss, 100 are usual")
    rates = [float(rate) for rate in np.geomspace(smallest, largest, steps)]
    asked = recipe.learning_rate
    recipe = replace(
        recipe,
        learning_rate=1.0,  # so that each group's peak is its share
        schedule="constant",
        warm_up=0,
        steps=steps,
        ema=0.0,
        measure_norm=0,
        freeze_epochs=0,
        compile=False,
    )
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices), reproducible(recipe.deterministic):
        options: dict[str, Any] = {"device": device, "workers": workers, "read": read, "transform": transform}
        training, _, _ = begun(dataset, recipe, facts=facts, **options)
        losses, ended = _tried(training, rates, progress or (lambda done, total: None))
    return _search(rates[: len(losses)], losses, ended=ended, recipe_rate=asked)


def _bounds(recipe: Recipe, smallest: float | None, largest: float | None) -> tuple[float, float]:
    pixels = math.prod(recipe.crop) if recipe.reduction == "sum" else 1
    low, high = (bound / pixels for bound in _RANGES[recipe.optimizer])
    low, high = low if smallest is None else smallest, high if largest is None else largest
    if not 0 < low < high < math.inf:
        raise ValueError(f"rates from {low:g} to {high:g} came; --smallest is above 0 and below --largest")
    return low, high


def _tried(training: Training, rates: Sequence[float], progress: Callable[[int, int], None]) -> tuple[list[float], str]:
    """Take a step at each rate; return the losses before each, and why there are no more."""
    shares = [group["peak"] for group in training.optimizer.param_groups]
    training.segmenter.train()
    set_modes(training.segmenter.net, frozen=training.recipe.freeze, freeze_norm=training.recipe.freeze_norm)
    batches = _batches(training)
    losses: list[float] = []
    for done, rate in enumerate(rates):
        for group, share in zip(training.optimizer.param_groups, shares, strict=True):
            group["peak"] = share * rate
        parts = next(batches)
        try:
            losses.append(one_step(training, parts).loss)
        except AtrousError as error:
            if done < _SOONEST:
                raise AtrousError(
                    f"no rate was found: at {rate:.2g}, step {done + 1} of the search, {error}"
                ) from error
            return losses, f"at {rate:.2g} the loss was no number any more"
        progress(done + 1, len(rates))
        course = _forward(losses, 1 - 1 / _SOONEST)
        if done >= _SOONEST and course[-1] > _GROWN * min(course):
            return losses, f"at {rate:.2g} the loss was {_GROWN:g} times its lowest"
    return losses, _ALL


def _batches(training: Training) -> Iterator[list[Batch]]:
    """Yield the batches of one step after another, epoch after epoch."""
    order, accumulate = training.order, training.recipe.accumulate
    epoch = 0
    while True:
        order.epoch, order.skip = epoch, 0
        batches = iter(training.batches)
        for _ in range(order.steps):
            yield [next(batches) for _ in range(accumulate)]
        epoch += 1


def _search(rates: Sequence[float], losses: Sequence[float], *, ended: str, recipe_rate: float) -> RateSearch:
    smooth = smoothed(losses)
    lowest = int(np.argmin(smooth))
    falls = _falls(np.asarray(losses), smooth, lowest)
    # No straight line that takes in losses beyond the lowest is one of the fall.
    steepest = int(np.argmin(_slopes(smooth, np.log(rates))[: max(1, lowest - _about(smooth) + 1)]))
    tenth = rates[lowest] / 10
    suggested = min(rates[steepest], tenth) if _at_the_edge(lowest, rates) else rates[steepest]
    return RateSearch(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smooth.tolist()),
        suggested=suggested if falls else None,
        tenth=tenth if falls else None,
        lowest=rates[lowest],
        ended=ended,
        recipe_rate=recipe_rate,
    )


def _at_the_edge(lowest: int, rates: Sequence[float]) -> bool:
    """Return whether the lowest loss is at the last rates, after which there is nothing to see."""
    return lowest >= len(rates) - 2


def _about(smooth: NDArray[np.float64]) -> int:
    """Return how many places to either side a slope is taken over."""
    return max(2, round(_ABOUT * len(smooth)))


def _slopes(smooth: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slope at each place: that of the straight line nearest to the values about it.

    A difference of neighbours would find the noise that is left, not the fall.
    """
    reach = _about(smooth)
    parts = [slice(max(0, place - reach), place + reach + 1) for place in range(len(smooth))]
    return np.array([np.polyfit(places[part], smooth[part], 1)[0] for part in parts])


def _falls(losses: NDArray[np.float64], smooth: NDArray[np.float64], lowest: int) -> bool:
    """Return whether the smoothed loss falls, by more than batches differ."""
    before = slice(0, lowest + 1)
    first = float(np.mean(smooth[: max(1, len(smooth) // 10)]))
    noise = float(np.std(losses[before] - smooth[before]))
    return bool(first - smooth[lowest] > max(_CERTAIN * abs(first), noise))


def smoothed(losses: Sequence[float]) -> NDArray[np.float64]:
    """Return losses as running averages without a lag: the mean of one from the beginning and one from the end.

    Both decay over a twenty-fifth of the steps and are corrected for having begun at nothing. What they average is the
    middle one of every five losses, so that one that has jumped is not averaged into its neighbours; but for the last
    one, which counts as if it had stayed: a search ends where the loss jumps.

    >>> smoothed([3.0, 3.0, 9.0, 3.0, 3.0]).tolist()
    [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    padded = np.pad(np.asarray(losses, np.float64), (_SINGLE // 2, 0), mode="reflect")
    padded = np.pad(padded, (0, _SINGLE // 2), mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SINGLE), axis=1)
    decay = 1 - 1 / max(2.0, _REACH * len(losses))
    there, back = _forward(middle, decay), _forward(middle[::-1], decay)[::-1]
    return (np.asarray(there) + np.asarray(back)) / 2


def _forward(losses: Iterable[float], decay: float) -> list[float]:
    total = weight = 0.0
    course = []
    for loss in losses:
        total, weight = decay * total + loss, decay * weight + 1
        course.append(total / weight)
    return course
