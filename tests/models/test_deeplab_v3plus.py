"""DeepLab v3+ against the paper's counts, sizes and multiply-adds."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from atrous.conformance import TOLERANCE, check
from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.layers.norm import FrozenBatchNorm
from atrous.models import Segmenter, deeplab_v3plus

SMALL = ((1, 1), (1, 97), (33, 17), (48, 49), (64, 100))


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
        ({"encoder": "xception65"}, 41_055_413),
        ({"encoder": "xception65_paper"}, 41_055_413),
        ({"encoder": "xception65", "separable": False}, 54_711_461),
    ],
)
def test_parameter_counts(options, count):
    assert parameters(on_meta(**options)) == count


def test_parameter_counts_of_the_parts():
    net = on_meta()
    assert parameters(net.aspp) == 15_535_104
    assert parameters(net.reduce) + parameters(net.refine) + parameters(net.classify) == 1_309_045


@pytest.mark.parametrize(
    ("options", "billions"),
    [
        ({"encoder": "resnet101"}, 92.82),
        ({"encoder": "resnet101_beta"}, 97.81),
        ({"encoder": "xception65"}, 54.04),
        ({"encoder": "xception65", "output_stride": 8}, 176.85),
        ({"encoder": "xception65", "separable": False}, 86.68),
        ({"encoder": "xception65", "separable": False, "output_stride": 8}, 248.78),
    ],
)
def test_multiply_adds_and_logits_at_513(options, billions):
    net = on_meta(**options)
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


# The network of segmentation_models_pytorch ---------------------------------------------------------------------------


@torch.no_grad()
def lively(net, seed=0):
    """Give every norm other statistics than 0 and 1, and the scores more spread, so that equality means something."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    return net.eval()


def assert_agree(ours, theirs):
    """See that two maps differ by 1e-5 of the largest value at most, and that there is something to see."""
    assert theirs.std() > 0.1
    bound = TOLERANCE * max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=0)


def smps_name(name):
    """Return what segmentation_models_pytorch calls a tensor of ours; separable ones have an inner pair."""
    pair = {"0": "0.0", "1": "0.1", "2": "1"}
    name = re.sub(r"^encoder\.body\.", "encoder.", name)
    name = re.sub(r"^aspp\.branches\.0\.", "decoder.aspp.0.convs.0.", name)
    name = re.sub(r"^aspp\.branches\.(\d)\.(\d)", lambda at: f"decoder.aspp.0.convs.{at[1]}.{pair[at[2]]}", name)
    name = re.sub(r"^aspp\.pooling\.project\.(\d)", lambda at: f"decoder.aspp.0.convs.4.{int(at[1]) + 1}", name)
    name = re.sub(r"^aspp\.project\.", "decoder.aspp.0.project.", name)
    name = re.sub(r"^smooth\.([01])\.", r"decoder.aspp.1.\1.", name)
    name = re.sub(r"^smooth\.2\.", "decoder.aspp.2.", name)
    name = re.sub(r"^reduce\.", "decoder.block1.", name)
    name = re.sub(r"^refine\.0\.(\d)", lambda at: f"decoder.block2.{pair[at[1]]}", name)
    return re.sub(r"^classify\.", "segmentation_head.0.", name)


@pytest.mark.parametrize(("encoder", "stride"), [("resnet18", 16), ("resnet18", 8), ("resnet34", 16), ("resnet34", 8)])
@torch.no_grad()
def test_agrees_with_smp(encoder, stride):
    import segmentation_models_pytorch as smp

    theirs = smp.DeepLabV3Plus(encoder, encoder_weights=None, encoder_output_stride=stride, classes=5)
    state = lively(theirs).state_dict()
    ours = deeplab_v3plus(5, encoder=encoder, head="smp", output_stride=stride).eval()
    names = {name: smps_name(name) for name in ours.state_dict()}
    assert set(names.values()) == set(state)
    ours.load_state_dict({name: state[each] for name, each in names.items()})
    preprocessing = Preprocessing(low=0, high=1, mean=(0, 0, 0), std=(1, 1, 1))
    segmenter = Segmenter(ours, LabelSpace(names=tuple("abcde")), preprocessing).eval()
    for height, width in ((64, 64), (48, 128), (32, 80)):
        x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height))
        assert_agree(segmenter.logits(x), theirs(x))


@pytest.mark.parametrize("stride", [8, 16])
def test_the_head_of_smp(stride):
    net = on_meta(encoder="resnet18", head="smp", output_stride=stride, width=1 / 8)
    assert net.geometry == Geometry(multiple=stride, minimum=2 * stride, stride=4, align_corners=True)
    assert [branch[0].dilation[0] for branch in net.aspp.branches] == [1, 12, 24, 36]
    assert (len(net.refine), net.aspp.dropout.p) == (1, 0.5)
    plain = on_meta(encoder="resnet18", head="smp", separable=False, width=1 / 8)
    assert (plain.aspp.branches[1][0].groups, plain.refine[0][0].groups) == (1, 38)


# Promises, weights and refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "resnet18"},
        {"encoder": "resnet18", "norm": "group", "width": 1 / 2},  # narrower, groups of pooled values are too small
        {"encoder": "resnet18", "norm": "frozen"},
        {"encoder": "resnet18", "head": "smp"},
        {"encoder": "xception65"},
        {"encoder": "xception65_paper", "norm": "group", "output_stride": 8, "width": 1 / 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_conformance(options):
    check(deeplab_v3plus, **{"width": 1 / 8, "sizes": SMALL, **options})


@pytest.mark.parametrize(("norm", "kind"), [("frozen", FrozenBatchNorm), ("group", nn.GroupNorm)])
def test_norm_is_an_option(norm, kind):
    net = deeplab_v3plus(3, encoder="resnet18", width=1 / 8, norm=norm)
    assert not [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert sum(isinstance(layer, kind) for layer in net.modules()) == 30


def test_dropout_is_an_option():
    assert on_meta(encoder="resnet18", width=1 / 8, dropout=0.0).aspp.dropout.p == 0


@torch.no_grad()
def test_pretrained_takes_a_file(tmp_path):
    first = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    save_file(first.encoder.body.state_dict(), tmp_path / "body.safetensors")
    second = deeplab_v3plus(2, encoder="resnet18", width=1 / 8, pretrained=tmp_path / "body.safetensors")
    torch.testing.assert_close(dict(second.encoder.state_dict()), dict(first.encoder.state_dict()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "deeplab_v3plus: 1 classes came; a segmentation has 2 to 255"),
        ({"width": 0}, "deeplab_v3plus: width 0 came"),
        ({"head": "torchvision"}, "deeplab_v3plus: head 'torchvision' came; there are paper, smp"),
        ({"encoder": "vgg11"}, r"encoder 'vgg11' cannot give feature maps at output stride 16"),
        ({"output_stride": 4}, "output stride 4 came; deeplab_v3plus has 8, 16 or 32"),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known; near it: .*resnet101"),
        ({"encoder": "convnext_atto", "width": 0.5}, "width 0.5 came, but 'convnext_atto' has fixed channels"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        deeplab_v3plus(**options)
