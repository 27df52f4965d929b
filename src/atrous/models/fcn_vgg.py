"""The FCNs of the paper: VGG16 slid over the image, its scores enlarged and sharpened by those of pool4 and pool3.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv 1411.4038);
Shelhamer, Long and Darrell, TPAMI 39(4), 2017. Layers as in shelhamer/fcn.berkeleyvision.org, voc-fcn{32,16,8}s/net.py.

| layer                      | kernel, stride, padding | channels | stride | 500 x 500 |
|----------------------------|-------------------------|----------|--------|-----------|
| conv1_1, conv1_2           | 3, 1, **100** then 1    | 64       | 1      | 698       |
| pool1                      | 2, 2 (sizes round up)   | 64       | 2      | 349       |
| stage 2, pool2             | 3, 1, 1                 | 128      | 4      | 175       |
| stage 3, pool3             | 3, 1, 1                 | 256      | 8      | 88        |
| stage 4, pool4             | 3, 1, 1                 | 512      | 16     | 44        |
| stage 5, pool5             | 3, 1, 1                 | 512      | 32     | 22        |
| fc6, ReLU, dropout 0.5     | 7, 1, 0                 | 4096     | 32     | 16        |
| fc7, ReLU, dropout 0.5     | 1, 1, 0                 | 4096     | 32     | 16        |
| score_fr                   | 1, 1, 0, starts at zero | classes  | 32     | 16        |
| 32s: upscore32             | 64, 32; crop 19         | classes  | 1      | 544       |
| 16s: upscore2 + pool4      | 4, 2; pool4's crop 5    | classes  | 16     | 34        |
| 16s: upscore16             | 32, 16; crop 27         | classes  | 1      | 560       |
| 8s: upscore_pool4 + pool3  | 4, 2; pool3's crop 9    | classes  | 8      | 70        |
| 8s: upscore8               | 16, 8; crop 31          | classes  | 1      | 568       |

Score j of score_fr is centred at input pixel 32j + 12.5, and a deconvolution of stride s puts sample j at
s * j + s - 0.5: the crops 19, 27 and 31, and 5 and 9 of the skips, are what aligns them exactly. The padding of 100
leaves room for every crop at every image size from one pixel on; it lies on the normalised input, where zero is the
mean.

What differs from the reference: fixed deconvolutions are grouped, which changes no number; without pretrained weights
the trunk is drawn from He's distribution. The default weights are torchvision's, so the input is normalised their way;
for Caffe's weights use `fcn.CAFFE_PREPROCESSING`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from atrous.contract import Geometry
from atrous.layers.upsample import BilinearDeconvolution
from atrous.layers.vgg_classifier import ConvolutionalVGG16, load_classifier
from atrous.models.fcn_trunk import score

Deconvolution = Literal["fixed", "learnt", "full"]


class Scale(nn.Module):
    """Multiply by a constant, kept as a buffer as Caffe's Scale layers with rate 0 keep theirs."""

    factor: Tensor

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features times the factor."""
        return features * self.factor


def cropped(features: Tensor, offset: int, like: Tensor) -> Tensor:
    """Return the window of `features` that starts at (offset, offset) and has the height and width of `like`."""
    height, width = like.shape[-2:]
    return features[..., offset : offset + height, offset : offset + width]


class FCN32s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at stride 32."""

    def __init__(
        self, classes: int, *, in_channels: int, width: float, deconvolution: Deconvolution, dropout: float
    ) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width, dropout=dropout)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.upscore32 = BilinearDeconvolution(classes, 32, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        _, _, fc7 = self.encoder(images)  # (n, 4096, h / 32, w / 32), about
        scores = self.score_fr(fc7)  # (n, classes, h / 32, w / 32)
        return cropped(self.upscore32(scores), 19, images)  # (n, classes, h, w)


class FCN16s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at strides 32 and 16."""

    def __init__(
        self, classes: int, *, in_channels: int, width: float, deconvolution: Deconvolution, dropout: float
    ) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width, dropout=dropout)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.score_pool4 = score(self.encoder.channels[1], classes)
        self.upscore2 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore16 = BilinearDeconvolution(classes, 16, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        _, pool4, fc7 = self.encoder(images)
        scores = self.upscore2(self.score_fr(fc7))  # (n, classes, h / 16, w / 16)
        scores = scores + cropped(self.score_pool4(pool4), 5, scores)
        return cropped(self.upscore16(scores), 27, images)  # (n, classes, h, w)


class FCN8s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at strides 32, 16 and 8."""

    def __init__(
        self,
        classes: int,
        *,
        in_channels: int,
        width: float,
        deconvolution: Deconvolution,
        dropout: float,
        at_once: bool,
    ) -> None:
        super().__init__()
        self.classes, self.in_channels, self.at_once = classes, in_channels, at_once
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width, dropout=dropout)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.score_pool4 = score(self.encoder.channels[1], classes)
        self.score_pool3 = score(self.encoder.channels[0], classes)
        self.scale_pool4 = Scale(0.01) if at_once else nn.Identity()
        self.scale_pool3 = Scale(0.0001) if at_once else nn.Identity()
        self.upscore2 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore_pool4 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore8 = BilinearDeconvolution(classes, 8, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        pool3, pool4, fc7 = self.encoder(images)
        scores = self.upscore2(self.score_fr(fc7))  # (n, classes, h / 16, w / 16)
        scores = scores + cropped(self.score_pool4(self.scale_pool4(pool4)), 5, scores)
        scores = self.upscore_pool4(scores)  # (n, classes, h / 8, w / 8)
        scores = scores + cropped(self.score_pool3(self.scale_pool3(pool3)), 9, scores)
        return cropped(self.upscore8(scores), 31, images)  # (n, classes, h, w)


def fcn_on_vgg(
    network: type[FCN32s | FCN16s | FCN8s],
    name: str,
    classes: int,
    *,
    pretrained: bool | str | Path,
    output_stride: int | None,
    deconvolution: Deconvolution,
    norm: str | None,
    dropout: float | None,
    **options: Any,
) -> Any:
    """Build one of the three networks and start it from a classifier; `options` are its further keywords.

    Raises `ValueError`, in `name`'s words, for what it does not take, `AtrousError` for weights that do not fit.
    """
    _check(name, output_stride=output_stride, deconvolution=deconvolution, norm=norm)
    net = network(classes, deconvolution=deconvolution, dropout=0.5 if dropout is None else dropout, **options)
    load_classifier(net.encoder, pretrained)
    return net


def _check(builder: str, *, output_stride: int | None, deconvolution: str, norm: str | None) -> None:
    stride = int(builder.removeprefix("fcn").removesuffix("s"))
    if output_stride not in (None, stride):
        raise ValueError(
            f"{builder}: output_stride {output_stride} came, but its finest scores have stride {stride}; "
            "leave it out, or choose among fcn32s, fcn16s and fcn8s"
        )
    if deconvolution not in ("fixed", "learnt", "full"):
        raise ValueError(f"{builder}: deconvolution {deconvolution!r} came; give 'fixed', 'learnt' or 'full'")
    if norm is not None:
        raise ValueError(
            f"{builder}: norm {norm!r} came, but VGG16 has no norms; leave it out, or give an encoder such as resnet50"
        )
