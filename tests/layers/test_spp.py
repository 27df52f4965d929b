"""Spatial pyramid pooling against means written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous.layers.spp import SPP


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_papers_pyramid_has_its_channels_and_parameters():
    with torch.device("meta"):
        spp = SPP(2048)
    assert spp.bins == (1, 2, 3, 6)
    assert spp.out_channels == 4096
    assert sum(weight.numel() for weight in spp.parameters()) == 4 * (2048 * 512 + 2 * 512)


@torch.no_grad()
def test_the_pyramid_is_the_map_and_its_means():
    spp, x = SPP(8, (1, 2), channels=3).eval(), features(2, 8, 4, 6)
    whole = spp.project[0](x.mean((2, 3), keepdim=True)).expand(-1, -1, 4, 6)
    halves = torch.stack([x[:, :, r : r + 2, c : c + 3].mean((2, 3)) for r in (0, 2) for c in (0, 3)], -1)
    halves = spp.project[1](halves.unflatten(-1, (2, 2)))
    halves = functional.interpolate(halves, (4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(spp(x), torch.cat([x, whole, halves], 1))


@torch.no_grad()
def test_aligned_corners_put_the_outer_bins_on_the_border():
    spp, x = SPP(4, (2,), align_corners=True).eval(), features(1, 4, 8, 8)
    corner = spp.project[0](x[:, :, :4, :4].mean((2, 3), keepdim=True))
    torch.testing.assert_close(spp(x)[:, 4:, :1, :1], corner)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (6, 6), (7, 13)])
def test_maps_of_any_size_train_one_at_a_time(size):
    spp = SPP(8).train()
    x = features(1, 8, *size).requires_grad_()
    out = spp(x)
    assert out.shape == (1, spp.out_channels, *size)
    out.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(layer.weight.grad is not None for layer in spp.modules() if isinstance(layer, nn.Conv2d))


def test_few_channels_leave_one_per_grid():
    assert SPP(2).out_channels == 6


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((8, ()), {}, r"bins \(\) came; SPP takes one number or more"),
        ((8, (1, 0)), {}, r"bins \(1, 0\) came"),
        ((0,), {}, r"0 channels in and None per grid came; .* at least 1"),
        ((8,), {"channels": 0}, r"8 channels in and 0 per grid came"),
    ],
)
def test_what_is_no_pyramid_is_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        SPP(*arguments, **options)
