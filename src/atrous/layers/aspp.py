"""Atrous spatial pyramid pooling as DeepLab v3 and v3+ have it: parallel rates, one 1x1, and the image as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral

import torch
from torch import Tensor, nn

from atrous.layers.atrous import convolution, separable_convolution

RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}
"""The atrous rates for each output stride: they are doubled where the map is twice as dense."""


def check_rates(rates: object, name: str = "rates") -> None:
    """Raise `ValueError` unless `rates` are one or more whole numbers, each 1 or above.

    >>> check_rates((1, 2, 4), "multigrid")
    >>> check_rates(6)
    Traceback (most recent call last):
        ...
    ValueError: rates 6 came; one or more whole numbers of 1 and above are accepted, such as (6, 12, 18)
    """
    given = tuple(rates) if isinstance(rates, Iterable) else ()
    if not given or not all(_is_rate(rate) for rate in given):
        such = (1, 2, 4) if name == "multigrid" else RATES[16]
        raise ValueError(
            f"{name} {rates!r} came; one or more whole numbers of 1 and above are accepted, such as {such}"
        )


def _is_rate(rate: object) -> bool:
    return isinstance(rate, Integral) and not isinstance(rate, bool) and int(rate) >= 1


class ImagePooling(nn.Module):
    """The mean of the whole map through a 1x1 convolution, spread over the map again.

    (n, inputs, h, w) -> (n, outputs, h, w). Enlarging a 1x1 map bilinearly is repeating it.

    Source: DeepLab v3 (arXiv 1706.05587) section 3.3, "image-level features".
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return self.project(mean).expand(-1, -1, x.shape[2], x.shape[3])


class ASPP(nn.Module):
    """Five views of one map, concatenated and projected: 1x1, three atrous 3x3, and the image's mean.

    (n, inputs, h, w) -> (n, channels, h, w). `separable` makes the 3x3 ones depthwise separable (v3+), `between` with
    norm and ReLU between their parts. Dropout follows the projection in the authors' code, not in the paper.

    Raises `ValueError` for no rates, and for a rate that is no whole number of 1 or above.

    Source: DeepLab v3 section 3.3; v3+ section 3.1.

    >>> ASPP(32, 8, rates=(6, 12, 18)).eval()(torch.zeros(1, 32, 9, 9)).shape
    torch.Size([1, 8, 9, 9])
    """

    def __init__(
        self,
        inputs: int,
        channels: int = 256,
        *,
        rates: Sequence[int] = RATES[16],
        separable: bool = False,
        between: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_rates(rates)
        atrous = partial(separable_convolution, between=between) if separable else convolution
        self.channels = channels
        self.branches = nn.ModuleList(
            [convolution(inputs, channels, 1), *(atrous(inputs, channels, rate=rate) for rate in rates)]
        )
        self.pooling = ImagePooling(inputs, channels)
        self.project = convolution((len(self.branches) + 1) * channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        views = [*(branch(x) for branch in self.branches), self.pooling(x)]
        return self.dropout(self.project(torch.cat(views, 1)))
