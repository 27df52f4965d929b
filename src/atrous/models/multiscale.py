"""One net on an image at several sizes, fused by the maximum of its logits: DeepLab v2's multi-scale inputs.

Chen, Papandreou, Kokkinos, Murphy, Yuille: DeepLab, TPAMI 2018 (arXiv 1606.00915), section 4.1.2, "MSC". The weights
are shared, so there are no more parameters than in the net itself.

    scale    image      logits at stride 8    compared in training
    1        321        41                    at 41
    0.75     241        31                    at 41, enlarged
    0.5      161        21                    at 21
    fused               41                    at 41

Images and logits are resized bilinearly, corner on corner where the net's logits lie so: n pixels become
(n - 1) * scale + 1. The logits of scale 1/2 meet every second label of the main grid exactly; for those of 3/4 there
are no such labels (320/30 is no whole number), hence they are enlarged before their loss, as in the authors' net.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import Geometry


class MultiScale(nn.Module):
    """Normalised images -> the elementwise maximum of `net`'s logits at every scale, on the grid of scale 1.

    The sides it takes are those of which every scaled one is a side that `net` takes: 32k + 1 for DeepLab v2.
    `supervised` gives training the logits of each scale too.

    Raises `ValueError` for scales that do not begin with 1 or are not above 0, and for a net with a margin.

    Source: DeepLab v2 section 4.1.2.

    >>> from atrous.models.deeplab_v2 import deeplab_v2
    >>> net = MultiScale(deeplab_v2(2, encoder="vgg16", width=1 / 64))
    >>> [tuple(logits.shape[2:]) for logits in net.supervised(torch.zeros(1, 3, 65, 97))]
    [(9, 13), (9, 13), (9, 13), (5, 7)]
    """

    def __init__(self, net: Any, scales: Sequence[float] = (1, 0.75, 0.5)) -> None:
        super().__init__()
        if not scales or scales[0] != 1 or min(scales) <= 0:
            raise ValueError(f"scales {tuple(scales)} came; they begin with 1, the main one, and are above 0")
        self.net = net
        self.scales = tuple(Fraction(scale).limit_denominator(64) for scale in scales)
        self.geometry = _geometry(net.geometry, self.scales)
        self.preprocessing_padding = net.preprocessing_padding

    @property
    def encoder(self) -> nn.Module:
        """The net's encoder."""
        return self.net.encoder

    @property
    def classes(self) -> int:
        """How many classes the net scores."""
        return self.net.classes

    def forward(self, images: Tensor) -> Tensor:
        """Return the fused logits; raises `ValueError` in training for a crop below the least one."""
        return self.supervised(images)[0]

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return what training compares with the labels: the fused logits, then those of each scale."""
        self._check(images)
        separate = [self.net(self._scaled(images, scale)) for scale in self.scales]
        grid = separate[0].shape[2:]
        on_grid = [self._resized(logits, grid) for logits in separate]
        fused = functools.reduce(torch.maximum, on_grid)  # (n, classes, h/8, w/8)
        decimates = [(1 / scale).denominator == 1 for scale in self.scales]
        chosen = (own if exact else main for own, main, exact in zip(separate, on_grid, decimates, strict=True))
        return fused, *chosen

    def _scaled(self, images: Tensor, scale: Fraction) -> Tensor:
        corner = 1 if self.geometry.align_corners else 0
        # Whole numbers throughout, and `sym_max`, since a side is a symbol where the network is exported.
        sides: list[Any] = [
            torch.sym_max(1, (side - corner) * scale.numerator // scale.denominator + corner)
            for side in images.shape[2:]
        ]
        return self._resized(images, torch.Size(sides))

    def _resized(self, x: Tensor, size: torch.Size) -> Tensor:
        if x.shape[2:] == size:
            return x
        return functional.interpolate(x, size, mode="bilinear", align_corners=self.geometry.align_corners)

    def _check(self, images: Tensor) -> None:
        least = self.geometry.minimum
        height, width = images.shape[2:]
        if self.training and min(height, width) < least:
            raise ValueError(f"a crop of {height} x {width} came; training takes crops of {least} x {least} and larger")


def _geometry(single: Geometry, scales: Sequence[Fraction]) -> Geometry:
    """Return the sides whose scaled ones are all valid for a net of geometry `single`."""
    corner = 1 if single.align_corners else 0
    if single.margin or (single.offset - corner) % single.multiple:
        raise ValueError(f"{single} came; MultiScale takes nets without a margin whose sides scale")
    least = math.ceil((single.minimum - corner) / min(scales)) + corner
    multiple = single.multiple * math.lcm(*(scale.denominator for scale in scales))
    geometry = replace(single, multiple=multiple, offset=corner)
    return replace(geometry, minimum=geometry.valid(max(least, single.minimum)))
