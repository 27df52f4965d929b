"""The exponential moving average of a network's weights, which is often better than the last ones.

Polyak and Juditsky, SIAM J. Control Optim. 1992, for averaging at all; Tarvainen and Valpola, "Mean teachers are better
role models" (arXiv 1703.01780), for the exponential one. That the average forgets its first weights quickly is
TensorFlow's ExponentialMovingAverage, by whose `num_updates` DeepLab v3+'s Xception was trained.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Averaged:
    """The running average of a network's parameters, with its other state (statistics, counts) as it last was.

    Parameters are averaged in float32 whatever the network's own type is. `decay`, from 0 to below 1, is the share of
    the average that a step keeps; at first it is `(1 + step) / (10 + step)` where that is less. What is given is the
    network itself, on the device where it is trained, not what distributes it.

    Raises `ValueError` for another decay.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> average = Averaged(net, 0.9)
    >>> before = net.weight.item()
    >>> _ = net.weight.data.fill_(5.0)
    >>> average.update(net, 100)
    >>> round(average.state()["weight"].item() - before, 4) == round(0.1 * (5 - before), 4)
    True
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} came; the share of the average that a step keeps is from 0 to below 1")
        self.decay = decay
        self._averaged = {name for name, value in net.named_parameters(remove_duplicate=False) if _is_real(value)}
        self._values = {
            name: value.to(torch.float32, copy=True) if name in self._averaged else value.clone()
            for name, value in _tensors(net).items()
        }

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take the weights after `step` steps into the average."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        now = _tensors(net)
        averaged = [name for name in now if name in self._averaged]
        copied = [name for name in now if name not in self._averaged]
        if averaged:
            torch._foreach_lerp_([self._values[name] for name in averaged], [now[n].float() for n in averaged], weight)
        if copied:
            torch._foreach_copy_([self._values[name] for name in copied], [now[name] for name in copied])

    def state(self) -> dict[str, Tensor]:
        """Return the averages under the names of the network's state; they are not copies."""
        return dict(self._values)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put a saved `state` back.

        Raises `ValueError` where it is that of another network; nothing is changed then.
        """
        if differing := sorted(self._values.keys() ^ state.keys()):
            what = "missing" if differing[0] in self._values else "nothing of this one"
            raise ValueError(f"the average of another network: {differing[0]!r} is {what}")
        for name, value in self._values.items():
            if state[name].shape != value.shape:
                came, wanted = tuple(state[name].shape), tuple(value.shape)
                raise ValueError(f"the average of another network: {name!r} is {came}, here it is {wanted}")
        for name, value in self._values.items():
            value.copy_(state[name])


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    """Return the network's state, whose tensors are those it works with."""
    return {name: value for name, value in net.state_dict().items() if isinstance(value, Tensor)}


def _is_real(value: Tensor) -> bool:
    return value.is_floating_point()
