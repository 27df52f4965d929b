"""Which atrous convolutions have nothing but their centre left."""

import pytest
import torch
from torch import nn

from atrous.layers.aspp import ASPP
from atrous.layers.rates import Degenerate, degenerate
from atrous.models import deeplab_v3plus, fcn32s
from atrous.models.deeplab_v3 import deeplab_v3


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (19, 19, []),
        (18, 40, [("branches.3.0", 18, 18)]),
        (40, 12, [("branches.2.0", 12, 12), ("branches.3.0", 18, 12)]),
        (3, 3, [("branches.1.0", 6, 3), ("branches.2.0", 12, 3), ("branches.3.0", 18, 3)]),
    ],
)
def test_the_rates_that_reach_beyond_the_map(height, width, expected):
    assert degenerate(ASPP(3, 2, rates=(6, 12, 18)), height, width) == [Degenerate(*each) for each in expected]


@pytest.mark.parametrize("side", [5, 6, 7])
@torch.no_grad()
def test_a_degenerate_convolution_is_its_centre(side):
    """The definition itself: only where it is named do the outer weights change nothing."""
    layer = nn.Conv2d(1, 1, 3, padding=6, dilation=6)
    x = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    before = layer(x)
    centre = layer.weight[0, 0, 1, 1].clone()
    layer.weight.fill_(9.0)
    layer.weight[0, 0, 1, 1] = centre
    unchanged = torch.equal(layer(x), before)
    assert unchanged == (side < 7)
    assert bool(degenerate(nn.Sequential(layer), side, side)) == unchanged


def test_a_network_at_its_own_sizes():
    with torch.device("meta"):
        net = deeplab_v3(encoder="resnet50_beta")
    assert degenerate(net, 513, 513) == []
    assert degenerate(net, 273, 513) == [Degenerate("aspp.branches.3.0", 18, 18)]
    assert [each.rate for each in degenerate(net, 257, 257)] == [18]
    # 50 pixels are padded to 65, which are 5 on the map: the block's own rates have outgrown it too.
    assert [each.rate for each in degenerate(net, 50, 50)] == [8, 6, 12, 18]


def test_the_network_stays_as_it_was():
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    net.aspp.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    hooks = [len(module._forward_pre_hooks) for module in net.modules()]
    assert [each.name for each in degenerate(net, 65, 65)] == [f"aspp.branches.{place}.0" for place in (1, 2, 3)]
    assert [module.training for module in net.modules()] == modes
    assert [len(module._forward_pre_hooks) for module in net.modules()] == hooks
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)


def test_a_network_without_atrous_convolutions():
    assert degenerate(fcn32s(2, width=1 / 64), 30, 30) == []
    assert degenerate(nn.Identity(), 5, 5) == []
