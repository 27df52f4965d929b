"""U-Net: contract to see the context, expand to say where, and hand every level's detail across.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015
(arXiv 1505.04597), section 2 and figure 1. Convolutions are valid (no padding), so a logit sees only image.

| stage       | layers                                | channels | stride | 572 x 572          |
|-------------|---------------------------------------|----------|--------|--------------------|
| contract 1  | 2 x (conv 3x3, ReLU)                  | 64       | 1      | 570, 568           |
| contract 2  | pool 2x2, 2 x (conv 3x3, ReLU)        | 128      | 2      | 284, 282, 280      |
| contract 3  | the same                              | 256      | 4      | 140, 138, 136      |
| contract 4  | the same, dropout                     | 512      | 8      | 68, 66, 64         |
| bottom      | the same, dropout                     | 1024     | 16     | 32, 30, 28         |
| expand 4    | up 2x2, skip, 2 x (conv 3x3, ReLU)    | 512      | 8      | 56 (of 64), 54, 52 |
| expand 3    | the same                              | 256      | 4      | 104 (of 136), 100  |
| expand 2    | the same                              | 128      | 2      | 200 (of 280), 196  |
| expand 1    | the same                              | 64       | 1      | 392 (of 568), 388  |
| score       | conv 1x1                              | classes  | 1      | 388                |

A side of 16k + 12 makes every pool see an even size, and 184 pixels less come out: 92 on every side are context, which
at the image's border is mirrored.

What the figure leaves open, and what is done here: an up-convolution is a transposed convolution of kernel and stride
2, without ReLU (the figure draws none; the authors' released phseg_v5 has one, and 128 channels in its last); the skip
is cropped at its centre and concatenated as [upsampled, skip], the order of phseg_v5; "drop-out at the end of the
contracting path" is rate 0.5 after the last two levels, again as in phseg_v5. What differs from the paper: the defaults
are three channels and 21 classes, as of every network here; the paper's EM network is `unet(2, in_channels=1)`.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from atrous.contract import Geometry


def double_convolution(in_channels: int, channels: int) -> nn.Sequential:
    """Return two valid 3x3 convolutions with ReLU: (n, in_channels, h, w) to (n, channels, h - 4, w - 4).

    Source: U-Net, section 2.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size=3),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, kernel_size=3),
        nn.ReLU(inplace=True),
    )


class ContractingPath(nn.Module):
    """The left side of the U: images to the features of five levels, at strides 1, 2, 4, 8 and 16."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.level1 = double_convolution(in_channels, channels[0])
        self.level2 = double_convolution(channels[0], channels[1])
        self.level3 = double_convolution(channels[1], channels[2])
        self.level4 = double_convolution(channels[2], channels[3])
        self.bottom = double_convolution(channels[3], channels[4])
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the features of the four levels, finest first, and of the bottom."""
        level1 = self.level1(images)  # (n, 64, h - 4, w - 4)
        level2 = self.level2(self.pool(level1))  # (n, 128, h / 2 - 6, w / 2 - 6)
        level3 = self.level3(self.pool(level2))  # (n, 256, h / 4 - 7, w / 4 - 7)
        level4 = self.dropout(self.level4(self.pool(level3)))  # (n, 512, h / 8 - 7.5, w / 8 - 7.5)
        bottom = self.dropout(self.bottom(self.pool(level4)))  # (n, 1024, h / 16 - 7.75, w / 16 - 7.75)
        return level1, level2, level3, level4, bottom


class Expansion(nn.Module):
    """One step up the right side: enlarge twice, put the skip's centre beside it, convolve twice.

    Source: U-Net, section 2 and figure 1.
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, skip_channels, kernel_size=2, stride=2)
        self.convolutions = double_convolution(2 * skip_channels, skip_channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return (n, skip channels, 2h - 4, 2w - 4) for features (n, c, h, w)."""
        upsampled = self.up(features)  # (n, skip channels, 2h, 2w)
        return self.convolutions(torch.cat([upsampled, centre(skip, upsampled)], dim=1))


def centre(features: Tensor, like: Tensor) -> Tensor:
    """Return the centre of `features`, as high and wide as `like`.

    >>> centre(torch.arange(6.0).reshape(1, 1, 1, 6), torch.zeros(1, 1, 1, 2)).tolist()
    [[[[2.0, 3.0]]]]
    """
    height, width = like.shape[-2:]
    top, left = (features.shape[-2] - height) // 2, (features.shape[-1] - width) // 2
    return features[..., top : top + height, left : left + width]


class UNet(nn.Module):
    """Normalised images (n, in_channels, h, w) with sides 16k + 12 to logits (n, classes, h - 184, w - 184)."""

    def __init__(self, classes: int, *, in_channels: int, width: float, dropout: float) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry = Geometry(multiple=16, offset=12, minimum=188, margin=92, stride=1)
        self.preprocessing_padding = "mirror"
        channels = tuple(max(1, round(count * width)) for count in (64, 128, 256, 512, 1024))
        self.encoder = ContractingPath(in_channels, channels, dropout)
        self.expand4 = Expansion(channels[4], channels[3])
        self.expand3 = Expansion(channels[3], channels[2])
        self.expand2 = Expansion(channels[2], channels[1])
        self.expand1 = Expansion(channels[1], channels[0])
        self.score = nn.Conv2d(channels[0], classes, kernel_size=1)
        draw_by_incoming(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the pixels that have all their context.

        Raises `ValueError` for a height or width that is not 188, 204, 220, ...
        """
        check_sides(self.geometry, images)
        level1, level2, level3, level4, features = self.encoder(images)
        features = self.expand4(features, level4)  # (n, 512, h / 8 - 19.5, w / 8 - 19.5)
        features = self.expand3(features, level3)  # (n, 256, h / 4 - 43, w / 4 - 43)
        features = self.expand2(features, level2)  # (n, 128, h / 2 - 90, w / 2 - 90)
        features = self.expand1(features, level1)  # (n, 64, h - 184, w - 184)
        return self.score(features)  # (n, classes, h - 184, w - 184)


def check_sides(geometry: Geometry, images: Tensor) -> None:
    """Raise `ValueError` where a side of (n, c, h, w) images is not one that `geometry` takes.

    >>> check_sides(Geometry(multiple=16, offset=12, minimum=188), torch.empty(1, 1, 188, 572))
    """
    height, width = images.shape[-2:]
    valid = geometry.valid(height), geometry.valid(width)
    if valid != (height, width):
        raise ValueError(
            f"an image of {height} x {width} came; sides are {geometry.minimum} or more and "
            f"{geometry.offset} above a multiple of {geometry.multiple}: pad it to {valid[0]} x {valid[1]}, "
            "or use Segmenter, which pads and crops by itself"
        )


def draw_by_incoming(module: nn.Module) -> None:
    """Draw every weight from a Gaussian of standard deviation sqrt(2 / N), N the incoming nodes of a neuron.

    N is 9 x channels for a 3x3 convolution and the channels alone for an up-convolution, each of whose outputs sees
    one pixel. Biases start at zero.

    Source: U-Net, section 3.

    >>> draw_by_incoming(nn.Conv2d(1, 1, 3))
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            incoming = layer.in_channels if isinstance(layer, nn.ConvTranspose2d) else layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=sqrt(2 / incoming))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def unet(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    dropout: float = 0.5,
) -> UNet:
    """Return U-Net. 31,030,658 parameters with one channel and two classes, as in the paper.

    Raises `ValueError` for what the network does not take: it has no encoder to exchange and no pretrained weights.

    Source: U-Net, section 2 and figure 1.

    >>> unet(2, in_channels=1, width=1 / 64)(torch.zeros(1, 1, 204, 188)).shape
    torch.Size([1, 2, 20, 4])
    """
    if classes < 1:
        raise ValueError(f"unet: {classes} classes came; give 1 or more")
    if encoder is not None:
        raise ValueError(f"unet: encoder {encoder!r} came, but the contracting path is its own; leave encoder out")
    if pretrained:
        raise ValueError(f"unet: pretrained {pretrained!r} came, but U-Net is trained from scratch; leave it out")
    if output_stride not in (None, 1):
        raise ValueError(f"unet: output_stride {output_stride} came, but its logits have stride 1; leave it out")
    return UNet(classes, in_channels=in_channels, width=width, dropout=dropout)
