"""The order of maps and weights in memory: it changes speed, and no number."""

import pytest
import torch
from torch import nn

from atrous.layers.memory import LARGE, channels_last, is_large, large_window

LAST = torch.channels_last


def test_only_large_windows_keep_the_usual_order():
    with torch.device("meta"):
        large = nn.Conv2d(512, 4096, 7)
        others = [nn.Conv2d(512, 4096, 1), nn.Conv2d(3, 64, 7), nn.Conv2d(512, 4096, 7, dilation=4), nn.ReLU()]
        mirrored = nn.ConvTranspose2d(4096, 512, 7)
    assert large.weight.numel() > LARGE
    assert is_large(large)
    assert is_large(mirrored)
    assert not any(map(is_large, others))


def test_weights_and_buffers_are_laid_out(monkeypatch):
    monkeypatch.setattr("atrous.layers.memory.LARGE", 1000)
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 4, 7))
    net.register_buffer("kernel", torch.zeros(2, 2, 3, 3))
    channels_last(net)
    assert net[0].weight.is_contiguous(memory_format=LAST)
    assert net.kernel.is_contiguous(memory_format=LAST)
    assert net[1].weight.is_contiguous()
    assert not net[1].weight.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("order", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("layer", [nn.Conv2d(8, 4, 7), nn.ConvTranspose2d(8, 4, 7)])
def test_a_large_window_gives_the_same_map_in_the_order_it_came(layer, order):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, 9, 11, generator=generator).contiguous(memory_format=order)
    result = large_window(layer, features)
    torch.testing.assert_close(result, layer(features))
    assert result.is_contiguous(memory_format=order)
