"""The statistics of batch norm measured after training, in place of the running ones.

Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 2: the mean of the batches' means and of their unbiased
variances, with the weights as they ended. DeconvNet's authors do so before inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
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
    pass does not reach keeps its statistics, and so do a frozen one, whose scale or shift asks for no gradient, and one
    that a batch leaves a single value per channel, which has no variance: that of image pooling, at a batch of one. One
    that is passed several times for a batch, as by `MultiScale`, averages over all its passes.

    Raises `ValueError` for no batch, and what `check_measurable` refuses; the statistics are then as they were.

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


def check_measurable(net: nn.Module, batch: Tensor | None = None) -> dict[str, Any]:
    """Return the batch norms of `net` that `measured_statistics` would measure, by name.

    With a `batch` (n, c, h, w), the smallest to come, the network is run once: to see which norms it leaves a single
    value per channel, and which it does not reach. These are not among them.

    Raises `ValueError` where there are none: without batch norms that keep statistics, where all are frozen, and where
    the batch leaves all a single value per channel.
    """
    norms = {name: each for name, each in net.named_modules() if isinstance(each, _BatchNorm)}
    keeping = {name: norm for name, norm in norms.items() if norm.track_running_stats}
    learning = {name: norm for name, norm in keeping.items() if all(each.requires_grad for each in norm.parameters())}
    if not learning:
        what = "only frozen batch norms" if keeping else "no batch norm that keeps statistics"
        raise ValueError(f"{type(net).__name__} has {what}: there is nothing to measure (--measure-norm)")
    return learning if batch is None else _measured_by(net, learning, batch)


@torch.no_grad()
def _measured_by(net: nn.Module, norms: dict[str, Any], batch: Tensor) -> dict[str, Any]:
    modes = {module: module.training for module in net.modules()}
    passed: dict[nn.Module, bool] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passed[norm] = passed.get(norm, True) and not _is_single(norm, inputs[0])

    with ExitStack() as stack:
        stack.callback(_restore, modes, {})
        for norm in norms.values():
            stack.callback(norm.register_forward_pre_hook(note).remove)
        net.eval()(batch.to(next(net.parameters()).device))
    measured = {name: norm for name, norm in norms.items() if passed.get(norm, False)}
    if not measured:
        raise ValueError(
            f"a batch of {len(batch)} leaves every batch norm of {type(net).__name__} a single value per channel, "
            "which has no variance: there is nothing to measure (--measure-norm); give a larger --batch or --crop"
        )
    return measured


@contextmanager
def _measuring(net: nn.Module, norms: dict[str, Any]) -> Iterator[None]:
    """Let the norms average over all batches to come; a block that raises leaves their statistics as they were.

    A norm that is once left a single value per channel has its own statistics back from there on.
    """
    modes = {module: module.training for module in net.modules()}
    momenta = {norm: norm.momentum for norm in norms.values()}
    before = {norm: [buffer.clone() for buffer in norm.buffers()] for norm in norms.values()}
    with ExitStack() as stack:
        stack.callback(_restore, modes, momenta)
        net.eval()
        for norm in norms.values():
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # PyTorch's word for the plain mean over batches
            stack.callback(norm.register_forward_pre_hook(partial(_leave_out, before=before)).remove)
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


def _leave_out(norm: Any, inputs: tuple[Tensor, ...], *, before: dict[Any, list[Tensor]]) -> None:
    """Give a norm its statistics back that is left a single value per channel, and let it keep them."""
    if norm.training and _is_single(norm, inputs[0]):
        _put_back([norm], before)
        norm.eval()


def _is_single(norm: nn.Module, x: Tensor) -> bool:
    """Return whether a norm is given a single value per channel; a synchronised one is given the other processes'."""
    several = isinstance(norm, nn.SyncBatchNorm) and torch.distributed.is_initialized()
    return x.numel() == x.shape[1] and not (several and torch.distributed.get_world_size() > 1)
