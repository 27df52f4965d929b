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

Options lead away from the paper: `padding="same"` pads every convolution, so that logits cover the image, whose sides
are multiples of 16 then; a `norm` follows every 3x3 convolution, whose bias it makes superfluous; `depth` is the number
of pools, `channels` those of the first level; an `encoder` takes the contracting path's place, see `unet_encoder`.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from atrous.layers.norm import BatchNorm, Norm, with_norm
from atrous.layers.upsample import Kind
from atrous.layers.upsample import upsampling as enlarging
from atrous.layers.vgg import scaled_channels
from atrous.models.arguments import check_arguments, check_whole
from atrous.models.unet_encoder import EncoderUNet, unet_on_encoder
from atrous.models.unet_geometry import check_sides, same_geometry, valid_geometry

Padding = Literal["valid", "same"]


def double_convolution(in_channels: int, channels: int, *, padding: Padding = "valid", norm: bool = False) -> nn.Module:
    """Return two 3x3 convolutions with ReLU: (n, in_channels, h, w) to (n, channels, h - 4, w - 4), or h, w if padded.

    With `norm` batch norm stands between convolution and ReLU, and the convolution has no bias.

    Source: U-Net, section 2.

    >>> double_convolution(1, 2)(torch.zeros(1, 1, 8, 9)).shape
    torch.Size([1, 2, 4, 5])
    """
    layers: list[nn.Module] = []
    for inputs in (in_channels, channels):
        layers.append(nn.Conv2d(inputs, channels, kernel_size=3, padding=int(padding == "same"), bias=not norm))
        layers.extend([BatchNorm(channels)] if norm else [])
        layers.append(nn.ReLU(inplace=True))
    return drawn_by_incoming(nn.Sequential(*layers))


class ContractingPath(nn.Module):
    """The left side of the U: images to the features of every level, at strides 1, 2, 4, ... and of the bottom."""

    def __init__(self, in_channels: int, channels: list[int], *, padding: Padding, norm: bool, dropout: float) -> None:
        super().__init__()
        sources = [in_channels, *channels]
        for level in range(1, len(channels)):
            convolutions = double_convolution(sources[level - 1], sources[level], padding=padding, norm=norm)
            self.add_module(f"level{level}", convolutions)
        self.bottom = double_convolution(sources[-2], sources[-1], padding=padding, norm=norm)
        self.depth = len(channels) - 1
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of the levels, finest first, and of the bottom."""
        levels = [getattr(self, f"level{level}") for level in range(1, self.depth + 1)]
        features = [levels[0](images)]  # (n, 64, h - 4, w - 4)
        for level in levels[1:]:
            features.append(level(self.pool(features[-1])))  # (n, 128, h / 2 - 6, w / 2 - 6) and so on
        features[-1] = self.dropout(features[-1])  # (n, 512, h / 8 - 7.5, w / 8 - 7.5)
        bottom = self.dropout(self.bottom(self.pool(features[-1])))  # (n, 1024, h / 16 - 7.75, w / 16 - 7.75)
        return [*features, bottom]


def up_convolution(name: Kind, in_channels: int, channels: int) -> nn.Module:
    """Return what enlarges (n, in_channels, h, w) to (n, channels, 2h, 2w): `"transposed"` has kernel and stride 2.

    Others are those of `layers.upsample.upsampling`, and start as they do there.

    Raises `ValueError` for a name that is not on that menu.

    Source: U-Net, section 2 ("up-convolution").

    >>> up_convolution("transposed", 4, 2)(torch.zeros(1, 4, 3, 5)).shape
    torch.Size([1, 2, 6, 10])
    """
    if name != "transposed":
        return enlarging(name, in_channels, channels, 2)
    return drawn_by_incoming(nn.ConvTranspose2d(in_channels, channels, kernel_size=2, stride=2))


class Expansion(nn.Module):
    """One step up the right side: enlarge twice, put the skip's centre beside it, convolve twice.

    Source: U-Net, section 2 and figure 1.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        *,
        padding: Padding = "valid",
        norm: bool = False,
        upsampling: Kind = "transposed",
    ) -> None:
        super().__init__()
        self.up = up_convolution(upsampling, in_channels, skip_channels)
        self.convolutions = double_convolution(2 * skip_channels, skip_channels, padding=padding, norm=norm)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return (n, skip channels, 2h - 4, 2w - 4) for features (n, c, h, w), or 2h, 2w if padded."""
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
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h - 184, w - 184), or h, w where it is padded.

    `channels` are those of the levels, finest first, and of the bottom. Which sides it takes, and what it loses of
    them, follows from their number: see `valid_geometry` and `same_geometry`.
    """

    def __init__(
        self,
        classes: int,
        *,
        in_channels: int,
        channels: list[int],
        padding: Padding,
        norm: bool,
        upsampling: Kind,
        dropout: float,
    ) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.depth = len(channels) - 1
        self.geometry = valid_geometry(self.depth) if padding == "valid" else same_geometry(self.depth)
        self.preprocessing_padding = "mirror" if padding == "valid" else "mean"
        self.encoder = ContractingPath(in_channels, channels, padding=padding, norm=norm, dropout=dropout)
        for level in range(self.depth, 0, -1):
            step = Expansion(channels[level], channels[level - 1], padding=padding, norm=norm, upsampling=upsampling)
            self.add_module(f"expand{level}", step)
        self.score = drawn_by_incoming(nn.Conv2d(channels[0], classes, kernel_size=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the pixels that have all their context.

        Raises `ValueError` for a height or width that `geometry` does not take: the paper's are 188, 204, 220, ...
        """
        check_sides(self.geometry, images)
        *skips, features = self.encoder(images)
        for level in range(self.depth, 0, -1):
            features = getattr(self, f"expand{level}")(features, skips[level - 1])
            # (n, 512, h / 8 - 19.5, ..), (n, 256, h / 4 - 43, ..), (n, 128, h / 2 - 90, ..), (n, 64, h - 184, ..)
        return self.score(features)  # (n, classes, h - 184, w - 184)


def drawn_by_incoming(module: nn.Module) -> nn.Module:
    """Return the module, its weights drawn from a Gaussian of standard deviation sqrt(2 / N), its biases zero.

    N counts the incoming nodes of a neuron: 9 x channels for a 3x3 convolution, and the channels alone for an
    up-convolution, each of whose outputs sees one pixel.

    Source: U-Net, section 3.

    >>> drawn_by_incoming(nn.Conv2d(1, 2, 3))
    Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            incoming = layer.in_channels if isinstance(layer, nn.ConvTranspose2d) else layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=sqrt(2 / incoming))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def unet(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    padding: Padding = "valid",
    norm: Norm | None = None,
    depth: int = 4,
    channels: int = 64,
    upsampling: Kind = "transposed",
    dropout: float | None = None,
) -> UNet | EncoderUNet:
    """Return U-Net. 31,030,658 parameters with one channel and two classes, as in the paper.

    `padding="same"` keeps the image's size; with `norm="batch"` too it has 31,038,933 parameters for the default
    channels and classes. `depth` is the number of pools, 1 to 7, `channels` the first level's, which each pool doubles.
    `upsampling` is `"transposed"`, the paper's, or another of `layers.upsample.upsampling`. `dropout` follows the last
    level and the bottom, at 0.5.

    `encoder` is any timm encoder or one of ours in the contracting path's place, `pretrained` its weights, and the
    expanding path that of segmentation_models_pytorch, without dropout unless told; `padding`, `depth`, `channels` and
    `upsampling` are its own then. See `unet_encoder`.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had.

    Source: U-Net, section 2 and figure 1.

    >>> unet(2, in_channels=1, width=1 / 64)(torch.zeros(1, 1, 204, 188)).shape
    torch.Size([1, 2, 20, 4])
    >>> unet(2, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 2, 64, 96])
    """
    check_arguments("unet", classes, in_channels, width, dropout, output_stride)
    check_whole("unet", depth=depth, channels=channels)
    if encoder is not None:
        _check_encoder(encoder, padding=padding, depth=depth, channels=channels, upsampling=upsampling)
        return unet_on_encoder(
            classes,
            encoder=encoder,
            in_channels=in_channels,
            pretrained=pretrained,
            output_stride=output_stride,
            width=width,
            norm=norm,
            dropout=dropout or 0.0,
        )
    _check(pretrained, output_stride, padding=padding, depth=depth, channels=channels)
    net = UNet(
        classes,
        in_channels=in_channels,
        channels=[scaled_channels(channels << level, width) for level in range(depth + 1)],
        padding=padding,
        norm=norm is not None,
        upsampling=upsampling,
        dropout=0.5 if dropout is None else dropout,
    )
    return net if norm is None else with_norm(net, norm)  # type: ignore[return-value]


def _check(
    pretrained: bool | str | Path, output_stride: int | None, *, padding: str, depth: int, channels: int
) -> None:
    if pretrained is not False:
        raise ValueError(
            f"unet: pretrained {pretrained!r} came, but U-Net is trained from scratch; leave it out, or give an encoder"
        )
    if output_stride not in (None, 1):
        raise ValueError(f"unet: output_stride {output_stride} came, but its logits have stride 1; leave it out")
    if padding not in ("valid", "same"):
        raise ValueError(f"unet: padding {padding!r} came; give 'valid' (the paper's) or 'same'")
    if depth not in range(1, 8):
        raise ValueError(f"unet: depth {depth!r} came; U-Net has 1 to 7 pools, the paper's 4")
    if channels < 1:
        raise ValueError(f"unet: {channels} channels came; the first level has 1 or more, the paper's 64")


def _check_encoder(encoder: str, **options: object) -> None:
    own = {"padding": ("valid", "same"), "depth": (4,), "channels": (64,), "upsampling": ("transposed",)}
    for name, came in options.items():
        if came not in own[name]:
            raise ValueError(
                f"unet: {name} {came!r} came with encoder {encoder!r}, which has levels of its own; "
                f"leave {name} or the encoder out"
            )
