"""Losses of regions: how a class's probabilities and its labels overlap in a crop, whatever its size.

A crop's loss is the mean over the classes that its labels hold, and the batch's the mean over crops. A class that is
not in the labels has no say: any probability, however small, would make its overlap 0. Weights of classes weight that
mean, and one of 0 leaves a class out; weights of pixels are not taken, since an overlap has no pixels of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atrous.training.losses.comparing import Targets, checked, mean_of
from atrous.training.losses.pixels import weights_of

_TINY = 1e-7  # where nothing is predicted and false negatives cost nothing, an overlap would be 0 / 0


def tversky(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """Return the mean of 1 - TP / (TP + `alpha` FP + `beta` FN), with probabilities in place of decisions.

    `logits` (n, classes, h, w) of any float type, `labels` (n, h, w) integer, 255 ignored, `class_weights` (classes,).
    A crop's loss is the mean over the classes in its labels, the batch's the mean over crops that have any; 0 where
    none has. A `beta` above `alpha` costs missed pixels more than those too many.

    Raises `ValueError` for shapes that do not fit, labels of no class, and `alpha` and `beta` below 0 or both 0.

    Source: Salehi, Erdogmus and Gholipour 2017 (arXiv 1706.05721), equation 3; the mean over classes is ours.

    >>> float(tversky(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 1]]]), alpha=0, beta=1))
    0.5
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
        raise ValueError(f"alpha {alpha} and beta {beta} came; they are 0 or more, and not both 0")
    targets = checked(logits, labels, class_weights=class_weights)
    total = tversky_total(logits, targets, class_weights=class_weights, alpha=alpha, beta=beta)
    return mean_of(total, crop_count(targets, class_weights=class_weights))


def dice(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean of 1 - 2 TP / (2 TP + FP + FN): `tversky` with both halves alike.

    Source: V-Net, Milletari, Navab and Ahmadi 2016 (arXiv 1606.04797), section 3; theirs squares the probabilities in
    the denominator, this one, as most since, does not.

    >>> round(float(dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 1]]]))), 4)
    0.3333
    """
    return tversky(logits, labels, class_weights=class_weights, alpha=0.5, beta=0.5)


def jaccard(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean of 1 - TP / (TP + FP + FN), the soft intersection over union: `tversky` with 1 and 1.

    Source: Rahman and Wang 2016, Optimizing Intersection-over-Union in Deep Neural Networks for Image Segmentation.

    >>> float(jaccard(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 1]]])))
    0.5
    """
    return tversky(logits, labels, class_weights=class_weights, alpha=1.0, beta=1.0)


def lovasz(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the Lovasz-Softmax loss: of the Jaccard loss of hard decisions, the convex extension to probabilities.

    Shapes, means, ignored pixels and what is raised are as for `tversky`. It sorts every class's pixels by their
    error, in float32.

    Source: Berman, Rannen Triki and Blaschko 2018 (arXiv 1705.08790), equations 9 to 12 and algorithm 1.

    >>> float(lovasz(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 1]]])))
    0.5
    """
    targets = checked(logits, labels, class_weights=class_weights)
    total = lovasz_total(logits, targets, class_weights=class_weights)
    return mean_of(total, crop_count(targets, class_weights=class_weights))


def crop_count(targets: Targets, *, class_weights: Tensor | None = None) -> Tensor:
    """Return how many crops have a pixel of a class that counts."""
    weights = weights_of(Targets(targets.labels), class_weights)
    return (weights > 0).flatten(1).any(1).sum().float()


def tversky_total(
    logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """Return the sum over crops of 1 - the Tversky index, the mean over a crop's classes."""
    probabilities = logits.float().softmax(1)
    labelled = _labelled(targets, logits.shape[1])
    hits = torch.where(labelled, probabilities, 0).sum((2, 3))
    predicted = torch.where(targets.valid[:, None], probabilities, 0).sum((2, 3))
    truth = labelled.sum((2, 3), dtype=torch.int32)  # four times as fast as int64
    missed = hits + alpha * (predicted - hits) + beta * (truth - hits)
    return _over_classes(1 - hits / missed.clamp(min=_TINY), truth > 0, class_weights)


def lovasz_total(logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the sum over crops of the Lovasz extension of the Jaccard loss, the mean over a crop's classes."""
    probabilities = logits.float().softmax(1)
    labelled = _labelled(targets, logits.shape[1])
    errors = torch.where(labelled, 1 - probabilities, probabilities) * targets.valid[:, None]
    present = labelled.flatten(2).any(2)
    rows = present.flatten().nonzero().squeeze(1)
    errors = errors.flatten(2).flatten(0, 1)[rows]
    slopes = _slopes(errors.detach(), labelled.flatten(2).flatten(0, 1)[rows])
    losses = torch.zeros(present.numel(), device=logits.device).index_put((rows,), (errors * slopes).sum(1))
    return _over_classes(losses.view_as(present), present, class_weights)


@torch.no_grad()
def _slopes(errors: Tensor, labelled: Tensor) -> Tensor:
    """Return by how much the Jaccard loss rises as each pixel is added to the wrong ones, the largest error first.

    With u the union once a pixel is added and i the intersection, it is 1 / u for one of the class and
    i / (u (u - 1)) for another, which is precise where the difference of two losses would cancel.
    """
    order = errors.argsort(dim=1, descending=True)
    wrong = labelled.gather(1, order)
    truth = labelled.sum(1, keepdim=True)
    added = wrong.cumsum(1)
    union = truth + torch.arange(1, errors.shape[1] + 1, device=errors.device) - added
    slopes = torch.where(wrong, 1.0, (truth - added) / (union - 1).clamp(min=1)) / union
    return torch.empty_like(errors).scatter_(1, order, slopes)


def _labelled(targets: Targets, classes: int) -> Tensor:
    return targets.labels[:, None] == torch.arange(classes, device=targets.labels.device)[:, None, None]


def _over_classes(losses: Tensor, present: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the sum over crops of the weighted means of the losses (n, classes) of classes that are present."""
    weights = present.float()
    if class_weights is not None:
        weights = weights * class_weights.to(losses.device, torch.float32)
    counted = weights.sum(1)
    return ((losses * weights).sum(1) / torch.where(counted > 0, counted, 1)).sum()
