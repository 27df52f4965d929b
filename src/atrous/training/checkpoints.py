"""The state of a run between two steps, as safetensors and JSON: nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from atrous.contract import AtrousError
from atrous.training.loop import Training

TENSORS, FACTS = "state.safetensors", "state.json"
_FACTS = ("step", "steps_per_epoch", "optimizer", "scaler")


def save_state(folder: Path, training: Training) -> None:
    """Write optimiser, step and random states into `folder`, beside the weights they belong to."""
    tensors, numbers = _flattened(training.optimizer.state_dict()["state"])
    tensors["random.cpu"] = torch.get_rng_state()
    if training.accelerator.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    scaler = training.accelerator.scaler
    facts = {
        "step": training.step,
        "steps_per_epoch": training.steps_per_epoch,
        "optimizer": numbers,
        "scaler": scaler.state_dict() if scaler is not None else None,
    }
    save_file(tensors, folder / TENSORS)
    (folder / FACTS).write_text(json.dumps(facts, indent=1))


def load_state(folder: Path, training: Training) -> None:
    """Put a saved state back into `training`; the network's weights are the model folder's.

    Raises `AtrousError` where a file is missing or damaged, or belongs to another network or other data.
    """
    facts, tensors = _read(folder)
    state = training.optimizer.state_dict()
    state["state"] = values = _unflattened(tensors, facts["optimizer"])
    shapes = [parameter.shape for group in training.optimizer.param_groups for parameter in group["params"]]
    if any(index >= len(shapes) or _shape(value) not in (None, shapes[index]) for index, value in values.items()):
        raise AtrousError(
            f"{folder / TENSORS}: the state of another network: {len(values)} parameters, this one has {len(shapes)} "
            "or other shapes. Start again from `best/`"
        )
    if facts["steps_per_epoch"] != training.steps_per_epoch:
        raise AtrousError(
            f"{folder / FACTS}: {facts['steps_per_epoch']} steps an epoch; with the data given it would be "
            f"{training.steps_per_epoch}. A run goes on with the data it was started with"
        )
    training.optimizer.load_state_dict(state)
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and training.accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"])
    if facts["scaler"] is not None and training.accelerator.scaler is not None:
        training.accelerator.scaler.load_state_dict(facts["scaler"])
    training.step = facts["step"]


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for name in (TENSORS, FACTS):
        if not (folder / name).is_file():
            raise AtrousError(f"{folder / name}: missing; only `last/` of a run can be resumed")
    try:
        facts = json.loads((folder / FACTS).read_text())
        facts, tensors = {key: facts[key] for key in _FACTS}, load_file(folder / TENSORS)
        _unflattened(tensors, facts["optimizer"])
        if tensors["random.cpu"].shape != torch.get_rng_state().shape:
            raise ValueError("random.cpu has another length")
        return facts, tensors
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AtrousError(
            f"{folder}: the training state cannot be read ({error!r}); start again from `best/`"
        ) from error


def _flattened(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in state.items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value.detach().contiguous()
            else:
                numbers[f"{index}.{key}"] = value
    return tensors, numbers


def _shape(values: dict[str, Any]) -> torch.Size | None:
    momentum = values.get("momentum_buffer")
    return None if momentum is None else momentum.shape


def _unflattened(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            index, key = name.removeprefix("optimizer.").split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
    for name, number in numbers.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = number
    return state
