"""Norms that are frozen must not silence what they belong to."""

import pytest
import torch
from torch import nn

from atrous.conformance import check_gradient
from atrous.layers.norm import with_norm
from atrous.models import deeplab_v3, deeplab_v3plus, fcn8s, hypercolumn, unet


@pytest.mark.parametrize("builder", [deeplab_v3plus, deeplab_v3, fcn8s, hypercolumn, unet])
def test_gradient_reaches_every_parameter_below_frozen_norms(builder):
    torch.manual_seed(0)
    check_gradient(builder(3, encoder="resnet18", width=1 / 8, norm="frozen"))


def test_only_scales_of_zero_in_every_channel_are_woken():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    with torch.no_grad():
        net[0].weight.zero_()
        net[1].weight.copy_(torch.tensor([0.0, 2.0, 0.0]))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    with_norm(net, "frozen")
    assert [layer.weight.tolist() for layer in net] == [pytest.approx([0.2] * 3), [0, 2, 0], [1, 1, 1]]
    assert not any(layer.weight.requires_grad for layer in net)
    net.load_state_dict(state)
    assert not net[0].weight.any()
