"""The checkerboard measure against sums of ones, on single layers and on decoders."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous.layers.checkerboard import checkerboard
from atrous.layers.norm import with_norm
from atrous.layers.upsample import BilinearDeconvolution, bilinear_kernel, upsampling
from atrous.models.fcn import fcn32s

TABLE = [
    # kernel, stride, taps per axis, ratio in two dimensions
    (3, 2, (1, 2), 4.0),
    (4, 2, (2, 2), 1.0),
    (5, 2, (2, 3), 2.25),
    (2, 2, (1, 1), 1.0),
    (16, 8, (2,) * 8, 1.0),
    (63, 32, (1,) + (2,) * 31, 4.0),
]


@pytest.mark.parametrize(("kernel", "stride", "taps", "ratio"), TABLE)
def test_a_transposed_convolution_alone(kernel, stride, taps, ratio):
    found = checkerboard(nn.ConvTranspose2d(3, 2, kernel, stride))
    assert found.layers[0].taps == (taps, taps)
    assert found.even is (ratio == 1)
    assert found.ratio == pytest.approx(ratio, rel=1e-5)
    assert found.layers[0].ratio == pytest.approx(ratio, rel=1e-5)
    assert found.period == ((1, 1) if ratio == 1 else (stride, stride))


@torch.no_grad()
def test_the_ratio_is_that_of_ones_through_equal_weights():
    ones = functional.conv_transpose2d(torch.ones(1, 1, 20, 20), torch.ones(1, 1, 5, 3), stride=2)[0, 0, 8:-8, 8:-8]
    found = checkerboard(nn.ConvTranspose2d(4, 3, (5, 3), 2))
    assert found.ratio == pytest.approx((ones.max() / ones.min()).item(), rel=1e-5)
    assert found.layers[0].taps == ((2, 3), (1, 2))
    assert "kernel 5 x 3, stride 2 x 2: 2, 3 by 1, 2 taps in turn, ratio 3" in str(found)


def test_a_kernel_smaller_than_the_stride_leaves_gaps():
    found = checkerboard(nn.ConvTranspose2d(1, 1, 1, 2))
    assert found.layers[0].taps == ((0, 1), (0, 1))
    assert found.ratio == float("inf")
    assert not found.even


def test_holes_that_meet_the_stride_leave_gaps():
    found = checkerboard(nn.ConvTranspose2d(1, 1, 2, 2, dilation=2))
    assert found.layers[0].taps == ((0, 2), (0, 2))
    assert not found.even


def decoder(*kernels):
    layers = []
    for kernel in kernels:
        layers += [nn.ConvTranspose2d(4, 4, kernel, 2), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4, 3, 1), nn.Softmax(1))


@torch.no_grad()
def test_a_decoder_names_its_layers_the_worst_first():
    found = checkerboard(decoder(5, 3, 4))
    assert found.worst == ("3", "0")
    assert [layer.name for layer in found.layers] == ["3", "0", "6"]
    assert found.period == (8, 8)
    text = str(found).splitlines()
    assert text[0] == f"uneven: ratio {found.ratio:.4g}, repeating every 8 x 8"
    assert [line.split(":")[0].strip() for line in text[1:]] == ["3", "0"]


@torch.no_grad()
def test_patterns_of_stacked_layers_multiply():
    ones = torch.ones(1, 1, 30, 30)
    for _ in range(2):
        ones = functional.conv_transpose2d(ones, torch.ones(1, 1, 3, 3), stride=2)
    inside = ones[0, 0, 30:-30, 30:-30]
    found = checkerboard(decoder(3, 3))
    assert found.ratio == pytest.approx((inside.max() / inside.min()).item(), rel=1e-5)
    assert found.ratio > 4


def test_norms_and_activations_hide_nothing():
    for norm in ("batch", "frozen", "group"):
        net = decoder(3)
        net[1].running_mean.fill_(5.0)
        assert checkerboard(with_norm(net, norm)).ratio == pytest.approx(4, rel=1e-4)
        assert checkerboard(with_norm(decoder(4), norm)).even


@pytest.mark.parametrize("stride", [2, 3])
def test_nothing_on_the_menu_is_uneven(stride):
    kinds = ("bilinear", "deconvolution", "learnt-deconvolution", "transposed")
    for kind in (*kinds, "nearest-convolution", "bilinear-convolution", "sub-pixel"):
        found = checkerboard(upsampling(kind, 4, 6, stride))
        assert found.even, kind
        assert checkerboard(upsampling(kind, 4, 4, stride)).even
        assert found.worst == ()
        assert str(found) == "even: no checkerboard by structure"
    assert not checkerboard(upsampling("transposed", 4, 6, stride, kernel=stride + 1, uneven=True)).even


class Fixed(nn.Module):
    """A deconvolution of a fixed kernel that its forward calls as a function."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.stride = stride
        self.register_buffer("weight", kernel[None, None])

    def forward(self, x):
        return functional.conv_transpose2d(x, self.weight, stride=self.stride)


def test_fixed_weights_are_taken_as_they_are():
    """FCN-AlexNet's kernel of 63 at stride 32 has one output in 32 with a single tap, and bilinear weights sum to 1."""
    found = checkerboard(Fixed(bilinear_kernel(63), 32))
    assert found.layers[0].taps[0] == (1,) + (2,) * 31
    assert found.layers[0].ratio == pytest.approx(1, rel=1e-4)
    assert found.even
    assert not checkerboard(Fixed(torch.ones(63, 63), 32)).even
    assert checkerboard(BilinearDeconvolution(3, 8)).even


def test_a_whole_network_is_measured_at_sizes_it_takes():
    assert checkerboard(fcn32s(3, width=1 / 64, deconvolution="full"), size=1024).even


def test_the_module_is_left_as_it_was():
    net = decoder(3, 4).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layers = list(net.modules())
    checkerboard(net)
    torch.testing.assert_close(dict(net.state_dict()), before, atol=0, rtol=0)
    assert all(one is other for one, other in zip(layers, net.modules(), strict=True))
    assert net.training
    assert not net[0]._forward_pre_hooks


class Ramp(nn.Module):
    """Something that no period describes."""

    def forward(self, x):
        return x * torch.arange(1.0, 1 + x.shape[3])


def test_a_border_that_reaches_everywhere_is_said():
    with pytest.raises(ValueError, match=r"Ramp does not repeat itself .* maps of 1024: .* its decoder alone"):
        checkerboard(Ramp(), size=256)


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (nn.Conv2d(3, 3, 1), {"in_channels": 2}, r"Conv2d does not take a map of \(1, 2, 8, 8\)"),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()), {}, r"Sequential returns no map \(n, c, h, w\)"),
        (nn.Conv2d(3, 3, 1), {"size": 0}, r"size 0 came; .* at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(module, options, words):
    with pytest.raises(ValueError, match=words):
        checkerboard(module, **options)
