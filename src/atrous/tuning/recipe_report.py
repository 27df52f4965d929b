"""What a search of recipes came to: its trials, the best of them, and which settings decide."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atrous.contract import Recipe
from atrous.tuning.recipe_space import Between, Space, word
from atrous.tuning.recipe_study import ERROR, is_left, needed, quiet

OBJECTIVE = "best mean IoU on val of a trial's epochs, at original resolution"
_STATES = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}
FEWEST = 10  # finished trials, for the weight of a setting to be more than chance


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial: number, state, score, that of each epoch that was scored, settings, and why it failed."""

    number: int
    state: str
    value: float | None
    epochs: Mapping[int, float]
    settings: Mapping[str, Any]
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search came to; `best` is None where no trial finished, `left` is how many were cut off.

    `weights` say how much each setting decides whether a trial is among the best, together 1; empty for few trials.
    """

    out: Path
    study: str
    wanted: int
    recipe: Recipe
    rows: tuple[Row, ...]
    left: int
    best: Row | None
    weights: Mapping[str, float]

    @property
    def best_recipe(self) -> Recipe | None:
        """The recipe of the best trial."""
        return None if self.best is None else replace(self.recipe, **self.best.settings)

    def counts(self) -> str:
        """Return how many trials ended how, in words."""
        known = Counter(row.state for row in self.rows)
        parts = [f"{known[state]} {state}" for state in _STATES.values() if known[state] or state == "finished"]
        return ", ".join(parts) + (f"; {self.left} cut off" if self.left else "")

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "out": str(self.out),
            "study": self.study,
            "objective": OBJECTIVE,
            "best": None if self.best is None else _row_json(self.best),
            "importance": dict(self.weights),
            "trials": [_row_json(row) for row in self.rows],
        }

    def as_text(self) -> str:
        """Return a table of the trials, the best first, and what is to be known of them."""
        lines = [f"{'trial':>5}  {'state':<8}  {'mean IoU':>8}  epochs  settings"]
        lines += [
            f"{row.number:>5}  {row.state:<8}  {percent(row.value):>8}  {len(row.epochs):>6}  {settings_of(row)}"
            for row in ranked(self.rows)
        ]
        return "\n".join([*lines, "", f"{self.counts()}; {OBJECTIVE}", *self.warnings()])

    def warnings(self) -> list[str]:
        """Return what a reader of the best score must know."""
        scored = sum(row.value is not None for row in self.rows)
        if self.best is None:
            return ["no trial finished"]
        return [
            f"the best of {scored} scored trials on val flatters: it was chosen by that score. "
            "Images that no trial has seen say what it is worth."
        ]


def ranked(rows: tuple[Row, ...]) -> list[Row]:
    """Return trials from the best to the worst, those that finished before the others."""
    return sorted(rows, key=lambda row: (list(_STATES.values()).index(row.state), -(row.value or 0), row.number))


def found_in(study: Any, space: Space, recipe: Recipe, *, out: Path, wanted: int) -> Searched:
    """Return what a study holds."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
    rows = tuple(_row(trial, space) for trial in trials if not is_left(trial))
    done = [row for row in ranked(rows) if row.state == "finished"]
    return Searched(
        out=out,
        study=study.study_name,
        wanted=wanted,
        recipe=recipe,
        rows=rows,
        left=len(trials) - len(rows),
        best=done[0] if done else None,
        weights=_weights(study, len(done), space),
    )


def _row(trial: Any, space: Space) -> Row:
    return Row(
        number=trial.number,
        state=_STATES[trial.state.name],
        value=trial.value,
        epochs=dict(sorted(trial.intermediate_values.items())),
        settings={name: _field(space[name], value) for name, value in trial.params.items() if name in space},
        error=trial.user_attrs.get(ERROR, ""),
    )


def _field(each: Any, value: Any) -> Any:
    """Return a parameter of the study as the value that the recipe had."""
    if not isinstance(each, Between):
        return each.values[each.words.index(value)]
    return value if each.whole else each.rounded(value)


def _weights(study: Any, finished: int, space: Space) -> dict[str, float]:
    """Return how much each setting decides, by Optuna's PED-ANOVA: how differently the best are spread from all.

    The best are a tenth of the trials, and five at least: with fewer, chance spreads them.
    """
    if finished < FEWEST or len(space) < 2:
        return {}
    optuna = needed()
    share = min(0.5, max(0.1, 5 / finished))
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of trials that are all alike, whose weights are equal then
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "trial": row.number,
        "state": row.state,
        "mean_iou": row.value,
        "epochs": {str(epoch): score for epoch, score in row.epochs.items()},
        "settings": dict(row.settings),
        **({"error": row.error} if row.error else {}),
    }


def settings_of(row: Row) -> str:
    """Return the settings of a trial as a table shows them, and why it failed."""
    text = ", ".join(f"{name} {word(value)}" for name, value in row.settings.items())
    return f"{text}; {row.error}" if row.error else text


def percent(value: float | None) -> str:
    """Return a share in per cent, nothing for none."""
    return "" if value is None else f"{100 * value:.2f}"
