"""FCN on other trunks: the paper's sums against a plain reading of them, torchvision's network against torchvision."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.segmentation import fcn_resnet50

from atrous import conformance
from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.layers.norm import FrozenBatchNorm
from atrous.models import Segmenter
from atrous.models.fcn import fcn8s, fcn16s, fcn32s

NARROW = {"encoder": "resnet18", "width": 1 / 8}


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awake(net):
    """Give the scores that start at zero random weights."""
    torch.manual_seed(0)
    return conformance.awaken(net).eval()


# torchvision's --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    """Return torchvision's FCN with statistics drawn at random, and ours with its weights."""
    torch.manual_seed(0)
    theirs = fcn_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    ours = fcn32s(5, encoder="resnet50", output_stride=8, head="torchvision", auxiliary=True)
    renamed = {
        name.replace("backbone.", "encoder.body.").replace("aux_classifier.", "auxiliary."): weight
        for name, weight in theirs.state_dict().items()
    }
    ours.load_state_dict(renamed)
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (96, 40)])
@torch.no_grad()
def test_weights_of_torchvision_give_its_scores(pair, size):
    ours, theirs = pair
    image = images(1, 3, *size)
    expected = theirs(image)
    assert ours.geometry.valid(size[0]) == size[0]
    for logits, name in zip(ours.supervised(image), ("out", "aux"), strict=True):
        assert logits.shape[2:] == (size[0] // 8, size[1] // 8)
        enlarged = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        assert expected[name].abs().max() > 0.1
        torch.testing.assert_close(enlarged, expected[name], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_grid_is_torchvisions_at_an_odd_size_too(pair):
    ours, theirs = pair
    image = images(1, 3, 65, 49)
    torch.testing.assert_close(ours(image), theirs.classifier(theirs.backbone(image)["out"]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_segmenter_enlarges_as_torchvision(pair):
    ours, theirs = pair
    preprocessing = Preprocessing(low=0.0, high=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    scorer = Segmenter(ours, LabelSpace(names=tuple("abcde")), preprocessing)
    image = images(1, 3, 48, 56)
    torch.testing.assert_close(scorer.logits(image), theirs(image)["out"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 32_957_013),
        ({"encoder": "resnet50", "output_stride": 8}, 32_957_013),
        ({"encoder": "resnet101"}, 51_949_141),
        ({"auxiliary": True}, 35_322_218),
        ({"encoder": "resnet101", "auxiliary": True}, 54_314_346),
    ],
)
def test_parameter_counts_of_torchvision(options, count):
    with torch.device("meta"):
        assert parameters(fcn32s(head="torchvision", **options)) == count


@pytest.mark.parametrize(
    ("options", "geometry"),
    [
        ({}, Geometry(multiple=8, minimum=16, stride=8)),
        ({"output_stride": 32}, Geometry(multiple=32, minimum=64, stride=32)),
        ({"encoder": "convnext_atto", "width": 1, "output_stride": 32}, Geometry(multiple=32, minimum=64, stride=32)),
    ],
)
def test_geometry_of_torchvision(options, geometry):
    with torch.device("meta"):
        assert fcn32s(head="torchvision", **(NARROW | options)).geometry == geometry


def test_dropout_and_norm_of_torchvision():
    net = fcn32s(head="torchvision", **NARROW)
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.1]
    assert net.classifier[0].out_channels == 16
    net = fcn32s(head="torchvision", norm="frozen", dropout=0.4, **NARROW)
    assert isinstance(net.classifier[1], FrozenBatchNorm)
    assert net.classifier[3].p == 0.4


def test_auxiliary_logits_are_trained():
    net = conformance.awaken(fcn32s(3, head="torchvision", auxiliary=True, **NARROW)).train()
    logits, auxiliary = net.supervised(images(1, 3, 16, 16))
    assert logits.shape == auxiliary.shape == (1, 3, 2, 2)
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert not [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert len(fcn32s(3, head="torchvision", **NARROW).supervised(images(1, 3, 16, 16))) == 1


def test_a_crop_below_the_least_is_refused():
    net = fcn32s(3, head="torchvision", **NARROW).train()
    with pytest.raises(ValueError, match="a crop of 12 x 40 came; training takes crops of 16 x 16 and larger"):
        net(images(1, 3, 12, 40))


# The paper's sums -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_scores_of_finer_maps_are_added():
    net = awake(fcn8s(3, **NARROW))
    image = images(2, 3, 65, 97)
    _, _, at8, at16, at32 = net.encoder(image)

    def twice(scores, like):
        return functional.interpolate(scores, like.shape[2:], mode="bilinear", align_corners=True)

    expected = net.score_skips[0](at16) + twice(net.score(at32), at16)
    expected = net.score_skips[1](at8) + twice(expected, at8)
    assert expected.shape == (2, 3, 9, 13)
    torch.testing.assert_close(net(image), expected)


@torch.no_grad()
def test_maps_of_cells_are_enlarged_by_cells():
    net = awake(fcn16s(2, encoder="convnext_atto"))
    image = images(1, 3, 64, 96)
    *_, at16, at32 = net.encoder(image)
    coarse = functional.interpolate(net.score(at32), (4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(net(image), net.score_skips[0](at16) + coarse)
    assert net.geometry == Geometry(multiple=32, minimum=32, stride=16)


@pytest.mark.parametrize(
    ("builder", "stride", "logits", "skips"),
    [
        (fcn32s, None, 32, ()),
        (fcn16s, None, 16, (3,)),
        (fcn8s, None, 8, (3, 2)),
        (fcn8s, 16, 8, (2,)),
        (fcn32s, 16, 16, ()),
        (fcn32s, 8, 8, ()),
    ],
)
def test_strides(builder, stride, logits, skips):
    with torch.device("meta"):
        net = builder(2, output_stride=stride, **NARROW)
    deepest = stride or 32
    expected = Geometry(multiple=deepest, offset=1, minimum=deepest + 1, stride=logits, align_corners=True)
    assert net.geometry == expected
    assert (net.skips, net.classes, net.in_channels, net.preprocessing_padding) == (skips, 2, 3, "mean")


@pytest.mark.parametrize("builder", [fcn32s, fcn16s, fcn8s])
def test_first_scores_are_zero(builder):
    assert not builder(3, **NARROW)(images(1, 3, 33, 65)).any()


@torch.no_grad()
def test_a_finer_net_starts_as_the_coarser():
    coarse, fine = awake(fcn32s(3, **NARROW)), fcn8s(3, **NARROW).eval()
    fine.load_state_dict(coarse.state_dict(), strict=False)
    image = images(1, 3, 65, 65)
    staged = functional.interpolate(coarse(image), (9, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(fine(image), staged)


def test_dropout_and_norm():
    net = fcn8s(2, norm="frozen", dropout=0.3, **NARROW)
    assert isinstance(net.encoder.body.bn1, FrozenBatchNorm)
    assert net.dropout.p == 0.3
    assert fcn8s(2, **NARROW).dropout.p == 0


# Refusals and promises ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builder", "options", "words"),
    [
        (fcn8s, {"deconvolution": "full"}, "fcn8s: deconvolution 'full' came, but only the VGG16 network has"),
        (fcn8s, {"at_once": True}, "fcn8s: at_once came, whose constants are VGG16's; .* leave it or the encoder out"),
        (fcn16s, {"output_stride": 16}, "fcn16s: output_stride 16 came, which leaves no finer map to add"),
        (fcn8s, {"output_stride": 8}, "fcn8s: output_stride 8 came, .* the deepest has stride 8; leave output_stride"),
        (fcn8s, {"encoder": "resnet50_beta"}, r"'resnet50_beta' has maps at strides \(4, 32\), and fcn8s needs one at"),
        (fcn16s, {"encoder": "resnet1001"}, "encoder 'resnet1001' is not known"),
        (fcn32s, {"head": "smp"}, "fcn32s: head 'smp' came; there are paper, torchvision"),
        (fcn32s, {"auxiliary": True}, "fcn32s: auxiliary came, but only torchvision's network has it; give head="),
        (fcn32s, {"head": "torchvision", "deconvolution": "full"}, "only the VGG16 network has deconvolutions"),
        (fcn32s, {"head": "torchvision", "classes": 1}, "fcn32s: 1 classes came"),
        (
            fcn32s,
            {"head": "torchvision", "encoder": "resnet50_beta", "auxiliary": True},
            "has maps at strides .*, and the auxiliary head needs that of the last stage but one",
        ),
        (fcn8s, {"classes": 300}, "fcn8s: 300 classes came"),
        (fcn8s, {"norm": "layer"}, "norm 'layer' came; there are batch, frozen, group"),
    ],
)
def test_builders_refuse(builder, options, words):
    with pytest.raises(ValueError, match=words):
        builder(**(NARROW | options))


@pytest.mark.parametrize(
    ("builder", "options"),
    [
        (fcn32s, {}),
        (fcn16s, {}),
        (fcn8s, {}),
        (fcn8s, {"output_stride": 16, "norm": "frozen"}),
        (fcn32s, {"output_stride": 8, "dropout": 0.1}),
        (fcn8s, {"norm": "group"}),
        (fcn8s, {"encoder": "convnext_atto", "width": 1}),
        (fcn32s, {"head": "torchvision"}),
        (fcn32s, {"head": "torchvision", "norm": "group"}),
        (fcn32s, {"head": "torchvision", "norm": "frozen", "output_stride": 16}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_variants_conform(builder, options):
    conformance.check(builder, **(NARROW | options))
