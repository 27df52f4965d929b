"""The learning rate's course, and which parameters it applies to."""

from __future__ import annotations

from typing import Any

from torch import nn

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def poly(step: int, *, total: int, power: float = 0.9, warm_up: int = 0) -> float:
    """Return the factor of the rate at `step` of `total`: a linear warm-up, then `(1 - step / total) ** power`.

    Source: DeepLab v2 (arXiv 1606.00915) section 4.1; the power is 0.9 there.

    >>> poly(0, total=100), poly(100, total=100)
    (1.0, 0.0)
    """
    ramp = min(1.0, (step + 1) / (warm_up + 1))
    return ramp * max(0.0, 1 - step / total) ** power


def parameter_groups(net: Any, *, rate: float, encoder_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups: encoder and the rest, each with and without weight decay.

    Norms and biases are not decayed. The encoder (`net.encoder`) learns at `rate * encoder_rate`. Every group keeps
    its `peak` so that the schedule can scale it.

    >>> net = nn.Conv2d(1, 1, 1)
    >>> [(g["name"], g["weight_decay"]) for g in parameter_groups(net, rate=1.0, encoder_rate=1.0, weight_decay=0.1)]
    [('head', 0.1), ('head, not decayed', 0.0)]
    """
    plain = {id(p) for m in net.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    inside = {id(p) for p in net.encoder.parameters()} if hasattr(net, "encoder") else set()
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        encoder = id(parameter) in inside
        decayed = id(parameter) not in plain and not name.endswith("bias")
        label = ("encoder" if encoder else "head") + ("" if decayed else ", not decayed")
        peak = rate * (encoder_rate if encoder else 1.0)
        group = {
            "name": label,
            "params": [],
            "lr": peak,
            "peak": peak,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        groups.setdefault(label, group)["params"].append(parameter)
    return [groups[label] for label in sorted(groups)]
