"""Average pooling with holes, which `nn.AvgPool2d` has not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]


class DilatedAveragePool(nn.Module):
    """The mean of every `dilation`-th value of a window: (n, c, h, w) -> (n, c, h', w').

    At dilation 1 and `extra` 0 it is `nn.AvgPool2d`. `padding` zeros lie on every side and count as values where
    `count_include_pad`; `extra` more on the right and at the bottom never count, and stand for `ceil_mode`.
    `divisor_override` divides the sum whatever the count.

    >>> DilatedAveragePool((2, 2), dilation=(2, 2))(torch.arange(9.0).view(1, 1, 3, 3)).item()
    4.0
    """

    def __init__(
        self,
        kernel: Pair,
        *,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        dilation: Pair = (1, 1),
        extra: Pair = (0, 0),
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.dilation, self.extra = kernel, stride, padding, dilation, extra
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        sums = self._sums(self._padded(x, 0.0).flatten(0, 1)[:, None]).unflatten(0, x.shape[:2])[:, :, 0]
        if self.divisor_override is not None:
            return sums / self.divisor_override
        counted = self._padded(torch.ones_like(x[:1, :1]), float(self.count_include_pad))
        return sums / self._sums(counted).clamp(min=1)  # none counts where the map is smaller than the holes

    def _padded(self, x: Tensor, value: float) -> Tensor:
        (rows, columns), (below, right) = self.padding, self.extra
        return F.pad(F.pad(x, (columns, columns, rows, rows), value=value), (0, right, 0, below))

    def _sums(self, x: Tensor) -> Tensor:
        return F.conv2d(x, x.new_ones(1, 1, *self.kernel), stride=self.stride, dilation=self.dilation)

    def extra_repr(self) -> str:
        return f"{self.kernel}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
