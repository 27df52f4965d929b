"""The ResNet that DeepLab v3 and v3+ were published with: three 3x3 root layers, strides in each block's last unit.

    stage    units      stride      channels
    root     3 x 3x3    2           64 64 128
    pool     max 3x3    4           128
    block1   3          4, then 8   256
    block2   4          8, then 16  512
    block3   6 or 23    16 (32)     1024
    block4   3          16 (32)     2048

The paper says only "ResNet"; the authors' released trunk puts the stride in the 3x3 of the last unit of blocks 1 to 3,
and only so do the published multiply-adds come out. A stride that would pass the output stride becomes atrous rate.

Source: DeepLab v3 (arXiv 1706.05587) section 3; DeepLab v3+ (arXiv 1802.02611) table 3.
"""

from __future__ import annotations

from torch import Tensor, nn

from atrous.layers.atrous import convolution

DEPTHS = {"resnet50_beta": (3, 4, 6, 3), "resnet101_beta": (3, 4, 23, 3)}


class Bottleneck(nn.Module):
    """1x1, 3x3 (stride, rate), 1x1 and the shortcut; `residual` is the sum's right side before the addition."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, stride: int, rate: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, middle, 1)
        self.conv2 = convolution(middle, middle, 3, stride=stride, rate=rate)
        self.conv3 = convolution(middle, outputs, 1, relu=False)
        self.shortcut = convolution(inputs, outputs, 1, stride=stride, relu=False) if inputs != outputs else None
        # Where only the size changes, the shortcut is every stride-th pixel, as in the released code.
        self.subsample = nn.MaxPool2d(1, stride) if inputs == outputs and stride > 1 else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        residual = self.conv3(self.conv2(self.conv1(x)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.subsample is not None:
            x = self.subsample(x)
        return (x + residual).relu(), residual


class ResNetBeta(nn.Module):
    """(n, c, h, w) -> the decoder's map at stride 4 (256 channels) and the deepest one at `output_stride` (2048).

    The first map is block 1's second unit before its addition, which is what the authors' decoder reads.
    """

    layer1: nn.ModuleList
    layer2: nn.ModuleList
    layer3: nn.ModuleList
    layer4: nn.ModuleList

    def __init__(
        self, depths: tuple[int, ...], *, in_channels: int = 3, output_stride: int = 16, width: float = 1.0
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output stride {output_stride} came; this trunk has 8, 16 or 32")
        root, middle = max(1, round(64 * width)), max(1, round(64 * width))
        self.root = nn.Sequential(
            convolution(in_channels, root, stride=2), convolution(root, root), convolution(root, 2 * root)
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs, stride, rate = 2 * root, 4, 1
        for block, depth in enumerate(depths):
            units = nn.ModuleList()
            for unit in range(depth):
                wanted = 2 if unit == depth - 1 and block < 3 else 1
                step = wanted if stride * wanted <= output_stride else 1
                units.append(Bottleneck(inputs, middle << block, 4 * middle << block, stride=step, rate=rate))
                inputs, stride, rate = 4 * middle << block, stride * step, rate * (wanted // step)
            self.add_module(f"layer{block + 1}", units)
        self.channels, self.strides = (4 * middle, inputs), (4, output_stride)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.pool(self.root(x))
        for index, unit in enumerate(self.layer1):
            x, residual = unit(x)
            if index == 1:
                low = residual  # (n, 256, h/4, w/4)
        for units in (self.layer2, self.layer3, self.layer4):
            for unit in units:
                x, _ = unit(x)
        return [low, x]
