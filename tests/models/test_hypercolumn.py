"""Hypercolumns against the identity they rest on, a loop over pixels, and the release's counts."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from atrous import conformance
from atrous.contract import AtrousError, Geometry
from atrous.layers.vgg import CLASSIFIER_NAMES, vgg16_weights
from atrous.layers.vgg_classifier import ConvolutionalVGG16
from atrous.models.hypercolumn import hypercolumn, hypercolumns, interpolated_by_location


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# The two ideas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@torch.no_grad()
def test_a_classifier_of_hypercolumns_is_the_sum_of_one_per_map(align_corners):
    maps = [images(2, 5, 16, 24, seed=1), images(2, 7, 8, 12, seed=2), images(2, 9, 3, 4, seed=3)]
    weight, size = images(4, 5 + 7 + 9, 1, 1, seed=4), (16, 24)
    columns = hypercolumns(maps, size, align_corners=align_corners)
    assert columns.shape == (2, 21, 16, 24)
    together = functional.conv2d(columns, weight)
    apart = 0
    for each, share in zip(maps, weight.split([5, 7, 9], dim=1), strict=True):
        scores = functional.conv2d(each, share)
        apart = apart + functional.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def mixed_by_a_loop(scores, grid):
    """Return what the docstring says, a pixel and a cell at a time."""
    count, channels, height, width = scores.shape
    mixed = torch.zeros(count, channels // grid**2, height, width)
    for y in range(height):
        for x in range(width):
            row, column = (min(max((p + 0.5) * grid / s - 0.5, 0), grid - 1) for p, s in ((y, height), (x, width)))
            for k in range(grid):
                for m in range(grid):
                    share = max(0, 1 - abs(row - k)) * max(0, 1 - abs(column - m))
                    for c in range(mixed.shape[1]):
                        mixed[:, c, y, x] += share * scores[:, (c * grid + k) * grid + m, y, x]
    return mixed


@pytest.mark.parametrize(
    ("grid", "size"), [(1, (4, 5)), (2, (7, 4)), (3, (10, 9)), (5, (4, 12)), (5, (1, 2)), (4, (3, 1))]
)
def test_location_mixes_the_four_nearest_classifiers(grid, size):
    scores = images(2, 3 * grid * grid, *size)
    torch.testing.assert_close(interpolated_by_location(scores, grid), mixed_by_a_loop(scores, grid))


def test_equal_classifiers_need_no_location():
    scores = images(1, 3, 6, 8)
    torch.testing.assert_close(interpolated_by_location(scores.repeat_interleave(25, dim=1), 5), scores)
    torch.testing.assert_close(interpolated_by_location(scores, 1), scores)


# The network ----------------------------------------------------------------------------------------------------------


def test_parameter_counts():
    with torch.device("meta"):
        net, release = hypercolumn(), hypercolumn(20)
    assert parameters(net) == 137_890_919
    assert parameters(net.encoder) == 14_714_688 + 102_764_544 + 16_781_312
    assert [parameters(layer) for layer in release.classify] == [1_152_500, 256_500, 2_048_500]
    assert [layer.kernel_size for layer in net.classify] == [(3, 3), (1, 1), (1, 1)]


@pytest.mark.parametrize(("scaled", "scales"), [(False, (1, 1)), (True, (0.0027, 0.063))])
@torch.no_grad()
def test_forward_is_the_table(scaled, scales):
    net = hypercolumn(3, width=1 / 16, scaled=scaled).eval()
    image = images(1, 3, 64, 96)
    _, _, pool3, pool4, _, fc7 = net.encoder(image)
    size = (8, 12)
    assert (pool3.shape[2:], fc7.shape[2:]) == (size, (2, 3))
    scores = net.classify[0](pool3 * scales[0])
    for each, layer in ((pool4 * scales[1], net.classify[1]), (fc7, net.classify[2])):
        scores = scores + functional.interpolate(layer(each), size, mode="bilinear", align_corners=False)
    expected = interpolated_by_location(scores, 5)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(net(image), expected)


def test_contract():
    net = hypercolumn(4, in_channels=2, width=1 / 64)
    assert net.geometry == Geometry(multiple=32, stride=8)
    assert (net.classes, net.in_channels, net.preprocessing_padding) == (4, 2, "mean")
    assert net.encoder.dropout.p == 0.5
    assert hypercolumn(2, width=1 / 64, dropout=0.1).encoder.dropout.p == 0.1
    assert all(not layer.bias.any() for layer in net.classify)
    assert hypercolumn(21, width=1 / 8).classify[2].weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_an_encoder_brings_maps_and_geometry():
    with torch.device("meta"):
        net = hypercolumn(2, encoder="resnet18", width=1 / 8, dropout=0.2)
        finer = hypercolumn(2, encoder="resnet18", width=1 / 8, levels=(1, 2, 3, 4), grid=2)
        dense = hypercolumn(2, encoder="resnet18", width=1 / 8, output_stride=8)
        cells = hypercolumn(2, encoder="convnext_atto")
    assert net.geometry == Geometry(multiple=32, offset=1, minimum=33, stride=8, align_corners=True)
    assert (net.levels, net.scales, net.dropout.p) == ((2, 3, 4), (1, 1, 1), 0.2)
    assert (finer.geometry.stride, finer.classify[0].out_channels, len(finer.classify)) == (4, 8, 4)
    assert (dense.geometry.multiple, dense.geometry.stride) == (8, 8)
    assert cells.geometry == Geometry(multiple=32, minimum=32, stride=8)


def test_levels_of_vgg_keep_their_scales():
    net = hypercolumn(2, width=1 / 64, levels=(1, 3, 4, 5), grid=1, scaled=True)
    assert (net.scales, net.geometry.stride) == ((1, 0.063, 1, 1), 4)
    assert hypercolumn(2, width=1 / 64).scales == (1, 1, 1)


@torch.no_grad()
def test_without_scales_every_map_counts():
    scores = []
    net = hypercolumn(2, width=1 / 8, grid=1, dropout=0.0).eval()
    for layer in net.classify:
        layer.register_forward_hook(lambda _module, _inputs, output: scores.append(output.std().item()))
    net(images(1, 3, 64, 64))
    assert min(scores) > max(scores) / 10


def test_norms_of_an_encoder():
    net = hypercolumn(2, encoder="resnet18", width=1 / 8, norm="group")
    assert isinstance(net.encoder.body.bn1, nn.GroupNorm)


def test_pretrained_is_a_classifier(tmp_path):
    encoder = ConvolutionalVGG16(width=1 / 64)
    own = encoder.state_dict()
    state = {f"{k}.{p}": own[f"vgg.{v}.{p}"].clone() for k, v in CLASSIFIER_NAMES.items() for p in ("weight", "bias")}
    state |= {"classifier.0.weight": own["fc6.weight"].flatten(1), "classifier.0.bias": own["fc6.bias"]}
    state |= {"classifier.3.weight": own["fc7.weight"].flatten(1), "classifier.3.bias": own["fc7.bias"]}
    save_file(state, tmp_path / "vgg16.safetensors")
    assert vgg16_weights(tmp_path / "vgg16.safetensors").keys() == state.keys()
    net = hypercolumn(2, width=1 / 64, pretrained=tmp_path / "vgg16.safetensors")
    torch.testing.assert_close(dict(net.encoder.state_dict()), dict(own))
    with pytest.raises(AtrousError, match="build it with the width of the weights"):
        hypercolumn(2, width=1 / 32, pretrained=tmp_path / "vgg16.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid": 0}, r"hypercolumn: grid 0 came; it is 1 \(no locations\) or more, the release's is 5"),
        ({"levels": (2, 3)}, r"levels \(2, 3\) came; the encoder has maps 0 to 5 at strides .*: give rising ones that"),
        ({"levels": (3, 2, 5)}, r"levels \(3, 2, 5\) came"),
        ({"grid": "5"}, "hypercolumn: grid '5' came; a whole number is accepted"),
        ({"levels": 3}, "levels 3 came; the encoder has maps 0 to 5"),
        ({"levels": "25"}, "levels '25' came; the encoder has maps 0 to 5"),
        ({"scaled": 1}, "hypercolumn: scaled 1 came; True or False is accepted"),
        ({"scaled": True, "encoder": "resnet18"}, "scaled came with encoder 'resnet18', but its constants are VGG16's"),
        ({"encoder": ""}, "encoder '' is not known"),
        ({"encoder": 5}, "encoder 5 came"),
        ({"pretrained": 5}, "pretrained 5 came"),
        ({"dropout": True}, "hypercolumn: dropout True came"),
        ({"levels": ()}, r"levels \(\) came"),
        ({"levels": (-1, 5)}, r"levels \(-1, 5\) came"),
        ({"encoder": "resnet18", "levels": (2, 5)}, r"levels \(2, 5\) came; the encoder has maps 0 to 4 at strides"),
        ({"output_stride": 8}, "output_stride 8 came, but VGG16's deepest map has stride 32; leave it out, or give an"),
        ({"norm": "frozen"}, "norm 'frozen' came, but VGG16 has no norms; leave it out, or give an encoder"),
        ({"classes": 1}, "hypercolumn: 1 classes came"),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        hypercolumn(**({"width": 1 / 64} | options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"levels": (0, 1, 2, 3, 4, 5)},
        {"encoder": "resnet18"},
        {"encoder": "resnet18", "output_stride": 8, "norm": "frozen"},
        {"encoder": "resnet18", "levels": (1, 4), "grid": 1, "norm": "group", "dropout": 0.2},
        {"encoder": "convnext_atto", "width": 1},
    ],
    ids=str,
)
def test_variants_conform(options):
    conformance.check(hypercolumn, **({"width": 1 / 8} | options))
