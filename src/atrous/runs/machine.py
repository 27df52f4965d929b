"""What this machine has for training; `training_bytes`, from beside it, says what a recipe takes of that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from atrous.contract import AtrousError
from atrous.recipes.plan import Kind, Machine
from atrous.runs.step_bytes import training_bytes
from atrous.training import resolved_precision

__all__ = ["free_memory", "machine", "training_bytes"]

_OF_DEVICE, _OF_HOST = 0.9, 0.8
"""Shares of the free memory that may be planned with; what reads images, and other programs, need some of a host's."""
_UNKNOWN = 4 << 30
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def machine(device: str | None = None, processes: int = 1) -> Machine:
    """Return what this machine has for training on `device`, a GPU without one where there is one.

    `memory` is what each of `processes` may take, in bytes: nine tenths of a GPU's free memory, or an even share of
    eight tenths of what a host has available, control groups included. A host that tells neither counts as 4 GiB.

    Raises `AtrousError` for a device this machine does not have, `ValueError` for fewer than one process.
    """
    if processes < 1:
        raise ValueError(f"processes {processes} came; 1 or more share the work")
    kind = (device or ("cuda" if torch.cuda.is_available() else "cpu")).partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        have = ", ".join(name for name, there in present.items() if there)
        raise AtrousError(f"device {device!r} is not here; this machine has {have}")
    if kind == "cuda":
        memory = int(torch.cuda.mem_get_info(torch.device(device or "cuda"))[0] * _OF_DEVICE)
    else:
        memory = int(free_memory() * _OF_HOST) // processes
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fast = resolved_precision("auto", kind) == "bfloat16"
    return Machine(kind=cast(Kind, kind), memory=max(1, memory), cores=cores, bfloat16=fast, processes=processes)


def free_memory() -> int:
    """Return how many bytes of this host's memory a program may still take.

    >>> free_memory() > 0
    True
    """
    lines = [*_available(), *_left_in_group(_CGROUP / _group())]
    if lines:
        return max(0, min(lines))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _available() -> Iterator[int]:
    for line in _text(_MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _group() -> str:
    """Return the path of this process's control group below the second version's root."""
    found = [line[3:] for line in _text(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")]
    return found[0].strip("/") if found else ""


def _left_in_group(group: Path) -> Iterator[int]:
    """Yield what is left below every limit of a control group and of those around it; file caches can be given up."""
    for folder in (group, *group.parents):
        if folder != _CGROUP and _CGROUP not in folder.parents:
            break
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            yield limit - used + _cached(folder / "memory.stat", "inactive_file")
    first = _CGROUP / "memory"  # the first version's
    limit, used = _number(first / "memory.limit_in_bytes"), _number(first / "memory.usage_in_bytes")
    if limit is not None and used is not None:
        yield limit - used + _cached(first / "memory.stat", "total_inactive_file")


def _cached(stat: Path, key: str) -> int:
    fields = (line.split() for line in _text(stat).splitlines())
    return next((int(each[1]) for each in fields if len(each) == 2 and each[0] == key), 0)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
