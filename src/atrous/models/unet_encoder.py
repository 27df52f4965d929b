"""U-Net with an encoder: a classifier of images contracts, and the expanding path meets each of its maps.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, with the
expanding path of segmentation_models_pytorch's `Unet`, so that its weights fit (decoders/unet/decoder.py).

| stage         | layers                                           | channels | stride |
|---------------|--------------------------------------------------|----------|--------|
| encoder       | any trunk; its deepest map (resnet34: 512)       | 512      | 32     |
| decoder 0     | nearest x2, the map beside it, 2 x (conv 3x3 ..) | 256      | 16     |
| decoder 1     | the same                                         | 128      | 8      |
| decoder 2     | the same                                         | 64       | 4      |
| decoder 3     | the same                                         | 32       | 2      |
| decoder 4     | the same, with nothing beside it                 | 16       | 1      |
| score         | conv 3x3                                         | classes  | 1      |

What differs from the paper: everything is padded, so that logits cover the image; convolutions have batch norm; maps
are enlarged by repeating, not by up-convolutions; the finest map of an encoder has stride 2, so the last step has no
skip, and where an encoder has no map at a stride (ConvNeXt begins at 4), that step has none either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import Geometry
from atrous.layers.atrous import convolution
from atrous.layers.norm import Norm, with_norm
from atrous.layers.trunk import Trunk, trunk
from atrous.layers.vgg import draw_he, scaled_channels
from atrous.models.unet_geometry import check_sides


class Enlargement(nn.Module):
    """One step up: repeat to the size of the next stride, put the skip beside it where there is one, convolve twice."""

    def __init__(self, in_channels: int, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels + skip_channels, channels)
        self.conv2 = convolution(channels, channels)

    def forward(self, features: Tensor, size: Sequence[int], skip: Tensor | None) -> Tensor:
        """Return (n, channels, h, w) of that size."""
        features = functional.interpolate(features, size, mode="nearest")
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        return self.conv2(self.conv1(features))


class Decoder(nn.Module):
    """Maps of an encoder to features at stride 1; `strides` are the encoder's, and `skips` its maps' indices by stride.

    A step at stride s has 16 s channels, 256 at most, times `width`.
    """

    def __init__(self, encoder: Trunk, width: float) -> None:
        super().__init__()
        deepest = encoder.strides[-1]
        self.strides = [2**power for power in range(deepest.bit_length() - 2, -1, -1)]
        # smp meets no map at stride 1 either, where VGG has one.
        self.skips = {stride: index for index, stride in enumerate(encoder.strides) if 1 < stride < deepest}
        self.blocks = nn.ModuleList()
        inputs = encoder.channels[-1]
        for stride in self.strides:
            channels = scaled_channels(min(256, 16 * stride), width)
            beside = encoder.channels[self.skips[stride]] if stride in self.skips else 0
            self.blocks.append(Enlargement(inputs, beside, channels))
            inputs = channels
        self.channels = inputs

    def forward(self, maps: list[Tensor], size: Sequence[int]) -> Tensor:
        """Return (n, channels, h, w) for the encoder's maps of images of that size."""
        features = maps[-1]
        for stride, block in zip(self.strides, self.blocks, strict=True):
            skip = maps[self.skips[stride]] if stride in self.skips else None
            # Encoders that do not pad have maps a little smaller than the size over the stride.
            wanted = (size[0] // stride, size[1] // stride) if skip is None else skip.shape[2:]
            features = block(features, wanted, skip)
        return features


class EncoderUNet(nn.Module):
    """Normalised images (n, in_channels, h, w), sides multiples of 32 from 64 on, to logits (n, classes, h, w).

    Weights of segmentation_models_pytorch have the same names but for `encoder.`, here `encoder.body.`, and
    `segmentation_head.0.`, here `score.`. `dropout` follows the encoder's deepest map.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, width: float, dropout: float) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, encoder.in_channels
        # Every map's cells must tile the image, or maps do not meet; the deepest has 2 x 2 at least, for its norms.
        multiple = max(32, encoder.strides[-1])
        self.geometry = Geometry(multiple=multiple, minimum=2 * multiple, stride=1)
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.decoder = Decoder(encoder, width)
        self.score = nn.Conv2d(self.decoder.channels, classes, kernel_size=3, padding=1)
        draw_he(self.decoder)
        nn.init.xavier_uniform_(self.score.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel; raises `ValueError` for other sides than 64, 96, 128, ..."""
        check_sides(self.geometry, images)
        *maps, deepest = self.encoder(images)  # (n, 64, h / 2, w / 2) .. (n, 512, h / 32, w / 32)
        maps.append(self.dropout(deepest))
        features = self.decoder(maps, images.shape[2:])  # (n, 16, h, w)
        return self.score(features)  # (n, classes, h, w)


def unet_on_encoder(
    classes: int,
    *,
    encoder: str,
    output_stride: int | None,
    width: float,
    norm: Norm | None,
    dropout: float,
    **options: Any,
) -> EncoderUNet:
    """Build U-Net on the encoder; `options` are those of `trunk`.

    Raises `ValueError` for an encoder that is not known or has no maps, and for another output stride than 32.
    """
    if output_stride not in (None, 32):
        raise ValueError(
            f"unet: output_stride {output_stride} came, but the expanding path begins at stride 32; leave it out"
        )
    net = EncoderUNet(trunk(encoder, width=width, **options), classes, width=width, dropout=dropout)
    return with_norm(net, "batch" if norm is None else norm)  # type: ignore[return-value]
