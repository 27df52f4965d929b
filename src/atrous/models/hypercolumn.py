"""Hypercolumns: every pixel is classified by all that an encoder's layers say above it, and by where it lies.

Hariharan, Arbelaez, Girshick and Malik, "Hypercolumns for Object Segmentation and Fine-grained Localization", CVPR 2015
(arXiv 1411.5752). Layers of the authors' later release, bharath272/sds, model_defs/hypercolumn_train_pydata.prototxt.

| layer      | from                  | kernel | channels        | stride |
|------------|-----------------------|--------|-----------------|--------|
| encoder    | VGG16, fc6 and fc7    |        | 256, 512, 4096  | 8..32  |
| conv_pool3 | pool3                 | 3      | classes x 5 x 5 | 8      |
| conv_pool4 | pool4                 | 1      | classes x 5 x 5 | 16     |
| fcfc7      | fc7                   | 1      | classes x 5 x 5 | 32     |
| sum        | the three, enlarged   |        | classes x 5 x 5 | 8      |
| location   | the 5 x 5, by place   |        | classes         | 8      |

A linear classifier of hypercolumns (the maps enlarged bilinearly and concatenated, see `hypercolumns`) is the sum of
one classifier per map, each at the map's own resolution and enlarged afterwards, since enlarging is linear and commutes
with a 1x1. That is what runs here: the long columns never exist. There are K x K such classifiers, and a pixel takes a
mixture of the four nearest, so that left and right, or top and bottom, can be told apart.

What differs from the paper. It segments detections: each box has a heat map of 50 x 50, its grid of classifiers spans
the box, and each category has a sigmoid. Here the whole image is the box, so the grid spans the network's input
(`models.Segmenter` pads at the bottom and right: the padded image is the span), and classes share a softmax. fc7 was
computed once per box; here fc6 slides with padding 3, and fc7 has a place too. The classifiers are mixed on the finest
map's grid, not at full size, where K x K maps per class would not fit; the logits are enlarged afterwards. The release
keeps the convolutions of VGG16 as they were; here they learn. It multiplies pool3 by 0.0027 and pool4 by 0.063, which
belongs to weights trained in Caffe on values up to 255 (BGR less 102.9801, 115.946, 122.7717): `scaled=True` does so.
Images here are normalised to a deviation of one, and the constants would all but remove both maps. Standard deviation
of the fresh network's scores, on two images of 224 x 224 drawn from a unit Gaussian:

| map   | as it is | scaled |
|-------|----------|--------|
| pool3 | 1.22     | 0.0033 |
| pool4 | 0.64     | 0.040  |
| fc7   | 1.32     | 1.32   |

So without options no map is scaled; the parameters are the same. Other encoders read their last three maps.

Unverified: where in its cell a classifier sits (here in the middle, and held beyond the outermost), and that the
system of the CVPR paper had K = 10 and read pool2, conv4 and fc7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import Geometry
from atrous.layers.norm import Norm, with_norm
from atrous.layers.trunk import trunk
from atrous.layers.vgg_classifier import ConvolutionalVGG16, load_classifier
from atrous.models.arguments import check_arguments, check_flags, check_whole, is_whole

SCALES = {2: 0.0027, 3: 0.063}
"""By what `scaled` multiplies VGG16's pool3 and pool4 before they are scored. Source: hypercolumn_train."""

VGG_LEVELS = (2, 3, 5)
"""pool3, pool4 and fc7 among pool1 .. pool5, fc7. Source: the release, hypercolumn_train."""


def hypercolumns(maps: Sequence[Tensor], size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Return the maps (n, c_i, h_i, w_i) enlarged bilinearly to `size` and concatenated: (n, sum of c_i, h, w).

    Source: Hypercolumns, abstract.

    >>> hypercolumns([torch.zeros(1, 2, 4, 4), torch.zeros(1, 5, 1, 1)], (8, 8)).shape
    torch.Size([1, 7, 8, 8])
    """
    return torch.cat([enlarged(each, size, align_corners) for each in maps], dim=1)


def enlarged(features: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return the map interpolated bilinearly to `size`, as it is where it has that size.

    >>> enlarged(torch.zeros(1, 2, 4, 4), (8, 8), False).shape
    torch.Size([1, 2, 8, 8])
    """
    if features.shape[2:] == tuple(size):
        return features
    return functional.interpolate(features, tuple(size), mode="bilinear", align_corners=align_corners)


def interpolated_by_location(scores: Tensor, grid: int) -> Tensor:
    """Mix scores of grid x grid classifiers by where a pixel lies: (n, c * grid * grid, h, w) to (n, c, h, w).

    Channel (class * grid + row) * grid + column is the classifier in that cell of a grid that spans the map. A pixel's
    score is interpolated bilinearly between the four whose cells' centres are nearest; beyond the outermost centres
    they are held. With a grid of 1 nothing is mixed.

    Source: the release's LocallyConnected layer.

    >>> interpolated_by_location(torch.tensor([0.0, 4.0, 0.0, 4.0]).reshape(1, 4, 1, 1).expand(-1, -1, 1, 4), 2)
    tensor([[[[0., 1., 3., 4.]]]])
    """
    rows, columns = (_shares(grid, side, scores) for side in scores.shape[2:])
    return torch.einsum("ncklyx,ky,lx->ncyx", scores.unflatten(1, (-1, grid, grid)), rows, columns)


def _shares(grid: int, side: int, like: Tensor) -> Tensor:
    """Return how much each of the (grid, side) classifiers along an axis has in each pixel's score."""
    identity = torch.eye(grid, dtype=like.dtype, device=like.device)[None]
    return functional.interpolate(identity, side, mode="linear", align_corners=False)[0]


class Hypercolumn(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h / s, w / s), s the stride of the finest map.

    `levels` says which of the encoder's maps are read, from the finest to the deepest, which `dropout` follows, and
    `scales` by what each is multiplied.
    """

    preprocessing_padding = "mean"

    def __init__(
        self,
        encoder: Any,
        classes: int,
        *,
        geometry: Geometry,
        levels: Sequence[int],
        scales: Sequence[float],
        grid: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.classes, self.in_channels, self.grid = classes, encoder.in_channels, grid
        self.levels, self.scales = tuple(levels), tuple(scales)
        self.geometry = replace(geometry, stride=encoder.strides[levels[0]])
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        finest, *coarser = (encoder.channels[level] for level in levels)
        outputs = classes * grid * grid
        self.classify = nn.ModuleList(
            [nn.Conv2d(finest, outputs, 3, padding=1), *(nn.Conv2d(each, outputs, 1) for each in coarser)]
        )
        for name, weight in self.classify.named_parameters():
            nn.init.zeros_(weight) if name.endswith("bias") else nn.init.normal_(weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits on the finest map's grid."""
        *maps, deepest = self.encoder(images)
        maps.append(self.dropout(deepest))
        finest, *coarser = (
            classify(maps[level] * scale)  # (n, classes K K, h / 8, w / 8) .. (n, classes K K, h / 32, w / 32)
            for level, scale, classify in zip(self.levels, self.scales, self.classify, strict=True)
        )
        for scores in coarser:
            finest = finest + enlarged(scores, finest.shape[2:], self.geometry.align_corners)
        return interpolated_by_location(finest, self.grid)  # (n, classes, h / 8, w / 8)


def hypercolumn(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    grid: int = 5,
    levels: Sequence[int] | None = None,
    scaled: bool = False,
    norm: Norm | None = None,
    dropout: float | None = None,
) -> Hypercolumn:
    """Return a network of hypercolumns; without options the release's, on VGG16: 137,890,919 parameters.

    `grid` is K, from 1 (no locations) on. `levels` are indices into the encoder's maps, from the finest to read to the
    deepest there is: VGG16 has pool1 .. pool5 and fc7 (0 to 5) and reads (2, 3, 5), other encoders read their last
    three. `scaled` multiplies VGG16's pool3 and pool4 by the release's constants, for weights and images in Caffe's
    range up to 255; on normalised images they would hardly count any more. `dropout` is 0.5 after fc6 and fc7 of VGG16,
    and on another encoder 0 after its deepest map. `pretrained` is True for timm's weights, or a .safetensors file (of
    a VGG16 classifier, or of the encoder).

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: Hypercolumns; bharath272/sds, model_defs/hypercolumn_train_pydata.prototxt.

    >>> hypercolumn(2, width=1 / 64).eval()(torch.zeros(1, 3, 32, 64)).shape
    torch.Size([1, 2, 4, 8])
    """
    check_arguments("hypercolumn", classes, in_channels, width, dropout, output_stride)
    check_flags("hypercolumn", scaled=scaled)
    check_whole("hypercolumn", grid=grid)
    if grid < 1:
        raise ValueError(f"hypercolumn: grid {grid} came; it is 1 (no locations) or more, the release's is 5")
    if encoder is None or encoder == "vgg16":
        _check_vgg(output_stride, norm)
        return _on_vgg(
            classes,
            in_channels=in_channels,
            pretrained=pretrained,
            width=width,
            grid=grid,
            levels=levels,
            scaled=scaled,
            dropout=dropout,
        )
    if scaled:
        raise ValueError(
            f"hypercolumn: scaled came with encoder {encoder!r}, but its constants are VGG16's; "
            "leave scaled or the encoder out"
        )
    stride = 32 if output_stride is None else output_stride
    body = trunk(encoder, in_channels=in_channels, output_stride=stride, pretrained=pretrained, width=width)
    chosen = _checked(tuple(range(len(body.strides)))[-3:] if levels is None else levels, body.strides)
    options: dict[str, Any] = {"geometry": body.geometry, "grid": grid, "dropout": dropout or 0.0}
    net = Hypercolumn(body, classes, levels=chosen, scales=[1.0] * len(chosen), **options)
    return with_norm(net, "batch" if norm is None else norm)  # type: ignore[return-value]


def _on_vgg(
    classes: int,
    *,
    pretrained: bool | str | Path,
    grid: int,
    levels: Sequence[int] | None,
    scaled: bool,
    dropout: float | None,
    **options: Any,
) -> Hypercolumn:
    dropout = 0.5 if dropout is None else dropout
    vgg = ConvolutionalVGG16(padding=1, classifier_padding=3, dropout=dropout, maps=range(6), **options)
    chosen = _checked(VGG_LEVELS if levels is None else levels, vgg.strides)
    scales = [SCALES.get(level, 1.0) if scaled else 1.0 for level in chosen]
    net = Hypercolumn(vgg, classes, geometry=Geometry(multiple=32), levels=chosen, scales=scales, grid=grid)
    load_classifier(vgg, pretrained)
    return net


def _checked(levels: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    deepest = len(strides) - 1
    whole = isinstance(levels, Sequence) and all(is_whole(level) for level in levels)
    if not whole or not levels or list(levels) != sorted(set(levels)) or levels[0] < 0 or levels[-1] != deepest:
        raise ValueError(
            f"hypercolumn: levels {levels!r} came; the encoder has maps 0 to {deepest} at strides "
            f"{tuple(strides)}: give rising ones that end with {deepest}, since layers after the last learn nothing"
        )
    return tuple(levels)


def _check_vgg(output_stride: int | None, norm: str | None) -> None:
    if output_stride not in (None, 32):
        raise ValueError(
            f"hypercolumn: output_stride {output_stride} came, but VGG16's deepest map has stride 32; "
            "leave it out, or give an encoder such as resnet50"
        )
    if norm is not None:
        raise ValueError(
            f"hypercolumn: norm {norm!r} came, but VGG16 has no norms; "
            "leave it out, or give an encoder such as resnet50"
        )
