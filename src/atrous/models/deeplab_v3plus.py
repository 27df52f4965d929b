"""DeepLab v3+: DeepLab v3's pyramid as encoder, and a small decoder that gives its object borders back.

Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation. ECCV 2018, arXiv 1802.02611.

    stage      stride  channels
    trunk      16      2048 (ResNet-101)     its map at stride 4: 256
    ASPP       16      256                   1x1, 3x3 at rates 6 12 18, image pooling; concatenated, 1x1
    reduce     4       48                    1x1 on the trunk's map at stride 4
    refine     4       256, 256              the pyramid enlarged x4, concatenated, two 3x3
    classify   4       classes               1x1

What differs from the paper: any timm encoder fits; dropout 0.1 after the ASPP is the authors' code. The paper's
ResNet-101 (three 3x3 root layers, strides in the last units) is `encoder="resnet101_beta"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.layers.aspp import ASPP, RATES
from atrous.layers.atrous import convolution, separable_convolution
from atrous.layers.trunk import Trunk, trunk


class DeepLabV3Plus(nn.Module):
    """(n, c, h, w) normalised images -> (n, classes, h/4, w/4) logits."""

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, channels: int, reduced: int, separable: bool, dropout: float):
        super().__init__()
        self.encoder = encoder
        self.skip = encoder.strides.index(4)
        refine = separable_convolution if separable else convolution
        rates = RATES[encoder.strides[-1]]
        self.aspp = ASPP(encoder.channels[-1], channels, rates=rates, separable=separable, dropout=dropout)
        self.reduce = convolution(encoder.channels[self.skip], reduced, 1)
        self.refine = nn.Sequential(refine(channels + reduced, channels), refine(channels, channels))
        self.classify = nn.Conv2d(channels, classes, 1)
        self.geometry = replace(encoder.geometry, stride=4)
        _initialise([self.aspp, self.reduce, self.refine], self.classify)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        low, deep = self.reduce(features[self.skip]), self.aspp(features[-1])  # (n, 48, h/4, w/4), (n, 256, h/16, w/16)
        align = self.geometry.align_corners
        deep = F.interpolate(deep, low.shape[2:], mode="bilinear", align_corners=align)  # (n, 256, h/4, w/4)
        return self.classify(self.refine(torch.cat([deep, low], 1)))  # (n, classes, h/4, w/4)


def _initialise(parts: Sequence[nn.Module], classify: nn.Conv2d) -> None:
    """He initialisation, and the authors' small normal for the last layer."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(classify.weight, std=0.01)
    if classify.bias is not None:
        nn.init.zeros_(classify.bias)


def deeplab_v3plus(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    separable: bool = False,
    multigrid: Sequence[int] | None = None,
    dropout: float = 0.1,
) -> DeepLabV3Plus:
    """Build DeepLab v3+; without options the paper's: ResNet-101, output stride 16, plain convolutions.

    `encoder` is any timm name with a map at stride 4, or `resnet101_beta`. `separable` makes the pyramid and the
    decoder atrous separable. At output stride 8 the rates double. Parameters: 59,344,309 (`resnet101`, 7x7 root),
    59,468,085 (`resnet101_beta`).

    Raises `ValueError` for an encoder or a stride that does not exist, and for fewer than 2 classes.

    Source: DeepLab v3+ sections 3.1 and 4.1, tables 1 to 3.

    >>> deeplab_v3plus(5, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 5, 9, 17])
    """
    if classes < 2:
        raise ValueError(f"{classes} classes came; a segmentation has at least 2 (background and one more)")
    output_stride = 16 if output_stride is None else output_stride
    if output_stride not in RATES:
        raise ValueError(f"output stride {output_stride} came; deeplab_v3plus has 8, 16 or 32")
    body = trunk(
        encoder or "resnet101",
        in_channels=in_channels,
        output_stride=output_stride,
        multigrid=multigrid,
        pretrained=pretrained,
        width=width,
    )
    if 4 not in body.strides:
        raise ValueError(
            f"encoder {encoder!r} has maps at strides {body.strides}; deeplab_v3plus needs one at stride 4"
        )
    return DeepLabV3Plus(
        body,
        classes,
        channels=max(1, round(256 * width)),
        reduced=max(1, round(48 * width)),
        separable=separable,
        dropout=dropout,
    )
