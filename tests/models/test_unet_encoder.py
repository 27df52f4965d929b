"""U-Net on an encoder against segmentation_models_pytorch's, with the same weights."""

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch import nn

from atrous import conformance
from atrous.contract import Geometry
from atrous.layers.norm import FrozenBatchNorm
from atrous.models.unet import unet


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def statistics_drawn(net, seed=0):
    """Give every batch norm statistics of its own, so that none can be left behind unseen."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(layer.weight, 0.5, 1, generator=generator)
    return net.eval()


def renamed(state):
    """Return the state of smp's Unet under our names."""
    inner = "encoder.model." if any(name.startswith("encoder.model.") for name in state) else "encoder."
    return {
        name.replace(inner, "encoder.body.", 1).replace("segmentation_head.0.", "score."): weight
        for name, weight in state.items()
    }


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "tu-convnext_atto"])
@torch.no_grad()
def test_weights_of_smp_give_its_logits(encoder):
    theirs = statistics_drawn(smp.Unet(encoder, encoder_weights=None, classes=3))
    ours = unet(3, encoder=encoder.removeprefix("tu-")).eval()
    ours.load_state_dict(renamed(theirs.state_dict()))
    for size in ((64, 64), (64, 128), (160, 96)):
        image = images(2, 3, *size)
        expected = theirs(image)
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(ours(image), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("encoder", "count"), [("resnet18", 14_331_109), ("resnet34", 24_439_269)])
def test_parameter_counts(encoder, count):
    with torch.device("meta"):
        assert parameters(unet(encoder=encoder)) == count


def test_the_decoder_meets_every_map():
    with torch.device("meta"):
        net = unet(2, encoder="resnet34")
    assert net.decoder.strides == [16, 8, 4, 2, 1]
    channels = [(block.conv1[0].in_channels, block.conv2[0].out_channels) for block in net.decoder.blocks]
    assert channels == [(512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16)]
    assert net.geometry == Geometry(multiple=32, minimum=64, stride=1)
    assert (net.classes, net.in_channels, net.preprocessing_padding) == (2, 3, "mean")


@pytest.mark.parametrize(
    ("encoder", "beside"),
    [
        ("convnext_atto", [160, 80, 40, 0, 0]),  # its maps begin at stride 4
        ("resnet50_beta", [0, 0, 32, 0, 0]),  # it has one at 4, and the deepest
        ("vgg16", [512, 512, 256, 128, 0]),  # its map at stride 1 is left alone, as in smp
    ],
)
def test_steps_without_a_map_only_enlarge(encoder, beside):
    with torch.device("meta"):
        net = unet(2, encoder=encoder, width=1 / 8 if "beta" in encoder else 1)
        assert net(torch.empty(1, 3, 64, 96)).shape == (1, 2, 64, 96)
    inputs = [net.encoder.channels[-1], *(block.conv2[0].out_channels for block in net.decoder.blocks)]
    assert [block.conv1[0].in_channels - c for block, c in zip(net.decoder.blocks, inputs, strict=False)] == beside


def test_width_scales_the_decoder_too():
    with torch.device("meta"):
        net = unet(2, encoder="resnet18", width=1 / 8, in_channels=5)
    assert [block.conv2[0].out_channels for block in net.decoder.blocks] == [32, 16, 8, 4, 2]
    assert (net.in_channels, net.encoder.body.conv1.in_channels) == (5, 5)


def test_norm_reaches_encoder_and_decoder():
    net = unet(2, encoder="resnet18", width=1 / 8, norm="frozen")
    assert not [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert isinstance(net.decoder.blocks[0].conv1[1], FrozenBatchNorm)


def test_dropout_follows_the_deepest_map():
    net = unet(2, encoder="resnet18", width=1 / 8, dropout=0.3)
    shapes = []
    net.dropout.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    net(images(1, 3, 64, 96))
    assert (net.dropout.p, shapes) == (0.3, [(64, 2, 3)])
    assert unet(2, encoder="resnet18", width=1 / 8).dropout.p == 0


@torch.no_grad()
def test_pretrained_takes_a_file(tmp_path):
    first = unet(2, encoder="resnet18", width=1 / 8)
    save_file(first.encoder.body.state_dict(), tmp_path / "body.safetensors")
    second = unet(2, encoder="resnet18", width=1 / 8, pretrained=tmp_path / "body.safetensors")
    torch.testing.assert_close(dict(second.encoder.state_dict()), dict(first.encoder.state_dict()))


def test_one_least_crop_can_be_trained_on_and_a_smaller_cannot():
    net = unet(2, encoder="resnet18", width=1 / 8).train()
    net(images(1, 3, 64, 64)).sum().backward()
    words = r"an image of 32 x 64 came; sides are 64 or more and multiples of 32: pad it to 64 x 64, or use Segmenter"
    with pytest.raises(ValueError, match=words):
        net(images(1, 3, 32, 64))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"output_stride": 16},
            "unet: output_stride 16 came, but the expanding path begins at stride 32; leave it out",
        ),
        ({"encoder": "resnet1001"}, "encoder 'resnet1001' is not known"),
        ({"encoder": "swin_tiny_patch4_window7_224", "width": 1}, "takes images of some sizes only"),
        ({"classes": 256}, "unet: 256 classes came; a segmentation has 2 to 255"),
        ({"norm": "layer"}, "norm 'layer' came; there are batch, frozen, group"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        unet(**({"encoder": "resnet18", "width": 1 / 8} | options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "group"},
        {"norm": "frozen", "dropout": 0.2},
        {"encoder": "resnet50_beta"},
        {"encoder": "convnext_atto", "width": 1},
    ],
    ids=str,
)
def test_variants_conform(options):
    conformance.check(unet, **({"encoder": "resnet18", "width": 1 / 8} | options))
