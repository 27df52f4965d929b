"""What of a network does not learn: parts by name, and every norm.

The networks' own option `norm="frozen"` (`layers.norm`) replaces batch norms by layers that never learn, for good: it
is part of an architecture, as in DeepLab v2, and so of every model folder. Here the network stays what it is, batch
norms included, and only this run leaves them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from atrous.layers.checkerboard import NORMS


def freeze(net: nn.Module, names: Sequence[str]) -> tuple[nn.Parameter, ...]:
    """Let the parts of `net` that `names` name not learn, and return the parameters that did so until now.

    A name is a part's as PyTorch writes it, such as `encoder`, `encoder.layer1` or `classify.bias`; all below it is
    frozen. Names of a network within another, as in `MultiScale`, need no `net.` before them. To let them learn again,
    set `requires_grad` of what is returned: what never learnt, such as a fixed enlargement, is not among them.

    Raises `ValueError`, naming the parts there are, for a name that no part has or whose part has no parameters.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1, bias=False))
    >>> len(freeze(net, ["0"])), [name for name, value in net.named_parameters() if value.requires_grad]
    (2, ['1.weight'])
    """
    learning: dict[nn.Parameter, None] = {}
    for name in names:
        part = _part(net, name)
        parameters = list(part.parameters()) if isinstance(part, nn.Module) else [part]
        if not parameters:
            raise ValueError(
                f"{name!r} of {type(net).__name__} has no parameters, so nothing of it could be frozen; "
                f"these have: {_listed(net)}"
            )
        learning |= dict.fromkeys(parameter for parameter in parameters if parameter.requires_grad)
    for parameter in learning:
        parameter.requires_grad_(False)
    return tuple(learning)


def set_modes(net: nn.Module, *, frozen: Sequence[str] = (), freeze_norm: bool = False) -> None:
    """Put `net` into training mode, but for the parts that `frozen` names, and every norm with `freeze_norm`.

    These stay in evaluation mode: their dropout is off and their batch norms keep their statistics. With `freeze_norm`
    the norms' scales and shifts ask for no gradient from now on.

    Raises `ValueError` for a name that no part has.

    Source of `freeze_norm`: DeepLab v2's `use_global_stats` with rates of zero; DeepLab v3 section 4.1, second stage.

    >>> net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    >>> set_modes(net, freeze_norm=True)
    >>> [part.training for part in net], net[0].weight.requires_grad
    ([False, True], False)
    """
    parts = [_part(net, name) for name in frozen]
    net.train()
    for part in parts:
        if isinstance(part, nn.Module):
            part.eval()
    if freeze_norm:
        for norm in (module for module in net.modules() if isinstance(module, NORMS)):
            norm.training = False  # not `eval()`: a dropout that one of timm's norms carries is none
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(False)


def _part(net: nn.Module, name: str) -> nn.Module | nn.Parameter:
    """Return the part called `name`, of `net` or of the network within it."""
    words = name.split(".")
    within = net
    while not hasattr(within, words[0]) and isinstance(inner := getattr(within, "net", None), nn.Module):
        within = inner
    found: nn.Module | nn.Parameter = within
    for place, word in enumerate(words):
        following = getattr(found, word, None)
        if not isinstance(following, nn.Module | nn.Parameter):
            raise ValueError(_unknown(net, name, found, word, ".".join(words[:place])))
        found = following
    return found


def _unknown(net: nn.Module, name: str, parent: object, word: str, reached: str) -> str:
    there = _with_parameters(parent) if isinstance(parent, nn.Module) else []
    near = get_close_matches(word, there, n=1)
    hint = f"; did you mean {'.'.join(filter(None, (reached, near[0])))!r}?" if near else ""
    listed = f"{f'{reached} has' if reached else 'its parts are'} {', '.join(there) or 'no parts'}"
    return f"{type(net).__name__} has no part {name!r}{hint} ({listed})"


def _with_parameters(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_children() if next(part.parameters(), None) is not None]


def _listed(net: nn.Module) -> str:
    """Return the parts of a network, or of the one within it, that there is something to freeze of."""
    while _with_parameters(net) == ["net"] and isinstance(inner := getattr(net, "net", None), nn.Module):
        net = inner
    return ", ".join(_with_parameters(net))
