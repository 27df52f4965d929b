"""Segmenter: the one module that turns any network into the contract, from stored pixels to labels at their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
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

Context = tuple[int, int, int, int]
"""How many pixels above, below, on the left and on the right of an image are only what surrounds it."""

_NONE: Context = (0, 0, 0, 0)


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

    def surrounded(self, context: Sequence[int]) -> Surrounded:
        """Return a scorer of images whose outer `context` (top, bottom, left, right), in pixels, is real surroundings.

        Its results are those of the (h - top - bottom) x (w - left - right) pixels inside; padded is only what the
        context lacks of the margin and of a valid size. Inside a large image the context is the whole margin, at its
        border what there is. Results are then those of the whole image where logits are a pixel apart, the inside
        begins at a multiple of `geometry.multiple`, it ends where with the margins it is of a valid size or where the
        image ends, and the images hold what is mirrored there. `prediction.window_plan.windows` plans such parts.

        Raises `ValueError` for a context that is not four numbers from 0 to the geometry's margin; when called, for
        images of which nothing is inside.

        Source: U-Net, section 2 (the overlap-tile strategy).

        >>> from atrous.models import unet
        >>> net = unet(2, in_channels=1, width=1 / 64)
        >>> segmenter = Segmenter(net, LabelSpace(names=("out", "in")), Preprocessing(mean=(0.5,), std=(0.2,))).eval()
        >>> segmenter.surrounded((92, 92, 92, 0)).labels(torch.zeros(1, 1, 204, 112, dtype=torch.uint8)).shape
        torch.Size([1, 20, 20])
        """
        return Surrounded(self, self._checked(context))

    def _checked(self, context: Sequence[int]) -> Context:
        margin = self.geometry.margin
        try:
            top, bottom, left, right = map(index, context)
        except (TypeError, ValueError):
            top = bottom = left = right = -1
        if min(top, bottom, left, right) < 0 or max(top, bottom, left, right) > margin:
            raise ValueError(
                f"context {context!r} came; (top, bottom, left, right) is needed, whole numbers from 0 to the margin "
                f"of this network, {margin}"
            )
        return top, bottom, left, right

    def logits(self, images: Tensor, context: Context = _NONE) -> Tensor:
        """Return the logits (n, classes, h, w), enlarged to the images' size, `context` left out."""
        height, width = _inside(images, context)
        logits, size = self.grid(images, context)
        if logits.shape[2:] != size:
            align = self.geometry.align_corners
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=align)
        return logits[:, :, :height, :width]

    @torch.no_grad()
    def labels(self, images: Tensor, context: Context = _NONE) -> Tensor:
        """Return the most probable class (n, h, w) uint8, the lowest on a tie, without full-size maps."""
        height, width = _inside(images, context)
        logits, size = self.grid(images, context)
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

    def grid(self, images: Tensor, context: Context = _NONE) -> tuple[Tensor, tuple[int, int]]:
        """Pad to a valid size and run: the logits on the net's own grid, and the size they cover in pixels."""
        height, width = _inside(images, context)
        above, below, before, after = *self.geometry.padding(height), *self.geometry.padding(width)
        rows, columns = (above - context[0], below - context[1]), (before - context[2], after - context[3])
        x = self._padded(self.normalised(images), rows, columns)
        size = (x.shape[2] - 2 * self.geometry.margin, x.shape[3] - 2 * self.geometry.margin)
        return self.net(x.contiguous(memory_format=torch.channels_last)), size

    def _padded(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        if not any((*rows, *columns)):
            return x
        if self.preprocessing.padding == "mean":  # the mean is zero once normalised
            return F.pad(x, (*columns, *rows))
        for axis, (before, after) in ((2, rows), (3, columns)):
            source = torch.from_numpy(mirrored(x.shape[axis], before, after)).to(x.device)
            x = x.index_select(axis, source)
        return x


@dataclass(frozen=True)
class Surrounded:
    """What `Segmenter.surrounded` returns: a scorer whose results are those of the images less their context."""

    segmenter: Segmenter
    context: Context

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the probabilities (n, classes, h - top - bottom, w - left - right) float32."""
        return self.segmenter.logits(images, self.context).float().softmax(1)

    def labels(self, images: Tensor) -> Tensor:
        """Return the most probable class (n, h - top - bottom, w - left - right) uint8, the lowest on a tie."""
        return self.segmenter.labels(images, self.context)

    def from_numpy(self, images: NDArray[Any]) -> Tensor:
        """Return (n, c, h, w) images as the segmenter takes them."""
        return self.segmenter.from_numpy(images)


def _inside(images: Tensor, context: Context) -> tuple[int, int]:
    """Return the height and width of what `context` surrounds."""
    top, bottom, left, right = context
    height, width = images.shape[2] - top - bottom, images.shape[3] - left - right
    if context != _NONE and min(height, width) < 1:
        raise ValueError(
            f"images of {images.shape[2]} x {images.shape[3]} came with a context of {context}; nothing is inside"
        )
    return height, width


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
