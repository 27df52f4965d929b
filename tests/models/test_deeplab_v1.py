"""DeepLab v1: the paper's counts and fields, the figure by hand, MSc on both its grids, and weights to start from."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from atrous import conformance
from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.layers.vgg import colours_adapted, draw_he
from atrous.layers.vgg_atrous import decimated
from atrous.layers.vgg_classifier import convolutionalised
from atrous.models.deeplab_v1 import BRANCHES, deeplab_v1, freeze_all_but_branches

FEW = ((1, 1), (1, 65), (50, 33))
MSC = {"multiscale_features": True}
VARIANTS = [
    {},
    {"variant": "7x7"},
    {"variant": "4x4"},
    {"variant": "4x4-wide"},
    MSC,
    {**MSC, "variant": "4x4"},
    {**MSC, "train_branches_only": True},
]


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def on_meta(**options):
    with torch.device("meta"):
        return deeplab_v1(**options).eval()


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 20_505_429),
        ({"variant": "largefov"}, 20_505_429),
        ({"variant": "7x7"}, 134_346_581),
        ({"variant": "4x4"}, 65_140_565),
        ({"variant": "4x4-wide"}, 65_140_565),
        (MSC, 21_711_550),
        ({**MSC, "variant": "4x4"}, 66_346_686),
        ({**MSC, "train_branches_only": True}, 21_711_550),
    ],
)
def test_parameter_counts(options, count):
    assert parameters(on_meta(**options)) == count


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_conforms(options):
    conformance.check(deeplab_v1, width=1 / 8, **options)


@pytest.mark.parametrize("options", [{}, {"variant": "4x4"}, MSC], ids=str)
def test_one_channel_conforms(options):
    grey = Preprocessing(mean=(0.5,), std=(0.25,))
    conformance.check(deeplab_v1, classes=2, preprocessing=grey, in_channels=1, width=1 / 8, sizes=FEW, **options)


@pytest.mark.parametrize(
    ("options", "field"),
    [({}, 435), ({"variant": "7x7"}, 404), ({"variant": "4x4"}, 308), ({"variant": "4x4-wide"}, 404)],
)
def test_receptive_fields(options, field):
    net = deeplab_v1(2, in_channels=1, width=1 / 64, **options).eval()
    conformance.check_receptive_field(net, field, channels=1)


@pytest.mark.parametrize(("side", "grid"), [(321, 41), (513, 65)])
@pytest.mark.parametrize("variant", ["largefov", "7x7", "4x4", "4x4-wide"])
def test_sizes_and_geometry(variant, side, grid):
    net = on_meta(variant=variant)
    assert net(torch.empty(1, 3, side, 65, device="meta")).shape == (1, 21, grid, 9)
    least = {"4x4": 25, "4x4-wide": 57}.get(variant, 9)
    assert net.geometry == Geometry(multiple=8, offset=1, minimum=least, stride=8, align_corners=True)
    assert (net.preprocessing_padding, net.classes) == ("mean", 21)


@torch.no_grad()
def test_forward_is_the_figure():
    net = deeplab_v1(3, width=1 / 64).eval()
    x = image = images(2, 3, 41, 33)
    for place, stage in enumerate(net.encoder.vgg.children(), 1):
        rate = 2 if place == 5 else 1
        for layer in list(stage)[:-1:2]:
            x = torch.relu(functional.conv2d(x, layer.weight, layer.bias, padding=rate, dilation=rate))
        x = functional.max_pool2d(x, 3, 2 if place <= 3 else 1, 1)
    x = functional.avg_pool2d(x, 3, 1, 1)
    x = torch.relu(functional.conv2d(x, net.encoder.fc6.weight, net.encoder.fc6.bias, padding=12, dilation=12))
    x = torch.relu(functional.conv2d(x, net.encoder.fc7.weight, net.encoder.fc7.bias))
    expected = functional.conv2d(x, net.fc8.weight, net.fc8.bias)
    assert expected.shape == (2, 3, 6, 5)
    torch.testing.assert_close(net(image), expected)


def test_initialisation():
    net = deeplab_v1(21, width=1 / 2)
    assert net.fc8.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not net.fc8.bias.any()
    fan_in = net.encoder.fc6.weight[0].numel()
    assert net.encoder.fc6.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert [layer.p for layer in deeplab_v1(dropout=0.3, width=1 / 64).modules() if isinstance(layer, nn.Dropout)] == [
        0.3
    ]


# Multi-scale features -------------------------------------------------------------------------------------------------


def msc(**options):
    torch.manual_seed(0)
    return deeplab_v1(3, width=1 / 32, multiscale_features=True, dropout=0.0, **options)


def by_hand(branch, features, stride):
    x = torch.relu(functional.conv2d(features, branch.conv.weight, branch.conv.bias, stride=stride, padding=1))
    x = torch.relu(functional.conv2d(x, branch.fc.weight, branch.fc.bias))
    return functional.conv2d(x, branch.ms.weight, branch.ms.bias)


@torch.no_grad()
def test_msc_trains_on_the_grid_of_fc8():
    net, image = msc().train(), images(1, 3, 49, 33)
    pooled, (fc7,) = net.encoder(image)
    expected = net.fc8(fc7)
    for stride, features, branch in zip((8, 4, 2, 1, 1), (image, *pooled[:4]), net.branches.values(), strict=True):
        expected = expected + by_hand(branch, features, stride)
    assert expected.shape == (1, 3, 7, 5)
    torch.testing.assert_close(net(image), expected)


@torch.no_grad()
def test_msc_evaluates_on_every_pixel():
    net, image = msc().eval(), images(1, 3, 49, 33)
    pooled, (fc7,) = net.encoder(image)
    scores = [by_hand(b, f, 1) for b, f in zip(net.branches.values(), (image, *pooled[:4]), strict=True)]
    scores.append(net.fc8(fc7))
    assert [each.shape[2] for each in scores] == [49, 25, 13, 7, 7, 7]
    expected = sum(functional.interpolate(each, (49, 33), mode="bilinear", align_corners=True) for each in scores)
    torch.testing.assert_close(net(image), expected)
    assert net.geometry == Geometry(multiple=8, offset=1, minimum=9, stride=1, align_corners=True)


@pytest.mark.parametrize("variant", ["largefov", "4x4"])
@torch.no_grad()
def test_every_eighth_pixel_of_msc_is_what_was_trained(variant):
    net, image = msc(variant=variant), images(1, 3, 49, 65)
    every = net.eval()(image)
    torch.testing.assert_close(every[:, :, ::8, ::8], net.train()(image), atol=1e-5, rtol=1e-4)


def test_msc_starts_from_the_plain_nets_names():
    plain, net = deeplab_v1(width=1 / 64).state_dict(), deeplab_v1(width=1 / 64, **MSC).state_dict()
    assert {name: weight.shape for name, weight in net.items() if not name.startswith("branches.")} == {
        name: weight.shape for name, weight in plain.items()
    }
    assert {name.split(".")[1] for name in net if name.startswith("branches.")} == set(BRANCHES)


def test_only_the_branches_learn():
    net = deeplab_v1(3, width=1 / 64, multiscale_features=True, train_branches_only=True)
    learn = {name for name, weight in net.named_parameters() if weight.requires_grad}
    assert learn == {name for name, _ in net.named_parameters() if name.startswith("branches.")}
    assert len(learn) == 5 * 6
    whole = deeplab_v1(3, width=1 / 64, multiscale_features=True)
    assert all(weight.requires_grad for weight in whole.parameters())
    assert freeze_all_but_branches(whole) is whole
    assert not whole.fc8.weight.requires_grad


def test_initialisation_of_the_branches():
    net = deeplab_v1(21, multiscale_features=True, width=1 / 2)
    for branch in net.branches.values():
        assert branch.ms.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert branch.conv.weight.std().item() == pytest.approx((2 / branch.conv.weight[0].numel()) ** 0.5, rel=0.1)
        assert not branch.conv.bias.any()
        assert not branch.ms.bias.any()


# Refusals and weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "deeplab_v1: 1 classes came; a segmentation has 2 to 255"),
        ({"in_channels": 0}, "deeplab_v1: 0 input channels came"),
        ({"encoder": "resnet50"}, "encoder 'resnet50' came, but this network is VGG16; .* or take deeplab_v2"),
        ({"output_stride": 16}, "deeplab_v1: output_stride 16 came, but its scores have stride 8; leave it out"),
        ({"variant": "5x5"}, "deeplab_v1: variant '5x5' came; there are largefov, 7x7, 4x4, 4x4-wide"),
        ({"train_branches_only": True}, "train_branches_only came without multiscale_features"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        deeplab_v1(**options, width=1 / 64)


def test_builder_accepts_its_own_numbers():
    assert deeplab_v1(2, encoder="vgg16", output_stride=8, width=1 / 64).classes == 2


def narrow_classifier():
    """Return torchvision's VGG16 at 1/64 of its width, with the same names."""
    from torchvision.models.vgg import VGG, make_layers

    plan = [1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"]
    with torch.device("meta"):  # its own classifier has 4096 units, and is replaced
        net = VGG(make_layers(plan), init_weights=False)
    net.features = make_layers(plan)
    net.classifier = nn.Sequential(
        nn.Linear(8 * 49, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)
    )
    draw_he(net)
    return net.eval()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "vgg16.safetensors"
    save_file(narrow_classifier().state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("variant", "size", "filters"), [("largefov", 3, 16), ("7x7", 7, 64), ("4x4", 4, 64), ("4x4-wide", 4, 64)]
)
def test_pretrained_from_a_file(variant, size, filters, weights):
    from safetensors.torch import load_file

    given = convolutionalised(load_file(weights))
    net = deeplab_v1(2, width=1 / 64, pretrained=str(weights), variant=variant)
    expected = {name: weight for name, weight in given.items() if name.startswith("vgg.")}
    expected |= decimated(given, size=size, filters=filters)
    torch.testing.assert_close(dict(net.encoder.state_dict()), expected, rtol=0, atol=0)
    assert net.encoder.fc6.weight.shape == (filters, 8, size, size)


@pytest.mark.parametrize("in_channels", [1, 5])
def test_pretrained_for_other_numbers_of_channels(in_channels, weights):
    from safetensors.torch import load_file

    net = deeplab_v1(2, in_channels=in_channels, width=1 / 64, pretrained=weights, multiscale_features=True)
    colours = load_file(weights)["features.0.weight"]
    torch.testing.assert_close(net.encoder.vgg.stage1.conv1_1.weight.detach(), colours_adapted(colours, in_channels))
    assert net.branches["data"].conv.in_channels == in_channels


@torch.no_grad()
def test_the_dense_7x7_net_is_the_classifier_with_its_last_strides_removed(weights):
    """Deep inside a constant image, where no pool can see a difference, fc7 of both nets is the same."""
    net = deeplab_v1(2, width=1 / 64, pretrained=weights, variant="7x7").eval()
    state = convolutionalised(narrow_classifier_from(weights).state_dict())
    image = torch.ones(1, 3, 641, 641)
    _, (fc7,) = net.encoder(image)
    x = image
    for place, stage in enumerate(net.encoder.vgg.children(), 1):
        for layer in list(stage)[:-1:2]:
            x = torch.relu(functional.conv2d(x, layer.weight, layer.bias, padding=1))
        x = functional.max_pool2d(x, 2, 2)
        assert x.shape[2] == 641 // 2**place
    x = torch.relu(functional.conv2d(x, state["fc6.weight"], state["fc6.bias"]))
    x = torch.relu(functional.conv2d(x, state["fc7.weight"], state["fc7.bias"]))
    torch.testing.assert_close(fc7[0, :, 40, 40], x[0, :, 7, 7], atol=1e-5, rtol=1e-4)


def narrow_classifier_from(path):
    from safetensors.torch import load_file

    net = narrow_classifier()
    net.load_state_dict(load_file(path))
    return net


def test_pretrained_of_another_width_is_refused(weights):
    words = (
        r"the pretrained vgg.stage1.conv1_1.weight is \(1, .* network's \(4, .* build it with the width of the weights"
    )
    with pytest.raises(AtrousError, match=words):
        deeplab_v1(2, width=1 / 16, pretrained=weights)


def test_pretrained_from_no_file_is_refused(tmp_path):
    with pytest.raises(AtrousError, match=r"vgg.safetensors: there is no such file; give the path of"):
        deeplab_v1(2, width=1 / 64, pretrained=str(tmp_path / "vgg.safetensors"))
