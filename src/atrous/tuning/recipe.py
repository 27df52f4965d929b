"""The search of a recipe: trials that Optuna proposes, each an ordinary run, in a study that can be gone on with.

    OUT/study.db        the study, where no other database is given
    OUT/trials/0007     the run of trial 7; numbers are the study's, from 0
    OUT/best            a copy of the best trial's run, with what it takes to go on with it

The score of a trial is the best mean IoU on `val` of its epochs, at original resolution.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Recipe
from atrous.store import explained, plain, read_json, write_json
from atrous.tuning.recipe_page import write_report
from atrous.tuning.recipe_report import Searched, found_in
from atrous.tuning.recipe_runs import TRIALS, folder_of, settle
from atrous.tuning.recipe_space import Between, Space, parameters_of
from atrous.tuning.recipe_study import (
    ERROR,
    counted,
    is_left,
    mark,
    needed,
    opened,
    quiet,
    refuse_others,
    shown,
    sqlite_url,
    take_up,
    try_again,
)

Train = Callable[[Recipe, Path], Iterator[tuple[int, int, float]]]
"""What trains a recipe into a folder, yielding for each scored epoch its number, how many there are, the mean IoU."""

Told = Callable[[str], None]
_HOPELESS = 3  # trials that fail before any ends well
_STUDY, _DATABASE = "study.json", "study.db"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched: fields of `recipe` within `space`, until `trials` are finished in all, or `minutes` are over.

    `data` tells the dataset from others. `storage` is the URL of a database, an SQLite file in `out` without it.
    """

    out: Path
    recipe: Recipe
    space: Space
    name: str
    data: str
    trials: int = 20
    minutes: float | None = None
    storage: str | None = None

    @property
    def url(self) -> str:
        """The URL of the study's database."""
        return self.storage or sqlite_url(self.out / _DATABASE)


def search_recipe(search: Search, train: Train, *, told: Told, command: str = "") -> Searched:
    """Try recipes until as many are finished as are wanted, and return what was found.

    The first trial is the recipe itself, where it lies in the space. A trial that fails is noted with its words;
    Ctrl-C and the end of the process leave a study that the same call goes on with. Several processes may work on one
    study: each takes trials until all are taken. No trial starts when the minutes are over; the last one ends.

    Raises `AtrousError` for a study or a folder of something else, and where the first trials all fail.
    """
    check_search(search)
    with quiet():
        study = _started(search)
        revived = take_up(study)
        if revived:
            told(f"{revived} trial{'s' if revived > 1 else ''} of a process that ended will be tried again")
        end = math.inf if search.minutes is None else time.monotonic() + 60 * search.minutes
        try:
            while len(counted(study)) < search.trials and time.monotonic() < end:
                _next(study, search, train, told)
                _report(study, search, command)
                _refuse_hopeless(study)
        except needed().exceptions.StorageInternalError as error:
            raise AtrousError(
                f"{_where(search)}: the study's database failed ({error}); the same command goes on"
            ) from error
        except KeyboardInterrupt:
            _report(study, search, command, curves=True)
            raise
        return _report(study, search, command, curves=True)


def check_search(search: Search) -> None:
    """Raise `ValueError` for numbers that cannot be, `AtrousError` for a folder of something else."""
    if search.trials < 1:
        raise ValueError(f"trials {search.trials}: at least 1 is accepted")
    if search.minutes is not None and not 0 < search.minutes < math.inf:
        raise ValueError(f"timeout {search.minutes:g}: minutes above 0 are accepted")
    if not search.name.strip():
        raise ValueError("study '': a name is accepted, such as first")
    out, path = search.out, search.out / _STUDY
    if path.is_file():
        stored = read_json(path)
        name = stored.get("study") if isinstance(stored, dict) else None
        if name != search.name:
            raise AtrousError(
                f"{out}: holds the trials of the study {name!r}, not {search.name!r}; choose another --out"
            )
    elif out.exists() and not (out / _DATABASE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise AtrousError(f"{out}: is in the way and is not a search; choose another --out")


def _started(search: Search) -> Any:
    search.out.mkdir(parents=True, exist_ok=True)
    where = _where(search)
    study = opened(search.url, search.name, epochs=search.recipe.epochs)
    head = {
        "data": search.data,
        "recipe": json.loads(json.dumps(plain(search.recipe))),
        "space": {name: str(each) for name, each in search.space.items()},
    }
    refuse_others(study, head, where)
    if not study.get_trials(deepcopy=False):
        trials = search.out / TRIALS
        if trials.is_dir() and any(trials.iterdir()):
            raise AtrousError(f"{trials}: holds trials of a study that is not in {where}; choose another --out")
        start = parameters_of(search.space, search.recipe)
        if start is not None:
            study.enqueue_trial(start, skip_if_exists=True)
    write_json(search.out / _STUDY, {"study": search.name, "storage": where})
    return study


def _where(search: Search) -> str:
    return shown(search.storage) if search.storage else str(search.out / _DATABASE)


def _next(study: Any, search: Search, train: Train, told: Told) -> None:
    """Run one trial, and say what it came to."""
    optuna = needed()
    numbers: list[int] = []

    def objective(trial: Any) -> float:
        numbers.append(trial.number)
        return _tried(trial, study, search, train)

    try:
        study.optimize(objective, n_trials=1)
    except KeyboardInterrupt:
        if numbers:
            try_again(study, study.trials[numbers[0]], blamed=False)
        raise
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
        if numbers and study.trials[numbers[0]].state.name == "RUNNING":
            raise
        told("another process took this one for dead, and tries its settings again")
        return
    if not is_left(trial := study.trials[numbers[0]]):
        told(_line(trial, search.trials))


def _line(trial: Any, trials: int) -> str:
    settings = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.params.items()
    )
    state = {"COMPLETE": "mean IoU", "PRUNED": "stopped early at mean IoU"}.get(trial.state.name, "failed")
    value = f" {100 * trial.value:.2f}" if trial.value is not None else f": {trial.user_attrs.get(ERROR, '')}"
    return f"trial {trial.number} of {trials}: {state}{value}  ({settings})"


def _tried(trial: Any, study: Any, search: Search, train: Train) -> float:
    """Return the score of a trial, NaN for one that failed."""
    optuna = needed()
    mark(trial)
    if sum(each.number < trial.number for each in counted(study)) >= search.trials:
        return math.nan  # another process took the last one at the same moment
    # A seed of the trial's own, so that processes differ, and a study that is gone on with does not start over.
    study.sampler = optuna.samplers.TPESampler(seed=_seed(search.recipe.seed, trial.number), multivariate=False)
    folder = folder_of(search.out, trial.number)
    best = math.nan
    events: Iterator[tuple[int, int, float]] = iter(())
    try:
        recipe = replace(search.recipe, **suggested(trial, search.space))
        events = train(recipe, folder)
        for epoch, epochs, score in events:
            if math.isnan(score):
                continue
            best = score if math.isnan(best) else max(best, score)
            trial.report(score, epoch)
            if epoch < epochs and trial.should_prune():
                raise optuna.TrialPruned
    except (optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError):
        raise
    except Exception as error:
        trial.set_user_attr(ERROR, _words(error))
        return math.nan
    finally:
        _close(events)
    if math.isnan(best):
        trial.set_user_attr(ERROR, "no epoch had a mean IoU on val")
    return best


def _close(events: Any) -> None:
    close = getattr(events, "close", None)
    if close is not None:
        close()


def _words(error: Exception) -> str:
    text = " ".join(explained(error).split())
    return (text if isinstance(error, AtrousError | ValueError) else f"{type(error).__name__}: {text}")[:300]


def _seed(seed: int, number: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def suggested(trial: Any, space: Space) -> dict[str, Any]:
    """Return what a trial proposes, as fields of the recipe."""
    found: dict[str, Any] = {}
    for name, each in space.items():
        if not isinstance(each, Between):
            found[name] = each.values[each.words.index(trial.suggest_categorical(name, each.words))]
        elif each.whole:
            found[name] = trial.suggest_int(name, int(each.low), int(each.high), log=each.log)
        else:
            found[name] = each.rounded(trial.suggest_float(name, each.low, each.high, log=each.log))
    return found


def _refuse_hopeless(study: Any) -> None:
    trials = [trial for trial in counted(study) if trial.state.name != "RUNNING"]
    if len(trials) >= _HOPELESS and all(trial.state.name == "FAIL" for trial in trials):
        raise AtrousError(
            f"the first {len(trials)} trials all failed, the last one with: {trials[-1].user_attrs[ERROR]}"
        )


def _report(study: Any, search: Search, command: str, *, curves: bool = False) -> Searched:
    settle(study, search.out)
    found = found_in(study, search.space, search.recipe, out=search.out, wanted=search.trials)
    write_report(found, command=command, curves=curves)
    return found
