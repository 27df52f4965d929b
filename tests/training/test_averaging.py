"""The average of weights: by hand, saved and loaded."""

import copy

import pytest
import torch
from torch import nn

from atrous.training.averaging import Averaged


def net(kind=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).to(kind)


def move(module, seed):
    """Give `module` other weights, statistics and counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.state_dict().values():
            noise = torch.randn(value.shape, generator=generator).to(value)
            value.add_(noise if value.is_floating_point() else seed)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_by_hand_with_the_early_correction():
    module = net()
    average, expected = Averaged(module, 0.6), module[0].weight.detach().double()
    for step in range(1, 40):
        move(module, step)
        average.update(module, step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module[0].weight.detach().double()
        torch.testing.assert_close(average.state()["0.weight"].double(), expected, rtol=1e-5, atol=1e-5)
    assert (1 + 1) / (10 + 1) < 0.6 < (1 + 39) / (10 + 39)


def test_statistics_and_counts_are_the_last_ones():
    module = net()
    average = Averaged(module, 0.9)
    move(module, 3)
    average.update(module, 5)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(average.state()[name], module.state_dict()[name])
    assert not torch.equal(average.state()["1.weight"], module[1].weight)


def test_half_precision_is_averaged_in_float32():
    module = nn.Conv2d(1, 1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(module.weight, 1.0)
    average = Averaged(module, 0.99)
    nn.init.constant_(module.weight, 1.5)
    average.update(module, 10_000)
    assert average.state()["weight"].dtype == torch.float32
    assert average.state()["weight"].item() == pytest.approx(1.005)  # bfloat16 has no number between 1 and 1.0078


def test_tied_weights():
    module = net()
    module[2] = module[0]
    average = Averaged(module, 0.5)
    move(module, 1)
    average.update(module, 100)
    assert torch.equal(average.state()["0.weight"], average.state()["2.weight"])


def test_saved_and_loaded_goes_on_to_the_bit():
    module = net()
    first = Averaged(module, 0.9)
    move(module, 1)
    first.update(module, 1)
    saved = copy.deepcopy(first.state())
    second = Averaged(net(), 0.9)
    second.load(saved)
    move(module, 2)
    for each in (first, second):
        each.update(module, 2)
    assert same(first.state(), second.state())
    assert not same(first.state(), saved)


def test_gradients_and_the_optimiser_know_nothing_of_it():
    module = net()
    average = Averaged(module, 0.9)
    module(torch.ones(2, 3, 5, 5)).sum().backward()
    average.update(module, 1)
    assert all(value.grad is not None and value.requires_grad for value in module.parameters())
    assert not any(value.requires_grad for value in average.state().values())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_that_is_none(decay):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        Averaged(net(), decay)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda state: state.pop("2.weight"), "another network: '2.weight' is missing"),
        (lambda state: state.update(more=torch.ones(1)), "another network: 'more' is nothing of this one"),
        (lambda state: state.update({"2.bias": torch.ones(3)}), r"'2.bias' is \(3,\), here it is \(2,\)"),
    ],
)
def test_the_state_of_another_network_changes_nothing(spoilt, words):
    average = Averaged(net(), 0.9)
    before, other = copy.deepcopy(average.state()), {name: value + 1 for name, value in average.state().items()}
    spoilt(other)
    with pytest.raises(ValueError, match=words):
        average.load(other)
    assert same(average.state(), before)
