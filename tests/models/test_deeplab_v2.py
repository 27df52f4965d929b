"""DeepLab v2: counts for three sets of classes, fields of the rates, both heads by hand, norms, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from atrous import conformance
from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.layers.norm import FrozenBatchNorm
from atrous.layers.vgg_atrous import AtrousVGG16
from atrous.models.deeplab_v1 import deeplab_v1
from atrous.models.deeplab_v2 import RATES, DeepLabV2VGG, deeplab_v2
from atrous.models.multiscale import MultiScale
from atrous.training import parameter_groups

FEW = ((1, 1), (1, 65), (50, 33))
VGG, CAFFE = {"encoder": "vgg16"}, {"encoder": "resnet50_caffe"}


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def on_meta(**options):
    with torch.device("meta"):
        return deeplab_v2(**options).eval()


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 44_048_532),
        ({"classes": 19}, 43_901_068),
        ({"classes": 60}, 46_924_080),
        ({"encoder": "resnet101"}, 44_048_532),
        ({"norm": "batch"}, 44_048_532),
        ({"multiscale": True}, 44_048_532),
        ({"head": "largefov"}, 42_887_253),
        (VGG, 37_877_652),
        ({**VGG, "head": "aspp-s"}, 37_877_652),
        ({**VGG, "head": "largefov"}, 20_505_429),
        ({**VGG, "head": "largefov", "multiscale": True}, 20_505_429),
    ],
)
def test_parameter_counts(options, count):
    assert parameters(on_meta(**options)) == count


@pytest.mark.parametrize(
    "options",
    [
        VGG,
        {**VGG, "head": "aspp-s"},
        {**VGG, "head": "largefov"},
        CAFFE,
        {**CAFFE, "head": "largefov", "output_stride": 16, "dropout": 0.5},
        {**CAFFE, "norm": "batch", "output_stride": 32},
        {**CAFFE, "norm": "group"},
        {"encoder": "resnet18", "multiscale": True},
        {**VGG, "multiscale": True},
    ],
    ids=str,
)
def test_conforms(options):
    conformance.check(deeplab_v2, width=1 / 8, **options)


@pytest.mark.parametrize("multiscale", [False, True])
def test_the_papers_own_conforms(multiscale):
    conformance.check(deeplab_v2, width=1 / 8, multiscale=multiscale, sizes=FEW)


def test_an_encoder_of_cells_conforms():
    conformance.check(deeplab_v2, encoder="convnext_atto", multiscale=True, sizes=FEW[:1])


@pytest.mark.parametrize("options", [VGG, CAFFE, {**CAFFE, "multiscale": True}], ids=str)
def test_one_channel_conforms(options):
    grey = Preprocessing(mean=(0.5,), std=(0.25,))
    conformance.check(deeplab_v2, classes=2, preprocessing=grey, in_channels=1, width=1 / 8, sizes=FEW, **options)


@pytest.mark.parametrize(("rate", "field"), [(6, 323), (12, 419), (18, 515), (24, 611)])
def test_receptive_fields_of_the_rates(rate, field):
    net = DeepLabV2VGG(AtrousVGG16(rates=(rate,), hidden=64, in_channels=1, width=1 / 64), 2).eval()
    conformance.check_receptive_field(net, field, channels=1)


@pytest.mark.parametrize(("head", "field"), [("aspp-l", 611), ("aspp-s", 419), ("largefov", 419)])
def test_receptive_fields_of_the_heads(head, field):
    net = deeplab_v2(2, in_channels=1, encoder="vgg16", head=head, width=1 / 64).eval()
    conformance.check_receptive_field(net, field, channels=1)


@pytest.mark.parametrize(("side", "grid"), [(321, 41), (513, 65), (241, 31), (161, 21)])
@pytest.mark.parametrize("encoder", ["vgg16", "resnet101_caffe"])
def test_sizes(encoder, side, grid):
    net = on_meta(encoder=encoder)
    assert net(torch.empty(1, 3, side, 33, device="meta")).shape == (1, 21, grid, 5)
    assert net.geometry == Geometry(multiple=8, offset=1, minimum=9, stride=8, align_corners=True)
    assert (net.preprocessing_padding, net.classes) == ("mean", 21)


@torch.no_grad()
def test_pyramid_of_vgg_is_the_figure():
    net, image = deeplab_v2(3, encoder="vgg16", width=1 / 64).eval(), images(2, 3, 41, 33)
    body, pool5 = net.encoder, net.encoder.vgg(image)[4]
    expected = 0
    for place, rate in enumerate((6, 12, 18, 24), 1):
        fc6, fc7 = getattr(body, f"fc6_{place}"), getattr(body, f"fc7_{place}")
        x = torch.relu(functional.conv2d(pool5, fc6.weight, fc6.bias, padding=rate, dilation=rate))
        expected = expected + getattr(net, f"fc8_{place}")(torch.relu(fc7(x)))
    torch.testing.assert_close(net(image), expected)


@torch.no_grad()
def test_largefov_is_v1s_without_its_mean():
    net, image = deeplab_v2(3, encoder="vgg16", head="largefov", width=1 / 64).eval(), images(1, 3, 41, 33)
    old = deeplab_v1(3, width=1 / 64).eval()
    old.load_state_dict(net.state_dict())
    assert not torch.allclose(old(image), net(image))
    old.encoder.pool5a = nn.Identity()
    torch.testing.assert_close(old(image), net(image))


@pytest.mark.parametrize(("stride", "rates"), [(8, (6, 12, 18, 24)), (16, (3, 6, 9, 12)), (32, (1, 3, 4, 6))])
@torch.no_grad()
def test_pyramid_of_a_resnet_is_the_figure(stride, rates):
    net = deeplab_v2(3, encoder="resnet50_caffe", output_stride=stride, width=1 / 8).eval()
    image = images(2, 3, 65, 33)
    features = net.encoder(image)[-1]
    expected = sum(
        functional.conv2d(features, layer.weight, layer.bias, padding=rate, dilation=rate)
        for layer, rate in zip(net.aspp.children(), rates, strict=True)
    )
    assert list(dict(net.aspp.named_children())) == ["c0", "c1", "c2", "c3"]
    torch.testing.assert_close(net(image), expected)


def test_rates_are_the_papers():
    assert RATES == {"aspp-l": (6, 12, 18, 24), "aspp-s": (2, 4, 8, 12), "largefov": (12,)}


def test_initialisation():
    net = deeplab_v2(21, encoder="resnet50_caffe", width=1 / 8)
    for layer in net.aspp.children():
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("options", "shares"),
    [(VGG, [0.5]), ({**VGG, "dropout": 0.1}, [0.1]), (CAFFE, [0.0]), ({**CAFFE, "dropout": 0.1}, [0.1])],
)
def test_dropout(options, shares):
    net = deeplab_v2(2, width=1 / 64, **options)
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == shares


# Norms ----------------------------------------------------------------------------------------------------------------


def test_norms_are_frozen_as_published():
    net = deeplab_v2(2, encoder="resnet50_caffe", width=1 / 8).train()
    norms = [layer for layer in net.modules() if isinstance(layer, FrozenBatchNorm)]
    assert len(norms) == 53
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(images(2, 3, 33, 33)).sum().backward()
    torch.testing.assert_close(dict(net.named_buffers()), before, rtol=0, atol=0)
    learnt = {
        id(weight)
        for group in parameter_groups(net, rate=1, encoder_rate=1, weight_decay=0)
        for weight in group["params"]
    }
    assert not any(id(weight) in learnt for norm in norms for weight in norm.parameters())
    assert len(learnt) == 53 + 8


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)])
def test_norms_can_learn(norm, kind):
    net = deeplab_v2(2, encoder="resnet50_caffe", width=1 / 8, norm=norm)
    assert sum(isinstance(layer, kind) for layer in net.modules()) == 53
    assert all(weight.requires_grad for weight in net.parameters())


def test_frozen_and_learning_norms_share_their_names():
    frozen, batch = (deeplab_v2(2, encoder="resnet50_caffe", width=1 / 8, norm=norm) for norm in (None, "batch"))
    batch.load_state_dict(frozen.state_dict())
    torch.testing.assert_close(batch.eval()(images(1, 3, 33, 33)), frozen.eval()(images(1, 3, 33, 33)))


def test_frozen_scales_that_timm_starts_at_zero_are_woken():
    """A scale of zero that never learns would switch its unit off for good."""
    net = deeplab_v2(2, encoder="resnet18", width=1 / 8)
    assert all(layer.weight.any() for layer in net.modules() if isinstance(layer, FrozenBatchNorm))
    net(images(1, 3, 33, 33)).square().sum().backward()
    assert all(weight.grad.any() for weight in net.parameters() if weight.requires_grad)


def test_an_encoder_without_batch_norm_keeps_its_norms():
    net = deeplab_v2(2, encoder="convnext_atto")
    assert not any(isinstance(layer, FrozenBatchNorm) for layer in net.modules())


# Refusals and weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 256}, "deeplab_v2: 256 classes came; a segmentation has 2 to 255"),
        ({"width": 0}, "deeplab_v2: width 0 came"),
        ({"head": "aspp"}, "deeplab_v2: head 'aspp' came; there are aspp-l, aspp-s, largefov"),
        ({"head": "aspp-s"}, "head 'aspp-s' is VGG16's; 'resnet101_caffe' takes 'aspp-l' or 'largefov'"),
        ({"output_stride": 4}, "deeplab_v2: output stride 4 came; there are 8, 16 and 32"),
        ({"encoder": "vgg16", "output_stride": 16}, "output_stride 16 came, but on vgg16 it is 8; leave it out"),
        ({"encoder": "vgg16", "norm": "batch"}, "norm 'batch' came, but vgg16 has no norms; leave norm out"),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known; near it: .*resnet101"),
        ({"encoder": "convnext_atto", "norm": "frozen"}, "norm 'frozen' came, but Trunk has no batch norm; leave norm"),
        ({"encoder": "resnet18", "width": 1 / 8, "norm": "none"}, "norm 'none' came; there are batch, frozen, group"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        deeplab_v2(**options)


@pytest.mark.parametrize("encoder", [None, "resnet101_caffe", "resnet50_caffe"])
def test_there_are_no_published_weights_of_the_caffe_trunks(encoder):
    other = (encoder or "resnet101_caffe").removesuffix("_caffe")
    words = f"no published weights in a safe format here: take encoder='{other}', .* with `atrous import`"
    with pytest.raises(AtrousError, match=words):
        deeplab_v2(encoder=encoder, pretrained=True)


def test_pretrained_from_a_file_of_the_trunk(tmp_path):
    first = deeplab_v2(2, encoder="resnet50_caffe", width=1 / 8)
    save_file(first.encoder.body.state_dict(), tmp_path / "body.safetensors")
    second = deeplab_v2(2, encoder="resnet50_caffe", width=1 / 8, pretrained=tmp_path / "body.safetensors")
    torch.testing.assert_close(dict(second.encoder.state_dict()), dict(first.encoder.state_dict()))


def test_pretrained_from_a_classifier(tmp_path):
    generator = torch.Generator().manual_seed(0)
    net = deeplab_v2(2, encoder="vgg16", width=1 / 64)
    names = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), range(13), strict=True))
    shapes = [tuple(layer.weight.shape) for layer in net.encoder.vgg.modules() if isinstance(layer, nn.Conv2d)]
    state = {f"features.{at}.weight": torch.randn(shapes[which], generator=generator) for at, which in names.items()}
    state |= {f"features.{at}.bias": torch.randn(shapes[which][0], generator=generator) for at, which in names.items()}
    for layer, inputs in ((0, 8 * 49), (3, 64)):
        state[f"classifier.{layer}.weight"] = torch.randn(64, inputs, generator=generator)
        state[f"classifier.{layer}.bias"] = torch.randn(64, generator=generator)
    save_file(state, tmp_path / "vgg16.safetensors")
    net = deeplab_v2(2, encoder="vgg16", width=1 / 64, pretrained=str(tmp_path / "vgg16.safetensors"))
    torch.testing.assert_close(net.encoder.vgg.stage5.conv5_3.weight.detach(), state["features.28.weight"])
    window = state["classifier.0.weight"].reshape(64, 8, 7, 7)[:, :, ::3, ::3]
    sixth = [getattr(net.encoder, f"fc6_{place}").weight.detach() for place in (1, 2, 3, 4)]
    for each in sixth:
        assert all(any(torch.equal(kept, given) for given in window) for kept in each)
    assert not any(torch.equal(sixth[0], other) for other in sixth[1:])  # a choice of its own


def test_multiscale_is_asked_for():
    net = deeplab_v2(2, encoder="vgg16", width=1 / 64, multiscale=True)
    assert isinstance(net, MultiScale)
    assert isinstance(net.net, DeepLabV2VGG)
