"""Losses, computed in float32 whatever the network's precision, with 255 left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from atrous.contract import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over pixels that are not ignored; 0 where all are.

    `logits` (n, classes, h, w) of any float type, `labels` (n, h, w) integer.

    Source: FCN (arXiv 1411.4038) section 4.3; DeepLab v3 (arXiv 1706.05587) section 4 divides by the valid pixels.

    >>> float(cross_entropy(torch.zeros(1, 4, 1, 2), torch.tensor([[[1, 255]]])))
    1.3862943649291992
    """
    labels = labels.long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def weighted_sum(losses: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum of losses, each times its weight; without weights all count 1.

    Raises `ValueError` where there are not as many weights as losses.

    Source: DeepLab v2 (arXiv 1606.00915), the released ResNet-101: four losses of weight 1.

    >>> float(weighted_sum([torch.tensor(2.0), torch.tensor(3.0)], (1, 0.5)))
    3.5
    """
    check_weights(len(losses), weights)
    shares = weights or [1.0] * len(losses)
    return torch.stack([loss * share for loss, share in zip(losses, shares, strict=True)]).sum()


def check_weights(outputs: int, weights: Sequence[float]) -> None:
    """Raise `ValueError` where there are weights, and not one for every output.

    >>> check_weights(4, ())
    """
    if weights and len(weights) != outputs:
        raise ValueError(
            f"{len(weights)} loss_weights came, and the network is trained on {outputs} "
            f"output{'s' if outputs > 1 else ''}; give {outputs}, the main one's first, or none to count all alike"
        )


def compared(
    logits: Tensor, labels: Tensor, *, margin: int, align_corners: bool, compare: str
) -> tuple[Tensor, Tensor]:
    """Bring logits and labels to one grid: the labels' (`"resized"`) or the net's own (`"grid"`).

    `margin` pixels are cut off every side of the labels first: a net with a margin says nothing about them. On the
    net's grid the labels are decimated, the pixel nearest to each logit, as the Caffe systems did.
    """
    if margin:
        labels = labels[:, margin:-margin, margin:-margin]
    if logits.shape[2:] == labels.shape[1:]:
        return logits, labels
    if compare == "resized":
        size = tuple(labels.shape[1:])
        return F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners), labels
    rows, columns = (
        _nearest(inside, outside, align_corners)
        for inside, outside in zip(logits.shape[2:], labels.shape[1:], strict=True)
    )
    return logits, labels[:, rows][:, :, columns]


def _nearest(grid: int, side: int, align_corners: bool) -> list[int]:
    if align_corners:
        return [round(i * (side - 1) / max(grid - 1, 1)) for i in range(grid)]
    return [min(side - 1, int((i + 0.5) * side / grid)) for i in range(grid)]
