"""Segmenter: the one module that turns any network into the contract, from stored pixels to labels at their size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atrous._core import enlarge_argmax
from atrous.contract import Geometry, LabelSpace, Preprocessing, check_channels, mirrored, stored
from atrous.layers.memory import channels_last

_BAND = 1 << 24
"""How many logits are enlarged at a time on a GPU: 64 MB of float32."""


class Segmenter(nn.Module):
    """A network with its classes and its preprocessing: (n, c, h, w) stored values -> (n, classes, h, w) probabilities.

    Any height and width of at least one pixel come back the same. Images are uint8 or float32 in the source's units;
    grey ones are repeated where the network takes three channels. `net` is anything with a `geometry` that turns
    normalised images into logits on its own grid.

    Raises `ValueError` where the image's channels are not the network's.

    >>> from atrous.models import deeplab_v3plus
    >>> net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    >>> segmenter = Segmenter(net, LabelSpace(names=("sky", "ground")), Preprocessing()).eval()
    >>> segmenter.labels(torch.zeros(1, 3, 5, 7, dtype=torch.uint8)).shape
    torch.Size([1, 5, 7])
    """

    geometry: Geometry
    scale: Tensor
    shift: Tensor

    def __init__(self, net: Any, space: LabelSpace, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net = channels_last(net)
        self.space, self.preprocessing = space, preprocessing
        self.geometry = net.geometry
        std = torch.tensor(preprocessing.std)
        scale = 1 / (std * (preprocessing.high - preprocessing.low))
        shift = -torch.tensor(preprocessing.mean) / std - preprocessing.low * scale
        self.register_buffer("scale", scale.reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities (n, classes, h, w) float32 of `images`."""
        return self.logits(images).float().softmax(1)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (n, classes, h, w), enlarged to the images' size."""
        height, width = images.shape[2:]
        logits, size = self.grid(images)
        if logits.shape[2:] != size:
            align = self.geometry.align_corners
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=align)
        return logits[:, :, :height, :width]

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """Return the most probable class (n, h, w) uint8, the lowest on a tie, without full-size maps."""
        height, width = images.shape[2:]
        logits, size = self.grid(images)
        if logits.shape[2:] == size:
            return logits.argmax(1)[:, :height, :width].to(torch.uint8)
        enlarge = _labels_on_host if logits.device.type == "cpu" else _labels_in_bands
        return torch.stack(
            [enlarge(each, size, (height, width), self.geometry.align_corners) for each in logits.float()]
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Return stored values as the network's input: (n, channels, h, w) float32, the network's channel order."""
        if check_channels(images.shape[1], self.preprocessing):
            images = images.expand(-1, 3, -1, -1)
        if self.preprocessing.order == "BGR":
            images = images.flip(1)
        return torch.addcmul(self.shift, images.float(), self.scale)

    def from_numpy(self, images: NDArray[Any]) -> Tensor:
        """Return (n, c, h, w) images of uint8 or any other depth on this network's device; 16 bits become float32.

        Raises `ValueError` for integers of another depth than the network was trained on, and for shares of 0 to 1.
        """
        # torch warns of memory that it may not write to, as that of decoded and of mapped files.
        images = np.require(stored(images, self.preprocessing), requirements=["C", "W"])
        return torch.from_numpy(images).to(self.scale.device)

    def grid(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Pad to a valid size and run: the logits on the net's own grid, and the size they cover in pixels."""
        height, width = images.shape[2:]
        rows, columns = self.geometry.padding(height), self.geometry.padding(width)
        x = self._padded(self.normalised(images), rows, columns)
        size = (x.shape[2] - 2 * self.geometry.margin, x.shape[3] - 2 * self.geometry.margin)
        return self.net(x.contiguous(memory_format=torch.channels_last)), size

    def _padded(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        if not any((*rows, *columns)):
            return x
        if self.preprocessing.padding == "mean":  # the mean is zero once normalised
            return F.pad(x, (*columns, *rows))
        for axis, (before, after) in ((2, rows), (3, columns)):
            index = torch.from_numpy(mirrored(x.shape[axis], before, after)).to(x.device)
            x = x.index_select(axis, index)
        return x


def _labels_on_host(logits: Tensor, size: tuple[int, int], crop: tuple[int, int], align: bool) -> Tensor:
    return torch.from_numpy(enlarge_argmax(logits.contiguous().numpy(), size, align_corners=align, crop=crop))


def _labels_in_bands(logits: Tensor, size: tuple[int, int], crop: tuple[int, int], align: bool) -> Tensor:
    """Enlarge along the width first, then a band of rows at a time: c full-size maps never exist."""
    wide = F.interpolate(logits[None], (logits.shape[1], size[1]), mode="bilinear", align_corners=align)[
        0, :, :, : crop[1]
    ]
    rows = torch.arange(crop[0], device=logits.device, dtype=torch.float32)
    if align:
        source = rows * ((logits.shape[1] - 1) / max(size[0] - 1, 1))
    else:
        source = ((rows + 0.5) * (logits.shape[1] / size[0]) - 0.5).clamp(min=0)
    upper = source.long().clamp(max=logits.shape[1] - 1)
    lower = (upper + 1).clamp(max=logits.shape[1] - 1)
    share = (source - upper).reshape(1, -1, 1)
    band = max(1, _BAND // (logits.shape[0] * crop[1]))
    labels = [
        torch.lerp(wide[:, upper[y : y + band]], wide[:, lower[y : y + band]], share[:, y : y + band]).argmax(0)
        for y in range(0, crop[0], band)
    ]
    return torch.cat(labels).to(torch.uint8)
