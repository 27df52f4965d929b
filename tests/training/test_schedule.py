"""The rate's course, and that every parameter is in exactly one group with the right decay."""

import pytest
import torch
from torch import nn

from atrous.models import build
from atrous.training import parameter_groups, poly


def test_poly():
    assert poly(0, total=10) == 1
    assert poly(10, total=10) == 0
    assert poly(11, total=10) == 0
    assert poly(5, total=10) == pytest.approx(0.5**0.9)
    assert poly(5, total=10, power=2) == pytest.approx(0.25)
    course = [poly(step, total=50) for step in range(51)]
    assert course == sorted(course, reverse=True)


def test_warm_up_rises_in_a_line_and_ends():
    factors = [poly(step, total=1000, warm_up=4) / poly(step, total=1000) for step in range(7)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


@pytest.mark.parametrize("model", ["deeplab_v3plus", "unet", "fcn32s", "fcn8s"])
def test_every_trainable_parameter_exactly_once(model):
    options = {"encoder": "resnet18"} if model == "deeplab_v3plus" else {}
    net = build(model, 3, width=1 / 16, **options)
    next(iter(net.parameters())).requires_grad_(False)
    groups = parameter_groups(net, rate=0.1, encoder_rate=0.5, weight_decay=0.01)
    inside = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(inside) == sorted(id(parameter) for parameter in net.parameters() if parameter.requires_grad)
    torch.optim.SGD(groups, lr=0.1)


def test_decay_and_rates():
    net = build("deeplab_v3plus", 3, encoder="resnet18", width=1 / 16)
    groups = parameter_groups(net, rate=0.1, encoder_rate=0.5, weight_decay=0.01)
    found = {group["name"]: group for group in groups}
    assert sorted(found) == ["encoder", "encoder, not decayed", "head", "head, not decayed"]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    for name, group in found.items():
        decayed, encoder = not name.endswith("not decayed"), name.startswith("encoder")
        assert group["weight_decay"] == (0.01 if decayed else 0)
        assert group["lr"] == group["peak"] == pytest.approx(0.05 if encoder else 0.1)
        for parameter in group["params"]:
            assert names[id(parameter)].startswith("encoder.") == encoder
            assert (parameter.ndim > 1) == decayed, names[id(parameter)]


def test_norms_of_every_kind_are_not_decayed():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.LayerNorm([4, 2, 2]), nn.BatchNorm2d(4))
    groups = parameter_groups(net, rate=1, encoder_rate=1, weight_decay=0.1)
    decayed = [parameter for group in groups if group["weight_decay"] for parameter in group["params"]]
    assert len(decayed) == 1
    assert decayed[0] is net[0].weight
