"""Trunks: strides, rates, the hole algorithm, weights from files, and what is refused."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from atrous.contract import AtrousError, Geometry
from atrous.layers.resnet_beta import DEPTHS, ResNetBeta
from atrous.layers.trunk import trunk

NARROW = [("resnet18", 1 / 8), ("resnet50_beta", 1 / 8)]


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(name, **options):
    with torch.device("meta"):
        return trunk(name, **options)


def unit_rates(units):
    """Return the atrous rates of the 3x3 convolutions of each unit of a stage."""
    return [
        [layer.dilation[0] for layer in unit.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
        for unit in units
    ]


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


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet50", 23_508_032), ("resnet101", 42_500_160), ("resnet101_beta", 42_500_160 + 123_776)],
)
def test_parameter_counts(name, count):
    assert parameters(on_meta(name, output_stride=16)) == count


@pytest.mark.parametrize(
    ("stride", "strides"), [(8, (2, 4, 8, 8, 8)), (16, (2, 4, 8, 16, 16)), (32, (2, 4, 8, 16, 32))]
)
def test_maps_have_the_channels_and_strides_that_are_said(stride, strides):
    for name, said in (("resnet50", strides), ("resnet50_beta", (4, stride))):
        net = on_meta(name, output_stride=stride)
        assert net.strides == said
        side = 8 * stride + 1
        for features, each, channels in zip(
            net(torch.empty(1, 3, side, side, device="meta")), net.strides, net.channels, strict=True
        ):
            assert features.shape == (1, channels, (side - 1) // each + 1, (side - 1) // each + 1)


@pytest.mark.parametrize(
    ("stride", "third", "fourth"), [(32, (1, 1), (1, 1)), (16, (1, 1), (1, 2)), (8, (1, 2), (2, 4))]
)
def test_strides_become_rates_of_everything_after_them(stride, third, fourth):
    """In a plain ResNet the strided layer is a stage's first, so its own rate is the one before."""
    body = on_meta("resnet50", output_stride=stride).body
    assert unit_rates(body.layer3) == [[third[0]]] + [[third[1]]] * 5
    assert unit_rates(body.layer4) == [[fourth[0]]] + [[fourth[1]]] * 2
    beta = on_meta("resnet50_beta", output_stride=stride).body
    assert unit_rates(beta.layer3) == [[third[1]]] * 6
    assert unit_rates(beta.layer4) == [[fourth[1]]] * 3


def test_the_beta_trunk_strides_in_the_last_units():
    body = on_meta("resnet101_beta", output_stride=32).body
    for block, units in enumerate((body.layer1, body.layer2, body.layer3, body.layer4)):
        strides = [unit.conv2[0].stride[0] for unit in units]
        assert strides == [1] * (len(units) - 1) + [2 if block < 3 else 1]
    assert [layer[0].kernel_size for layer in body.root] == [(3, 3)] * 3
    assert [layer[0].out_channels for layer in body.root] == [64, 64, 128]


@torch.no_grad()
def test_the_beta_trunk_hands_out_the_second_unit_before_its_addition():
    body = lively(ResNetBeta(DEPTHS["resnet50_beta"], width=1 / 8))
    seen = []
    body.layer1[1].conv3.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    low, _ = body(images(1, 3, 33, 33))
    torch.testing.assert_close(low, seen[0])
    assert low.min() < 0


@pytest.mark.parametrize(("name", "width"), NARROW)
@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_the_hole_algorithm_gives_the_strided_maps_on_their_grid(name, width, stride):
    strided = lively(trunk(name, output_stride=32, width=width))
    dense = trunk(name, output_stride=stride, width=width).eval()
    dense.load_state_dict(strided.state_dict())
    x = images(1, 3, 129, 97)
    coarse, fine = strided(x)[-1], dense(x)[-1]
    step = 32 // stride
    assert coarse.shape[2:] == (5, 4)
    assert coarse.abs().max() > 0.1
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["resnet50", "resnet50_beta"])
def test_multigrid_gives_every_unit_the_rate_of_the_last_stage_times_its_factor(name):
    net = on_meta(name, output_stride=8, multigrid=(1, 2, 4))
    assert unit_rates(net.body.layer4) == [[4], [8], [16]]
    assert unit_rates(net.body.layer3)[-1] == [2]
    for unit in net.body.layer4:
        for layer in unit.modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.padding == (layer.dilation if layer.kernel_size == (3, 3) else (0, 0))


@pytest.mark.parametrize(
    ("name", "geometry"),
    [
        ("resnet18", Geometry(multiple=16, offset=1, minimum=17, stride=16, align_corners=True)),
        ("convnext_atto", Geometry(multiple=32, minimum=32, stride=16)),
    ],
)
def test_the_geometry_is_found_out(name, geometry):
    net = trunk(name, output_stride=16, in_channels=2)
    assert net.geometry == geometry
    assert (net.in_channels, net.training, net.body.training) == (2, True, True)


# Weights from files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize(("name", "width"), NARROW)
@torch.no_grad()
def test_weights_come_from_a_file(tmp_path, name, width, as_path):
    first = lively(trunk(name, width=width))
    path = tmp_path / "encoder.safetensors"
    save_file(first.body.state_dict() | {"fc.weight": torch.zeros(1)}, path)
    second = trunk(name, width=width, pretrained=as_path(path)).eval()
    x = images(1, 3, 33, 33)
    torch.testing.assert_close(second(x)[-1], first(x)[-1], atol=0, rtol=0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AtrousError, match=r"gone.safetensors: no such file; .* of the encoder 'resnet18'"):
        trunk("resnet18", pretrained=str(tmp_path / "gone.safetensors"))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "torn.safetensors"
    path.write_bytes(b"torn")
    with pytest.raises(AtrousError, match=r"torn.safetensors: not a readable .safetensors file"):
        trunk("resnet18", pretrained=str(path))


def test_a_file_of_another_encoder_is_named(tmp_path):
    path = tmp_path / "wide.safetensors"
    save_file(trunk("resnet18", width=1 / 4).body.state_dict(), path)
    words = (
        r"wide.safetensors: \d+ of 120 tensors of 'resnet18' are missing .*'conv1.weight'|first 'layer1.0.conv1.weight'"
    )
    with pytest.raises(AtrousError, match=words):
        trunk("resnet18", width=1 / 8, pretrained=str(path))


@pytest.mark.parametrize("error", [OSError("no route to host\nand more"), RuntimeError("no route to host")])
def test_published_weights_need_a_network(monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    words = r"pretrained weights of 'resnet18' could not be fetched \(no route to host\): give a local file with"
    with pytest.raises(AtrousError, match=words):
        trunk("resnet18", pretrained=True)
    with pytest.raises(type(error), match="no route"):
        trunk("resnet18")


def test_the_beta_trunk_has_no_published_weights():
    with pytest.raises(AtrousError, match=r"'resnet101_beta' has no published weights here: give a local .safetensors"):
        on_meta("resnet101_beta", pretrained=True)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "resnet51",
            {},
            "encoder 'resnet51' is not known; near it: .*resnet50.*; timm's convolutional encoders and resnet50_b",
        ),
        ("resnet101_bet", {}, "near it: .*resnet101_beta"),
        ("zzzzzzzz", {}, "'zzzzzzzz' is not known; timm's convolutional encoders and resnet50_beta, .* are accepted"),
        ("", {}, "encoder '' is not known; timm's"),
        (5, {}, "encoder 5 came; the name of one is accepted, such as 'resnet50'"),
        ("resnet18", {"output_stride": "8"}, "output stride '8' came; a whole number is accepted: 8, 16 or 32"),
        ("resnet18", {"output_stride": True}, "output stride True came"),
        ("resnet18", {"output_stride": 0}, "output stride 0 came"),
        ("resnet18", {"pretrained": 5}, "pretrained 5 came; True, False or the path of a .safetensors file is acc"),
        ("resnet50_beta", {"pretrained": None}, "pretrained None came"),
        (
            "resnet18",
            {"multigrid": (0, 1)},
            r"multigrid \(0, 1\) came; one or more whole numbers of 1 and above .*1, 2, 4",
        ),
        ("resnet18", {"multigrid": (-1, 2)}, r"multigrid \(-1, 2\) came"),
        ("resnet18", {"multigrid": (1.5, 2)}, r"multigrid \(1.5, 2\) came"),
        ("resnet18", {"multigrid": (True, 2)}, r"multigrid \(True, 2\) came"),
        ("resnet18", {"multigrid": 3}, "multigrid 3 came"),
        ("resnet18", {"output_stride": 7}, "'resnet18' cannot give feature maps at output stride 7: not supported"),
        ("resnet50_beta", {"output_stride": 4}, "output stride 4 came; this trunk has 8, 16 or 32"),
        ("mobilenetv3_small_050", {"width": 0.5}, "width 0.5 came, but 'mobilenetv3_small_050' has fixed channels"),
        (
            "resnet18",
            {"multigrid": (1, 2, 4)},
            r"multigrid \(1, 2, 4\) needs one rate per unit .*'resnet18' has 2 units",
        ),
        ("convnext_atto", {"multigrid": (1, 2)}, "'convnext_atto' has no ResNet stage"),
        (
            "vit_tiny_patch16_224",
            {},
            "'vit_tiny_patch16_224' takes images of some sizes only: .*224.* resnet18 take any",
        ),
    ],
)
def test_trunk_refuses(name, options, words):
    with pytest.raises(ValueError, match=words):
        trunk(name, **options)


@pytest.mark.parametrize(("name", "mean"), [("resnet18", 0.485), ("xception65", 0.5), ("resnet50_beta", 0.485)])
def test_a_trunk_knows_the_colours_its_published_weights_expect(name, mean):
    assert on_meta(name, output_stride=16).mean[0] == mean
