"""Xception-65, modified and aligned: the trunk with which DeepLab v3+ reached its best numbers.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017 (arXiv 1610.02357), as modified by
Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018
(arXiv 1802.02611), section 3.2 and figure 4: deeper, strided separable convolutions for the max pools, and a batch
norm after every depthwise convolution. Layers as in research/deeplab/core/xception.py of tensorflow/models.

| stage          | layers                                            | channels | stride | 513 x 513 |
|----------------|---------------------------------------------------|----------|--------|-----------|
| stem           | 3x3 stride 2, 3x3                                 | 32, 64   | 2      | 257       |
| entry, block 0 | 3 separable 3x3, stride in the last; 1x1 shortcut | 128      | 4      | 129       |
| entry, block 1 | the same; its second is the decoder's map         | 256      | 8      | 65        |
| entry, block 2 | the same                                          | 728      | 16     | 33        |
| middle, 3..18  | 16 x 3 separable 3x3, identity shortcut           | 728      | 16     | 33        |
| exit, block 19 | 728, 1024, 1024; stride in the last, 1x1 shortcut | 1024     | 32     | 17        |
| exit, block 20 | 1536, 1536, 2048; no shortcut                     | 2048     | 32     | 17        |

A stride that would pass the output stride becomes atrous rate. Strided convolutions are padded by one pixel on either
side whatever the size, so that maps stay centred on pixels. 37,867,312 parameters; batch norm has epsilon 0.001.

Where ReLU goes: the paper has one after each depthwise convolution. The released code, from which all published
weights come, has it before each separable convolution instead, and after both of its parts in the last block alone.
`xception65` is the released one, `xception65_paper` adds the paper's; the parameters are the same.

Modules are named as in timm's `xception65`, whose weights load by name. timm's deepest map is ours; timm's map at
stride 4 has passed the next convolution's ReLU, whereas the authors' decoder reads it before, and so does ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from atrous.layers.norm import BatchNorm
from atrous.layers.vgg import scaled_channels

EPSILON = 1e-3
MIDDLE = 16

ENTRY = ((128, 128, 128), (256, 256, 256), (728, 728, 728))
EXIT = ((728, 1024, 1024), (1536, 1536, 2048))
Shortcut = Literal["convolution", "identity", "none"]


def stem_convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a 3x3 convolution with norm and ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            bn=BatchNorm(outputs, eps=EPSILON),
            act=nn.ReLU(inplace=True),
        )
    )


def separable(inputs: int, outputs: int, *, stride: int, rate: int, between: bool, after: bool) -> nn.Sequential:
    """Return depthwise 3x3, norm, pointwise 1x1, norm, with a ReLU after the first norm, the second, or both."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv_dw=nn.Conv2d(inputs, inputs, 3, stride, rate, dilation=rate, groups=inputs, bias=False),
        bn_dw=BatchNorm(inputs, eps=EPSILON),
        act_dw=nn.ReLU(inplace=True) if between else nn.Identity(),
        conv_pw=nn.Conv2d(inputs, outputs, 1, bias=False),
        bn_pw=BatchNorm(outputs, eps=EPSILON),
        act_pw=nn.ReLU(inplace=True) if after else nn.Identity(),
    )
    return nn.Sequential(layers)


class Block(nn.Module):
    """Three separable convolutions and a shortcut: a 1x1, the input itself, or none.

    Without a shortcut, as the exit flow's last block is, ReLU comes after norms instead of before convolutions.
    `between` puts one after the depthwise norms of the others as well.
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        *,
        stride: int,
        rate: int,
        shortcut: Shortcut,
        between: bool,
    ) -> None:
        super().__init__()
        last = shortcut == "none"
        # Not in place: the shortcut and the decoder read what comes before the ReLU.
        self.before = nn.Identity() if last else nn.ReLU()
        self.stack = nn.ModuleDict()
        self.joined = not last
        for place, (source, target) in enumerate(zip((inputs, *channels[:2]), channels, strict=True), 1):
            step = stride if place == 3 else 1
            self.stack[f"conv{place}"] = separable(
                source, target, stride=step, rate=rate, between=between or last, after=last
            )
        self.shortcut: nn.Module = nn.Identity()
        if shortcut == "convolution":
            project = nn.Conv2d(inputs, channels[2], 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=project, bn=BatchNorm(channels[2], eps=EPSILON)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and the map that enters its last separable convolution, before the ReLU."""
        second = self.stack["conv2"](self.before(self.stack["conv1"](self.before(x))))
        third = self.stack["conv3"](self.before(second))
        return (third + self.shortcut(x) if self.joined else third), second


class Xception65(nn.Module):
    """(n, in_channels, h, w) -> the decoder's map at stride 4 (256 channels) and the deepest (2048) at `output_stride`.

    `relu_between` is the paper's ReLU after every depthwise convolution, which published weights were trained without.
    `width` scales every channel count.

    Raises `ValueError` for an output stride other than 8, 16 and 32.

    Source: DeepLab v3+ section 3.2; entry_flow/block2/unit_1/.../separable_conv2_pointwise for the decoder's map.

    >>> import torch
    >>> [tuple(each.shape[1:]) for each in Xception65(width=1 / 64)(torch.zeros(2, 3, 65, 33))]
    [(4, 17, 9), (32, 5, 3)]
    """

    def __init__(
        self, *, in_channels: int = 3, output_stride: int = 16, width: float = 1.0, relu_between: bool = False
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output stride {output_stride} came; this trunk has 8, 16 or 32")
        root, inputs = scaled_channels(32, width), scaled_channels(64, width)
        self.stem = nn.Sequential(stem_convolution(in_channels, root, 2), stem_convolution(root, inputs, 1))
        self.blocks = nn.Sequential()
        stride, rate = 2, 1
        for each in (*ENTRY, *(ENTRY[-1:] * MIDDLE), *EXIT):
            place = len(self.blocks)
            wanted = 2 if place < 3 or place == 3 + MIDDLE else 1
            step = wanted if stride * wanted <= output_stride else 1
            channels = [scaled_channels(count, width) for count in each]
            shortcut: Shortcut = "convolution" if wanted == 2 else "none" if each == EXIT[-1] else "identity"
            self.blocks.append(Block(inputs, channels, stride=step, rate=rate, shortcut=shortcut, between=relu_between))
            inputs, stride, rate = channels[-1], stride * step, rate * (wanted // step)
        self.channels, self.strides = (scaled_channels(ENTRY[1][1], width), inputs), (4, output_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the decoder's map and the deepest one."""
        x = self.stem(images)  # (n, 64, h/2, w/2)
        x, _ = self.blocks[0](x)  # (n, 128, h/4, w/4)
        x, low = self.blocks[1](x)  # low (n, 256, h/4, w/4)
        for block in self.blocks[2:]:
            x, _ = block(x)
        return [low, x]
