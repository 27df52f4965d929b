"""Xception-65 against timm's, and against the paper's counts and rates."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from atrous.contract import AtrousError, Geometry
from atrous.layers.trunk import trunk
from atrous.layers.xception import Xception65


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(**options):
    with torch.device("meta"):
        return Xception65(**options)


@torch.no_grad()
def lively(net, seed=0):
    """Give the net weights that carry a signal through, and every norm other statistics than 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    for name, layer in net.named_modules():
        if name.endswith(("conv3.bn_pw", "conv3_bn_pw")) and "20" not in name:
            layer.weight *= 0.3  # so that twenty sums do not grow
    return net.eval()


@pytest.mark.parametrize("relu_between", [False, True])
def test_parameter_count(relu_between):
    assert parameters(on_meta(relu_between=relu_between)) == 37_867_312


def test_parameters_with_a_classifier():
    """The paper's classifier of 1000 classes would have 39.92 million."""
    assert round((parameters(on_meta()) + 2048 * 1000 + 1000) / 1e6, 2) == 39.92


@pytest.mark.parametrize(
    ("stride", "sides"),
    [(32, (129, 65, 33, 33, 17, 17)), (16, (129, 65, 33, 33, 33, 33)), (8, (129, 65, 65, 65, 65, 65))],
)
def test_sizes_at_513(stride, sides):
    net = on_meta(output_stride=stride)
    seen = []
    for place in (0, 1, 2, 3, 19, 20):
        net.blocks[place].register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs[0].shape[2]))
    low, deep = net(torch.empty(1, 3, 513, 513, device="meta"))
    assert tuple(seen) == sides
    assert low.shape == (1, 256, 129, 129)
    assert deep.shape == (1, 2048, sides[-1], sides[-1])
    assert (net.channels, net.strides) == ((256, 2048), (4, stride))


@pytest.mark.parametrize(
    ("stride", "rates"),
    [(32, (1, 1, 1, 1)), (16, (1, 1, 1, 2)), (8, (1, 2, 2, 4))],
)
def test_strides_become_rates_of_everything_after_them(stride, rates):
    blocks = on_meta(output_stride=stride).blocks
    assert [blocks[place].stack["conv3"].conv_dw.dilation[0] for place in (2, 3, 19, 20)] == list(rates)
    strided = [place for place, block in enumerate(blocks) if block.stack["conv3"].conv_dw.stride == (2, 2)]
    assert strided == {32: [0, 1, 2, 19], 16: [0, 1, 2], 8: [0, 1]}[stride]
    for block in blocks:
        assert [block.stack[name].conv_dw.stride[0] for name in ("conv1", "conv2")] == [1, 1]


def test_norms_have_the_released_epsilon():
    assert {layer.eps for layer in on_meta().modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}


def relus(net):
    """Return per block whether ReLU comes before its convolutions, after the depthwise ones, after the pointwise."""
    return [
        tuple(isinstance(layer, nn.ReLU) for layer in (block.before, block.stack["conv1"][2], block.stack["conv1"][5]))
        for block in net.blocks
    ]


def test_where_relu_goes():
    assert relus(on_meta()) == [(True, False, False)] * 20 + [(False, True, True)]
    assert relus(on_meta(relu_between=True)) == [(True, True, False)] * 20 + [(False, True, True)]
    with torch.device("meta"):
        assert relus(trunk("xception65").body) == relus(on_meta())
        assert relus(trunk("xception65_paper").body) == relus(on_meta(relu_between=True))


@pytest.mark.parametrize("stride", [32, 16])
@torch.no_grad()
def test_timms_weights_give_timms_features(tmp_path, stride):
    theirs = lively(timm.create_model("xception65", num_classes=0, global_pool="", output_stride=stride))
    save_file(theirs.state_dict(), tmp_path / "xception65.safetensors")
    ours = trunk("xception65", output_stride=stride, pretrained=tmp_path / "xception65.safetensors").eval()
    for height, width in ((65, 65), (97, 64), (50, 129)):
        x = images(1, 3, height, width)
        expected = theirs.forward_intermediates(x, intermediates_only=True)
        assert 0.1 < expected[-1].std() < 10
        low, deep = ours(x)
        torch.testing.assert_close(deep, expected[-1], atol=1e-5, rtol=1e-5)
        assert low.min() < 0  # the authors' decoder reads it before the ReLU, timm's map comes after
        torch.testing.assert_close(low.relu(), expected[1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_names_are_timms():
    with torch.device("meta"):
        theirs = timm.create_model("xception65", num_classes=0).state_dict()
    ours = on_meta().state_dict()
    assert {name: weight.shape for name, weight in ours.items()} == {name: each.shape for name, each in theirs.items()}


@torch.no_grad()
def test_a_block_is_its_parts():
    net = lively(Xception65(width=1 / 16))
    x = images(1, 4, 9, 9)
    block = net.blocks[0]
    first = block.stack["conv1"](x.relu())
    second = block.stack["conv2"](first.relu())
    expected = block.stack["conv3"](second.relu()) + block.shortcut(x)
    torch.testing.assert_close(block(x)[0], expected)
    torch.testing.assert_close(block(x)[1], second)
    assert expected.shape == (1, 8, 5, 5)
    middle, last = net.blocks[3], net.blocks[20]
    x = images(1, 46, 5, 5)
    residual = middle.stack["conv3"](middle.stack["conv2"](middle.stack["conv1"](x.relu()).relu()).relu())
    torch.testing.assert_close(middle(x)[0], residual + x)
    x = images(1, 64, 5, 5)
    torch.testing.assert_close(last(x)[0], last.stack["conv3"](last.stack["conv2"](last.stack["conv1"](x))))
    assert last(x)[0].min() == 0


@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_the_hole_algorithm_gives_the_strided_maps_on_their_grid(stride):
    strided = lively(Xception65(output_stride=32, width=1 / 16))
    dense = Xception65(output_stride=stride, width=1 / 16).eval()
    dense.load_state_dict(strided.state_dict())
    x = images(1, 3, 129, 97)
    coarse, fine = strided(x)[-1], dense(x)[-1]
    step = 32 // stride
    assert coarse.shape[2:] == (5, 4)
    assert coarse.std() > 0.1
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-4, rtol=0)


def test_trunk_knows_its_sizes():
    net = trunk("xception65", output_stride=16, in_channels=2, width=1 / 16)
    assert (net.channels, net.strides, net.in_channels) == ((16, 128), (4, 16), 2)
    assert net.geometry == Geometry(multiple=16, offset=1, minimum=17, stride=16, align_corners=True)


@torch.no_grad()
def test_published_weights_are_timms(monkeypatch):
    narrow = lively(Xception65(width=1 / 16))
    asked = []

    class Fetched:
        def state_dict(self):
            return {name.replace("blocks.", "blocks_"): each for name, each in narrow.state_dict().items()}

    def fetched(name, **options):
        asked.append((name, options["pretrained"], options["in_chans"]))
        return Fetched()

    monkeypatch.setattr(timm, "create_model", fetched)
    net = trunk("xception65", pretrained=True, width=1 / 16, in_channels=1)
    assert asked == [("xception65", True, 3)]
    torch.testing.assert_close(
        net.body.blocks[20].stack["conv3"].bn_pw.bias, narrow.blocks[20].stack["conv3"].bn_pw.bias
    )
    torch.testing.assert_close(net.body.stem[0].conv.weight, narrow.stem[0].conv.weight.sum(1, keepdim=True))


def test_other_bodies_have_no_published_weights():
    with pytest.raises(AtrousError, match="'xception65_paper' has no published weights here"):
        trunk("xception65_paper", pretrained=True, width=1 / 16)


def test_published_weights_of_another_width_are_refused(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_arguments, **_options: Xception65(width=1 / 8))
    with pytest.raises(AtrousError, match=r"timm: \d+ of \d+ tensors of 'xception65' are missing or of another shape"):
        trunk("xception65", pretrained=True, width=1 / 16)


def test_other_strides_are_refused():
    with pytest.raises(ValueError, match="output stride 4 came; this trunk has 8, 16 or 32"):
        Xception65(output_stride=4)


def test_there_is_no_multigrid():
    with pytest.raises(ValueError, match=r"multigrid \(1, 2, 4\) needs .*; 'xception65' has no ResNet stage"):
        trunk("xception65", width=1 / 16, multigrid=(1, 2, 4))
