"""The runs of a search on disk: the best one is kept whole, and of the others what predicts and what they scored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atrous.store import read_json, settled, whole_folder, write_json
from atrous.tuning.recipe_study import is_left

TRIALS, BEST = "trials", "best"
_OF_TRIAL, _LOCK = "trial.json", ".copying"
_DEAD = 600  # seconds after which a lock is of a process that died


def folder_of(out: Path, number: int) -> Path:
    """Return the run's folder of a trial."""
    return out / TRIALS / f"{number:04d}"


def settle(study: Any, out: Path) -> None:
    """Copy the best trial's run, and remove what the others need no more: the state to go on with, and runs cut off."""
    with _only_one(out / _LOCK):
        trials = study.get_trials(deepcopy=False)
        _keep_best(trials, out)
        for trial in trials:
            folder = folder_of(out, trial.number)
            if is_left(trial):
                shutil.rmtree(folder, ignore_errors=True)
            elif trial.state.is_finished():
                shutil.rmtree(folder / "last", ignore_errors=True)


def _keep_best(trials: list[Any], out: Path) -> None:
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not done:
        return
    best = max(done, key=lambda trial: (trial.value, -trial.number))
    folder, kept = folder_of(out, best.number), settled(out / BEST)
    is_kept = _kept_trial(kept) == best.number
    if is_kept or not folder.is_dir():  # it was made on another machine, which has the run
        return
    with whole_folder(kept) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        write_json(temporary / _OF_TRIAL, {"trial": best.number, "mean_iou": best.value})


def _kept_trial(kept: Path) -> Any:
    """Return the number of the trial whose run is kept, None where none is."""
    stored = read_json(kept / _OF_TRIAL) if (kept / _OF_TRIAL).is_file() else None
    return stored.get("trial") if isinstance(stored, dict) else None


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block; a lock of ten minutes is of a process that died."""
    while True:
        try:
            lock.touch(exist_ok=False)
            break
        except FileExistsError:
            try:
                if time.time() - lock.stat().st_mtime > _DEAD:
                    lock.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
