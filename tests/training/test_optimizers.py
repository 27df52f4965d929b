"""That every parameter is in exactly one group with the right rate and decay, and that a resumed optimiser goes on."""

import copy

import pytest
import torch
from torch import nn

from atrous.contract import Recipe
from atrous.layers.norm import FrozenBatchNorm
from atrous.models import build
from atrous.models.multiscale import MultiScale
from atrous.training.optimizers import optimizer_of, parameter_groups


def v3plus():
    return build("deeplab_v3plus", 3, encoder="resnet18", width=1 / 16)


def multi_scale():
    return MultiScale(build("deeplab_v2", 3, encoder="vgg16", width=1 / 64))


def grouped(net, **changes):
    words = {"rate": 0.1, "encoder_rate": 0.5, "weight_decay": 0.01, **changes}
    return {group["name"]: group for group in parameter_groups(net, **words)}


@pytest.mark.parametrize("model", ["deeplab_v3plus", "unet", "fcn32s", "fcn8s"])
@pytest.mark.parametrize("bias_rate", [1.0, 2.0, 0.0])
def test_every_trainable_parameter_exactly_once(model, bias_rate):
    options = {"encoder": "resnet18"} if model == "deeplab_v3plus" else {}
    net = build(model, 3, width=1 / 16, **options)
    next(iter(net.parameters())).requires_grad_(False)
    groups = grouped(net, bias_rate=bias_rate).values()
    inside = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(inside) == sorted(id(parameter) for parameter in net.parameters() if parameter.requires_grad)
    torch.optim.SGD(list(groups), lr=0.1)


@pytest.mark.parametrize("make", [v3plus, multi_scale])
def test_decay_and_rates(make):
    net = make()
    found = grouped(net)
    assert sorted(found) == ["encoder", "encoder, not decayed", "head", "head, not decayed"]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    for name, group in found.items():
        decayed, encoder = not name.endswith("not decayed"), name.startswith("encoder")
        assert group["weight_decay"] == (0.01 if decayed else 0)
        assert group["lr"] == group["peak"] == pytest.approx(0.05 if encoder else 0.1)
        for parameter in group["params"]:
            assert names[id(parameter)].removeprefix("net.").startswith("encoder.") == encoder
            assert (parameter.ndim > 1) == decayed, names[id(parameter)]


def test_biases_apart_learn_at_their_share_and_are_not_decayed():
    found = grouped(build("deeplab_v2", 3, encoder="vgg16", width=1 / 64), bias_rate=2.0)
    assert {name: group["peak"] for name, group in found.items()} == pytest.approx(
        {"encoder": 0.05, "encoder, biases": 0.1, "head": 0.1, "head, biases": 0.2}
    )
    assert {name: group["weight_decay"] for name, group in found.items()} == {
        "encoder": 0.01,
        "encoder, biases": 0,
        "head": 0.01,
        "head, biases": 0,
    }
    for name, group in found.items():
        assert all((parameter.ndim == 1) == name.endswith("biases") for parameter in group["params"])


def test_shifts_of_norms_are_no_biases():
    net = v3plus()
    found = grouped(net, bias_rate=2.0)
    assert sorted(found) == ["encoder", "encoder, not decayed", "head", "head, biases", "head, not decayed"]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert {names[id(parameter)] for parameter in found["head, biases"]["params"]} == {"classify.bias"}


def test_norms_of_every_kind_are_not_decayed():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.LayerNorm([4, 2, 2]), nn.BatchNorm2d(4))
    decayed = [
        p for group in parameter_groups(net, rate=1, weight_decay=0.1) if group["weight_decay"] for p in group["params"]
    ]
    assert len(decayed) == 1
    assert decayed[0] is net[0].weight


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_recipes_numbers_arrive(optimizer):
    recipe = Recipe(optimizer=optimizer, learning_rate=0.3, momentum=0.8, weight_decay=0.02, encoder_rate=0.1)
    made = optimizer_of(v3plus(), recipe)
    assert type(made) is {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    group = next(group for group in made.param_groups if group["name"] == "encoder")
    assert group["peak"] == pytest.approx(0.03)
    assert group["weight_decay"] == 0.02
    assert (group["momentum"] if optimizer == "sgd" else group["betas"]) == (
        0.8 if optimizer == "sgd" else (0.8, 0.999)
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_is_the_papers_formula(optimizer):
    net = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    made = optimizer_of(net, Recipe(optimizer=optimizer, learning_rate=0.1, momentum=0.5, weight_decay=0.01))
    for _ in range(2):
        net.weight.grad = torch.full_like(net.weight, 3.0)
        made.step()
    value = 2.0
    if optimizer == "sgd":
        first = 3 + 0.01 * value
        value -= 0.1 * first
        value -= 0.1 * (0.5 * first + 3 + 0.01 * value)
    else:  # with a gradient that stays the same, each step is the rate
        for _ in range(2):
            value = value * (1 - 0.1 * 0.01) - 0.1
    assert net.weight.item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_optimiser_goes_on_to_the_bit(optimizer):
    torch.manual_seed(0)
    net, recipe = v3plus(), Recipe(optimizer=optimizer, learning_rate=0.01)
    gradients = [[torch.randn_like(parameter) for parameter in net.parameters()] for _ in range(4)]

    def go(which, made, part):
        for each in part:
            for parameter, gradient in zip(which.parameters(), each, strict=True):
                parameter.grad = gradient.clone()
            made.step()

    made = optimizer_of(net, recipe)
    go(net, made, gradients[:2])
    other = copy.deepcopy(net)
    resumed = optimizer_of(other, recipe)
    resumed.load_state_dict(copy.deepcopy(made.state_dict()))
    go(net, made, gradients[2:])
    go(other, resumed, gradients[2:])
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_what_lies_where_no_fused_step_is_takes_the_plain_one():
    made = optimizer_of(nn.Conv2d(1, 1, 1, device="meta"), Recipe())
    assert not made.param_groups[0]["fused"]


def test_nothing_that_learns():
    with pytest.raises(ValueError, match="nothing of FrozenBatchNorm learns: freeze fewer of its parts"):
        optimizer_of(FrozenBatchNorm(3), Recipe())
