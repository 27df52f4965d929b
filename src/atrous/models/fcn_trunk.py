"""FCN on any trunk: the paper's sums of scores on maps of an encoder, and the FCN of torchvision.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv 1411.4038),
sections 4.1 and 4.2: score the deepest map with 1x1, enlarge, add the scores of finer maps.

| layer                      | fcn32s  | fcn16s   | fcn8s     | torchvision's       |
|----------------------------|---------|----------|-----------|---------------------|
| trunk, its deepest map     | 32      | 32       | 32        | 8, dilated          |
| before the scores          | -       | -        | -         | 3x3 to a quarter    |
| scores, 1x1                | at 32   | at 32    | at 32     | at 8                |
| enlarged twice, plus a map | -       | at 16    | at 16, 8  | -                   |
| logits at stride           | 32      | 16       | 8         | 8                   |

What differs from the paper: the encoder pads its maps itself, so no padding of 100 and no crops are needed; each
enlargement is bilinear and fixed, and the last one is left to `models.Segmenter`. Maps of encoders centred on pixels
(ResNets, sizes 32k + 1) are enlarged corner to corner, those of encoders that cut cells (ConvNeXt) by cells. Dropout is
where the classifier had it, which is nowhere in a ResNet.

torchvision's is not the paper's network: one 3x3 with batch norm and ReLU on a dilated ResNet, dropout 0.1, no skip.
Its logits are enlarged by cells, though a ResNet's convolutions are centred on every eighth pixel; that is as it was
trained. Sizes that are multiples of the output stride are those at which `models.Segmenter` enlarges as torchvision
does; it pads others with the mean at the bottom and right, where torchvision stretches the grid a little.

Source: torchvision/models/segmentation/fcn.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import Geometry
from atrous.layers.atrous import convolution
from atrous.layers.norm import Norm, with_norm
from atrous.layers.trunk import Trunk, trunk
from atrous.layers.vgg import draw_he


def score(channels: int, classes: int) -> nn.Conv2d:
    """Return the 1x1 convolution that scores every class, with weights and biases of zero.

    Source: FCN, section 4.3 (random ones gave neither better results nor faster convergence).

    >>> bool(score(8, 2).weight.any())
    False
    """
    layer = nn.Conv2d(channels, classes, kernel_size=1)
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


class TrunkFCN(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h / s, w / s), s the stride of the finest scores.

    `skips` are the strides of the maps whose scores are added, coarse to fine; each is finer than the deepest map's.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, skips: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, encoder.in_channels
        self.geometry = replace(encoder.geometry, stride=min([encoder.strides[-1], *skips]))
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.score = score(encoder.channels[-1], classes)
        deepest_at = {stride: index for index, stride in enumerate(encoder.strides)}
        self.skips = tuple(deepest_at[stride] for stride in skips)
        self.score_skips = nn.ModuleList(score(encoder.channels[index], classes) for index in self.skips)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits at the stride of the finest scores."""
        maps = self.encoder(images)
        scores = self.score(self.dropout(maps[-1]))  # (n, classes, h / 32, w / 32)
        for index, score_skip in zip(self.skips, self.score_skips, strict=True):
            finer = score_skip(maps[index])  # (n, classes, h / 16, w / 16), then (n, classes, h / 8, w / 8)
            scores = finer + functional.interpolate(
                scores, finer.shape[2:], mode="bilinear", align_corners=self.geometry.align_corners
            )
        return scores


class TorchvisionFCN(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h / 8, w / 8), as torchvision's FCN.

    `auxiliary` scores the map before the deepest too, for training. Weights of torchvision have the same names but for
    `backbone.`, here `encoder.body.`, and `aux_classifier.`, here `auxiliary.`.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, auxiliary: bool, dropout: float) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, encoder.in_channels
        self.geometry = _cells(encoder)
        # The trunk refuses crops of its own least, which may lie below this one.
        encoder.geometry = self.geometry
        self.encoder = encoder
        self.classifier = fcn_head(encoder.channels[-1], classes, dropout)
        self.auxiliary = fcn_head(encoder.channels[-2], classes, dropout) if auxiliary else None

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.encoder(images)[-1])  # (n, classes, h / 8, w / 8)

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, and the auxiliary ones where there are any; both are to be compared in training."""
        *_, third, deep = self.encoder(images)  # (n, 1024, h / 8, w / 8), (n, 2048, h / 8, w / 8)
        scores = self.classifier(deep)
        return (scores,) if self.auxiliary is None else (scores, self.auxiliary(third))


def fcn_head(channels: int, classes: int, dropout: float) -> nn.Sequential:
    """Return 3x3 to a quarter of the channels, batch norm, ReLU, dropout, and 1x1 to the classes, which starts at zero.

    Source: torchvision/models/segmentation/fcn.py, FCNHead.

    >>> sum(weight.numel() for weight in fcn_head(2048, 21, 0.1).parameters())
    9448981
    """
    quarter = max(1, channels // 4)
    refine = convolution(channels, quarter)
    draw_he(refine)
    return nn.Sequential(*refine, nn.Dropout(dropout), score(quarter, classes))


def _cells(encoder: Trunk) -> Geometry:
    """Return the sizes at which the deepest map's cells tile the image; the least has two a side, for the norms."""
    stride, own = encoder.strides[-1], encoder.geometry
    multiple = stride if own.align_corners else own.multiple
    return Geometry(multiple=multiple, minimum=max(2 * stride, own.minimum // multiple * multiple), stride=stride)


def refuse_options_of_vgg(builder: str, *, deconvolution: str, at_once: bool = False) -> None:
    """Raise `ValueError` for options that only the paper's own network has.

    >>> refuse_options_of_vgg("fcn8s", deconvolution="fixed")
    """
    if deconvolution != "fixed":
        raise ValueError(
            f"{builder}: deconvolution {deconvolution!r} came, but only the VGG16 network has deconvolutions; "
            "on other encoders scores are enlarged bilinearly: leave it or the encoder out"
        )
    if at_once:
        raise ValueError(
            f"{builder}: at_once came, whose constants are VGG16's; encoders with norms are trained at once as they "
            "are: leave it or the encoder out"
        )


def fcn_on_trunk(
    name: str,
    classes: int,
    *,
    encoder: str,
    output_stride: int | None,
    norm: Norm | None,
    dropout: float | None,
    **options: Any,
) -> TrunkFCN:
    """Build the paper's sums of scores on the encoder, down to the map at the stride that is in `name` (`fcn8s`).

    `options` are those of `trunk`. Raises `ValueError`, in `name`'s words, for an encoder without the maps.
    """
    body = trunk(encoder, output_stride=32 if output_stride is None else output_stride, **options)
    deepest, finest = body.strides[-1], int(name.removeprefix("fcn").removesuffix("s"))
    if finest >= deepest and finest < 32:
        raise ValueError(
            f"{name}: output_stride {output_stride} came, which leaves no finer map to add: the deepest has stride "
            f"{deepest}; leave output_stride out, or take fcn32s"
        )
    skips = [stride for stride in (16, 8) if finest <= stride < deepest]
    missing = [stride for stride in skips if stride not in body.strides]
    if missing:
        raise ValueError(
            f"{name}: encoder {encoder!r} has maps at strides {body.strides}, and {name} needs one at stride "
            f"{missing[0]}; resnet18 has it"
        )
    net = TrunkFCN(body, classes, skips=skips, dropout=dropout or 0.0)
    return with_norm(net, "batch" if norm is None else norm)  # type: ignore[return-value]


def fcn_of_torchvision(
    classes: int,
    *,
    encoder: str,
    output_stride: int | None,
    auxiliary: bool,
    norm: Norm | None,
    dropout: float | None,
    **options: Any,
) -> TorchvisionFCN:
    """Build torchvision's FCN on the encoder, dilated to `output_stride`, 8 by default; `options` are those of `trunk`.

    Raises `ValueError` where an auxiliary head is wished and the encoder has only one map.
    """
    body = trunk(encoder, output_stride=8 if output_stride is None else output_stride, **options)
    if auxiliary and len(body.strides) < 4:
        raise ValueError(
            f"fcn32s: encoder {encoder!r} has maps at strides {body.strides}, and the auxiliary head needs that of the "
            "last stage but one; leave auxiliary out, or choose a timm encoder"
        )
    net = TorchvisionFCN(body, classes, auxiliary=auxiliary, dropout=0.1 if dropout is None else dropout)
    return with_norm(net, "batch" if norm is None else norm)  # type: ignore[return-value]
