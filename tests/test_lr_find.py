"""The search of a learning rate: where the answer is known, on a real network, and where there is none."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import atrous
from atrous import runs
from atrous.contract import AtrousError, Recipe
from atrous.data import read_sample
from atrous.data.facts import fingerprint
from atrous.runs import finding
from atrous.runs.finding import found_rate, smoothed
from atrous.runs.finding_plot import write_rates
from atrous.training import Step

RECIPE = Recipe(encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=2, augment="none")
OPTIONS = {"device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("two parts, 두 부분")
    for index in range(6):
        random = np.random.default_rng(index)
        labels = np.zeros((36, 40), np.uint8)
        labels[:, random.integers(12, 28) :] = 1
        image = (labels * 150)[..., None] + random.integers(0, 60, (36, 40, 3))
        for kind, array in (("images", image.astype(np.uint8)), ("masks", labels)):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def opened(data):
    dataset = runs.data_to_train_on(data)
    return dataset, fingerprint(dataset)


def searched(opened, recipe=RECIPE, **changes):
    dataset, facts = opened
    return found_rate(dataset, recipe, facts=facts, **{"steps": 40, **OPTIONS, **changes})


def instead_of_steps(monkeypatch, loss_of):
    """Let a step have the loss that `loss_of` has for the rate and the number of the step."""

    def one_step(training, parts):
        rate = training.optimizer.param_groups[0]["peak"]
        loss = loss_of(rate, training.step)
        if not math.isfinite(loss):
            raise AtrousError(f"the loss became {loss}")
        training.step += 1
        return Step(step=training.step, total=1, epoch=0, loss=loss, rate=rate, images=2)

    monkeypatch.setattr(finding, "one_step", one_step)


class Parabola:
    """The loss of a single weight going down `curvature / 2 * x ** 2`, with noise as batches have it."""

    def __init__(self, curvature, noise):
        self.curvature, self.noise, self.x = curvature, noise, 1.0
        self.random = np.random.default_rng(0)

    def __call__(self, rate, step):
        loss = self.curvature / 2 * self.x**2
        self.x *= 1 - rate * self.curvature
        return loss + self.curvature / 2 * (0.1 + self.noise * self.random.standard_normal())


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_parabola(monkeypatch, opened, curvature, noise):
    instead_of_steps(monkeypatch, Parabola(curvature, noise))
    found = searched(opened, steps=100, largest=10.0)
    # With rates growing by the factor e ** k, the loss is exp(-2 * curvature * rate / k) and a rest; over the rate's
    # logarithm that is steepest where the exponent is -1.
    steepest = math.log(10.0 / 1e-6) / 99 / (2 * curvature)
    assert steepest / 3 < found.suggested < steepest * 3
    assert found.tenth == found.lowest / 10
    assert found.lowest > found.suggested
    if curvature > 1:
        assert found.ended.endswith("the loss was 4 times its lowest")
        assert found.rates[-1] < 10
        assert len(found.rates) == len(found.losses) == len(found.smoothed)


@pytest.fixture(scope="module")
def found(opened):
    return searched(opened, steps=24)


def test_a_real_network(found):
    assert 1e-3 < found.suggested < 1
    assert found.losses[0] == pytest.approx(math.log(2), abs=0.4)
    assert found.smoothed[found.rates.index(found.lowest)] < 0.8 * found.smoothed[0]
    assert found.recipe_rate == RECIPE.learning_rate
    assert len(found.as_text().splitlines()) in (6, 7, 8)


def test_the_same_again_and_nothing_is_changed(opened, found, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = sorted(data.rglob("*"))
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002  (the global state is what is looked at)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert searched(opened, steps=24) == found
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert not torch.are_deterministic_algorithms_enabled()
    assert sorted(data.rglob("*")) == files
    assert not list(tmp_path.iterdir())


def test_every_option_of_a_recipe_goes(opened):
    recipe = replace(
        RECIPE,
        optimizer="adamw",
        accumulate=2,
        freeze=("encoder",),
        freeze_epochs=1,
        freeze_norm=True,
        ema=0.9,
        clip=1.0,
        measure_norm=3,
        schedule="one_cycle",
        deterministic=True,
    )
    found = searched(opened, recipe, steps=20)
    assert found.rates[0] == pytest.approx(1e-7)
    assert len(found.losses) == 20


def test_shares_of_the_rate_are_kept(opened, monkeypatch):
    seen = []

    def one_step(training, parts):
        seen.append({group["name"]: group["peak"] for group in training.optimizer.param_groups})
        return Step(step=1, total=1, epoch=0, loss=1.0, rate=1.0, images=2)

    monkeypatch.setattr(finding, "one_step", one_step)
    searched(opened, replace(RECIPE, encoder_rate=0.1), steps=20, smallest=0.5, largest=1.0)
    assert seen[0]["head"] == pytest.approx(0.5)
    assert seen[0]["encoder"] == pytest.approx(0.05)
    assert seen[-1]["head"] == pytest.approx(1.0)


def test_a_sum_over_pixels_wants_rates_as_much_smaller(opened, monkeypatch):
    instead_of_steps(monkeypatch, lambda rate, step: 1.0)
    found = searched(opened, replace(RECIPE, reduction="sum"))
    assert found.rates[0] == pytest.approx(1e-6 / 33**2)
    assert found.rates[-1] == pytest.approx(1 / 33**2)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda rate, step: 1.0,
        lambda rate, step: 1.0 + rate,
        lambda rate, step: 1.0 + 0.3 * np.random.default_rng(step).standard_normal(),
        lambda rate, step: 1.0 - 0.01 * rate,
        lambda rate, step: 0.0,
    ],
)
def test_a_loss_that_never_falls_suggests_nothing(opened, monkeypatch, tmp_path, loss_of):
    instead_of_steps(monkeypatch, loss_of)
    found = searched(opened)
    assert found.suggested is None
    assert found.tenth is None
    assert "never fell by more than it differs between batches: no rate is suggested" in found.as_text()
    assert "steepest" not in found.as_text()
    assert json.loads(json.dumps(found.as_json()))["suggested"] is None
    write_rates(tmp_path / "rates.png", found)


def test_a_loss_that_still_falls_in_the_end(opened, monkeypatch, tmp_path):
    instead_of_steps(monkeypatch, lambda rate, step: 1 / (1 + rate))
    found = searched(opened)
    assert "The loss still fell at the last rate, so that nothing shows where it grows" in found.as_text()
    assert found.ended == "all were tried"
    assert found.suggested == found.tenth < found.lowest / 5
    assert "steepest" not in found.as_text()
    write_rates(tmp_path / "rates.png", found)


def test_the_last_loss_counts(opened, monkeypatch):
    """A jump at the very end is no single loss that is nothing like its neighbours."""
    last = [1.67, 1.74, 2.49]
    instead_of_steps(monkeypatch, lambda rate, step: last[step - 37] if step >= 37 else 2.3 - 0.63 * (step / 37) ** 3)
    found = searched(opened)
    assert found.smoothed[-1] > found.smoothed[-2] > min(found.smoothed)
    assert found.rates.index(found.lowest) < 38
    assert found.rates.index(found.suggested) <= found.rates.index(found.lowest) - 3


def test_no_number_at_once(opened, monkeypatch):
    instead_of_steps(monkeypatch, lambda rate, step: math.nan if step == 2 else 1.0)
    with pytest.raises(AtrousError, match=r"no rate was found: at 2e-06, step 3 of the search, the loss became nan"):
        searched(opened)


def test_no_number_later_ends_the_search(opened, monkeypatch):
    instead_of_steps(monkeypatch, lambda rate, step: math.nan if step == 30 else 2 / (1 + 1000 * rate))
    found = searched(opened)
    assert len(found.rates) == 30
    assert found.ended == "at 0.041 the loss was no number any more"
    assert 1e-4 < found.suggested < 4.1e-3
    assert "lowest just before the end" in found.as_text()
    assert "--largest" not in found.as_text()


def test_a_file_that_cannot_be_read_is_no_rates_fault(opened):
    read, seen = [], opened[0].space

    def failing(pair):
        read.append(pair)
        if len(read) > 30:
            raise AtrousError("5.png: cut off")
        return read_sample(pair, space=seen)

    with pytest.raises(AtrousError, match=r"^5.png: cut off"):
        searched(opened, read=failing)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 19}, "steps 19 came; 20 or more show the course of the loss"),
        ({"steps": -1}, "steps -1 came"),
        ({"smallest": 0.0}, "rates from 0 to 1 came; --smallest is above 0 and below --largest"),
        ({"smallest": -1.0}, "rates from -1 to 1 came"),
        ({"largest": 1e-7}, "rates from 1e-06 to 1e-07 came"),
        ({"largest": math.nan}, "rates from 1e-06 to nan came"),
        ({"largest": math.inf}, "rates from 1e-06 to inf came"),
        ({"smallest": 2.0}, "rates from 2 to 1 came"),
    ],
)
def test_what_is_refused(opened, changes, words):
    with pytest.raises(ValueError, match=words):
        searched(opened, **changes)


def test_smoothed_has_no_lag_and_no_trace_of_a_jump():
    step = [1.0] * 30 + [0.0] * 30
    assert np.abs(smoothed(step) - 0.5).argmin() in (29, 30)
    jumping = [1.0] * 60
    jumping[20] = 1e6
    assert smoothed(jumping).tolist() == pytest.approx([1.0] * 60)


def test_by_the_command(run, data, tmp_path):
    flags = ["--encoder", "resnet18", "--width", 0.125, "--crop", 33, "--batch", 2, "--steps", 20, "--device", "cpu"]
    code, out, _ = run("lr-find", data, *flags, "--workers", 0, "--json", "--plot", tmp_path / "rates.png")
    told = json.loads(out)
    assert code == 0
    assert set(told) == {"suggested", "tenth", "lowest", "recipe_rate", "ended", "rates", "losses", "smoothed"}
    assert len(told["losses"]) == 20
    with Image.open(tmp_path / "rates.png") as picture:
        assert picture.size == (1040, 585)


def test_the_command_says_how_to_use_what_it_found(run, data, monkeypatch):
    instead_of_steps(monkeypatch, lambda rate, step: 2 / (1 + 1000 * rate))
    code, out, _ = run("lr-find", data, "--width", 0.125, "--crop", 33, "--batch", 2, "--device", "cpu", "--workers", 0)
    found = atrous.lr_find(data, width=0.125, crop=33, batch=2, **OPTIONS)
    assert code == 0
    assert f"{found.suggested:.2g}   suggested" in out
    assert f"next: atrous train {data} --lr {found.suggested:.2g}, and the flags given here" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--plot", "rates.docx"], "a figure is written as"),
        (["--steps", 3], "steps 3 came; 20 or more"),
        (["--largest", 0], "--smallest is above 0 and below --largest"),
    ],
)
def test_what_the_command_refuses(run, data, flags, words):
    code, out, err = run("lr-find", data, "--device", "cpu", *flags)
    assert (code, out) == (2, "")
    assert words in err
