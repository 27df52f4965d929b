"""DeepLab v3+ against the paper's counts, sizes and multiply-adds."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from atrous.contract import Geometry
from atrous.models import deeplab_v3plus


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def on_meta(**options):
    with torch.device("meta"):
        return deeplab_v3plus(**options).eval()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 59_344_309),
        ({"encoder": "resnet101"}, 59_344_309),
        ({"encoder": "resnet101_beta"}, 59_468_085),
        ({"encoder": "resnet50"}, 40_352_181),
        ({"encoder": "resnet101", "separable": True}, 45_688_261),
        ({"output_stride": 8, "multigrid": (1, 2, 4)}, 59_344_309),
    ],
)
def test_parameter_counts(options, count):
    assert parameters(on_meta(**options)) == count


def test_parameter_counts_of_the_parts():
    net = on_meta()
    assert parameters(net.aspp) == 15_535_104
    assert parameters(net.reduce) + parameters(net.refine) + parameters(net.classify) == 1_309_045


@pytest.mark.parametrize(("encoder", "billions"), [("resnet101", 92.82), ("resnet101_beta", 97.81)])
def test_multiply_adds_and_logits_at_513(encoder, billions):
    net = on_meta(encoder=encoder)
    with FlopCounterMode(display=False) as counter:
        logits = net(torch.empty(1, 3, 513, 513, device="meta"))
    assert logits.shape == (1, 21, 129, 129)
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.parametrize(
    ("stride", "rates"), [(None, (6, 12, 18)), (8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))]
)
def test_rates_follow_the_output_stride(stride, rates):
    net = on_meta(encoder="resnet18", output_stride=stride, width=1 / 8)
    assert [branch[0].dilation[0] for branch in net.aspp.branches] == [1, *rates]
    side = stride or 16
    assert net.encoder.strides[-1] == side
    assert net.geometry == Geometry(multiple=side, offset=1, minimum=side + 1, stride=4, align_corners=True)


def test_widths_and_channels():
    net = on_meta(classes=4, in_channels=2, encoder="resnet50_beta", width=1 / 8)
    assert (net.encoder.in_channels, net.encoder.channels) == (2, (32, 256))
    assert (net.reduce[0].out_channels, net.classify.in_channels, net.classify.out_channels) == (6, 32, 4)
    assert net.preprocessing_padding == "mean"


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50_beta"])
@torch.no_grad()
def test_forward_is_the_figure(encoder):
    net = deeplab_v3plus(3, encoder=encoder, width=1 / 8).eval()
    x = torch.randn(2, 3, 65, 33, generator=torch.Generator().manual_seed(0))
    features = net.encoder(x)
    low = features[net.encoder.strides.index(4)]
    assert low.shape[2:] == (17, 9)
    deep = functional.interpolate(net.aspp(features[-1]), (17, 9), mode="bilinear", align_corners=True)
    expected = net.classify(net.refine(torch.cat([deep, net.reduce(low)], 1)))
    torch.testing.assert_close(net(x), expected)
    assert net(x).shape == (2, 3, 17, 9)


@torch.no_grad()
def test_an_encoder_of_cells_is_not_aligned_at_corners():
    net = deeplab_v3plus(2, encoder="convnext_atto").eval()
    assert net.geometry == Geometry(multiple=32, minimum=32, stride=4)
    assert net(torch.zeros(1, 3, 32, 64)).shape == (1, 2, 8, 16)


def test_initialisation():
    net = deeplab_v3plus(21, encoder="resnet18")
    assert net.classify.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not net.classify.bias.any()
    fan_out = 256 * 9
    assert net.refine[0][0].weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.1]


@torch.no_grad()
def test_pretrained_takes_a_file(tmp_path):
    first = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    save_file(first.encoder.body.state_dict(), tmp_path / "body.safetensors")
    second = deeplab_v3plus(2, encoder="resnet18", width=1 / 8, pretrained=tmp_path / "body.safetensors")
    torch.testing.assert_close(dict(second.encoder.state_dict()), dict(first.encoder.state_dict()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "1 classes came; a segmentation has at least 2"),
        ({"output_stride": 4}, "output stride 4 came; deeplab_v3plus has 8, 16 or 32"),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known; near it: .*resnet101"),
        ({"encoder": "convnext_atto", "width": 0.5}, "width 0.5 came, but 'convnext_atto' has fixed channels"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        deeplab_v3plus(**options)
