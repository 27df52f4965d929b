"""Spatial pyramid pooling: the map's means over a whole, halves, thirds and sixths of the image, beside the map itself.

He, Zhang, Ren and Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition", ECCV 2014; in
this form, with 1x1 convolutions and the map enlarged again, Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.layers.atrous import convolution


class SPP(nn.Module):
    """Means over grids of bins, each through a 1x1 convolution, norm and ReLU, enlarged and put beside the map.

    (n, in_channels, h, w) -> (n, `out_channels`, h, w), which is in_channels + len(bins) * channels; the map comes
    first. `channels` is in_channels / len(bins) unless given. A bin's mean lies in the middle of its cells, so maps are
    enlarged by that rule; `align_corners` puts outer bins on the border instead. Maps may be smaller than a grid, whose
    bins then share pixels, and a single image trains.

    Raises `ValueError` for no bins, one below 1, or no channels.

    Source: PSPNet (arXiv 1612.01105) section 3.2: bins 1, 2, 3 and 6, 2048 / 4 channels each.

    >>> SPP(32)(torch.zeros(1, 32, 9, 7)).shape
    torch.Size([1, 64, 9, 7])
    """

    def __init__(
        self,
        in_channels: int,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        *,
        channels: int | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if not bins or min(bins) < 1:
            raise ValueError(f"bins {tuple(bins)} came; SPP takes one number or more, each the bins along a side")
        if in_channels < 1 or (channels is not None and channels < 1):
            raise ValueError(f"{in_channels} channels in and {channels} per grid came; SPP takes at least 1 of each")
        channels = channels or max(1, in_channels // len(bins))
        self.bins, self.align_corners = tuple(bins), align_corners
        self.out_channels = in_channels + len(bins) * channels
        self.project = nn.ModuleList(convolution(in_channels, channels, 1) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        means = [project(F.adaptive_avg_pool2d(x, side)) for side, project in zip(self.bins, self.project, strict=True)]
        enlarged = [F.interpolate(m, x.shape[2:], mode="bilinear", align_corners=self.align_corners) for m in means]
        return torch.cat([x, *enlarged], 1)
