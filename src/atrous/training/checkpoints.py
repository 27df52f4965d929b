"""The state of a run between two steps, as safetensors and JSON: nothing is pickled.

Tensors are named after the parameters they belong to, so that they do not hang on how many processes wrote them. No
random states are among them: those of a step are drawn from seed and step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from atrous.contract import AtrousError
from atrous.data.writers import atomic
from atrous.training.distributed import load_full_state, load_optimizer_state, optimizer_state, summed
from atrous.training.loop import Tally, Training

TENSORS, FACTS = "state.safetensors", "state.json"
_FORMAT = 2
_LABELS = 256
_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class _Tally:
    steps: _Count
    loss: float
    seconds: float
    waited: float
    seen: Annotated[list[_Count], Field(min_length=_LABELS, max_length=_LABELS)]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the JSON of a state holds beside its format."""

    step: _Count
    steps_per_epoch: Annotated[int, Field(gt=0)]
    optimizer: dict[str, Any]
    scaler: dict[str, Any] | None
    tally: _Tally
    scored: bool


def state_of(training: Training) -> dict[str, Any]:
    """Return what the optimiser remembers, whole; every process has to call this where weights are shared out."""
    return optimizer_state(training.optimizer, training.segmenter.net)


def seen_by_all(training: Training) -> list[int]:
    """Return how often each label was seen in this epoch, over all processes, which all have to call this."""
    seen: list[int] = summed(np.asarray(training.tally.seen, np.int64), training.accelerator).tolist()
    return seen


def save_state(
    folder: Path,
    training: Training,
    *,
    optimizer: Mapping[str, Any] | None = None,
    seen: list[int] | None = None,
    trained: Mapping[str, Tensor] | None = None,
) -> None:
    """Write optimiser, step and tally into `folder`, beside the weights they belong to.

    `optimizer` is `state_of(training)`, taken now without it, and `seen` is `seen_by_all(training)`, without it what
    this process saw; `trained` are the weights that the run goes on with, where those beside are not they: averaged
    ones, or with measured statistics.
    """
    state = state_of(training) if optimizer is None else optimizer
    tensors = {f"optimizer.{name}": each.detach().contiguous() for name, each in state.items() if _is_tensor(each)}
    tensors |= {f"trained.{name}": tensor.contiguous() for name, tensor in (trained or {}).items()}
    scaler = training.accelerator.scaler
    facts = {
        "format": _FORMAT,
        "step": training.step,
        "steps_per_epoch": training.steps_per_epoch,
        "optimizer": {name: value for name, value in state.items() if not _is_tensor(value)},
        "scaler": scaler.state_dict() if scaler is not None else None,
        "tally": asdict(training.tally) | ({} if seen is None else {"seen": seen}),
        "scored": False,
    }
    save_file(tensors, folder / TENSORS)
    (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def load_state(folder: Path, training: Training) -> bool:
    """Put a saved state back into `training`, whose network has the weights beside it.

    Returns whether the epoch that was done last had been scored already.

    Raises `AtrousError` where a file is missing or damaged, or belongs to another network or other data.
    """
    facts, tensors = _read(folder)
    if facts.steps_per_epoch != training.steps_per_epoch:
        raise AtrousError(
            f"{folder / FACTS}: {facts.steps_per_epoch} steps an epoch; with the data given it would be "
            f"{training.steps_per_epoch}. A run goes on with the data it was started with"
        )
    net, trained = training.segmenter.net, _below("trained.", tensors)
    try:
        load_optimizer_state(training.optimizer, net, {**facts.optimizer, **_below("optimizer.", tensors)})
        if training.averaged is not None:
            training.averaged.load(net.state_dict())  # what stands beside a run's state is what it scores with
        if trained:
            load_full_state(net, trained)
    except ValueError as error:
        raise AtrousError(f"{folder / TENSORS}: {error}. Start again from `best/`") from error
    if facts.scaler is not None and training.accelerator.scaler is not None:
        training.accelerator.scaler.load_state_dict(facts.scaler)
    training.step, training.tally = facts.step, Tally(**asdict(facts.tally))
    if not training.accelerator.is_main_process:
        training.tally.seen = [0] * _LABELS  # the first process has what all of them saw
    return facts.scored


def mark_scored(folder: Path) -> None:
    """Say in a saved state that the epoch it ends with has been scored.

    Raises `AtrousError`, and leaves the state as it was, where it cannot be read, or the disk refuses.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AtrousError(f"{folder / FACTS}: cannot be read ({error})") from error
    with atomic(folder / FACTS) as temporary:
        temporary.write_text(json.dumps({**facts, "scored": True}, indent=1), encoding="utf-8")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(folder: Path) -> tuple[_Facts, dict[str, Tensor]]:
    for name in (TENSORS, FACTS):
        if not (folder / name).is_file():
            raise AtrousError(f"{folder / name}: missing; only `last/` of a run can be resumed")
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts.get("format") != _FORMAT:
            raise AtrousError(
                f"{folder / FACTS}: written by another version (format {facts.get('format', 1)}, here {_FORMAT}); "
                f"train a new run that starts from its weights: --pretrained {folder.parent}"
            )
        tensors = load_file(folder / TENSORS)
        # As JSON: strictly, a dataclass is made of nothing else.
        return TypeAdapter(_Facts).validate_json(json.dumps(facts), strict=True), tensors
    except ValidationError as error:
        wrong = error.errors()[0]
        where, message = ".".join(map(str, wrong["loc"])), wrong["msg"]
        raise AtrousError(
            f"{folder / FACTS}: the training state cannot be read ({where}: {message[:1].lower()}{message[1:]}, "
            f"{wrong['input']!r} came); start again from `best/`"
        ) from error
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise AtrousError(
            f"{folder}: the training state cannot be read ({error!r}); start again from `best/`"
        ) from error
