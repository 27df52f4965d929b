"""Following an image through a network without weights: strides, owners, and what is left behind."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous.layers.holes import listed
from atrous.layers.probing import channels_taken, named, pair, steps, without_weights


def seen(net, size=64):
    return [(step.path, step.operation, step.entering, step.leaving) for step in steps(without_weights(net), 3, size)]


def test_strides_are_followed_through_windows_of_any_kind():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2), nn.ConvTranspose2d(4, 4, 2, 2)
    )
    assert seen(net) == [
        ("0", "convolution", 1, 2),
        ("1", "max pooling", 2, 4),
        ("2", "average pooling", 4, 8),
        ("3", "transposed convolution", 8, 8),
    ]


def test_the_numbers_of_a_window_are_those_of_the_call():
    net = nn.Sequential(nn.Conv2d(3, 4, (3, 5), 2, (1, 2), dilation=(1, 2)), nn.MaxPool2d(3, ceil_mode=True))
    convolution, pool = steps(without_weights(net), 3, 64)
    assert (convolution.kernel, convolution.stride, convolution.padding) == ((3, 5), (2, 2), (1, 2))
    assert convolution.dilation == (1, 2)
    assert (pool.kernel, pool.stride, pool.padding, pool.dilation, pool.ceil) == ((3, 3), (3, 3), (0, 0), (1, 1), True)


class Gate(nn.Module):
    """Squeeze-and-excitation: what is computed from the mean has no positions."""

    def __init__(self):
        super().__init__()
        self.conv, self.squeeze = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()


def test_a_mean_has_no_stride_and_what_it_scales_keeps_its_own():
    net = nn.Sequential(Gate(), nn.Conv2d(4, 4, 3, 2, 1))
    assert seen(net) == [
        ("0.conv", "convolution", 1, 4),
        ("0", "average", 4, 4),
        ("1", "convolution", 4, 8),
    ]


class Skipping(nn.Module):
    """Thins a map out and takes a border off, both by indexing."""

    def forward(self, x):
        return functional.conv2d(x[:, :, ::4, ::4], x.new_ones(3, 3, 1, 1))[:, :, 1:-1, 1:-1]


def test_indexing_is_seen_where_the_map_arrives():
    assert seen(nn.Sequential(Skipping(), nn.Conv2d(3, 4, 3))) == [
        ("0", "subsampling", 1, 4),
        ("0", "convolution", 4, 4),
        ("1", "cropping", 4, 4),
        ("1", "convolution", 4, 4),
    ]


def test_a_copy_without_weights_shares_nothing_and_costs_nothing():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    net.extra = net[0]
    copied = without_weights(net)
    assert {tensor.device.type for tensor in copied.state_dict().values()} == {"meta"}
    assert not copied.training
    assert net.training
    assert copied.extra is copied[0]
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"cpu"}


def test_no_hooks_are_left_behind_even_after_a_failure():
    net = without_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)))
    with pytest.raises(ValueError, match=r"^1 \(Conv2d\): "):
        steps(net, 3, 16)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_small_things():
    assert channels_taken(nn.ReLU()) is None
    assert channels_taken(nn.ConvTranspose2d(7, 3, 2)) == 7
    assert named({"": nn.ReLU()}, "") == "the module itself (ReLU)"
    assert pair(torch.Size([2, 3])) == (2, 3)
    assert listed("abcdef") == "a, b, c, d and 2 more"
    assert listed("abcd", "; ") == "a; b; c; d"
