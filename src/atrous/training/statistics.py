"""The statistics of batch norm measured after training, in place of the running ones.

Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 2: the mean of the batches' means and of their unbiased
variances, with the weights as they ended. DeconvNet's authors do so before inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def measured_statistics(net: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the running statistics of every batch norm in `net` by those of `batches`; return how many there were.

    `batches` are normalised images (n, c, h, w) on the network's device: training crops, of the size and the batch
    that the network was trained with. Batch norms normalise with each batch's own statistics meanwhile, dropout is
    off, and every batch counts the same. Modes and momenta are as before in the end. A batch norm that the forward
    pass does not reach keeps its statistics, and so does a frozen one, whose scale or shift asks for no gradient. One
    that is passed several times for a batch, as by `MultiScale`, averages over all its passes.

    Raises `ValueError` for no batch, what `check_measurable` refuses, and a batch that leaves a batch norm a single
    value per channel; the statistics are then as they were.

    Source: DeconvNet (arXiv 1505.04366), BN_make_INFERENCE_script.py (501 batches); batch norm, algorithm 2.

    >>> net = nn.Sequential(nn.BatchNorm2d(1))
    >>> measured_statistics(net, [torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1), torch.full((2, 1, 1, 1), 5.0)])
    2
    >>> net[0].running_mean.tolist(), net[0].running_var.tolist()
    ([3.0], [1.0])
    """
    norms = check_measurable(net)
    count = 0
    with _measuring(net, norms):
        for batch in batches:
            net(batch)
            count += 1
        if not count:
            raise ValueError("no batch came; give some of normalised training crops (n, c, h, w)")
    return count


def check_measurable(net: nn.Module) -> dict[str, Any]:
    """Return the batch norms of `net` that `measured_statistics` would measure, by name.

    Raises `ValueError` where there are none: without batch norms that keep statistics, and where all are frozen.
    """
    norms = {name: each for name, each in net.named_modules() if isinstance(each, _BatchNorm)}
    keeping = {name: norm for name, norm in norms.items() if norm.track_running_stats}
    learning = {name: norm for name, norm in keeping.items() if all(each.requires_grad for each in norm.parameters())}
    if not learning:
        what = "only frozen batch norms" if keeping else "no batch norm that keeps statistics"
        raise ValueError(f"{type(net).__name__} has {what}: there is nothing to measure (--measure-norm)")
    return learning


@contextmanager
def _measuring(net: nn.Module, norms: dict[str, Any]) -> Iterator[None]:
    """Let the norms average over all batches to come; a block that raises leaves their statistics as they were."""
    modes = {module: module.training for module in net.modules()}
    momenta = {norm: norm.momentum for norm in norms.values()}
    before = {norm: [buffer.clone() for buffer in norm.buffers()] for norm in norms.values()}
    with ExitStack() as stack:
        stack.callback(_restore, modes, momenta)
        net.eval()
        for name, norm in norms.items():
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # PyTorch's word for the plain mean over batches
            stack.callback(norm.register_forward_pre_hook(_refusing(name)).remove)
        try:
            yield
        except BaseException:
            _put_back(norms.values(), before)
            raise
        _put_back([norm for norm in norms.values() if not norm.num_batches_tracked], before)


def _restore(modes: dict[nn.Module, bool], momenta: dict[Any, float | None]) -> None:
    for module, training in modes.items():
        module.training = training
    for norm, momentum in momenta.items():
        norm.momentum = momentum


def _put_back(norms: Iterable[Any], before: dict[Any, list[Tensor]]) -> None:
    for norm in norms:
        for buffer, value in zip(norm.buffers(), before[norm], strict=True):
            buffer.copy_(value)


def _refusing(name: str) -> Any:
    """Return a hook that refuses what has no variance."""

    def check(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            raise ValueError(
                f"a batch leaves {name} a single value per channel, which has no variance: give larger ones"
            )

    return check
