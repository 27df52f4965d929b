"""DeepLab v3 against the paper's counts, sizes and multiply-adds, and against torchvision and smp."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from atrous.conformance import TOLERANCE, awaken, check
from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.layers.norm import FrozenBatchNorm
from atrous.models import Segmenter
from atrous.models.deeplab_v3 import deeplab_v3
from atrous.models.deeplab_v3_cascade import CascadedDeepLabV3, Unit

SMALL = ((1, 1), (1, 97), (33, 17), (48, 49), (64, 100))


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(**options):
    with torch.device("meta"):
        return deeplab_v3(**options).eval()


def unit_rates(units):
    """Return the atrous rate of the last 3x3 of each unit."""
    return [
        [layer.dilation[0] for layer in unit.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)][
            -1
        ]
        for unit in units
    ]


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


# The paper's numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 58_040_661),
        ({"encoder": "resnet50"}, 39_048_533),
        ({"encoder": "resnet101_beta"}, 58_164_437),
        ({"encoder": "resnet50_beta", "output_stride": 8}, 39_172_309),
        ({"cascade": 3}, 95_301_717),
        ({"encoder": "resnet50", "cascade": 3}, 76_309_589),
        ({"encoder": "resnet50", "cascade": 2}, 76_309_589 - 17_586_176),
        ({"encoder": "resnet50", "cascade": 1}, 76_309_589 - 2 * 17_586_176),
        ({"encoder": "resnet50", "head": "torchvision"}, 39_638_869),
        ({"head": "torchvision"}, 58_630_997),
        ({"encoder": "resnet50", "head": "torchvision", "auxiliary": True}, 42_004_074),
        ({"head": "torchvision", "auxiliary": True}, 60_996_202),
        ({"encoder": "resnet50", "separable": True}, 39_048_533 - 3 * (4_719_104 - 547_328)),
        ({"encoder": "resnet50", "rates": (6, 12, 18, 24)}, 39_048_533 + 4_719_104 + 256 * 256),
    ],
)
def test_parameter_counts(options, count):
    assert parameters(on_meta(**options)) == count


def test_parameter_count_of_the_head():
    net = on_meta(encoder="resnet50")
    assert parameters(net.aspp) + parameters(net.classify) == 15_540_501


@pytest.mark.parametrize(
    ("stride", "side", "rates", "billions"),
    [(8, 65, (12, 24, 36), 252.25), (16, 33, (6, 12, 18), 76.05), (32, 17, (3, 6, 9), 51.41)],
)
def test_multiply_adds_and_logits_at_513(stride, side, rates, billions):
    net = on_meta(encoder="resnet101_beta", output_stride=stride)
    with FlopCounterMode(display=False) as counter:
        logits = net(torch.empty(1, 3, 513, 513, device="meta"))
    assert logits.shape == (1, 21, side, side)
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, abs=0.005)
    assert [branch[0].dilation[0] for branch in net.aspp.branches] == [1, *rates]
    assert net.geometry == Geometry(multiple=stride, offset=1, minimum=stride + 1, stride=stride, align_corners=True)


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"encoder": "resnet50_beta"}, [2, 4, 8]),
        ({"encoder": "resnet50_beta", "output_stride": 8}, [4, 8, 16]),
        ({"encoder": "resnet50_beta", "output_stride": 32}, [1, 2, 4]),
        ({"encoder": "resnet50_beta", "multigrid": (1, 1, 1)}, [2, 2, 2]),
        ({"encoder": "resnet50_beta", "cascade": 3}, [2, 4, 2]),
        ({"encoder": "resnet50"}, [2, 4, 8]),
        ({"encoder": "resnet50", "head": "torchvision"}, [2, 4, 4]),
        ({"encoder": "resnet50", "head": "smp"}, [4, 4, 4]),
        ({"encoder": "resnet50", "head": "smp", "multigrid": (1, 2, 4)}, [4, 8, 16]),
        ({"encoder": "resnet18"}, [2, 2]),
        ({"encoder": "resnet18", "multigrid": (1, 3)}, [2, 6]),
    ],
)
def test_multigrid_of_block4(options, rates):
    assert unit_rates(on_meta(**options, width=1 / 8).encoder.body.layer4) == rates


# The cascade ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "factor"), [(32, 2), (16, 4), (8, 8)])
def test_the_cascade_doubles_its_rates_and_keeps_its_size(stride, factor):
    net = on_meta(encoder="resnet50_beta", output_stride=stride, cascade=3)
    assert isinstance(net, CascadedDeepLabV3)
    rates = [unit_rates(block) for block in net.blocks]
    assert rates == [
        [factor, 2 * factor, factor],
        [2 * factor, 4 * factor, 2 * factor],
        [4 * factor, 8 * factor, 4 * factor],
    ]
    side = 512 // stride + 1
    assert net(torch.empty(1, 3, 513, 513, device="meta")).shape == (1, 21, side, side)
    assert net.geometry.stride == stride
    assert list(dict(net.blocks.named_children())) == ["block5", "block6", "block7"]


def test_the_cascade_takes_other_unit_rates():
    net = on_meta(encoder="resnet50_beta", cascade=1, multigrid=(1, 2, 3), width=1 / 8)
    assert (unit_rates(net.encoder.body.layer4), unit_rates(net.blocks[0])) == ([2, 4, 6], [4, 8, 12])


@torch.no_grad()
def test_the_cascade_is_the_figure():
    net = lively(deeplab_v3(3, encoder="resnet18", cascade=2, width=1 / 8))
    x = images(2, 3, 65, 33)
    deep = net.encoder(x)[-1]
    for block in (net.blocks.block5, net.blocks.block6):
        for place, unit in enumerate(block):
            residual = unit.conv3(unit.conv2(unit.conv1(deep)))
            deep = (residual + (unit.shortcut(deep) if place == 0 else deep)).relu()
    torch.testing.assert_close(net(x), net.classify(deep))
    assert net(x).shape == (2, 3, 5, 3)


def test_units_look_a_rate_away():
    unit = lively(Unit(4, rate=3, projected=False))
    x = torch.zeros(1, 4, 9, 9)
    x[0, :, 4, 4] = torch.nan
    reached = unit(x)[0, 0].isnan().nonzero().tolist()
    assert reached == [[row, column] for row in (1, 4, 7) for column in (1, 4, 7)]


# The figure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["paper", "torchvision", "smp"])
@torch.no_grad()
def test_forward_is_the_figure(head):
    net = lively(deeplab_v3(3, encoder="resnet18", width=1 / 8, head=head, output_stride=16))
    x = images(2, 3, 64, 32)
    pyramid = net.aspp(net.encoder(x)[-1])
    if head != "paper":
        pyramid = net.refine[2](net.refine[1](net.refine[0](pyramid)))
    torch.testing.assert_close(net(x), net.classify(pyramid))
    assert net(x).shape == (2, 3, 4, 2)
    assert net.preprocessing_padding == "mean"


def test_rates_dropout_and_separable():
    net = on_meta(encoder="resnet18", width=1 / 8, rates=[2, 3], dropout=0.3, separable=True)
    assert [branch[0].dilation[0] for branch in net.aspp.branches] == [1, 2, 3]
    assert [branch[0].groups for branch in net.aspp.branches] == [1, 64, 64]
    assert net.aspp.dropout.p == 0.3
    assert on_meta(encoder="resnet18", width=1 / 8).aspp.dropout.p == 0.1
    assert on_meta(encoder="resnet18", width=1 / 8, head="torchvision").aspp.dropout.p == 0.5
    peer = on_meta(encoder="resnet18", width=1 / 8, head="torchvision", output_stride=16)
    assert [branch[0].dilation[0] for branch in peer.aspp.branches] == [1, 12, 24, 36]


@pytest.mark.parametrize(("separable", "groups"), [(None, 128), (False, 1)])
def test_xception_is_separable_by_itself(separable, groups):
    net = on_meta(encoder="xception65", width=1 / 16, separable=separable)
    assert net.aspp.branches[1][0].groups == groups
    assert net(torch.empty(1, 3, 65, 65, device="meta")).shape == (1, 21, 5, 5)


@torch.no_grad()
def test_the_auxiliary_head_scores_the_map_before_the_last():
    net = lively(deeplab_v3(3, encoder="resnet18", width=1 / 8, head="torchvision", auxiliary=True))
    x = images(1, 3, 64, 48)
    logits, auxiliary = net.supervised(x)
    torch.testing.assert_close(logits, net(x))
    third = net.encoder(x)[-2]
    assert third.shape == (1, 32, 8, 6)
    torch.testing.assert_close(auxiliary, net.auxiliary(third))
    assert auxiliary.shape == logits.shape == (1, 3, 8, 6)
    assert [type(layer) for layer in net.auxiliary][3:] == [nn.Dropout, nn.Conv2d]
    assert net.auxiliary[3].p == 0.1


def test_supervision_without_an_auxiliary_head_is_the_logits():
    net = deeplab_v3(3, encoder="resnet18", width=1 / 8).eval()
    x = images(1, 3, 33, 33)
    (logits,) = net.supervised(x)
    torch.testing.assert_close(logits, net(x))


def test_a_gradient_step_on_one_image_reaches_both_heads():
    net = awaken(deeplab_v3(3, encoder="resnet18", width=1 / 8, head="torchvision", auxiliary=True))
    logits, auxiliary = net.supervised(images(1, 3, 32, 32))
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_initialisation():
    net = deeplab_v3(21, encoder="resnet18")
    assert net.classify.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not net.classify.bias.any()
    assert net.aspp.branches[1][0].weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("cascade", [0, 1])
def test_norm_is_an_option(cascade):
    net = deeplab_v3(3, encoder="resnet18", width=1 / 8, norm="frozen", cascade=cascade)
    assert not [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert sum(isinstance(layer, FrozenBatchNorm) for layer in net.modules()) > 20


# Peers ----------------------------------------------------------------------------------------------------------------


def assert_agree(ours, theirs):
    """See that two maps differ by 1e-5 of the largest value at most, and that there is something to see."""
    assert theirs.std() > 0.1
    bound = TOLERANCE * max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=0)


def torchvisions_name(name):
    """Return what torchvision calls a tensor of ours."""
    name = re.sub(r"^encoder\.body\.", "backbone.", name)
    name = re.sub(r"^aspp\.branches\.", "classifier.0.convs.", name)
    name = re.sub(r"^aspp\.pooling\.project\.(\d)", lambda found: f"classifier.0.convs.4.{int(found[1]) + 1}", name)
    name = re.sub(r"^aspp\.project\.", "classifier.0.project.", name)
    name = re.sub(r"^refine\.(\d)", lambda found: f"classifier.{int(found[1]) + 1}", name)
    name = re.sub(r"^classify\.", "classifier.4.", name)
    return re.sub(r"^auxiliary\.", "aux_classifier.", name)


def check_against_torchvision(theirs, ours):
    state = lively(theirs).state_dict()
    names = {name: torchvisions_name(name) for name in ours.state_dict()}
    assert set(names.values()) == set(state)
    ours.load_state_dict({name: state[each] for name, each in names.items()})
    preprocessing = Preprocessing(low=0, high=1, mean=(0, 0, 0), std=(1, 1, 1))
    segmenter = Segmenter(ours, LabelSpace(names=tuple(map(str, range(21)))), preprocessing).eval()
    for height, width in ((64, 64), (48, 104), (75, 50)):
        x = images(1, 3, height, width)
        expected = theirs(x)
        for logits, name in zip(ours.supervised(x), expected, strict=True):
            enlarged = functional.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)
            assert_agree(enlarged, expected[name])
        if height % 8 == width % 8 == 0:
            assert_agree(segmenter.logits(x), expected["out"])


@torch.no_grad()
def test_agrees_with_torchvision():
    from torchvision.models.segmentation import deeplabv3_resnet50

    theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    check_against_torchvision(theirs, deeplab_v3(encoder="resnet50", head="torchvision", auxiliary=True).eval())


@pytest.mark.slow
@torch.no_grad()
def test_agrees_with_torchvision_at_101_layers():
    from torchvision.models.segmentation import deeplabv3_resnet101

    theirs = deeplabv3_resnet101(weights=None, weights_backbone=None)
    check_against_torchvision(theirs, deeplab_v3(head="torchvision").eval())


def smps_name(name, separable):
    """Return what segmentation_models_pytorch calls a tensor of ours; separable convolutions have an inner pair."""
    name = re.sub(r"^encoder\.body\.", "encoder.", name)
    if separable:
        pair = {"0": "0.0", "1": "0.1", "2": "1"}
        name = re.sub(r"^(aspp\.branches\.[123])\.(\d)", lambda found: f"{found[1]}.{pair[found[2]]}", name)
    name = re.sub(r"^aspp\.branches\.", "decoder.aspp.convs.", name)
    name = re.sub(r"^aspp\.pooling\.project\.(\d)", lambda found: f"decoder.aspp.convs.4.{int(found[1]) + 1}", name)
    name = re.sub(r"^aspp\.project\.", "decoder.aspp.project.", name)
    name = re.sub(r"^refine\.0\.", "decoder.conv.", name)
    name = re.sub(r"^refine\.1\.", "decoder.bn.", name)
    return re.sub(r"^classify\.", "segmentation_head.0.", name)


@pytest.mark.parametrize(
    ("encoder", "stride", "separable"),
    [("resnet18", 8, False), ("resnet18", 16, False), ("resnet18", 8, True), ("resnet34", 8, False)],
)
@torch.no_grad()
def test_agrees_with_smp(encoder, stride, separable):
    import segmentation_models_pytorch as smp

    options = {"encoder_output_stride": stride, "decoder_aspp_separable": separable}
    theirs = smp.DeepLabV3(encoder, encoder_weights=None, classes=5, **options)
    state = lively(theirs).state_dict()
    ours = deeplab_v3(5, encoder=encoder, head="smp", output_stride=stride, separable=separable).eval()
    names = {name: smps_name(name, separable) for name in ours.state_dict()}
    assert set(names.values()) == set(state)
    ours.load_state_dict({name: state[each] for name, each in names.items()})
    preprocessing = Preprocessing(low=0, high=1, mean=(0, 0, 0), std=(1, 1, 1))
    segmenter = Segmenter(ours, LabelSpace(names=tuple("abcde")), preprocessing).eval()
    for height, width in ((64, 64), (48, 128), (32, 80)):
        x = images(1, 3, height, width)
        assert_agree(segmenter.logits(x), theirs(x))


@pytest.mark.parametrize(
    ("options", "geometry"),
    [
        ({"head": "torchvision"}, Geometry(multiple=8, minimum=16, stride=8)),
        ({"head": "torchvision", "output_stride": 16}, Geometry(multiple=16, minimum=32, stride=16)),
        ({"head": "smp"}, Geometry(multiple=8, minimum=16, stride=8, align_corners=True)),
        ({"head": "smp", "encoder": "convnext_atto"}, Geometry(multiple=32, minimum=32, stride=8, align_corners=True)),
        ({"head": "torchvision", "encoder": "convnext_atto"}, Geometry(multiple=32, minimum=32, stride=8)),
        ({"encoder": "convnext_atto"}, Geometry(multiple=32, minimum=32, stride=16)),
    ],
)
def test_the_sizes_of_peers(options, geometry):
    assert on_meta(**{"encoder": "resnet18", **options}).geometry == geometry


# Promises and refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "resnet50_beta"},
        {"encoder": "resnet18"},
        {"encoder": "resnet18", "norm": "group", "width": 1 / 2},  # narrower, groups of pooled values are too small
        {"encoder": "resnet18", "norm": "frozen"},
        {"encoder": "resnet50", "cascade": 3},
        {"encoder": "resnet18", "head": "torchvision"},
        {"encoder": "resnet18", "head": "smp"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_conformance(options):
    check(deeplab_v3, **{"width": 1 / 8, "sizes": SMALL, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "deeplab_v3: 1 classes came; a segmentation has 2 to 255"),
        ({"in_channels": 0}, "deeplab_v3: 0 input channels came"),
        ({"output_stride": 4}, "output stride 4 came; deeplab_v3 has 8, 16 or 32"),
        ({"output_stride": 0}, "output stride 0 came; deeplab_v3 has 8, 16 or 32"),
        ({"head": "keras"}, "deeplab_v3: head 'keras' came; there are paper, torchvision, smp"),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known; near it: .*resnet101"),
        ({"rates": ()}, r"rates \(\) came; one or more whole numbers of 1 and above are accepted"),
        ({"rates": (6, 0)}, r"rates \(6, 0\) came; one or more whole numbers"),
        ({"rates": 6}, r"rates 6 came; one or more whole numbers of 1 and above are accepted, such as \(6, 12, 18\)"),
        ({"rates": [6.5]}, r"rates \[6.5\] came"),
        ({"multigrid": 3}, r"multigrid 3 came; .* such as \(1, 2, 4\)"),
        ({"cascade": True}, r"cascade True came; it is 0"),
        (
            {"cascade": 1, "encoder": "resnet18", "multigrid": (1, 3)},
            r"multigrid \(1, 3\) came with cascade 1, whose blocks have three units; give three factors, such as",
        ),
        ({"encoder": ""}, "encoder '' is not known"),
        ({"encoder": 5}, "encoder 5 came; the name of one"),
        ({"output_stride": "8"}, "deeplab_v3: output_stride '8' came; a whole number is accepted"),
        ({"dropout": 1}, "deeplab_v3: dropout 1 came; it is a share from 0 to below 1"),
        ({"auxiliary": "no"}, "deeplab_v3: auxiliary 'no' came; True or False is accepted"),
        ({"separable": 1}, "deeplab_v3: separable 1 came; True or False is accepted"),
        ({"pretrained": 5}, "pretrained 5 came"),
        (
            {"multigrid": (1, 2)},
            r"multigrid \(1, 2\) needs one rate per unit of the last stage; 'resnet50' has 3 units",
        ),
        ({"cascade": 4}, r"cascade 4 came; it is 0 \(the pyramid\) to 3 \(up to block7\)"),
        ({"cascade": -1}, "cascade -1 came; it is 0"),
        ({"cascade": 1, "head": "smp"}, "cascade 1 came with head 'smp'; a cascade is the paper's and has no pyramid"),
        (
            {"cascade": 1, "rates": (6,), "auxiliary": True},
            "cascade 1 came with rates, auxiliary; .*leave one of them out",
        ),
        (
            {"encoder": "resnet50_beta", "auxiliary": True},
            r"encoder 'resnet50_beta' has maps at strides \(4, 16\), and the auxiliary .*; leave auxiliary out",
        ),
        ({"norm": "layer"}, "norm 'layer' came; there are batch, frozen, group"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        deeplab_v3(**{"encoder": "resnet50", "width": 1 / 8, **options})
