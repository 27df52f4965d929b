"""Classifiers made convolutional: their own scores on their own size, a map of scores on larger images."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from atrous.layers.convolutionalise import convolutionalise
from atrous.layers.output_stride import set_output_stride


def images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(net, seed=0):
    """Give every layer weights that keep the size of its values, and every norm statistics of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan = layer.weight[0].numel()
                layer.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


class VGGLike(nn.Module):
    """torchvision's structure of VGG, with few channels."""

    def __init__(self, padding=1, grid=7, extra=None):
        super().__init__()
        layers, inputs = [], 3
        for channels in (4, 6, 8, 8, 8):
            layers += [nn.Conv2d(inputs, channels, 3, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]
            inputs = channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((grid, grid))
        middle = extra or nn.Dropout()
        self.classifier = nn.Sequential(
            nn.Linear(8 * grid**2, 32), nn.ReLU(True), middle, nn.Linear(32, 16), nn.ReLU(True), nn.Linear(16, 5)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def narrow_resnet():
    return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=8)


CLASSIFIERS = {
    "VGG-like": (VGGLike, (2, 4)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=7), (2, 4)),
    "bottlenecks": (narrow_resnet, (2, 4)),
    "mobilenet_v3": (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), (2, 4)),
    "timm resnet18": (lambda: timm.create_model("resnet18", num_classes=7), (2, 4)),
    "timm vgg": (lambda: timm.models.vgg.VGG([4, "M", 6, "M", 8, "M", 8, "M", 8, "M"], num_classes=7), (2, 4)),
    "timm mobilenetv2": (lambda: timm.create_model("mobilenetv2_050", num_classes=7), (2, 4)),
    "timm densenet121": (lambda: timm.create_model("densenet121", num_classes=7), (2, 4)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_on_its_own_size_it_is_the_classifier_and_on_a_larger_one_a_map(name):
    build, larger = CLASSIFIERS[name]
    classifier = lively(build())
    dense = convolutionalise(classifier)
    x = images(2, 3, 224, 224)
    expected, scores = classifier(x), dense(x)
    assert scores.shape == (*expected.shape, 1, 1)
    assert expected.std() > 1e-2
    torch.testing.assert_close(scores[:, :, 0, 0], expected, atol=1e-5 * max(1, expected.abs().max().item()), rtol=0)
    wide = dense(images(1, 3, 256, 320))
    assert wide.shape == (1, expected.shape[1], *larger)
    assert wide.std((2, 3)).min() > 0


@torch.no_grad()
def test_without_padding_every_position_is_the_score_of_its_window():
    classifier = lively(VGGLike(padding=0, grid=5))
    dense = convolutionalise(classifier)
    x = images(1, 3, 288, 256)
    scores = dense(x)
    assert scores.shape[2:] == (3, 2)
    for row in range(3):
        for column in range(2):
            window = x[:, :, 32 * row : 32 * row + 224, 32 * column : 32 * column + 224]
            torch.testing.assert_close(scores[:, :, row, column], classifier(window), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [VGGLike, lambda: torchvision.models.resnet18(num_classes=7)])
@pytest.mark.parametrize("stride", [16, 8])
@torch.no_grad()
def test_denser_scores_agree_on_the_old_grid(build, stride):
    dense = convolutionalise(lively(build()))
    denser = copy.deepcopy(dense)
    assert set_output_stride(denser, stride).averages == ()
    x, step = images(1, 3, 256, 289), 32 // stride
    coarse, fine = dense(x), denser(x)
    assert fine.shape[2] >= (coarse.shape[2] - 1) * step + 1
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-4, rtol=0)


@torch.no_grad()
def test_it_is_a_copy_in_the_same_mode():
    classifier = VGGLike().train()
    classifier.classifier[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    dense = convolutionalise(classifier)
    assert dense.training
    assert dense.classifier[0].weight.shape == (32, 8, 7, 7)
    assert not dense.classifier[0].weight.requires_grad
    assert dense.classifier[3].weight.requires_grad
    for weight in dense.parameters():
        weight.zero_()
    torch.testing.assert_close(dict(classifier.state_dict()), before, atol=0, rtol=0)
    shared = {p.data_ptr() for p in dense.parameters()} & {p.data_ptr() for p in classifier.parameters()}
    assert not shared


@torch.no_grad()
def test_other_sizes_and_precisions():
    classifier = lively(torchvision.models.resnet18(num_classes=3))
    dense = convolutionalise(classifier, size=96)
    torch.testing.assert_close(dense.pool.kernel_size, (3, 3))
    x = images(1, 3, 96, 96)
    torch.testing.assert_close(dense(x)[:, :, 0, 0], classifier(x), atol=1e-5, rtol=1e-5)
    assert convolutionalise(classifier.bfloat16(), size=64)(x.bfloat16()).dtype == torch.bfloat16


class Scaled(VGGLike):
    """Does more in its forward than its parts tell."""

    def forward(self, x):
        return 2 * super().forward(x)


def small_vit():
    return timm.create_model("vit_tiny_patch16_224", depth=1)


@pytest.mark.parametrize(
    ("build", "options", "words"),
    [
        (small_vit, {}, r"VisionTransformer: it pools its map by 'token', not by the mean. VGG-like"),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", depth=1, global_pool="avg", class_token=False),
            {},
            r"VisionTransformer: its features are \(1, 196, 192\), no map",
        ),
        (lambda: timm.create_model("resnet18", global_pool="max"), {}, r"ResNet: it pools its map by 'max'"),
        (lambda: timm.create_model("resnet18", num_classes=0, global_pool=""), {}, r"pools its map by 'nothing'"),
        (lambda: timm.create_model("convnext_atto"), {}, r"ConvNeXt: made dense it does not give its own scores"),
        (lambda: torchvision.models.mobilenet_v2(width_mult=0.25), {}, r"V2: its parts are features, classifier"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 1)), {}, r"Sequential: its parts are 0"),
        (lambda: VGGLike(extra=nn.LayerNorm(32)), {}, r"VGGLike: its head has a LayerNorm"),
        (VGGLike, {"size": 256}, r"VGGLike: .* 256 x 256 has a map of 8 x 8, which it pools to 7 x 7"),
        (VGGLike, {"size": 16}, r"VGGLike: it does not take an image of 16 x 16 \(.*\); give size="),
        (Scaled, {}, r"Scaled: made dense it does not give its own scores, so its forward does more"),
    ],
)  # fmt: skip
def test_other_networks_are_refused_by_name(build, options, words):
    with pytest.raises(ValueError, match=words):
        convolutionalise(lively(build()), **options)


def test_a_grid_that_is_no_square_is_refused():
    classifier = VGGLike()
    classifier.avgpool = nn.AdaptiveAvgPool2d((7, 1))
    classifier.classifier[0] = nn.Linear(8 * 7, 32)
    with pytest.raises(ValueError, match=r"its avgpool makes \(7, 1\), no square"):
        convolutionalise(classifier)


def test_a_linear_layer_that_reads_something_else_is_refused():
    class Half(VGGLike):
        def forward(self, x):
            return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1)[:, ::2])

    classifier = Half()
    classifier.classifier[0] = nn.Linear(8 * 49 // 2, 32)
    with pytest.raises(
        ValueError, match=r"Half: a linear layer reads 196 values, where the map has 8 channels of 7 x 7"
    ):
        convolutionalise(classifier)
