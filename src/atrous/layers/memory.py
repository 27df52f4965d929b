"""In which order maps and weights lie in memory: channels last, but for the largest windows.

Convolutions are faster where the channels of a pixel lie side by side. A window as large as VGG's fc6, 7x7 over 512
channels for 4096 filters, is an exception: its weight is 411 MB, and in that order its gradient is copied once more at
every step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGE = 1 << 24
"""How many weights make a window large: 16.8 million, 67 MB."""


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out with channels last, large undilated windows as usual; return the net.

    >>> channels_last(nn.Conv2d(8, 4, 3)).weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    for layer in net.modules():
        if not is_large(layer):
            for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
                if tensor.ndim == 4:
                    # Not by `contiguous`: a 1x1 window is so in either order, and keeps strides that are slow.
                    tensor.data = torch.empty_like(tensor.data, memory_format=torch.channels_last).copy_(tensor.data)
    return net


def is_large(layer: nn.Module) -> bool:
    """Say whether a layer is an undilated convolution of 7x7 or more with more than 16.8 million weights.

    >>> is_large(nn.Conv2d(3, 64, 7))
    False
    """
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or layer.weight.numel() <= LARGE:
        return False
    return min(layer.kernel_size) >= 7 and max(layer.dilation) == 1


def large_window(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply a convolution to a map in the order of its weight, and give the result back in the order the map came in.

    >>> large_window(nn.Conv2d(8, 4, 3), torch.zeros(1, 8, 5, 5)).shape
    torch.Size([1, 4, 3, 3])
    """
    weight = layer.weight
    last = features.is_contiguous(memory_format=torch.channels_last)
    if not (isinstance(weight, Tensor) and weight.is_contiguous() and last and not features.is_contiguous()):
        return layer(features)
    return layer(features.contiguous()).contiguous(memory_format=torch.channels_last)
