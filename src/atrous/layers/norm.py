"""Normalisation as an option of every network: batch norm, batch norm that stays as it was, and group norm."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["batch", "frozen", "group"]
"""`batch` learns and keeps statistics, `frozen` uses the stored ones and learns nothing, `group` keeps none."""

EPSILON = 1e-5
MOMENTUM = 0.1
GROUPS = 32
WOKEN = 0.2
"""What a frozen scale becomes that is zero in every channel."""


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that falls back on its running statistics where a channel holds a single value.

    Image pooling leaves one value per channel and image; at batch 1 its variance is undefined and `nn.BatchNorm2d`
    raises. Everything else is `nn.BatchNorm2d`, its state included.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics, scale and shift never change, in training mode either.

    Its state has the names of `nn.BatchNorm2d`, so weights can be loaded; scale and shift count as parameters and
    ask for no gradient.

    Source: DeepLab v2 (arXiv 1606.00915), the released ResNet-101 (`use_global_stats`, rates of zero).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = EPSILON) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class GroupNorm(nn.GroupNorm):
    """Group norm that is as exact on channels-last maps as on others.

    On the CPU torch sums a group's values in an order that loses a digit or two where the channels lie last: an image
    then scores differently beside another. Everything else is `nn.GroupNorm`, its state included.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous() if x.device.type == "cpu" else x)


def with_norm(module: nn.Module, norm: Norm) -> nn.Module:
    """Replace every batch norm in `module` by the wished one, in place, and return the module.

    Frozen ones keep scale, shift and statistics, but for a scale that is zero in every channel, which becomes 0.2: a
    net that is not trained yet has such scales, and frozen they would silence what they belong to. Weights that are
    loaded later overwrite it. Group norms keep scale and shift and have 32 groups, or as many as leave two channels or
    more to each. Norms that carry their activation (timm's) keep it.

    Raises `ValueError` for another name, and where the module has no batch norm to replace.

    >>> with_norm(nn.Sequential(nn.Conv2d(3, 48, 3), nn.BatchNorm2d(48)), "group")[1].num_groups
    24
    """
    if norm not in get_args(Norm):
        raise ValueError(f"norm {norm!r} came; there are {', '.join(get_args(Norm))}")
    if norm == "batch":
        return module
    found = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    if not found:
        raise ValueError(f"norm {norm!r} came, but {type(module).__name__} has no batch norm; leave norm out")
    for parent, name, child in found:
        setattr(parent, name, _replaced(child, norm))
    return module


def _replaced(old: Any, norm: Norm) -> nn.Module:
    new: Any
    if norm == "frozen":
        new = FrozenBatchNorm(old.num_features, old.eps)
        new.load_state_dict(old.state_dict())
        # timm starts the last norm of a residual unit at zero, for the scale to grow from there; frozen it never would.
        if not new.weight.is_meta and not new.weight.any():
            nn.init.constant_(new.weight, WOKEN)
    else:
        # A group of one channel has a single value where image pooling has left one, and then no deviation.
        most = max(1, min(GROUPS, old.num_features // 2))
        groups = next(count for count in range(most, 0, -1) if old.num_features % count == 0)
        new = GroupNorm(groups, old.num_features, old.eps)
        new.load_state_dict({"weight": old.weight, "bias": old.bias})
    new.to(old.weight.device)
    after = [getattr(old, part) for part in ("drop", "act") if isinstance(getattr(old, part, None), nn.Module)]
    return nn.Sequential(new, *after) if after else new
