"""The learning rate's course over a run, as a factor of its peak."""

from __future__ import annotations

import math

from atrous.contract import Recipe

_RISE, _START, _END = 0.3, 1 / 25, 1e-4
"""Of one cycle: the share of the steps that the rate rises for, where it starts, and where it ends."""


def factor(recipe: Recipe, step: int, *, total: int) -> float:
    """Return what the peak rate is multiplied by at `step`, counted from 0, of `total`, for the recipe's schedule.

    `"poly"` falls as `(1 - step / total) ** power`, `"cosine"` as half a cosine to 0, `"steps"` by `drop` after every
    `drop_every` steps, `"constant"` not at all. Each starts with a linear warm-up of `warm_up` steps, or a tenth of the
    run where that is fewer. `"one_cycle"` has its own: it rises in a line from 1/25 over 30 % of the steps, then falls
    as half a cosine to 1/10,000. At `total` and after it, the rate is the last one.

    Source: DeepLab v2 (arXiv 1606.00915) section 4.1 for poly; Loshchilov and Hutter (arXiv 1608.03983) for the
    cosine, without restarts; Smith and Topin (arXiv 1708.07120) for one cycle, with fastai's start and cosine.

    >>> [round(factor(Recipe(schedule="cosine", warm_up=0), step, total=4), 2) for step in range(5)]
    [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    warm_up = min(recipe.warm_up, total // 10)
    match recipe.schedule:
        case "one_cycle":
            return _one_cycle(step, total)
        case "cosine":
            return _ramp(step, warm_up) * _half_cosine(step / total)
        case "steps":
            return _ramp(step, warm_up) * recipe.drop ** (step // recipe.drop_every)
        case "constant":
            return _ramp(step, warm_up)
    return poly(step, total=total, power=recipe.power, warm_up=warm_up)


def poly(step: int, *, total: int, power: float = 0.9, warm_up: int = 0) -> float:
    """Return the factor of the rate at `step` of `total`: a linear warm-up, then `(1 - step / total) ** power`.

    Source: DeepLab v2 (arXiv 1606.00915) section 4.1; the power is 0.9 there.

    >>> poly(0, total=100), poly(100, total=100)
    (1.0, 0.0)
    """
    return _ramp(step, warm_up) * max(0.0, 1 - step / total) ** power


def _ramp(step: int, warm_up: int) -> float:
    return min(1.0, (step + 1) / (warm_up + 1))


def _half_cosine(done: float) -> float:
    """Return 1 for a share of 0, 0 for a share of 1 and more."""
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2


def _one_cycle(step: int, total: int) -> float:
    top = max(0.0, _RISE * total - 1)  # the step with the highest rate, a fraction of one where it lies between two
    if step < top:
        return _START + (1 - _START) * step / top
    return _END + (1 - _END) * _half_cosine((step - top) / max(1.0, total - 1 - top))
