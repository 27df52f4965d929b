"""Losses of pixels: every pixel has one, from its own logits, and their weighted mean is taken.

Each is a total, which hangs on the logits, and a count, which hangs on the targets alone, so that parts of a batch
give exactly the loss of the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atrous.contract import IGNORE
from atrous.training.losses.comparing import Targets, checked, mean_of

_LABELS = 256
_TINY = 1e-7  # keeps the slope of a power below 1 finite at 0
_MILLION = 1_000_000


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the mean cross-entropy over pixels that are not ignored; 0 where all are.

    `logits` (n, classes, h, w) of any float type, `labels` (n, h, w) integer, 255 ignored. A pixel counts as much as
    its class's weight (classes,) times its own (n, h, w), in the sum and in what it is divided by. `label_smoothing`
    is the share of each label, 0 to 1, that is spread over all classes.

    Raises `ValueError` for shapes that do not fit and for labels of no class.

    Source: FCN (arXiv 1411.4038) section 4.3; DeepLab v3 (arXiv 1706.05587) section 4 divides by the valid pixels;
    the pixels' weights are U-Net's (arXiv 1505.04597) equation 1.

    >>> float(cross_entropy(torch.zeros(1, 4, 1, 2), torch.tensor([[[1, 255]]])))
    1.3862943649291992
    """
    targets = checked(logits, labels, class_weights=class_weights, pixel_weights=pixel_weights)
    total = cross_entropy_total(logits, targets, class_weights=class_weights, label_smoothing=label_smoothing)
    return mean_of(total, weight_sum(targets, class_weights=class_weights))


def focal(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
    focusing: float = 2.0,
) -> Tensor:
    """Return the mean of (1 - p)^`focusing` times the cross-entropy, with p the probability of a pixel's label.

    Pixels that are nearly right count little; at 0 it is the cross-entropy. The rest is as for `cross_entropy`, and so
    is the divisor: the weights of the valid pixels, not what their probabilities make of them.

    Raises `ValueError` as `cross_entropy` does, and for a negative `focusing`.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection (arXiv 1708.02002), equations 4 and 5.

    >>> round(float(focal(torch.zeros(1, 4, 1, 2), torch.tensor([[[1, 255]]]))), 4)
    0.7798
    """
    if not focusing >= 0:
        raise ValueError(f"focusing {focusing} came; it is an exponent of 0 or more")
    targets = checked(logits, labels, class_weights=class_weights, pixel_weights=pixel_weights)
    total = focal_total(logits, targets, class_weights=class_weights, focusing=focusing)
    return mean_of(total, weight_sum(targets, class_weights=class_weights))


def hard_pixels(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    share: float = 0.25,
) -> Tensor:
    """Return the mean cross-entropy of the `share` of each crop's valid pixels that have the highest.

    At least one pixel of a crop is kept, and their number is rounded up; `share` is exact to a millionth. Weights are
    part of the losses that are ranked and not of the divisor, which is the number of pixels kept. The rest is as for
    `cross_entropy`.

    Raises `ValueError` as `cross_entropy` does, and for a share that is not above 0 and at most 1.

    Source: Wu, Shen and van den Hengel 2016 (arXiv 1605.06885), online bootstrapping; a share in place of their number.

    >>> logits = torch.tensor([[[[0.0, 9, 9, 9]], [[0, 0, 0, 0]]]])
    >>> round(float(hard_pixels(logits, torch.zeros(1, 1, 4, dtype=torch.uint8))), 4)
    0.6931
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} came; it is above 0 and at most 1")
    targets = checked(logits, labels, class_weights=class_weights, pixel_weights=pixel_weights)
    total = hard_pixels_total(
        logits, targets, class_weights=class_weights, label_smoothing=label_smoothing, share=share
    )
    return mean_of(total, hard_pixels_count(targets, share=share))


def weights_of(targets: Targets, class_weights: Tensor | None) -> Tensor:
    """Return what each pixel counts, (n, h, w): its own weight times its class's, and 0 where it is ignored."""
    if class_weights is None:
        weights = targets.valid.float()
    else:
        table = F.pad(class_weights.float(), (0, _LABELS - len(class_weights)))
        weights = table.to(targets.labels.device)[targets.labels.long()]
    return weights if targets.weights is None else weights * targets.weights


def weight_sum(targets: Targets, *, class_weights: Tensor | None = None) -> Tensor:
    """Return what all pixels count together, by which a mean over pixels is divided."""
    if class_weights is None and targets.weights is None:
        return targets.valid.sum().float()
    return weights_of(targets, class_weights).sum()


def cross_entropy_total(
    logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the sum of the pixels' weighted cross-entropies."""
    losses = _cross_entropies(logits, targets, class_weights=class_weights, label_smoothing=label_smoothing)
    return losses.sum()


def focal_total(
    logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None, focusing: float = 2.0
) -> Tensor:
    """Return the sum of the pixels' weighted focal losses."""
    losses = _cross_entropies(logits, Targets(targets.labels))
    missing = -torch.expm1(-losses)  # 1 - p, without losing the small ones
    focal = missing.clamp(min=_TINY) ** focusing * losses
    if class_weights is None and targets.weights is None:
        return focal.sum()
    return (focal * weights_of(targets, class_weights)).sum()


def hard_pixels_total(
    logits: Tensor,
    targets: Targets,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    share: float = 0.25,
) -> Tensor:
    """Return the sum of the weighted cross-entropies of each crop's hardest pixels."""
    losses = _cross_entropies(logits, targets, class_weights=class_weights, label_smoothing=label_smoothing).flatten(1)
    most = int(_kept(torch.tensor(losses.shape[1]), share))
    # No loss is below 0 and those of ignored pixels are 0, so that one of them is never kept to any effect.
    hardest = losses.topk(most).values
    rank = torch.arange(most, device=losses.device)
    return torch.where(rank < _kept_by_crop(targets, share)[:, None], hardest, 0).sum()


def hard_pixels_count(targets: Targets, *, share: float = 0.25) -> Tensor:
    """Return how many pixels are kept of all crops."""
    return _kept_by_crop(targets, share).sum().float()


def _kept_by_crop(targets: Targets, share: float) -> Tensor:
    return _kept(targets.valid.flatten(1).sum(1), share)


def _kept(valid: Tensor, share: float) -> Tensor:
    """Return the share of a count, rounded up: of whole numbers, since 0.1 * 30 is above 3 for floats."""
    kept = (valid * round(share * _MILLION) + _MILLION - 1) // _MILLION
    return torch.minimum(kept.clamp(min=1), valid)


def _cross_entropies(
    logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return every pixel's weighted cross-entropy, (n, h, w), 0 where it is ignored."""
    weight = None if class_weights is None else class_weights.to(logits.device, torch.float32)
    planes, labels = logits.float(), targets.labels.long()
    if logits.is_cuda:
        planes, labels = _rows(planes, labels)
    losses = F.cross_entropy(
        planes, labels, weight=weight, ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="none"
    ).view(targets.labels.shape)
    return losses if targets.weights is None else losses * targets.weights


def _rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return a row of logits per pixel: a GPU's kernel for planes is not deterministic, a CPU's for rows slow."""
    return logits.movedim(1, 3).flatten(0, 2), labels.flatten()
