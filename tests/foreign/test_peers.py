"""torchvision's and smp's networks and ours, with the same weights out of a file, give the same logits."""

import importlib

import pytest
import torch

from atrous.contract import AtrousError
from atrous.foreign import imported, space_of
from atrous.models import Segmenter

SIZES = ((64, 64), (96, 128), (48, 80))
WHOLE_SIZES = ((64, 64), (96, 128), (160, 64))


def segmenter_of(found):
    return Segmenter(found.net, space_of(found.classes, None)[0], found.preprocessing).eval()


def assert_agree(found, theirs, sizes=SIZES, tolerance=1e-5):
    segmenter = segmenter_of(found)
    for height, width in sizes:
        images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height)) * 255
        with torch.no_grad():
            ours, other = segmenter.logits(images), theirs(segmenter.normalised(images))
        assert other.abs().max() > 0.01
        torch.testing.assert_close(ours, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_fcn_of_torchvision(shaken, saved, auxiliary):
    segmentation = importlib.import_module("torchvision.models.segmentation")
    torch.manual_seed(0)
    net = shaken(
        segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=auxiliary or None)
    )
    found = imported(saved({"model": net.state_dict(), "epoch": 3}))
    assert (found.source, found.model, found.classes) == ("torchvision's fcn_resnet50", "fcn32s", 5)
    assert found.options.get("auxiliary", False) == auxiliary
    assert_agree(found, lambda x: net(x)["out"])


@pytest.mark.parametrize(("name", "auxiliary"), [("deeplabv3_resnet50", False), ("deeplabv3_resnet101", True)])
def test_deeplab_v3_of_torchvision(shaken, saved, name, auxiliary):
    segmentation = importlib.import_module("torchvision.models.segmentation")
    torch.manual_seed(0)
    build = getattr(segmentation, name)
    net = shaken(build(weights=None, weights_backbone=None, num_classes=21, aux_loss=auxiliary or None))
    found = imported(saved(net.state_dict()))
    assert (found.source, found.model, found.classes) == (f"torchvision's {name}", "deeplab_v3", 21)
    assert found.options == {
        "encoder": name.removeprefix("deeplabv3_"),
        "in_channels": 3,
        "output_stride": 8,
        "head": "torchvision",
        **({"auxiliary": True} if auxiliary else {}),
    }
    assert_agree(found, lambda x: net(x)["out"])


def test_other_networks_of_torchvision_are_refused_by_name(saved):
    segmentation = importlib.import_module("torchvision.models.segmentation")
    net = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(AtrousError, match=r"torchvision's deeplabv3_mobilenet_v3_large; atrous does not have"):
        imported(saved(net.state_dict()))
    net = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(AtrousError, match=r"torchvision's lraspp_mobilenet_v3_large; atrous does not have"):
        imported(saved(net.state_dict()))


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("name", "model"), [("DeepLabV3", "deeplab_v3"), ("DeepLabV3Plus", "deeplab_v3plus")])
def test_deeplab_of_smp(shaken, saved, name, model, encoder):
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    net = shaken(getattr(smp, name)(encoder, encoder_weights=None, classes=4))
    found = imported(saved({"state_dict": {f"model.{key}": value for key, value in net.state_dict().items()}}))
    assert found.source == f"segmentation_models_pytorch's {name} on {encoder}"
    assert (found.model, found.classes, found.options["encoder"]) == (model, 4, encoder)
    assert any("is smp's default; the file does not tell" in note for note in found.notes)
    assert_agree(found, net)


def test_another_output_stride_of_smp(shaken, saved):
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    net = shaken(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=4, encoder_output_stride=8))
    found = imported(saved(net.state_dict()), options={"output_stride": 8})
    assert found.options["output_stride"] == 8
    assert not any("stride" in note for note in found.notes)
    assert_agree(found, net)


def test_one_class_by_sigmoid_becomes_two_with_the_same_probabilities(shaken, saved):
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    net = shaken(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=1, aux_params={"classes": 2}))
    found = imported(saved(net.state_dict()))
    assert found.classes == 2
    assert any("became two, by softmax" in note for note in found.notes)
    assert "left out: classification_head" in found.notes
    segmenter = segmenter_of(found)
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        expected = net(segmenter.normalised(images))[0].sigmoid()
        torch.testing.assert_close(segmenter(images)[:, 1:], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "tu-resnet18"])
def test_unet_of_smp(shaken, saved, encoder):
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    net = shaken(smp.Unet(encoder, encoder_weights=None, classes=4))
    found = imported(saved(net.state_dict()))
    assert found.source == f"segmentation_models_pytorch's Unet on {encoder.removeprefix('tu-')}"
    assert (found.model, found.options["encoder"]) == ("unet", encoder.removeprefix("tu-"))
    assert_agree(found, net, WHOLE_SIZES)


def test_unet_of_smp_on_another_encoder_of_timm_needs_its_name(shaken, saved):
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    net = shaken(smp.Unet("tu-mobilenetv3_small_050", encoder_weights=None, classes=3))
    path = saved(net.state_dict())
    with pytest.raises(
        AtrousError, match="Unet on an encoder that is no plain ResNet; give --encoder with timm's name"
    ):
        imported(path)
    for name in ("mobilenetv3_small_050", "tu-mobilenetv3_small_050"):
        found = imported(path, encoder=name)
        assert found.options["encoder"] == "mobilenetv3_small_050"
        assert_agree(found, net, WHOLE_SIZES)


@pytest.mark.parametrize(
    ("name", "encoder", "said"),
    [
        ("UnetPlusPlus", "resnet18", "Unet\\+\\+"),
        ("FPN", "resnet18", "FPN"),
        ("PSPNet", "resnet18", "PSPNet"),
        ("Linknet", "resnet18", "Linknet"),
        ("MAnet", "resnet18", "MAnet"),
        ("PAN", "resnet18", "PAN"),
        ("UPerNet", "resnet18", "UPerNet"),
        ("Segformer", "resnet18", "Segformer"),
        ("DeepLabV3Plus", "tu-resnet18", "DeepLab on an encoder of timm \\(tu-\\), which has rates of its own"),
    ],
)
def test_other_networks_of_smp_are_refused_by_name(saved, name, encoder, said):
    smp = importlib.import_module("segmentation_models_pytorch")
    net = getattr(smp, name)(encoder, encoder_weights=None, classes=3)
    with pytest.raises(AtrousError, match=rf"weights of segmentation_models_pytorch's {said}; atrous does not have"):
        imported(saved(net.state_dict()))


def assert_says_what_differs(path, source, *words):
    with pytest.raises(AtrousError) as raised:
        imported(path)
    said = str(raised.value).removeprefix(f"{path}: ")
    assert said.startswith(f"{source}, but the file has ")
    assert [word for word in words if word not in said] == []
    assert len(said) <= 300


@pytest.mark.parametrize("gone", ["backbone.layer1.0.conv1.weight", "backbone.conv1.weight", "classifier.4.weight"])
@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_torchvisions_networks_are_known_without_one_tensor_and_with_another(saved, name, gone):
    segmentation = importlib.import_module("torchvision.models.segmentation")
    state = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5).state_dict()
    del state[gone]
    state["classifier.extra"] = torch.zeros(2)
    words = (f"{len(state) - 1} fit", "'classifier.extra' (2,) is only in the file", "is only in the network")
    assert_says_what_differs(saved(state), f"torchvision's {name}", *words)


@pytest.mark.parametrize("gone", ["encoder.layer1.0.conv1.weight", "segmentation_head.0.weight", "decoder"])
@pytest.mark.parametrize("name", ["DeepLabV3", "DeepLabV3Plus", "Unet"])
def test_networks_of_smp_are_known_without_one_tensor_and_with_another(saved, name, gone):
    smp = importlib.import_module("segmentation_models_pytorch")
    state = getattr(smp, name)("resnet18", encoder_weights=None, classes=4).state_dict()
    del state[next(key for key in state if key.startswith(gone))]
    state["extra"] = torch.zeros(2)
    source = f"segmentation_models_pytorch's {name} on resnet18"
    assert_says_what_differs(saved(state), source, "'extra' (2,) is only in the file", "is only in the network")
