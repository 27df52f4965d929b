"""The rate's course, against PyTorch's own where it has the same."""

import math

import pytest
import torch

from atrous.contract import Recipe
from atrous.training.schedule import factor, poly

TOTAL = 40
SCHEDULES = ["poly", "cosine", "one_cycle", "steps", "constant"]


def course(total=TOTAL, **changes):
    recipe = Recipe(**{"warm_up": 0, **changes})
    return [factor(recipe, step, total=total) for step in range(total)]


def theirs(name, **words):
    """Return the course of a scheduler of PyTorch's, whose peak rate is 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **words)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"schedule": "poly"}, "PolynomialLR", {"total_iters": TOTAL, "power": 0.9}),
        ({"schedule": "poly", "power": 2.0}, "PolynomialLR", {"total_iters": TOTAL, "power": 2.0}),
        ({"schedule": "cosine"}, "CosineAnnealingLR", {"T_max": TOTAL}),
        ({"schedule": "steps", "drop": 0.3, "drop_every": 7}, "StepLR", {"step_size": 7, "gamma": 0.3}),
        ({"schedule": "constant"}, "ConstantLR", {"factor": 1.0}),
    ],
)
def test_as_pytorch_has_it(changes, name, words):
    assert course(**changes) == pytest.approx(theirs(name, **words), rel=1e-9)


def test_one_cycle_rises_as_pytorchs_linear_one_and_falls_as_its_cosine():
    ours, top = course(schedule="one_cycle"), 11
    words = {"max_lr": 1.0, "total_steps": TOTAL, "cycle_momentum": False, "final_div_factor": 1e4 / 25}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    for strategy, part in (("linear", slice(0, top + 1)), ("cos", slice(top, TOTAL))):
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, anneal_strategy=strategy, **words)
        rates = [scheduler.get_last_lr()[0]]
        for _ in range(TOTAL - 1):
            optimizer.step()
            scheduler.step()
            rates += scheduler.get_last_lr()
        assert ours[part] == pytest.approx(rates[part], rel=1e-9)
    assert ours[0] == pytest.approx(1 / 25)
    assert ours[top] == 1
    assert ours[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "steps", "constant"])
def test_warm_up_rises_in_a_line_for_a_tenth_of_the_run_at_most(schedule):
    plain = course(schedule=schedule, total=100)
    for asked, taken in ((4, 4), (1000, 10)):
        shares = [a / b for a, b in zip(course(schedule=schedule, total=100, warm_up=asked), plain, strict=True)]
        assert shares == pytest.approx([min(1, (step + 1) / (taken + 1)) for step in range(100)])


def test_one_cycle_has_no_other_warm_up():
    assert course(schedule="one_cycle", warm_up=1000) == course(schedule="one_cycle")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3, 4, 7])
def test_the_shortest_runs_learn(schedule, total):
    factors = course(schedule=schedule, total=total, warm_up=100)
    assert all(0 <= each <= 1 for each in factors)
    assert max(factors) > 0.75  # one cycle's peak lies between two steps


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_at_the_end_and_after_it_nothing_rises_or_breaks(schedule):
    recipe = Recipe(schedule=schedule, drop=0.0)
    last = factor(recipe, TOTAL, total=TOTAL)
    for step in (TOTAL + 1, 10 * TOTAL, 10**9):
        assert 0 <= factor(recipe, step, total=TOTAL) <= last
        assert math.isfinite(factor(recipe, step, total=TOTAL))


def test_poly():
    assert poly(0, total=10) == 1
    assert poly(10, total=10) == 0
    assert poly(11, total=10) == 0
    assert poly(5, total=10) == pytest.approx(0.5**0.9)
    assert poly(5, total=10, power=2) == pytest.approx(0.25)


def test_poly_warms_up_by_itself():
    factors = [poly(step, total=1000, warm_up=4) / poly(step, total=1000) for step in range(7)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
