"""Other places that a run is logged to: MLflow, Weights & Biases and whatever else Accelerate speaks to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers

from atrous.contract import AtrousError

Log = Callable[[dict[str, float], int], None]

_PACKAGES = {"comet_ml": "comet-ml"}


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that there are such trackers, and their libraries: to be called before anything else is done.

    Raises `ValueError`, with the names there are, for another one, and `AtrousError` with the command that installs it
    for a library that is missing.
    """
    known = sorted(name for name in LOGGER_TYPE_TO_CLASS if name != "tensorboard")
    for name in names:
        if name == "tensorboard":
            raise ValueError("tensorboard is no tracker to ask for: every run has its curves, in events/")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise ValueError(f"no tracker {name!r}; {hint} {', '.join(known)}")
    for name in names:  # once every name is one
        if not _is_installed(name):
            raise AtrousError(f"{name} is not installed, and it was asked to log to: pip install {_package(name)}")


def tracked(accelerator: Accelerator, names: Sequence[str], out: Path, config: Mapping[str, Any]) -> Log:
    """Start the trackers, tell them the settings, and return what logs numbers to all of them: `log(values, step)`.

    `config` are settings, such as the recipe's. What a tracker writes on this machine lies in `out`, unless its own
    environment variables say otherwise (`MLFLOW_TRACKING_URI`, `WANDB_DIR`). Where a tracker sends things is its own
    business: `WANDB_MODE=offline`, for one, keeps them here. Only the main process logs. The caller ends it with
    `accelerator.end_training()`. Without names nothing happens, then or later.

    Raises what `check_trackers` does, and `AtrousError` where a tracker cannot begin.
    """
    check_trackers(names)
    if not names:
        return lambda values, step: None
    folder = out.absolute()
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
    accelerator.project_configuration.set_directories(str(folder))
    accelerator.log_with = filter_trackers(list(names), str(folder))
    settings = {name: _plain(value) for name, value in config.items()}
    try:
        places = _places(names, folder)
        accelerator.init_trackers(folder.name, config=settings, init_kwargs=places)
    except Exception as error:
        # Each library has errors of its own, and no other way to say that there is no account or no server.
        raise AtrousError(f"{', '.join(names)}: could not begin to log ({error})") from error
    return lambda values, step: accelerator.log(dict(values), step=step)


def _places(names: Sequence[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the keywords that make each tracker write below `folder`; those that write nothing here have none."""
    places: dict[str, dict[str, Any]] = {
        "dvclive": {"dir": str(folder / "dvclive")},
        "swanlab": {"logdir": str(folder / "swanlog")},
    }
    if not os.environ.get("WANDB_DIR"):
        places["wandb"] = {"dir": str(folder)}
    if "mlflow" in names and not os.environ.get("MLFLOW_TRACKING_URI"):
        places["mlflow"] = {"logging_dir": _mlflow_in(folder / "mlruns")}
    return {name: places[name] for name in names if name in places}


def _mlflow_in(folder: Path) -> str:
    """Let MLflow keep its runs in `folder`, and return the address of what belongs to them there."""
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    if find_spec("sqlalchemy") is not None:
        mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
    else:
        # The small MLflow knows no database, and later ones write plain files only where this says so.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri(folder.as_uri())
    return (folder / "artifacts").as_uri()


def _is_installed(name: str) -> bool:
    """Return whether a tracker's library is there: Accelerate's own look needs an accelerator, to log what it finds.

    A folder of that name in which such a library once wrote, as W&B and DVCLive do, is none.
    """
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def _package(name: str) -> str:
    return _PACKAGES.get(name, name)


def _plain(value: Any) -> Any:
    """Return a setting as every tracker takes it: a number, a truth value or a text."""
    return value if isinstance(value, bool | int | float | str) else str(value)
