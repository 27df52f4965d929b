"""Multi-scale inputs: sizes as the authors' net has them, the maximum by hand, and what each loss is given."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous.contract import Geometry
from atrous.models import unet
from atrous.models.deeplab_v2 import deeplab_v2
from atrous.models.multiscale import MultiScale
from atrous.training.losses import Targets, on_grid


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def single(**options):
    torch.manual_seed(0)
    return deeplab_v2(3, **{"encoder": "vgg16", "head": "largefov", "width": 1 / 64, **options}).eval()


def resized(x, size):
    return functional.interpolate(x, size, mode="bilinear", align_corners=True)


class Recorded(nn.Module):
    """A net that scores nothing and keeps the sizes it was given."""

    preprocessing_padding = "mirror"

    def __init__(self, geometry):
        super().__init__()
        self.geometry, self.sizes, self.classes = geometry, [], 1

    def forward(self, x):
        self.sizes.append(tuple(x.shape[2:]))
        if self.geometry.align_corners:
            return x[:, :1, :: self.geometry.stride, :: self.geometry.stride]
        return functional.avg_pool2d(x[:, :1], self.geometry.stride)


CORNERS = Geometry(multiple=8, offset=1, minimum=9, stride=8, align_corners=True)
CELLS = Geometry(multiple=32, minimum=32, stride=8)


def test_sizes_are_the_authors():
    net = MultiScale(Recorded(CORNERS))
    maps = net.supervised(torch.zeros(1, 3, 321, 513))
    assert net.net.sizes == [(321, 513), (241, 385), (161, 257)]
    assert [tuple(logits.shape[2:]) for logits in maps] == [(41, 65), (41, 65), (41, 65), (21, 33)]


def test_sizes_of_a_net_of_cells():
    net = MultiScale(Recorded(CELLS))
    maps = net.supervised(torch.zeros(1, 3, 256, 128))
    assert net.net.sizes == [(256, 128), (192, 96), (128, 64)]
    assert [tuple(logits.shape[2:]) for logits in maps] == [(32, 16), (32, 16), (32, 16), (16, 8)]


@pytest.mark.parametrize(
    ("inner", "scales", "multiple", "minimum"),
    [
        (CORNERS, (1, 0.75, 0.5), 32, 33),
        (CORNERS, (1,), 8, 9),
        (CORNERS, (1, 0.5), 16, 17),
        (CORNERS, (1, 0.25), 32, 33),
        (CORNERS, (1, 2), 8, 9),
        (CELLS, (1, 0.75, 0.5), 128, 128),
        (Geometry(), (1, 0.5), 2, 2),
    ],
)
def test_geometry_is_of_the_sides_whose_scaled_ones_are_valid(inner, scales, multiple, minimum):
    geometry = MultiScale(Recorded(inner), scales).geometry
    assert (geometry.multiple, geometry.minimum) == (multiple, minimum)
    assert (geometry.offset, geometry.stride, geometry.align_corners) == (
        inner.offset,
        inner.stride,
        inner.align_corners,
    )
    corner = 1 if inner.align_corners else 0
    for side in (geometry.valid(1), geometry.valid(200)):
        for scale in scales:
            scaled = (side - corner) * scale + corner
            assert inner.valid(int(scaled)) == scaled


@torch.no_grad()
def test_forward_is_the_maximum_by_hand():
    inner, image = single(), images(2, 3, 65, 97)
    net = MultiScale(inner)
    first = inner(image)
    second = resized(inner(resized(image, (49, 73))), (9, 13))
    third = resized(inner(resized(image, (33, 49))), (9, 13))
    expected = torch.stack([first, second, third]).amax(0)
    torch.testing.assert_close(net(image), expected)
    assert not torch.equal(expected, first)
    assert all(((each == expected).any()) for each in (first, second, third))


@torch.no_grad()
def test_supervised_is_the_fused_map_and_one_per_scale():
    inner, image = single(), images(1, 3, 65, 65)
    net = MultiScale(inner)
    fused, first, second, third = net.supervised(image)
    torch.testing.assert_close(fused, net(image))
    torch.testing.assert_close(first, inner(image))
    torch.testing.assert_close(second, resized(inner(resized(image, (49, 49))), (9, 9)))  # enlarged: 64/6 is not whole
    torch.testing.assert_close(third, inner(resized(image, (33, 33))))  # on its own grid


@torch.no_grad()
def test_the_half_scale_meets_every_sixteenth_label():
    net = MultiScale(Recorded(CORNERS))
    labels = torch.arange(321 * 321).reshape(1, 321, 321)
    outputs = net.supervised(torch.zeros(1, 3, 321, 321))
    for logits, step in zip(outputs, (8, 8, 8, 16), strict=True):
        kept = on_grid(logits.shape[2:], Targets(labels), margin=0, align_corners=True, compare="grid").labels
        torch.testing.assert_close(kept, labels[:, ::step, ::step], rtol=0, atol=0)


def test_what_passes_through():
    inner = single()
    net = MultiScale(inner)
    assert net.encoder is inner.encoder
    assert (net.classes, net.preprocessing_padding) == (3, "mean")
    assert sum(weight.numel() for weight in net.parameters()) == sum(weight.numel() for weight in inner.parameters())
    assert MultiScale(Recorded(CORNERS)).preprocessing_padding == "mirror"


@pytest.mark.parametrize("scales", [(), (0.5, 1), (1, 0), (1, -0.5)])
def test_scales_that_are_refused(scales):
    with pytest.raises(ValueError, match=r"scales \(.*\) came; they begin with 1, the main one, and are above 0"):
        MultiScale(single(), scales)


def test_a_net_with_a_margin_is_refused():
    with pytest.raises(ValueError, match=r"margin=92.* came; MultiScale takes nets without a margin whose sides scale"):
        MultiScale(unet(2, width=1 / 64))


def test_a_crop_below_the_least_is_refused():
    with pytest.raises(ValueError, match="a crop of 32 x 65 came; training takes crops of 33 x 33 and larger"):
        MultiScale(single()).train()(torch.zeros(1, 3, 32, 65))
