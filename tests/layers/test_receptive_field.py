"""Receptive fields: the papers' numbers, random stacks against gradients, holes, means, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from atrous.conformance import check_receptive_field
from atrous.layers.aspp import ASPP
from atrous.layers.receptive_field import effective_receptive_field, radius_of, receptive_field
from atrous.layers.unpool import SwitchPool, Unpool
from atrous.models import deeplab_v3plus, fcn8s, fcn32s, unet


def chain(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def large_fov(*rates: int, mean: bool) -> nn.Sequential:
    """Return DeepLab v1's VGG16 with 3x3 pools, and atrous 3x3 convolutions behind it, all of one channel."""
    layers: list[nn.Module] = []
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        rate = 2 if stage == 5 else 1
        layers += [nn.Conv2d(1, 1, 3, padding=rate, dilation=rate) for _ in range(depth)]
        layers.append(nn.MaxPool2d(3, 2 if stage < 4 else 1, 1))
    layers += [nn.AvgPool2d(3, 1, 1)] if mean else []
    return chain(*layers, *(nn.Conv2d(1, 1, 3, padding=rate, dilation=rate) for rate in rates))


# The papers' numbers --------------------------------------------------------------------------------------------------


def test_vgg16() -> None:
    with torch.device("meta"):
        features = torchvision.models.vgg16(weights=None).features
    field = receptive_field(features, 512)
    assert (field.size, field.stride, field.whole, field.holes) == ((212, 212), (32, 32), False, False)


def test_fcn_and_unet() -> None:
    with torch.device("meta"):
        fcn, contracting = fcn32s().encoder, unet().encoder
    assert receptive_field(fcn, 500).size == (404, 404)
    assert receptive_field(contracting, 572).size == (140, 140)
    assert receptive_field(contracting, 572).stride == (16, 16)


def test_deeplab_large_fov() -> None:
    assert receptive_field(large_fov(12, mean=True), 513, channels=1).size == (435, 435)


@pytest.mark.parametrize(("rate", "size"), [(6, 323), (12, 419), (18, 515), (24, 611)])
def test_deeplab_v2_branches(rate: int, size: int) -> None:
    field = receptive_field(large_fov(rate, mean=False), 513, channels=1)
    assert (field.size, field.stride) == ((size, size), (8, 8))


@pytest.mark.parametrize(
    ("name", "size", "whole"),
    [("resnet18", 435, False), ("densenet121", 2071, False), ("efficientnet_b0", 851, True)],
)
def test_trunks_of_timm(name: str, size: int, whole: bool) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, features_only=True)
    field = receptive_field(net, 224)
    assert (field.size, field.whole) == ((size, size), whole)


def test_channels_last_and_flattened_maps_are_followed() -> None:
    """ConvNeXt permutes, flattens and multiplies: 4x4 stem, 7x7 depthwise in every block, 2x2 between the stages."""
    with torch.device("meta"):
        net = timm.create_model("convnext_atto", features_only=True)
    size, stride = 4, 4
    for stage, depth in enumerate((2, 2, 6, 2)):
        if stage:
            size, stride = size + stride, stride * 2
        size += depth * 6 * stride
    assert receptive_field(net, 224).size == (size, size)


# Against measurements -------------------------------------------------------------------------------------------------


@st.composite
def layer(draw: st.DrawFn) -> nn.Module:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    def transposed() -> nn.Module:
        stride = draw(st.integers(1, 2))
        return nn.ConvTranspose2d(1, 1, stride + draw(st.integers(0, 2)), stride, draw(st.integers(0, 1)), bias=False)

    kinds: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(1, 1, pair(1, 4), pair(1, 3), pair(0, 4), pair(1, 3), bias=False),
        "pool": lambda: nn.MaxPool2d(
            3, draw(st.integers(1, 3)), draw(st.integers(0, 1)), ceil_mode=draw(st.booleans())
        ),
        "transposed": transposed,
        "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=draw(st.booleans())),
        "nearest": lambda: nn.Upsample(scale_factor=draw(st.sampled_from([1.5, 2])), mode="nearest"),
        "unshuffle": lambda: chain(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 1, bias=False)),
        "skip": lambda: Skip(draw(st.integers(1, 3))),
        "pad": lambda: nn.ZeroPad2d((*pair(0, 3), *pair(0, 3))),
    }
    return kinds[draw(st.sampled_from(list(kinds)))]()


class Skip(nn.Module):
    """The input cropped, and beside it its atrous convolution, added."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self.convolve = nn.Conv2d(1, 1, 3, dilation=rate, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = slice(self.rate, -self.rate)
        return self.convolve(x) + x[:, :, inner, inner]


def measured(net: nn.Module, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns with a gradient, all weights 1 and every maximum a sum."""

    def summed(pool: nn.Module, inputs: tuple[torch.Tensor], _result: torch.Tensor) -> torch.Tensor:
        # The divisor keeps windows at the border from having weights of their own.
        return F.avg_pool2d(inputs[0], 3, pool.stride, pool.padding, pool.ceil_mode, divisor_override=1)

    for each in net.modules():
        if isinstance(each, nn.MaxPool2d):
            each.register_forward_hook(summed)
    for weight in net.double().parameters():
        nn.init.ones_(weight)
    image = torch.ones(1, 1, side, side, dtype=torch.double, requires_grad=True)
    logits = net(image)
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], image)
    moved = gradient[0, 0].numpy() > 0
    return np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))


@settings(max_examples=50, deadline=None)
@given(st.lists(layer(), min_size=1, max_size=4))
def test_random_stacks_agree_with_their_gradients(layers: list[nn.Module]) -> None:
    net, side = chain(*layers), 100
    try:
        field = receptive_field(net, side, channels=1)
    except RuntimeError:  # the maps have become too small for a kernel
        assume(False)
    # Beyond the border of a map in between there is padding, which holds no pixels: only fields well inside count.
    assume(0 < min(field.size) <= max(field.size) < side // 2)
    rows, columns = measured(net, side)
    assert (rows.tolist(), columns.tolist()) == (field.rows.tolist(), field.columns.tolist())


@pytest.mark.parametrize("size", [500, 524, 604])
@pytest.mark.parametrize("net", [fcn8s(2, width=1 / 64), unet(2, width=1 / 64)], ids=["fcn8s", "unet"])
@torch.no_grad()
def test_pixels_that_are_no_numbers_reach_just_as_far(net: nn.Module, size: int) -> None:
    """The first and the last row that reach the middle logit, at several phases of its deconvolutions."""
    net.eval()
    side = net.geometry.valid(size)
    rows = receptive_field(net, side, 252).rows

    def reached(row: int) -> bool:
        image = torch.zeros(1, 3, side, 252)
        image[:, :, row] = torch.nan
        logits = net(image)
        return bool(logits[0, :, logits.shape[2] // 2, logits.shape[3] // 2].isnan().any())

    first, last = rows[0], rows[-1]
    assert [reached(row) for row in (first - 1, first, last, last + 1)] == [False, True, True, False]


def test_conformance_measures_the_same() -> None:
    net = LastMap(deeplab_v3plus(2, encoder="resnet18", width=1 / 8).encoder).eval()
    check_receptive_field(net, receptive_field(net, 513).size[0])


class LastMap(nn.Module):
    """The deepest map of a trunk, as a network."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.geometry = trunk, trunk.geometry

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trunk(x)[-1]


# Holes, means, phases -------------------------------------------------------------------------------------------------


def test_successive_rates_with_a_common_divisor_leave_holes() -> None:
    field = receptive_field(chain(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3, dilation=2)), 65, channels=1)
    assert field.holes
    assert (field.rows - field.rows[0]).tolist() == [0, 2, 4, 6, 8]
    hybrid = chain(*(nn.Conv2d(1, 1, 3, dilation=rate) for rate in (1, 2, 3)))
    assert not receptive_field(hybrid, 65, channels=1).holes


def test_axes_are_followed_apart() -> None:
    field = receptive_field(nn.Conv2d(3, 1, (3, 5), stride=(2, 1), dilation=(4, 1)), 65, 33)
    assert field.size == (9, 5)
    assert field.rows.tolist() == [28, 32, 36]
    assert field.stride == (2, 1)


def test_positions_of_a_transposed_convolution_differ() -> None:
    net = nn.ConvTranspose2d(1, 1, 3, stride=2)
    sizes = [receptive_field(net, 9, channels=1, position=(place, 5)).size[0] for place in (8, 9)]
    assert sizes == [2, 1]
    assert receptive_field(net, 9, channels=1).stride == (Fraction(1, 2), Fraction(1, 2))


def test_what_is_outside_the_image_counts() -> None:
    field = receptive_field(nn.Conv2d(3, 1, 3, padding=1), 9, position=(0, 8))
    assert (field.rows.tolist(), field.columns.tolist()) == ([-1, 0, 1], [7, 8, 9])


def test_image_pooling_sees_the_whole_image() -> None:
    field = receptive_field(ASPP(3, 2, rates=(6, 12)), 65)
    assert (field.size, field.whole) == ((25, 25), True)
    gate = receptive_field(chain(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1)), 9)
    assert (gate.size, gate.whole) == ((0, 0), True)


@pytest.mark.parametrize(
    ("module", "whole"),
    [
        (nn.GroupNorm(1, 3), True),
        (nn.InstanceNorm2d(3), True),
        (nn.BatchNorm2d(3), False),
        (nn.Softmax(dim=1), False),
        (nn.Softmax(dim=2), True),
        (nn.PReLU(), False),
    ],
)
def test_norms(module: nn.Module, whole: bool) -> None:
    field = receptive_field(module, 9)
    assert (field.size, field.whole) == ((1, 1), whole)


def test_bins_of_a_pyramid() -> None:
    class Bins(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(F.adaptive_avg_pool2d(x, 3), x.shape[2:], mode="nearest")

    assert receptive_field(Bins(), 30).rows.tolist() == list(range(10, 20))


def test_switches_are_followed() -> None:
    class Mirror(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.unpool = SwitchPool(), Unpool()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.unpool(*self.pool(x))

    assert receptive_field(Mirror(), 9, position=(4, 8)).rows.tolist() == [4, 5]


def test_shuffling_a_flat_map_and_back() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.mix(x.flatten(2).transpose(1, 2))
            return tokens.transpose(1, 2).reshape(x.shape)

    assert receptive_field(chain(nn.Conv2d(3, 3, 3), Tokens()), 9, 11).size == (3, 3)


def test_stacked_maps_are_followed() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.far = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=3, dilation=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.near(x), self.far(x)], 1).sum(1)

    assert (receptive_field(Stacked(), 9).rows - 4).tolist() == [-3, -1, 0, 1, 3]


def test_attention_sees_the_whole_image() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(2)
            return (tokens @ (tokens.transpose(1, 2) @ tokens).softmax(-1)).reshape(x.shape)

    assert receptive_field(Attention(), 9).whole


def test_the_module_stays_as_it_was() -> None:
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    receptive_field(net, 65)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


# Refusals -------------------------------------------------------------------------------------------------------------


class Rolled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.roll(1, 3)


class Windowed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (2, 4))


class Strips(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.mean(2, keepdim=True)


class Joined(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], 2)


class Written(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        map = F.conv2d(x, x.new_ones(3, 3, 3, 3), padding=1)
        map[:, :2] += x[:, :2]
        return map


class Turned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.mT


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Rolled(), r"^0 \(Rolled\) calls aten.roll: it is not known here which positions it reads; its receptive"),
        (nn.Unfold(2), "calls aten.im2col: it is not known"),
        (Windowed(), r"calls aten.view: it makes \(1, 3, 2, 4, 8\) of \(1, 3, 8, 8\), which takes the positions"),
        (Strips(), "calls aten.mean: it reduces one axis of a map and keeps the other"),
        (Joined(), "calls aten.cat: it joins maps along height or width"),
        (Written(), "calls aten.add_: it writes into a part of another map"),
        (Turned(), "calls aten.add: its maps have height and width in different dimensions"),
    ],
)
def test_a_call_that_is_not_known_is_an_error(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        receptive_field(chain(module), 8)


def test_positions_outside_and_nothing_of_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"position \(7, 0\) came; the map has 7 x 7"):
        receptive_field(nn.Conv2d(3, 1, 3), 9, position=(7, 0))

    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(1)

    with pytest.raises(ValueError, match="Constant returns nothing that is computed from the image"):
        receptive_field(Constant(), 9)


# The effective one ----------------------------------------------------------------------------------------------------


def test_effective_field_of_a_mean_is_flat() -> None:
    net = nn.Conv2d(1, 2, 3, padding=1)
    nn.init.ones_(net.weight)
    effective = effective_receptive_field(net, torch.rand(2, 1, 9, 9), (4, 2))
    expected = np.zeros((9, 9), np.float32)
    expected[3:6, 1:4] = 1 / 9
    np.testing.assert_allclose(effective, expected, atol=1e-7)
    assert net.weight.grad is None


def test_effective_field_lies_within_the_theoretical_one_and_is_smaller() -> None:
    torch.manual_seed(0)
    net = chain(nn.Conv2d(3, 8, 3), nn.ReLU(), *(nn.Conv2d(8, 8, 3) for _ in range(9))).eval()
    effective, field = effective_receptive_field(net, torch.randn(4, 3, 41, 41)), receptive_field(net, 41)
    assert np.flatnonzero(effective.sum(1)).tolist() == field.rows.tolist()
    assert effective.sum() == pytest.approx(1, abs=1e-5)
    assert 1 < radius_of(effective, 0.68) < radius_of(effective, 0.95) < field.size[0] / 2


def test_the_largest_logit_is_the_one_that_is_asked() -> None:
    net = nn.Conv2d(1, 2, 3, bias=False)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[0, 0, 0, 0], net.weight[1, 0, 2, 2] = 1, -1
    effective = effective_receptive_field(net, torch.ones(1, 1, 3, 3))
    assert np.argwhere(effective).tolist() == [[0, 0]]


def test_effective_field_refuses_a_position_outside() -> None:
    with pytest.raises(ValueError, match=r"position \(0, 3\) came; the logits have 3 x 3"):
        effective_receptive_field(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 5, 5), (0, 3))


def test_radius() -> None:
    spot = np.zeros((9, 9), np.float32)
    assert radius_of(spot, 0.5) == 0
    spot[4, 4], spot[4, 7] = 3, 1
    assert radius_of(spot, 0.75, (4, 4)) == 0
    assert radius_of(spot, 0.76, (4, 4)) == 3
    assert radius_of(spot, 1.0, (4, 4)) == 3
    with pytest.raises(ValueError, match="share 0 came; it is above 0 and at most 1"):
        radius_of(spot, 0)
