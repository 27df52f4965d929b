"""The state of a run between two steps, as safetensors and JSON: nothing is pickled.

Tensors are named after the parameters they belong to, so that they do not hang on how many processes wrote them. No
random states are among them: those of a step are drawn from seed and step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from atrous.contract import AtrousError
from atrous.training.distributed import load_full_state, load_optimizer_state, optimizer_state
from atrous.training.loop import Tally, Training

TENSORS, FACTS = "state.safetensors", "state.json"
_FORMAT = 2
_FACTS = ("step", "steps_per_epoch", "optimizer", "scaler", "tally", "scored")


def state_of(training: Training) -> dict[str, Any]:
    """Return what the optimiser remembers, whole; every process has to call this where weights are shared out."""
    return optimizer_state(training.optimizer, training.segmenter.net)


def save_state(
    folder: Path,
    training: Training,
    *,
    optimizer: Mapping[str, Any] | None = None,
    trained: Mapping[str, Tensor] | None = None,
) -> None:
    """Write optimiser, step and tally into `folder`, beside the weights they belong to.

    `optimizer` is `state_of(training)`, taken now without it; `trained` are the weights that the run goes on with,
    where those beside are not they: averaged ones, or with measured statistics.
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
        "tally": asdict(training.tally),
        "scored": False,
    }
    save_file(tensors, folder / TENSORS)
    (folder / FACTS).write_text(json.dumps(facts, indent=1))


def load_state(folder: Path, training: Training) -> bool:
    """Put a saved state back into `training`, whose network has the weights beside it.

    Returns whether the epoch that was done last had been scored already.

    Raises `AtrousError` where a file is missing or damaged, or belongs to another network or other data.
    """
    facts, tensors = _read(folder)
    if facts["steps_per_epoch"] != training.steps_per_epoch:
        raise AtrousError(
            f"{folder / FACTS}: {facts['steps_per_epoch']} steps an epoch; with the data given it would be "
            f"{training.steps_per_epoch}. A run goes on with the data it was started with"
        )
    net, trained = training.segmenter.net, _below("trained.", tensors)
    try:
        load_optimizer_state(training.optimizer, net, {**facts["optimizer"], **_below("optimizer.", tensors)})
        if training.averaged is not None:
            training.averaged.load(net.state_dict())  # what stands beside a run's state is what it scores with
        if trained:
            load_full_state(net, trained)
    except ValueError as error:
        raise AtrousError(f"{folder / TENSORS}: {error}. Start again from `best/`") from error
    if facts["scaler"] is not None and training.accelerator.scaler is not None:
        training.accelerator.scaler.load_state_dict(facts["scaler"])
    training.step, training.tally = facts["step"], Tally(**facts["tally"])
    return bool(facts["scored"])


def mark_scored(folder: Path) -> None:
    """Say in a saved state that the epoch it ends with has been scored."""
    facts = json.loads((folder / FACTS).read_text())
    temporary = folder / f".{FACTS}"
    temporary.write_text(json.dumps({**facts, "scored": True}, indent=1))
    temporary.replace(folder / FACTS)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for name in (TENSORS, FACTS):
        if not (folder / name).is_file():
            raise AtrousError(f"{folder / name}: missing; only `last/` of a run can be resumed")
    try:
        facts = json.loads((folder / FACTS).read_text())
        if facts.get("format") != _FORMAT:
            raise AtrousError(
                f"{folder / FACTS}: written by another version (format {facts.get('format', 1)}, here {_FORMAT}); "
                f"train a new run that starts from its weights: --pretrained {folder.parent}"
            )
        tensors = load_file(folder / TENSORS)
        Tally(**facts["tally"])
        return {key: facts[key] for key in _FACTS}, tensors
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AtrousError(
            f"{folder}: the training state cannot be read ({error!r}); start again from `best/`"
        ) from error
