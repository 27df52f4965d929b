"""How far a network sees: the pixels that a logit can depend on, and those that it does depend on.

The theoretical receptive field is arithmetic: which pixels a position reads through every window on the way, exactly,
holes included. The effective one is measured: how much each pixel moves a logit.

Luo, Li, Urtasun, Zemel: "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NIPS 2016,
for the effective one, which fills a small part of the theoretical one, like a Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atrous.layers.followed import Followed, Pair, Place
from atrous.layers.following import follow
from atrous.layers.probing import without_weights
from atrous.layers.reading import Positions


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceptiveField:
    """The pixels that one position of a map reads: rows and columns, in order, gaps where there are holes.

    They are those of an image that goes on for ever, so some may lie outside it. `whole` says that a mean over the
    map (image pooling, squeeze and excitation) brings in every pixel besides; where nothing else leads to the image
    there are no rows and columns. `stride` is how many pixels apart neighbouring positions are, down and across.
    """

    rows: Positions
    columns: Positions
    stride: tuple[Fraction, Fraction]
    whole: bool

    @property
    def size(self) -> Pair:
        """Height and width from the first pixel to the last; 0 where only means lead to the image."""
        return _extent(self.rows), _extent(self.columns)

    @property
    def holes(self) -> bool:
        """Whether there are rows or columns in between that are not read."""
        return self.size != (len(self.rows), len(self.columns))


def _extent(positions: Positions) -> int:
    return int(positions[-1] - positions[0]) + 1 if len(positions) else 0


def receptive_field(
    module: nn.Module, height: int = 513, width: int | None = None, *, channels: int = 3, position: Pair | None = None
) -> ReceptiveField:
    """Return what a position of the module's output, by default the one in the middle, can depend on.

    `module` is any that takes images (1, channels, height, width): a network or a part of one that starts at the
    image, of this package, timm or torchvision. Of several maps that it returns the last one is meant. It runs on the
    meta device, in evaluation mode, and stays as it was. Rows and columns are followed apart, so a pixel counts as
    read where its row and its column are. Padding by mirroring or repetition counts as if the image went on.

    Raises `ValueError` for a call of which it is not known what it reads (the message names it and its module), for
    a module that returns no map, and for a position outside the map.

    Source: FCN (arXiv 1411.4038) table 1 for what is called so; DeepLab v1 (arXiv 1412.7062) section 3.1 for holes.

    >>> receptive_field(nn.Sequential(nn.Conv2d(3, 8, 3, dilation=2), nn.MaxPool2d(2)), 33).size
    (6, 6)
    """
    followed, result = follow(without_weights(module), (height, height if width is None else width), channels)
    places = followed.placed(result)
    if not places:
        raise ValueError(f"{type(module).__name__} returns nothing that is computed from the image")
    maps = [place for place in places if place.axes is not None]
    return field_of(followed, (maps or places)[-1], position)


def field_of(followed: Followed, place: Place, position: Pair | None = None) -> ReceptiveField:
    """Return the receptive field of a map that was met; raises `ValueError` for a position outside it.

    >>> from atrous.layers.following import follow
    >>> found, result = follow(without_weights(nn.Conv2d(3, 8, 5)), (9, 9), 3)
    >>> field_of(found, found.place(result)).rows.tolist()
    [2, 3, 4, 5, 6]
    """
    node = followed.nodes[place.node]
    height, width = node.size
    row, column = position or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"position ({row}, {column}) came; the map has {height} x {width}")
    found, whole = None, True
    if place.axes is not None:
        found, whole = followed.read(place.node, (np.array([row]), np.array([column])))
    rows, columns = found or (np.arange(0), np.arange(0))
    return ReceptiveField(rows=rows, columns=columns, stride=node.stride, whole=whole)


def effective_receptive_field(net: Any, images: Tensor, position: Pair | None = None) -> NDArray[np.float32]:
    """Return how much each pixel moves the logit at a position, by default the one in the middle: (h, w), sum 1.

    `images` are (n, c, h, w), normalised. For each, the largest logit there is differentiated by the image; the
    magnitudes are averaged over the channels and the images. Where no pixel moves it, all is zero. The network keeps
    its mode and its gradients.

    Raises `ValueError` for a position outside the logits.

    Source: Luo et al., NIPS 2016, section 2.1 (who differentiate one channel and average over images drawn at random).

    >>> effective_receptive_field(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 5, 5)).round(1)[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = net(images)
    height, width = logits.shape[2:]
    row, column = position or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"position ({row}, {column}) came; the logits have {height} x {width}")
    (gradient,) = torch.autograd.grad(logits[:, :, row, column].amax(1).sum(), images)
    moved = gradient.double().abs().mean(1)
    shares = moved / moved.sum((1, 2), keepdim=True).clamp(min=torch.finfo(torch.double).tiny)
    return shares.mean(0).float().cpu().numpy()


def radius_of(effective: NDArray[np.float32], share: float, centre: tuple[float, float] | None = None) -> float:
    """Return the radius in pixels of the smallest circle about `centre` that holds this share of the total.

    `centre` is (row, column), by default the centre of mass. 0 where all of it is there, or there is nothing.

    Raises `ValueError` for a share that is not above 0 and at most 1.

    >>> radius_of(np.ones((1, 5), np.float32), 0.6)
    1.0
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} came; it is above 0 and at most 1, such as 0.95")
    total = float(effective.sum(dtype=np.float64))
    if total == 0:
        return 0.0
    rows, columns = np.indices(effective.shape, dtype=np.float64)
    if centre is None:
        centre = float((rows * effective).sum() / total), float((columns * effective).sum() / total)
    distance = np.hypot(rows - centre[0], columns - centre[1]).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(effective.ravel()[order], dtype=np.float64)
    return float(distance[order][min(np.searchsorted(held, share * total * (1 - 1e-6)), len(order) - 1)])
