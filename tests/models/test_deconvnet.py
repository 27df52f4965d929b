"""DeconvNet against the counts, sizes and initialisation of the paper and its released network."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atrous import conformance
from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.layers.norm import FrozenBatchNorm
from atrous.layers.vgg import VGG16
from atrous.models.deconvnet import SwitchedVGG16, deconvnet
from atrous.training import measured_statistics

ENCODER_SIZES = {"stage1": 224, "stage2": 112, "stage3": 56, "stage4": 28, "stage5": 14, "fc6": 1, "fc7": 1}
DECODER_SIZES = {"fc6_deconv": 7, "deconv5": 14, "deconv4": 28, "deconv3": 56, "deconv2": 112, "deconv1": 224}
CHANNELS = {
    "stage1": [64, 64],
    "stage2": [128, 128],
    "stage3": [256, 256, 256],
    "stage4": [512, 512, 512],
    "stage5": [512, 512, 512],
    "deconv5": [512, 512, 512],
    "deconv4": [512, 512, 256],
    "deconv3": [256, 256, 128],
    "deconv2": [128, 64],
    "deconv1": [64, 64],
}


def parameters(net, *kinds):
    """Return how many parameters the layers of these kinds have, or all layers."""
    layers = [layer for layer in net.modules() if isinstance(layer, kinds or nn.Module)]
    return sum(weight.numel() for layer in layers for weight in layer.parameters(recurse=False))


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def narrow(classes=2, **options):
    torch.manual_seed(0)
    return deconvnet(classes, **{"width": 1 / 32, **options})


# Counts and sizes -----------------------------------------------------------------------------------------------------


def test_parameter_counts():
    with torch.device("meta"):
        net = deconvnet()
        smaller = deconvnet(11, hidden=1024)
    assert parameters(net) == 251_805_653
    assert parameters(net, nn.BatchNorm2d) == 33_408
    assert parameters(net.encoder, nn.Conv2d) == 134_260_544
    assert parameters(net, nn.ConvTranspose2d) + parameters(net.seg_score) == 117_511_701
    assert parameters(smaller, nn.Conv2d, nn.ConvTranspose2d) == 81_896_139


def test_sizes_of_the_table():
    sizes = {}

    def record(name, _module, _inputs, output):
        if isinstance(output, torch.Tensor):
            sizes[name] = output.shape[-1]

    with torch.device("meta"):
        net = deconvnet()
        for name, module in net.named_modules():
            module.register_forward_hook(partial(record, name))
        assert net(torch.empty(2, 3, 224, 224)).shape == (2, 21, 224, 224)
    assert {name: sizes[f"encoder.{name}"] for name in ENCODER_SIZES} == ENCODER_SIZES
    assert {name: sizes[name] for name in DECODER_SIZES} == DECODER_SIZES


def test_channels_of_the_table_and_norm_and_relu_after_every_layer():
    with torch.device("meta"):
        net = deconvnet()
    for name, channels in CHANNELS.items():
        stage = net.get_submodule(name if name.startswith("deconv") else f"encoder.{name}")
        kind = nn.ConvTranspose2d if name.startswith("deconv") else nn.Conv2d
        layers = list(stage)
        assert [layer.out_channels for layer in layers[::3]] == channels
        assert {(type(layer), layer.kernel_size, layer.padding) for layer in layers[::3]} == {(kind, (3, 3), (1, 1))}
        assert all(isinstance(layer, nn.BatchNorm2d) for layer in layers[1::3])
        assert all(isinstance(layer, nn.ReLU) for layer in layers[2::3])
    assert net.fc6_deconv.weight.shape == (4096, 512, 7, 7)
    assert net.seg_score.weight.shape == (21, 64, 1, 1)


@pytest.mark.parametrize("size", [(224, 224), (224, 256), (256, 224), (288, 480)])
def test_multiples_of_32_come_back(size):
    with torch.device("meta"):
        assert deconvnet(2, width=1 / 32)(torch.empty(2, 3, *size)).shape == (2, 2, *size)


def test_width_and_hidden():
    net = narrow(3, in_channels=5, hidden=1024)
    assert net.encoder.channels == (2, 4, 8, 16, 16, 32)
    assert net.encoder.stage1.conv1_1.in_channels == 5
    assert net.geometry == Geometry(multiple=32, offset=0, minimum=224, margin=0, stride=1)


# The network ----------------------------------------------------------------------------------------------------------


def normalising(net, x):
    """Return the net in evaluation with the statistics of one batch, so that no layer fades out."""
    measured_statistics(net, [x])
    return net.eval()


@torch.no_grad()
def test_forward_is_the_figure():
    x = images(2, 3, 224, 224)
    net = normalising(narrow(), x)
    features, places = x, []
    for stage in range(1, 6):
        before = getattr(net.encoder, f"stage{stage}")(features)
        features, indices = nn.functional.max_pool2d(before, 2, return_indices=True)
        places.append(indices)
    features = torch.relu(net.encoder.norm6(net.encoder.fc6(features)))
    features = torch.relu(net.encoder.norm7(net.encoder.fc7(features)))
    assert features.shape == (2, 128, 1, 1)
    features = torch.relu(net.norm6(net.fc6_deconv(features)))
    for stage, indices in zip(range(5, 0, -1), reversed(places), strict=True):
        sparse = torch.zeros(*features.shape[:2], 4 * features.shape[2] * features.shape[3])
        sparse.scatter_(2, indices.flatten(2), features.flatten(2))
        side = 2 * features.shape[-1]
        features = getattr(net, f"deconv{stage}")(sparse.reshape(*features.shape[:2], side, side))
    assert features.std() > 0.1
    torch.testing.assert_close(net(x), net.seg_score(features))


@torch.no_grad()
def test_a_larger_input_adds_up_the_windows_of_fc6():
    net = narrow(norm="frozen").eval()
    fc7, switches = net.encoder(images(1, 3, 256, 224))
    assert fc7.shape[2:] == (2, 1)
    assert [tuple(each.size) for each in switches] == [(256, 224), (128, 112), (64, 56), (32, 28), (16, 14)]
    each = [net.fc6_deconv(fc7[:, :, row : row + 1]) for row in (0, 1)]
    expected = nn.functional.pad(each[0], (0, 0, 0, 1)) + nn.functional.pad(each[1], (0, 0, 1, 0))
    bias = net.fc6_deconv.bias.reshape(1, -1, 1, 1)
    torch.testing.assert_close(net.fc6_deconv(fc7)[:, :, 1:-1], expected[:, :, 1:-1] - bias)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 1 / 16},
        {"width": 1 / 16, "norm": "frozen"},
        {"in_channels": 1, "dropout": 0.5, "hidden": 1024},
    ],
    ids=str,
)
def test_keeps_the_promises_of_a_network(options):
    preprocessing = Preprocessing(mean=(0.4,), std=(0.2,)) if "in_channels" in options else None
    sizes = [(1, 1), (1, 257), (37, 50), (224, 224), (257, 240)]
    conformance.check(deconvnet, preprocessing=preprocessing, sizes=sizes, **{"width": 1 / 32, **options})


@torch.no_grad()
def test_group_norm_keeps_the_rows_of_a_batch_apart():
    # In float32 thirty norms enlarge what is rounded, and of two nearly equal values another may be the maximum.
    net, x = narrow(norm="group").double().eval(), images(2, 3, 224, 224).double()
    apart = torch.cat([net(x[:1]), net(x[1:])])
    torch.testing.assert_close(net(x), apart, rtol=0, atol=1e-8)
    assert not [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("size", "needed"), [((223, 224), "224 x 224"), ((100, 300), "224 x 320")])
def test_other_sizes_are_refused(mode, size, needed):
    net = getattr(narrow(), mode)()
    words = f"an image of {size[0]} x {size[1]} came; 224 x 224 is the least, and sides are multiples of 32: make it "
    with pytest.raises(ValueError, match=words + needed + ", or use Segmenter, which pads"):
        net(torch.zeros(1, 3, *size))


def test_a_batch_of_one_trains():
    net = narrow().train()
    net(images(1, 3, 224, 224)).sum().backward()
    assert net.encoder.fc7.weight.grad.any()
    assert net.encoder.stage1.conv1_1.weight.grad.any()


# Initialisation and weights -------------------------------------------------------------------------------------------


def test_initialisation():
    net = narrow(classes=255, width=1 / 4)
    deconvolutions = [layer for layer in net.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert len(deconvolutions) == 14
    for layer in (*deconvolutions, net.seg_score):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert abs(layer.weight.mean().item()) < 0.001
        assert not layer.bias.any()
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 13 + 2 + 1 + 13
    assert {(*norm.weight.unique().tolist(), round(norm.bias.unique().item(), 6)) for norm in norms} == {(1.0, 0.001)}
    he = (2 / (49 * 128)) ** 0.5
    assert net.encoder.fc6.weight.std().item() == pytest.approx(he, rel=0.05)


@pytest.fixture
def classifier(tmp_path):
    """Return the file and the state of a VGG16 classifier of a 32nd of the width, in torchvision's names."""
    from atrous.layers.vgg import CLASSIFIER_NAMES

    torch.manual_seed(1)
    vgg = VGG16(width=1 / 32).state_dict()
    state = {
        f"{theirs}.{part}": vgg[f"{ours}.{part}"].clone()
        for theirs, ours in CLASSIFIER_NAMES.items()
        for part in ("weight", "bias")
    }
    state |= {"classifier.0.weight": images(128, 16 * 49), "classifier.0.bias": images(128)}
    state |= {"classifier.3.weight": images(128, 128), "classifier.3.bias": images(128)}
    save_file(state, tmp_path / "vgg16.safetensors")
    return tmp_path / "vgg16.safetensors", state


def test_pretrained_takes_a_classifier(classifier):
    path, state = classifier
    net = narrow(pretrained=path)
    torch.testing.assert_close(net.encoder.stage1.conv1_1.weight.data, state["features.0.weight"])
    torch.testing.assert_close(net.encoder.stage5.conv5_3.bias.data, state["features.28.bias"])
    torch.testing.assert_close(net.encoder.fc6.weight.data.flatten(1), state["classifier.0.weight"])
    torch.testing.assert_close(net.encoder.fc7.bias.data, state["classifier.3.bias"])
    assert net.encoder.stage1.norm1_1.weight.tolist() == [1.0, 1.0]
    grey = narrow(pretrained=path, in_channels=1)
    torch.testing.assert_close(grey.encoder.stage1.conv1_1.weight.data, state["features.0.weight"].sum(1, keepdim=True))


def test_pretrained_with_another_hidden_takes_the_convolutions_only(classifier):
    path, state = classifier
    net = narrow(pretrained=path, hidden=2048)
    torch.testing.assert_close(net.encoder.stage5.conv5_3.weight.data, state["features.28.weight"])
    assert net.encoder.fc6.out_channels == 64


def test_pretrained_of_another_width(classifier):
    words = r"the pretrained stage1.conv1_1.weight is \(2, 3, 3, 3\) and the network's \(4, 3, 3, 3\); build it with"
    with pytest.raises(AtrousError, match=words):
        narrow(pretrained=classifier[0], width=1 / 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "deconvnet: 1 classes came; a segmentation has 2 to 255"),
        ({"encoder": "resnet18"}, "deconvnet: encoder 'resnet18' came, but this network is VGG16; leave encoder out"),
        ({"output_stride": 8}, "deconvnet: output_stride 8 came, but its logits have stride 1; leave it out"),
        ({"hidden": 0}, "deconvnet: hidden 0 came; it is the number of channels of fc6 and fc7, 1 or more"),
        ({"dropout": 1.0}, "deconvnet: dropout 1.0 came; it is a share from 0 to below 1"),
        ({"norm": "layer"}, "norm 'layer' came; there are batch, frozen, group"),
        ({"norm": "group", "width": 1 / 128}, "norm 'group' came with 32 channels of fc6, .*make it 64 channels or mo"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        narrow(**options)


def test_what_the_builder_takes():
    assert isinstance(narrow(encoder="vgg16", output_stride=1).encoder, SwitchedVGG16)
    frozen = narrow(norm="frozen")
    assert {type(layer) for name, layer in frozen.named_modules() if "norm" in name} == {FrozenBatchNorm}
