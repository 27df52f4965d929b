"""DeepLab v1: a classifier made dense by holes instead of being slid, so that it scores every eighth pixel.

Chen, Papandreou, Kokkinos, Murphy, Yuille, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", ICLR 2015 (arXiv 1412.7062). Layers as in the authors' config/DeepLab*/train.prototxt.

    layer              kernel, stride, rate    channels    stride    321 x 321    513 x 513
    stages 1 to 3      3x3; pools 3x3, 2       64 128 256  8         161 81 41    257 129 65
    stage 4, pool4     3x3; pool 3x3, 1        512         8         41           65
    stage 5, pool5     3x3, rate 2; 3x3, 1     512         8         41           65
    pool5a             mean 3x3, 1             512         8         41           65
    fc6, dropout       3x3, rate 12            1024        8         41           65
    fc7, dropout       1x1                     1024        8         41           65
    fc8                1x1                     classes     8         41           65

`variant` names the windows of fc6 that the paper compares (table 2). A logit of each sees so many pixels by the
arithmetic of the layers; the paper's "field of view" is that of fc6 alone:

    variant      fc6               filters   parameters     sees   paper's field of view
    largefov     3x3, rate 12      1024      20,505,429     435    224
    7x7          7x7, rate 4       4096      134,346,581    404    224
    4x4          4x4, rate 4       4096      65,140,565     308    128
    4x4-wide     4x4, rate 8       4096      65,140,565     404    224

All but LargeFOV have the base net's 2x2 pools and no pool5a. Of 7x7 there is no released file: with these pools it sees
as much as the classifier it comes from. Where an even number of pixels is seen, their centre is half a pixel before the
pixel whose label the authors compare, 8i; that is the authors' alignment, in training and test.

`multiscale_features` (MSc, section 4.3) adds the scores of five branches, on the image and on pool1 to pool4: 3x3 and
1x1 to 128, each with ReLU and dropout, and 1x1 to the classes. The paper says the 5 x 128 channels are put beside the
last map; the sum of scores is the same function. MSc nets have 3x3 pools whatever the variant, so that all five align.
In training every branch strides to the grid of fc8; in evaluation none does, and the logits are those of every pixel.

What differs from the paper: images are normalised to a deviation of one, so hidden layers are drawn from He's
distribution instead of Gaussians of 0.001, made for values up to 255.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.layers.vgg import draw_he, scaled_channels
from atrous.layers.vgg_atrous import AtrousVGG16, start_from_classifier
from atrous.models.arguments import check_arguments, check_dropout, check_flags

Variant = Literal["largefov", "7x7", "4x4", "4x4-wide"]
WINDOWS = {"largefov": (3, 12, 1024), "7x7": (7, 4, 4096), "4x4": (4, 4, 4096), "4x4-wide": (4, 8, 4096)}
"""Window and rate of fc6, and the filters of fc6 and fc7, of each variant. Source: DeepLab v1, table 2."""

BRANCHES = {"data": 8, "pool1": 4, "pool2": 2, "pool3": 1, "pool4": 1}
"""Where the branches of MSc begin, by the authors' names, and how far fc8's grid is from there."""


def classifier(channels: int, classes: int, size: int = 1, rate: int = 1) -> nn.Conv2d:
    """Return the convolution that scores every class, drawn from a Gaussian of 0.01, its biases zero.

    Source: DeepLab v1, section 5; the same in v2.
    """
    layer = nn.Conv2d(channels, classes, size, padding=rate * (size // 2), dilation=rate)
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class DeepLabV1(nn.Module):
    """Normalised images (n, c, h, w) with sides 8k + 1 to logits (n, classes, (h - 1)/8 + 1, (w - 1)/8 + 1)."""

    preprocessing_padding = "mean"

    def __init__(self, encoder: AtrousVGG16, classes: int) -> None:
        super().__init__()
        self.classes, self.geometry = classes, encoder.geometry
        self.encoder = encoder
        self.fc8 = classifier(encoder.hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every eighth pixel; raises `ValueError` in training for a crop below the least."""
        _, (fc7,) = self.encoder(images)  # (n, 1024, h/8, w/8)
        return self.fc8(fc7)  # (n, classes, h/8, w/8)


class Branch(nn.Module):
    """Scores of one of the finer maps: on the grid of fc8 in training, on the map's own in evaluation.

    Source: DeepLab v1 section 4.3; config/DeepLab-MSc-LargeFOV, train.prototxt and test.prototxt.
    """

    def __init__(self, inputs: int, channels: int, classes: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, channels, 3, padding=1)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)
        draw_he(self)
        self.ms = classifier(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        stride = self.stride if self.training else 1
        hidden = functional.conv2d(features, self.conv.weight, self.conv.bias, stride, padding=1)
        hidden = self.dropout(functional.relu(hidden))
        return self.ms(self.dropout(functional.relu(self.fc(hidden))))


class DeepLabV1MSc(nn.Module):
    """DeepLab v1 with multi-scale features: logits as `DeepLabV1`'s in training, those of every pixel in evaluation.

    Its `encoder` and `fc8` have the names of `DeepLabV1`, from which it is trained on.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: AtrousVGG16, classes: int, *, in_channels: int, width: float, dropout: float) -> None:
        super().__init__()
        self.classes = classes
        self.geometry = replace(encoder.geometry, stride=1)
        self.encoder = encoder
        self.fc8 = classifier(encoder.hidden, classes)
        inputs = (in_channels, *encoder.vgg.channels[:4])
        channels = scaled_channels(128, width)
        self.branches = nn.ModuleDict(
            {
                name: Branch(each, channels, classes, stride=stride, dropout=dropout)
                for each, (name, stride) in zip(inputs, BRANCHES.items(), strict=True)
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of all scores; raises `ValueError` in training for a crop below the least."""
        pooled, (fc7,) = self.encoder(images)
        maps = (images, *pooled[:4])
        scores = [branch(features) for branch, features in zip(self.branches.values(), maps, strict=True)]
        scores.append(self.fc8(fc7))
        grid = scores[0].shape[2:]  # h/8, w/8 in training, where all have it; h, w in evaluation
        return functools.reduce(torch.add, (enlarged(each, grid) for each in scores))  # (n, classes, *grid)


def enlarged(scores: Tensor, grid: torch.Size) -> Tensor:
    """Return scores interpolated bilinearly to a grid, corner on corner: Caffe's Interp layer.

    >>> enlarged(torch.tensor([[[[0.0, 8.0]]]]), torch.Size((1, 5))).tolist()
    [[[[0.0, 2.0, 4.0, 6.0, 8.0]]]]
    """
    if scores.shape[2:] == grid:
        return scores
    return functional.interpolate(scores, grid, mode="bilinear", align_corners=True)


def freeze_all_but_branches(net: DeepLabV1MSc) -> DeepLabV1MSc:
    """Let nothing but the five branches of `net` learn, in place, and return it: the paper's second stage.

    Source: DeepLab v1 section 4.3; rates of zero in config/DeepLab-MSc-LargeFOV/train.prototxt.
    """
    for part in (net.encoder, net.fc8):
        part.requires_grad_(False)
    return net


def deeplab_v1(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    variant: Variant = "largefov",
    multiscale_features: bool = False,
    train_branches_only: bool = False,
    dropout: float = 0.5,
) -> DeepLabV1 | DeepLabV1MSc:
    """Return DeepLab v1, without options DeepLab-LargeFOV: VGG16 with holes, scored at stride 8.

    `pretrained` is a .safetensors file of a VGG16 classifier, or True for timm's; fc6 and fc7 are decimated from it.
    `variant` is fc6's window, `multiscale_features` adds the five branches of MSc, and `train_branches_only` lets only
    these learn, from a run of the plain net. Trunk, fc6 and fc7 are its `encoder`: the paper's tenfold rate of fc8 is
    an encoder rate of 0.1. Parameters: 20,505,429 (LargeFOV), 21,711,550 (MSc-LargeFOV), 65,140,565 (4x4), 66,346,686
    (MSc, 4x4), 134,346,581 (7x7).

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: DeepLab v1 sections 3.1, 4.3 and 5, table 2.

    >>> deeplab_v1(2, width=1 / 64)(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 2, 5, 9])
    """
    check_arguments("deeplab_v1", classes, in_channels, width, output_stride=output_stride)
    check_dropout("deeplab_v1", dropout)
    check_flags("deeplab_v1", multiscale_features=multiscale_features, train_branches_only=train_branches_only)
    _check(encoder, output_stride, variant, branches=multiscale_features, branches_only=train_branches_only)
    size, rate, filters = WINDOWS[variant]
    body = AtrousVGG16(
        rates=(rate,),
        hidden=filters,
        size=size,
        corners=multiscale_features or variant == "largefov",
        mean=variant == "largefov",
        dropout=dropout,
        in_channels=in_channels,
        width=width,
    )
    start_from_classifier(body, pretrained)
    if not multiscale_features:
        return DeepLabV1(body, classes)
    net = DeepLabV1MSc(body, classes, in_channels=in_channels, width=width, dropout=dropout)
    return freeze_all_but_branches(net) if train_branches_only else net


def _check(
    encoder: str | None, output_stride: int | None, variant: str, *, branches: bool, branches_only: bool
) -> None:
    if encoder not in (None, "vgg16"):
        raise ValueError(
            f"deeplab_v1: encoder {encoder!r} came, but this network is VGG16; leave encoder out, or take deeplab_v2"
        )
    if output_stride not in (None, 8):
        raise ValueError(f"deeplab_v1: output_stride {output_stride} came, but its scores have stride 8; leave it out")
    if variant not in get_args(Variant):
        raise ValueError(f"deeplab_v1: variant {variant!r} came; there are {', '.join(get_args(Variant))}")
    if branches_only and not branches:
        raise ValueError("deeplab_v1: train_branches_only came without multiscale_features, which makes the branches")
