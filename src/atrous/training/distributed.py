"""What processes that train one network together tell each other, and the state that they share out among them.

A step's batch is the whole one: with two processes each takes half of it. Its loss is `total / count`, and the count
hangs on the labels only, so that every process can divide by `summed(count)` before it knows another's logits. What
DistributedDataParallel leaves in `grad` is the mean over processes; each therefore goes backward from
`total * processes / summed(count)`, and the gradients are those of one process with the whole batch.

Fully sharded, a process keeps a share of every weight, gradient and optimiser state, and the weights come together for
a step. What is stored is always whole and under the parameters' names, so that a run goes on with another number of
processes, sharded or not. Every function here is called by all processes at the same point, or by none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

_SHARDED = "ACCELERATE_USE_FSDP"
Summable = TypeVar("Summable", Tensor, NDArray[Any], int, float)


def summed(value: Summable, accelerator: Accelerator) -> Summable:
    """Return the sum of `value` over all processes, of the same kind; it is `value` itself where there is one.

    Numbers are added as int64 and float64, tensors and arrays in their own type: counts of pixels are exact in int64.
    """
    if accelerator.num_processes == 1:
        return value
    kind = {int: torch.int64, float: torch.float64}.get(type(value))
    tensor = torch.as_tensor(value, dtype=kind).detach().to(accelerator.device, copy=True)
    torch.distributed.all_reduce(tensor)
    if isinstance(value, Tensor):
        return tensor.to(value.device)
    return tensor.cpu().numpy() if isinstance(value, np.ndarray) else tensor.item()  # type: ignore[return-value]


def gathered(values: Tensor, accelerator: Accelerator) -> Tensor:
    """Return the values of all processes, one process's after another's; each has as many (n,)."""
    if accelerator.num_processes == 1:
        return values
    mine = values.to(accelerator.device)
    everyones = [torch.empty_like(mine) for _ in range(accelerator.num_processes)]
    torch.distributed.all_gather(everyones, mine)
    return torch.cat(everyones).to(values.device)


def any_asks(flag: bool, accelerator: Accelerator) -> bool:
    """Return whether any process asks, such as to stop: one number is exchanged."""
    return summed(int(flag), accelerator) > 0


def with_synchronised_norms(net: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Return `net` with batch norms that measure the whole batch, over all processes, where there are several on CUDA.

    PyTorch has none for the CPU: there, and with one process, `net` comes back as it is, and so does a network
    without batch norms. The weights' names stay; the parameters are the same objects.
    """
    if accelerator.num_processes == 1 or accelerator.device.type != "cuda":
        return net
    return synchronised(net)


def synchronised(net: nn.Module) -> nn.Module:
    """Return `net` with its batch norms replaced by `nn.SyncBatchNorm`, which measure over all processes.

    timm's batch norms, which carry an activation, keep it; PyTorch's own conversion would lose it.
    """
    from timm.layers.norm_act import convert_sync_batchnorm

    return cast(nn.Module, convert_sync_batchnorm(net))


def share_buffers(net: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the first one's buffers, such as the statistics of batch norm, in place.

    Each process measures its own share of a batch. DistributedDataParallel does the same before a forward pass, but not
    after the last: before a network is scored or saved, this makes it one network. The first process's buffers do not
    change, so it does not matter when, or how often, this is done.
    """
    if accelerator.num_processes > 1:
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, src=0)


def rewrapped(net: nn.Module) -> nn.Module:
    """Return `net` wrapped anew, to be called after parameters were frozen or thawed.

    DistributedDataParallel notes what asks for gradients when it is made: it would wait for those of a parameter that
    was frozen since, and not share those of one that was thawed. What is wrapped by nothing comes back as it is, and so
    does what has nothing to learn.
    """
    if not isinstance(net, DistributedDataParallel) or not any(each.requires_grad for each in net.parameters()):
        return net
    return DistributedDataParallel(net.module, device_ids=net.device_ids, output_device=net.output_device)


@contextmanager
def sharding_asked() -> Iterator[bool]:
    """Say whether `accelerate launch --use_fsdp` started this process, and keep it from Accelerate for the block.

    Accelerate shards on GPUs only, each version of its own accord, and wants network and optimiser at once; what
    `sharded` does is the same on the CPU. An `Accelerator` that is made in the block is one for plain processes.
    """
    value = os.environ.pop(_SHARDED, None)
    try:
        yield (value or "").lower() == "true"
    finally:
        if value is not None:
            os.environ[_SHARDED] = value


def sharded(net: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Share the first process's weights of `net` out among all, in place, and return it; one process keeps all.

    Comes before the optimiser, which then holds shares as well, and in place of `Accelerator.prepare` for the network.
    The weights come together when `net` or its `supervised` is called, by all processes: a part of it has nothing but
    shares.
    """
    if accelerator.num_processes > 1:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        share_buffers(net, accelerator)
        for parameter in net.parameters():
            parameter.data = parameter.data.contiguous()  # PyTorch shares out no weights that lie with channels last
            torch.distributed.broadcast(parameter.data, src=0)
        # One group: networks here call the parts of their parts, and a group's weights come together in its own call.
        # Shares again after every call: what the optimiser holds and what the network has are then always the same.
        fully_shard(net, reshard_after_forward=True)
        if hasattr(net, "supervised"):
            register_fsdp_forward_method(net, "supervised")
    return net


def is_sharded(net: nn.Module) -> bool:
    """Return whether the weights of `net` are shared out among processes."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(net, FSDPModule)


def whole(value: Any) -> Any:
    """Return a tensor's shares put together, in every process; anything else as it is.

    >>> whole(3)
    3
    """
    return value.full_tensor() if isinstance(value, DTensor) else value


def share_of(value: Any, like: Tensor) -> Any:
    """Return the share of a whole tensor that belongs with that of `like`; the first process's values count.

    It lies in memory as `like` does, since fused optimisers go through both side by side. What has another shape, or is
    no tensor, comes back as it is.
    """
    if not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    if not isinstance(like, DTensor):
        return torch.empty_like(like, dtype=value.dtype).copy_(value)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def full_state(net: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network whole, in every process, under its own names.

    >>> sorted(full_state(nn.Linear(1, 1)))
    ['bias', 'weight']
    """
    return {name: whole(value) for name, value in net.state_dict().items()}


@torch.no_grad()
def load_full_state(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put the state of a whole network into `net`, whose weights may be shared out.

    Raises `ValueError` where it is that of another network; nothing is changed then.
    """
    own = net.state_dict()
    for name in sorted(own.keys() ^ state.keys()):
        raise ValueError(f"the state of another network: {name!r} is {'missing' if name in own else 'unknown here'}")
    for name, value in own.items():
        if value.shape != state[name].shape:
            came, wanted = tuple(state[name].shape), tuple(value.shape)
            raise ValueError(f"the state of another network: {name!r} is {came}, here it is {wanted}")
    for name, value in own.items():
        value.copy_(share_of(state[name], value))


def together(segmenter: Any, copy: Any, accelerator: Accelerator) -> Any:
    """Return a segmenter that each process can score with and save by itself.

    It is `segmenter`, with the first process's buffers; where weights are shared out, it is `copy` (one that was made
    of `segmenter` by `copy.deepcopy` before its network was `sharded`), which is given its weights.
    """
    share_buffers(segmenter.net, accelerator)
    if not is_sharded(segmenter.net):
        return segmenter
    load_full_state(copy.net, full_state(segmenter.net))
    return copy


def optimizer_state(optimizer: Any, net: nn.Module) -> dict[str, Any]:
    """Return what an optimiser remembers, whole and in every process, as `PARAMETER/KEY`: tensors and numbers.

    `net` has the parameters and gives their names; a parameter that was not stepped yet has none.

    >>> net = nn.Linear(1, 1)
    >>> net(torch.ones(1, 1)).backward()
    >>> optimizer = torch.optim.SGD(net.parameters(), momentum=0.9)
    >>> optimizer.step()
    >>> sorted(optimizer_state(optimizer, net))
    ['bias/momentum_buffer', 'weight/momentum_buffer']
    """
    names, state = _names(optimizer, net), optimizer.state_dict()["state"]
    return {f"{names[index]}/{key}": whole(value) for index in state for key, value in state[index].items()}


def load_optimizer_state(optimizer: Any, net: nn.Module, state: Mapping[str, Any]) -> None:
    """Put an `optimizer_state` back, with whatever number of processes it was made.

    Raises `ValueError` where it is that of another network; nothing is changed then.
    """
    indices = {name: index for index, name in enumerate(_names(optimizer, net))}
    parameters = dict(net.named_parameters())
    values: dict[int, dict[str, Any]] = {}
    for path, value in state.items():
        name, _, key = path.rpartition("/")
        if name not in indices:
            raise ValueError(f"the optimiser's state of another network: {name!r} is not a parameter that learns here")
        shape = value.shape if isinstance(value, Tensor) and value.ndim else None
        if shape not in (None, parameters[name].shape):
            raise ValueError(
                f"the optimiser's state of another network: {name!r} is {tuple(shape)}, "
                f"here it is {tuple(parameters[name].shape)}"
            )
        values.setdefault(indices[name], {})[key] = value
    order = list(indices)
    for index, entries in values.items():
        values[index] = {key: share_of(value, parameters[order[index]]) for key, value in entries.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})


def _names(optimizer: Any, net: nn.Module) -> list[str]:
    """Return the names of an optimiser's parameters, in its order."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def seeded(seed: int, step: int, accelerator: Accelerator) -> None:
    """Seed PyTorch's random numbers, such as those of dropout, for one step: other ones in each process.

    They are a function of seed, step and process then, so a run can go on at any step without having stored them.
    """
    source = np.random.SeedSequence((seed, step, accelerator.process_index))
    torch.manual_seed(int(source.generate_state(1, np.uint64)[0]))
