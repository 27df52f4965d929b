"""The Caffe ResNet: where it strides, its rates and sizes, and torchvision's own layers moved to the same places."""

import pytest
import torch
from torch import nn

from atrous.contract import Geometry
from atrous.layers.norm import with_norm
from atrous.layers.resnet_caffe import DEPTHS, Bottleneck, ResNetCaffe
from atrous.layers.trunk import trunk

STAGES = ("layer1", "layer2", "layer3", "layer4")


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(name, **options):
    with torch.device("meta"):
        return trunk(name, **options)


@torch.no_grad()
def lively(net, seed=0):
    """Give every norm other statistics than 0 and 1, so that equality means something."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    return net.eval()


@pytest.mark.parametrize(("name", "count"), [("resnet50_caffe", 23_508_032), ("resnet101_caffe", 42_500_160)])
def test_parameter_counts(name, count):
    assert sum(weight.numel() for weight in on_meta(name).parameters()) == count


@pytest.mark.parametrize(
    ("stride", "side", "sides"),
    [
        (8, 321, [161, 81, 41, 41, 41]),
        (8, 513, [257, 129, 65, 65, 65]),
        (8, 241, [121, 61, 31, 31, 31]),
        (8, 161, [81, 41, 21, 21, 21]),
        (16, 321, [161, 81, 41, 21, 21]),
        (32, 321, [161, 81, 41, 21, 11]),
    ],
)
def test_sizes(stride, side, sides):
    net = on_meta("resnet101_caffe", output_stride=stride)
    assert [features.shape[3] for features in net(torch.empty(1, 3, 33, side, device="meta"))] == sides
    assert net.strides == (2, 4, 8, *((8, 8) if stride == 8 else (16, stride)))
    assert net.channels == (64, 256, 512, 1024, 2048)
    assert net.geometry == Geometry(multiple=stride, offset=1, minimum=stride + 1, stride=stride, align_corners=True)


@pytest.mark.parametrize(("stride", "rates"), [(8, (1, 1, 2, 4)), (16, (1, 1, 1, 2)), (32, (1, 1, 1, 1))])
def test_every_unit_of_a_stage_has_one_rate_and_the_first_1x1_its_stride(stride, rates):
    body = on_meta("resnet50_caffe", output_stride=stride).body
    for place, (stage, rate) in enumerate(zip(STAGES, rates, strict=True)):
        units = list(getattr(body, stage))
        assert [unit.conv2.dilation for unit in units] == [(rate, rate)] * len(units)
        assert [unit.conv2.stride for unit in units] == [(1, 1)] * len(units)
        step = 2 if place and 4 * 2**place <= stride else 1
        assert [unit.conv1.stride[0] for unit in units] == [step] + [1] * (len(units) - 1)
        assert units[0].downsample[0].stride == (step, step)


@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_the_hole_algorithm_gives_the_strided_map_on_its_grid(stride):
    strided = lively(ResNetCaffe(DEPTHS["resnet50_caffe"], output_stride=32, width=1 / 8))
    dense = ResNetCaffe(DEPTHS["resnet50_caffe"], output_stride=stride, width=1 / 8).eval()
    dense.load_state_dict(strided.state_dict())
    x = images(1, 3, 129, 97)
    coarse, fine = strided(x)[-1], dense(x)[-1]
    step = 32 // stride
    assert coarse.shape[2:] == (5, 4)
    assert coarse.abs().max() > 0.1
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_is_torchvisions_with_the_strides_moved_and_the_pool_rounding_up():
    from torchvision.models.resnet import Bottleneck as Theirs
    from torchvision.models.resnet import ResNet

    net = lively(ResNetCaffe(DEPTHS["resnet50_caffe"], output_stride=32))
    theirs = ResNet(Theirs, [3, 4, 6, 3], num_classes=1).eval()
    missing = theirs.load_state_dict(net.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert missing.missing_keys == ["fc.weight", "fc.bias"]
    theirs.maxpool.ceil_mode = True
    for stage in STAGES[1:]:
        first = getattr(theirs, stage)[0]
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    x = images(1, 3, 72, 65)
    expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    assert expected.shape[2:] == (19, 17)  # 36 rows become 18.5, and those 19
    for stage in STAGES:
        expected = getattr(theirs, stage)(expected)
    torch.testing.assert_close(net(x)[-1], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_unit_by_hand():
    unit = lively(Bottleneck(8, 4, stride=2, rate=3, first=True))
    x = images(1, 8, 9, 9)
    inside = torch.relu(unit.bn1(nn.functional.conv2d(x, unit.conv1.weight, stride=2)))
    inside = torch.relu(unit.bn2(nn.functional.conv2d(inside, unit.conv2.weight, padding=3, dilation=3)))
    inside = unit.bn3(nn.functional.conv2d(inside, unit.conv3.weight))
    around = unit.downsample[1](nn.functional.conv2d(x, unit.downsample[0].weight, stride=2))
    torch.testing.assert_close(unit(x), torch.relu(inside + around))


@torch.no_grad()
def test_a_frozen_trunk_keeps_the_size_of_its_signal():
    """Without a small scale of each residual 33 sums would double the variance 33 times."""
    torch.manual_seed(0)
    net = with_norm(ResNetCaffe(DEPTHS["resnet101_caffe"], output_stride=8, width=1 / 4), "frozen").train()
    assert 0.1 < net(images(1, 3, 65, 65))[-1].std() < 10


def test_other_output_strides_are_refused():
    with pytest.raises(ValueError, match="output stride 4 came; this trunk has 8, 16 or 32"):
        trunk("resnet50_caffe", output_stride=4, width=1 / 8)
