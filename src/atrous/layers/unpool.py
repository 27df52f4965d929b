"""Unpooling by switches: a pool that remembers where each maximum lay, and its inverse that puts values back there.

Zeiler, Taylor and Fergus, "Adaptive Deconvolutional Networks for Mid and High Level Feature Learning", ICCV 2011;
in segmentation Noh, Hong and Han (DeconvNet), ICCV 2015, and Badrinarayanan, Kendall and Cipolla (SegNet), 2015.

Windows do not overlap and sizes round up, as Caffe's do, so a side that is odd loses nothing: its last window is
narrower. Of equal values in a window the first, row by row, is the maximum.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Switches(NamedTuple):
    """Where the maxima lay: `places` (n, c, h', w') int64, each row * width + column, and the `size` (h, w) pooled."""

    places: Tensor
    size: tuple[int, int]


class SwitchPool(nn.Module):
    """Maximum of windows of `window` x `window`: (n, c, h, w) to (n, c, h', w') and its switches, sizes rounded up.

    Source: DeconvNet (arXiv 1505.04366) section 3.2.1.

    >>> import torch
    >>> pooled, switches = SwitchPool()(torch.tensor([[[[1.0, 5.0, 2.0]]]]))
    >>> pooled.tolist(), switches.places.tolist(), switches.size
    ([[[[5.0, 2.0]]]], [[[[1, 2]]]], (1, 3))
    """

    def __init__(self, window: int = 2) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(window, window, ceil_mode=True, return_indices=True)

    def forward(self, features: Tensor) -> tuple[Tensor, Switches]:
        """Return the maxima and where they lay."""
        pooled, places = self.pool(features)
        return pooled, Switches(places, (features.shape[2], features.shape[3]))


class Unpool(nn.Module):
    """Put each value of (n, c, h', w') where its switch points, and zero elsewhere: (n, c, h, w), the size pooled.

    Raises `ValueError` where values and switches differ in shape.

    Source: DeconvNet section 3.2.1.

    >>> import torch
    >>> pooled, switches = SwitchPool()(torch.tensor([[[[1.0, 5.0, 2.0]]]]))
    >>> Unpool()(10 * pooled, switches).tolist()
    [[[[0.0, 50.0, 20.0]]]]
    """

    def __init__(self, window: int = 2) -> None:
        super().__init__()
        self.window = (window, window)

    def forward(self, features: Tensor, switches: Switches) -> Tensor:
        """Return the sparse, enlarged features."""
        if features.shape != switches.places.shape:
            raise ValueError(
                f"features of {tuple(features.shape)} came, and the switches are {tuple(switches.places.shape)}; "
                "unpool with the switches of the pool that halved this size"
            )
        # The size is said, since two sides pool to the same one: 5 and 6 both to 3.
        return functional.max_unpool2d(
            features, switches.places, self.window, self.window, output_size=list(switches.size)
        )
