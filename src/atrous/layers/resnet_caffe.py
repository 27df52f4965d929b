"""The ResNet that DeepLab v2 was published with: the original of Caffe, whose stages stride in their first 1x1.

    stage    units      stride      rate at output stride 8   channels     321 x 321
    conv1    7x7        2           1                         64           161
    pool1    max 3x3    4           (rounds up)               64           81
    layer1   3          4           1                         256          81
    layer2   4          8           1                         512          41
    layer3   6 or 23    8 (16)      2                         1024         41
    layer4   3          8 (32)      4                         2048         41

torchvision and timm put a stage's stride into the 3x3 of its first unit; weights of one kind give wrong maps in the
other, and nothing in a file tells them apart. Here the strided 1x1 stands before the first unit's 3x3, so a stride that
becomes rate reaches that 3x3 too, and all units of a stage have one rate. The names are torchvision's.

What differs from the released files: batch norm is one layer (Caffe has two, BatchNorm and Scale). Without weights to
start from, filters are drawn from He's distribution, and the last norm of a unit scales by units ** -0.5, so that a
trunk whose norms stay frozen keeps the size of its signal through 33 additions.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv 1512.03385), table 1; DeepLab v2
(arXiv 1606.00915) section 4.1. The pool's padding of 1 and the rates are read from public ports of the released net.
"""

from __future__ import annotations

from torch import Tensor, nn

from atrous.layers.norm import BatchNorm
from atrous.layers.vgg import draw_he, scaled_channels

DEPTHS = {"resnet50_caffe": (3, 4, 6, 3), "resnet101_caffe": (3, 4, 23, 3)}


class Bottleneck(nn.Module):
    """1x1 (stride), 3x3 (rate), 1x1 to four times the channels, each with norm; the shortcut; ReLU after their sum."""

    def __init__(self, inputs: int, middle: int, *, stride: int, rate: int, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 1, stride, bias=False)
        self.bn1 = BatchNorm(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=rate, dilation=rate, bias=False)
        self.bn2 = BatchNorm(middle)
        self.conv3 = nn.Conv2d(middle, 4 * middle, 1, bias=False)
        self.bn3 = BatchNorm(4 * middle)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, 4 * middle, 1, stride, bias=False), BatchNorm(4 * middle))
            if first
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.relu(residual + self.downsample(x))


class ResNetCaffe(nn.Module):
    """(n, c, h, w) -> five maps: conv1's and those of layer1 .. layer4, at strides 2, 4, 8 and up to `output_stride`.

    Raises `ValueError` for another output stride than 8, 16 and 32.

    >>> import torch
    >>> maps = ResNetCaffe(DEPTHS["resnet50_caffe"], output_stride=8, width=1 / 64)(torch.zeros(1, 3, 65, 33))
    >>> [tuple(each.shape[1:]) for each in maps]
    [(1, 33, 17), (4, 17, 9), (8, 9, 5), (16, 9, 5), (32, 9, 5)]
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self, depths: tuple[int, ...], *, in_channels: int = 3, output_stride: int = 32, width: float = 1.0
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output stride {output_stride} came; this trunk has 8, 16 or 32")
        root = scaled_channels(64, width)
        self.conv1 = nn.Conv2d(in_channels, root, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm(root)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        inputs, stride, rate = root, 4, 1
        channels, strides = [root], [2]
        for stage, depth in enumerate(depths):
            middle, wanted = root << stage, 1 if stage == 0 else 2
            step = wanted if stride * wanted <= output_stride else 1
            stride, rate = stride * step, rate * (wanted // step)
            units = [Bottleneck(inputs, middle, stride=step, rate=rate, first=True)]
            units += [Bottleneck(4 * middle, middle, stride=1, rate=rate, first=False) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
            inputs = 4 * middle
            channels.append(inputs)
            strides.append(stride)
        self.channels, self.strides = tuple(channels), tuple(strides)
        draw_he(self)
        for unit in self.modules():
            if isinstance(unit, Bottleneck):
                nn.init.constant_(unit.bn3.weight, sum(depths) ** -0.5)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(maps[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps
