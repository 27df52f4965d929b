"""DeepLab v2: atrous spatial pyramid pooling, one map seen at several rates, on VGG16 or ResNet-101, at stride 8.

Chen, Papandreou, Kokkinos, Murphy, Yuille, "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
Convolution, and Fully Connected CRFs", TPAMI 2018 (arXiv 1606.00915).

    VGG16        kernel, rate               channels   stride       ResNet-101   kernel, rate     channels   stride
    trunk        as v1's, no pool5a         512        8            trunk        to res5          2048       8
    fc6_1 .. 4   3x3, rates 6 12 18 24      1024       8            c0 .. c3     3x3, 6 12 18 24  classes    8
    fc7_1 .. 4   1x1                        1024       8            sum                           classes    8
    fc8_1 .. 4   1x1                        classes    8
    sum                                     classes    8

`head` names the rates: `"aspp-l"` has the four above, `"aspp-s"` 2 4 8 12 (VGG16 only), `"largefov"` 12 alone.

    encoder      head                 parameters    a logit sees
    vgg16        largefov             20,505,429    419
    vgg16        aspp-s, aspp-l       37,877,652    419, 611
    resnet101    largefov             42,887,253
    resnet101    aspp-l               44,048,532

The ResNet's norms are frozen, statistics, scale and shift; its classifiers have biases and no norm. With
`multiscale=True` the net is applied to the image at 1, 3/4 and 1/2 of its size: see `multiscale.py`.

What differs from the paper: any encoder fits the ResNet's head, at output strides 16 and 32 too, with rates halved as
often (and rounded down). Each rate's fc6 of a VGG16 starts from filters of its own choice.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from atrous.contract import AtrousError
from atrous.layers.norm import Norm, with_norm
from atrous.layers.resnet_caffe import DEPTHS as CAFFE
from atrous.layers.trunk import Trunk, trunk
from atrous.layers.vgg_atrous import AtrousVGG16, start_from_classifier
from atrous.models.arguments import check_arguments, check_flags
from atrous.models.deeplab_v1 import classifier
from atrous.models.multiscale import MultiScale

Head = Literal["aspp-l", "aspp-s", "largefov"]
RATES = {"aspp-l": (6, 12, 18, 24), "aspp-s": (2, 4, 8, 12), "largefov": (12,)}
"""The atrous rates of each head at output stride 8. Source: DeepLab v2 section 4.1.1."""


class DeepLabV2VGG(nn.Module):
    """Normalised images (n, c, h, w) with sides 8k + 1 to logits (n, classes, (h - 1)/8 + 1, (w - 1)/8 + 1)."""

    preprocessing_padding = "mean"

    def __init__(self, encoder: AtrousVGG16, classes: int) -> None:
        super().__init__()
        self.classes, self.geometry = classes, encoder.geometry
        self.encoder = encoder
        for suffix in encoder.suffixes:
            self.add_module(f"fc8{suffix}", classifier(encoder.hidden, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of every rate's scores; raises `ValueError` in training for a crop below 9 x 9."""
        _, views = self.encoder(images)  # per rate (n, 1024, h/8, w/8)
        layers = (self.get_submodule(f"fc8{suffix}") for suffix in self.encoder.suffixes)
        scores = (fc8(view) for fc8, view in zip(layers, views, strict=True))
        return functools.reduce(torch.add, scores)  # (n, classes, h/8, w/8)


class SummedClassifiers(nn.Module):
    """One 3x3 classifier per rate on the same map, summed: (n, inputs, h, w) -> (n, classes, h, w).

    Source: DeepLab v2 section 3.2 and figure 7, as the released ResNet-101 has it.

    >>> SummedClassifiers(4, 2, (6, 12))(torch.zeros(1, 4, 5, 5)).shape
    torch.Size([1, 2, 5, 5])
    """

    def __init__(self, inputs: int, classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        for place, rate in enumerate(rates):
            self.add_module(f"c{place}", classifier(inputs, classes, 3, rate))

    def forward(self, x: Tensor) -> Tensor:
        return functools.reduce(torch.add, (layer(x) for layer in self.children()))


class DeepLabV2(nn.Module):
    """Normalised images (n, c, h, w) to logits (n, classes, h/8, w/8), on any trunk."""

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.classes, self.geometry = classes, encoder.geometry
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.aspp = SummedClassifiers(encoder.channels[-1], classes, rates)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits; raises `ValueError` in training for a crop below the trunk's least one."""
        features = self.encoder(images)[-1]  # (n, 2048, h/8, w/8)
        return self.aspp(self.dropout(features))  # (n, classes, h/8, w/8)


def deeplab_v2(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    head: Head | None = None,
    multiscale: bool = False,
    norm: Norm | None = None,
    dropout: float | None = None,
) -> DeepLabV2VGG | DeepLabV2 | MultiScale:
    """Return DeepLab v2, without options ResNet-101 (`resnet101_caffe`) with ASPP-L, its norms frozen, at one scale.

    `encoder` is `"vgg16"` or any trunk; `pretrained` True takes its published weights, a file those of a VGG16
    classifier or of the trunk. `norm` None freezes the norms of a trunk that has batch norms; without weights to start
    from, `"batch"` learns better. `dropout` None is 0.5 after fc6 and fc7 of VGG16, as published, and none elsewhere.
    VGG16 with fc6 and fc7, or the trunk, is the `encoder`: the paper's tenfold rate of classifiers is an encoder rate
    of 0.1. Parameters: 44,048,532; with `head="largefov"` 42,887,253; on `vgg16` 37,877,652 and 20,505,429.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: DeepLab v2 sections 3.1, 3.2 and 4.1, table 4.

    >>> deeplab_v2(2, encoder="resnet50_caffe", width=1 / 64).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 2, 5, 9])
    """
    check_arguments("deeplab_v2", classes, in_channels, width, dropout, output_stride)
    check_flags("deeplab_v2", multiscale=multiscale)
    name: str = "resnet101_caffe" if encoder is None else encoder
    head = "aspp-l" if head is None else head
    output_stride = 8 if output_stride is None else output_stride
    _check(name, output_stride, head, norm)
    rates = tuple(max(1, rate * 8 // output_stride) for rate in RATES[head])
    net: DeepLabV2VGG | DeepLabV2
    if name == "vgg16":
        share = 0.5 if dropout is None else dropout
        vgg = AtrousVGG16(rates=rates, hidden=1024, dropout=share, in_channels=in_channels, width=width)
        start_from_classifier(vgg, pretrained)
        net = DeepLabV2VGG(vgg, classes)
    else:
        body = _trunk(name, pretrained, norm, in_channels=in_channels, output_stride=output_stride, width=width)
        net = DeepLabV2(body, classes, rates=rates, dropout=dropout or 0.0)
    return MultiScale(net) if multiscale else net


def _trunk(
    name: str,
    pretrained: bool | str | Path,
    norm: Norm | None,
    *,
    in_channels: int,
    output_stride: int,
    width: float,
) -> Trunk:
    if pretrained is True and name in CAFFE:
        raise AtrousError(
            f"deeplab_v2: encoder {name!r} has no published weights in a safe format here: take "
            f"encoder={name.removesuffix('_caffe')!r}, whose weights are, or convert the authors' with `atrous import`"
        )
    body = trunk(name, in_channels=in_channels, output_stride=output_stride, pretrained=pretrained, width=width)
    if norm is None and any(isinstance(layer, nn.BatchNorm2d) for layer in body.modules()):
        norm = "frozen"
    if norm is not None:
        with_norm(body, norm)
    return body


def _check(encoder: str, output_stride: int, head: str, norm: str | None) -> None:
    if head not in get_args(Head):
        raise ValueError(f"deeplab_v2: head {head!r} came; there are {', '.join(get_args(Head))}")
    if encoder == "vgg16":
        if output_stride != 8:
            raise ValueError(f"deeplab_v2: output_stride {output_stride} came, but on vgg16 it is 8; leave it out")
        if norm is not None:
            raise ValueError(f"deeplab_v2: norm {norm!r} came, but vgg16 has no norms; leave norm out")
    elif head == "aspp-s":
        raise ValueError(f"deeplab_v2: head 'aspp-s' is VGG16's; {encoder!r} takes 'aspp-l' or 'largefov'")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"deeplab_v2: output stride {output_stride} came; there are 8, 16 and 32")
