"""What turns gradients into steps, and which rate and decay each parameter has."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from atrous.contract import Recipe
from atrous.layers.checkerboard import NORMS

_FUSED_ON = ("cpu", "cuda", "mps")


def optimizer_of(net: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of what learns in `net`, which lies on its device already.

    SGD has the recipe's momentum; AdamW has it as its first beta, and 0.999 as the second. Parameters that ask for no
    gradient now are not in it; those that ask for none later are passed over as long as they have none.

    Raises `ValueError` where nothing of the network learns.

    Source: Loshchilov and Hutter (arXiv 1711.05101) for AdamW.

    >>> type(optimizer_of(torch.nn.Conv2d(1, 1, 1), Recipe(optimizer="adamw"))).__name__
    'AdamW'
    """
    groups = parameter_groups(
        net,
        rate=recipe.learning_rate,
        encoder_rate=recipe.encoder_rate,
        bias_rate=recipe.bias_rate,
        weight_decay=recipe.weight_decay,
    )
    if not groups:
        raise ValueError(f"nothing of {type(net).__name__} learns: freeze fewer of its parts (--freeze, --freeze-norm)")
    # One pass over each weight in place of one per operation. SGD has none on shares of weights, nor for a group of
    # which some have no momentum yet, as after a thaw.
    learning = [parameter for group in groups for parameter in group["params"]]
    plain = all(each.device.type in _FUSED_ON and not isinstance(each, DTensor) for each in learning)
    fused = plain and not recipe.freeze_epochs
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=fused)


def parameter_groups(
    net: Any, *, rate: float, encoder_rate: float = 1.0, bias_rate: float = 1.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return the optimiser's groups: encoder and the rest, each with and without weight decay.

    Norms and biases are not decayed. The encoder (`net.encoder`) learns at `rate * encoder_rate`. Where `bias_rate` is
    not 1, biases are groups of their own, and learn at that share of the rate they would have; the shifts of norms
    are no biases. Every group keeps its `peak` so that the schedule can scale it.

    >>> net = torch.nn.Conv2d(1, 1, 1)
    >>> [(g["name"], g["lr"]) for g in parameter_groups(net, rate=1.0, bias_rate=2.0, weight_decay=0.1)]
    [('head', 1.0), ('head, biases', 2.0)]
    """
    norms = {id(p) for module in net.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    # By identity, not by name: a network around another has the inner one's encoder under a longer name.
    inside = {id(p) for p in net.encoder.parameters()} if hasattr(net, "encoder") else set()
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        encoder, norm = id(parameter) in inside, id(parameter) in norms
        bias = name.endswith("bias") and not norm
        apart = bias and bias_rate != 1
        kind = ", biases" if apart else ", not decayed" if bias or norm else ""
        label = ("encoder" if encoder else "head") + kind
        peak = rate * (encoder_rate if encoder else 1.0) * (bias_rate if apart else 1.0)
        group = {"name": label, "params": [], "lr": peak, "peak": peak, "weight_decay": 0.0 if kind else weight_decay}
        groups.setdefault(label, group)["params"].append(parameter)
    return [groups[label] for label in sorted(groups)]
