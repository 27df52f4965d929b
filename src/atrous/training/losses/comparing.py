"""What a loss compares: labels and weights on the grid of the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atrous.contract import IGNORE


@dataclass(frozen=True, eq=False)
class Targets:
    """What logits are compared with: `labels` (n, h, w) integer, 255 ignored, and `weights` (n, h, w) float32 or None.

    The weights are of pixels, such as U-Net's between touching objects; without any, all pixels count alike.
    """

    labels: Tensor
    weights: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """Where pixels count, (n, h, w) bool."""
        return self.labels != IGNORE


def on_grid(shape: Sequence[int], targets: Targets, *, margin: int, align_corners: bool, compare: str) -> Targets:
    """Return the targets on the grid where logits of `shape` (height, width) are compared with them.

    `margin` pixels are cut off every side first: a net with a margin says nothing about them. For `"resized"` that is
    all, since the logits come to the targets; for `"grid"` the targets are decimated, the pixel nearest to each logit,
    as the Caffe systems did.

    >>> labels = torch.arange(25).reshape(1, 5, 5)
    >>> on_grid((3, 3), Targets(labels), margin=0, align_corners=True, compare="grid").labels[0, 1].tolist()
    [10, 12, 14]
    """
    if margin:
        targets = _picked(targets, slice(margin, -margin), slice(margin, -margin))
    sides = targets.labels.shape[1:]
    if compare == "resized" or sides == tuple(shape):
        return targets
    rows, columns = (_nearest(grid, side, align_corners) for grid, side in zip(shape, sides, strict=True))
    return _picked(targets, rows, columns)


def resized(logits: Tensor, targets: Targets, *, align_corners: bool) -> Tensor:
    """Return logits enlarged to the targets that `on_grid` gave for them: bilinearly, in float32, where they differ."""
    size = targets.labels.shape[1:]
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=align_corners)


def checked(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, pixel_weights: Tensor | None = None
) -> Targets:
    """Return labels and weights as targets; raises `ValueError` where they do not fit the logits, or each other."""
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} came; "
            "give (n, classes, h, w) and (n, h, w)"
        )
    if pixel_weights is not None and pixel_weights.shape != labels.shape:
        raise ValueError(
            f"pixel_weights are {tuple(pixel_weights.shape)} and labels {tuple(labels.shape)}; give as many"
        )
    classes = logits.shape[1]
    if class_weights is not None:
        check_class_weights(class_weights, classes)
    wrong = labels[(labels != IGNORE) & ((labels >= classes) | (labels < 0))]
    if len(wrong):
        raise ValueError(
            f"labels hold {int(wrong[0])}; with {classes} classes they are 0 to {classes - 1}, and {IGNORE} is ignored"
        )
    return Targets(labels, pixel_weights)


def check_class_weights(class_weights: Tensor, classes: int) -> None:
    """Raise `ValueError` where there is not one weight for every class.

    >>> check_class_weights(torch.ones(3), 3)
    """
    if class_weights.shape != (classes,):
        raise ValueError(
            f"class_weights of shape {tuple(class_weights.shape)} came; give one for each of {classes} classes"
        )


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """Return a total divided by its count, and 0 where the count is 0.

    A total can be above 0 there: label smoothing learns a little of every class from pixels whose own weighs nothing.

    >>> float(mean_of(torch.tensor(6.0), torch.tensor(4.0))), float(mean_of(torch.tensor(0.0), torch.tensor(0.0)))
    (1.5, 0.0)
    """
    return total / torch.where(count > 0, count, torch.inf)


def check_weights(outputs: int, weights: Sequence[float]) -> None:
    """Raise `ValueError` where there are weights, and not one for every output.

    >>> check_weights(4, ())
    """
    if weights and len(weights) != outputs:
        raise ValueError(
            f"{len(weights)} loss_weights came, and the network is trained on {outputs} "
            f"output{'s' if outputs > 1 else ''}; give {outputs}, the main one's first, or none to count all alike"
        )


def _picked(targets: Targets, rows: slice | list[int], columns: slice | list[int]) -> Targets:
    weights = targets.weights
    return Targets(
        labels=targets.labels[:, rows][:, :, columns],
        weights=None if weights is None else weights[:, rows][:, :, columns],
    )


def _nearest(grid: int, side: int, align_corners: bool) -> list[int]:
    if align_corners:
        return [round(i * (side - 1) / max(grid - 1, 1)) for i in range(grid)]
    return [min(side - 1, int((i + 0.5) * side / grid)) for i in range(grid)]
