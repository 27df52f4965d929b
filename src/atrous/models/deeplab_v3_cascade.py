"""DeepLab v3, cascaded: copies of ResNet's last block go deeper at ever higher atrous rates, and nothing gets smaller.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation. arXiv 1706.05587,
section 3.2 and figure 3(b).

| stage    | rate at output stride 16 (8) | channels | 513 x 513 |
|----------|------------------------------|----------|-----------|
| block4   | 2 (4)                        | 2048     | 33 (65)   |
| block5   | 4 (8)                        | 2048     | 33 (65)   |
| block6   | 8 (16)                       | 2048     | 33 (65)   |
| block7   | 16 (32)                      | 2048     | 33 (65)   |
| classify | 1x1                          | classes  | 33 (65)   |

Each block has three bottlenecks whose 3x3 has the block's rate times its multi-grid factor; (1, 2, 1) is the paper's
best for block7. Without atrous rates the blocks would each halve the map: strides 64, 128 and 256.

What differs from the paper: nothing that it says. It leaves open whether the first unit of a copy has a shortcut with a
projection, as block4's has; here it has (17,586,176 parameters per block). After an encoder whose last block has
another number of units than three, as ResNet-18's two, the blocks have three all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from atrous.layers.atrous import convolution, initialise
from atrous.layers.trunk import Trunk


class Unit(nn.Module):
    """1x1 to a quarter of the channels, 3x3 at `rate`, 1x1 back, and the shortcut: (n, channels, h, w) -> the same."""

    def __init__(self, channels: int, *, rate: int, projected: bool) -> None:
        super().__init__()
        middle = max(1, channels // 4)
        self.conv1 = convolution(channels, middle, 1)
        self.conv2 = convolution(middle, middle, 3, rate=rate)
        self.conv3 = convolution(middle, channels, 1, relu=False)
        self.shortcut = convolution(channels, channels, 1, relu=False) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, after its ReLU."""
        return (self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x)).relu()


class CascadedDeepLabV3(nn.Module):
    """(n, c, h, w) normalised images -> (n, classes, h/16, w/16) logits, `blocks` blocks deeper than the encoder.

    Source: DeepLab v3 section 3.2, tables 1 to 4.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, classes: int, *, blocks: int, multigrid: Sequence[int]) -> None:
        super().__init__()
        channels, stride = encoder.channels[-1], encoder.strides[-1]
        self.encoder = encoder
        self.blocks = nn.Sequential()
        rate = 32 // stride
        for block in range(5, 5 + blocks):
            rate *= 2
            units = [Unit(channels, rate=rate * factor, projected=unit == 0) for unit, factor in enumerate(multigrid)]
            self.blocks.add_module(f"block{block}", nn.Sequential(*units))
        self.classify = nn.Conv2d(channels, classes, 1)
        self.geometry = replace(encoder.geometry, stride=stride)
        initialise([self.blocks], self.classify)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        deep = self.encoder(images)[-1]  # (n, 2048, h/16, w/16)
        return self.classify(self.blocks(deep))  # (n, classes, h/16, w/16)
