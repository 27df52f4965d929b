"""Runs side by side: a table of how well they do, and the settings in which they differ."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from atrous.contract import AtrousError, Recipe
from atrous.runs.summaries import RunSummary, runs_below, summary
from atrous.store import plain

_IN_TABLE = ("model", "encoder", "seed")  # of the recipe, and not told again below it
_HEADINGS = (
    "run", "network", "epochs", "mean IoU", "at", "last", "pixels right", "time", "images/s", "data", "seed", "state",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunList:
    """Runs, the best first; those that were never scored come last."""

    runs: tuple[RunSummary, ...]

    @property
    def differing(self) -> dict[str, tuple[Any, ...]]:
        """The settings in which the runs differ, each with a value per run, None where a recipe cannot be read.

        Model, encoder and seed are left out.
        """
        recipes = [plain(run.recipe) if run.recipe is not None else None for run in self.runs]
        names = [field.name for field in fields(Recipe) if field.name not in _IN_TABLE]
        columns = {name: tuple(recipe and recipe[name] for recipe in recipes) for name in names}
        known = [recipe is not None for recipe in recipes]
        return {
            name: values
            for name, values in columns.items()
            if len({repr(value) for value, there in zip(values, known, strict=True) if there}) > 1
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps scores from being compared, and what is wrong with damaged runs, a line each."""
        lines = [f"{run.name}: damaged: {run.problem}" for run in self.runs if run.problem]
        groups: dict[str, list[RunSummary]] = defaultdict(list)
        for run in self.runs:
            if run.best_mean_iou is not None and run.scored_on is not None:
                groups[run.scored_on].append(run)
        if len(groups) > 1:
            each = "; ".join(f"{_some(group)} on {_data(group[0])}" for group in groups.values())
            lines.append(f"scored on different images or classes, so that their scores do not compare: {each}")
        return tuple(lines)

    @property
    def repeated(self) -> tuple[str, ...]:
        """A line for each set of finished runs of one recipe and other seeds: the mean and deviation of their best.

        A seed that was run again counts once.
        """
        groups: dict[Any, list[RunSummary]] = defaultdict(list)
        for run in self.runs:
            if run.state == "finished" and run.recipe is not None and run.best_mean_iou is not None:
                groups[run.scored_on, repr(replace(run.recipe, seed=0))].append(run)
        each = ([*{_seed(run): run for run in reversed(group)}.values()][::-1] for group in groups.values())
        return tuple(_spread(group) for group in each if len(group) > 1)

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return {
            "runs": [_plain(run) for run in self.runs],
            "differing": {name: list(values) for name, values in self.differing.items()},
            "repeated": list(self.repeated),
            "warnings": list(self.warnings),
        }

    def as_text(self) -> str:
        """Return a table with a line per run, then the settings in which they differ, then warnings."""
        parts = [_table([_HEADINGS, *map(_cells, self.runs)])]
        differing = self.differing
        if differing:
            names = [run.name for run in self.runs]
            rows = [["differ in", *differing], *([names[at], *_values(differing, at)] for at in range(len(names)))]
            # The longer side goes down the page: many runs of few settings, or few runs that differ in much.
            parts.append(_table(rows if len(names) >= len(differing) else list(zip(*rows, strict=True))))
        parts += [
            "\n".join(lines) for lines in (self.repeated, [f"warning: {line}" for line in self.warnings]) if lines
        ]
        return "\n\n".join(parts)


def listed(folder: str | Path) -> RunList:
    """Return the runs in a folder and below it, the best first.

    Raises `AtrousError` where there is no such folder, or no run in it.
    """
    folder = Path(folder)
    found = [summary(run, _name(run, folder)) for run in runs_below(folder)]
    if not found:
        raise AtrousError(f"{folder}: no runs in it; atrous train DATA --out {folder / 'NAME'} makes one")
    found.sort(key=lambda run: (-(run.best_mean_iou if run.best_mean_iou is not None else -1.0), run.name))
    return RunList(runs=tuple(found))


def _name(run: Path, folder: Path) -> str:
    return run.relative_to(folder).as_posix() if run != folder else run.resolve().name


def _plain(run: RunSummary) -> dict[str, Any]:
    values = asdict(replace(run, recipe=None))
    return {**values, "folder": str(run.folder), "recipe": plain(run.recipe) if run.recipe is not None else None}


def _cells(run: RunSummary) -> tuple[str, ...]:
    recipe = run.recipe
    network = " ".join(filter(None, (recipe.model, recipe.encoder))) if recipe is not None else "?"
    return (
        run.name,
        network,
        f"{run.epochs_done}/{run.epochs if run.epochs is not None else '?'}",
        _percent(run.best_mean_iou),
        f"epoch {run.best_epoch}" if run.best_epoch is not None else "",
        _percent(run.last_mean_iou),
        _percent(run.pixel_accuracy),
        f"{'~' if run.seconds_guessed else ''}{_duration(run.seconds)}" if run.epochs_done else "-",
        f"{run.images_per_second:.1f}" if run.images_per_second is not None else "-",
        _data(run),
        _seed(run),
        run.state,
    )


def _seed(run: RunSummary) -> str:
    return str(run.recipe.seed) if run.recipe is not None else "?"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _data(run: RunSummary) -> str:
    parts = (run.layout, None if run.images is None else f"{run.images} images", run.data and run.data[:6])
    return " ".join(filter(None, parts)) or "?"


def _duration(seconds: float) -> str:
    """Return a time in words.

    >>> _duration(42), _duration(400), _duration(9000)
    ('42 s', '7 min', '2 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _spread(group: Sequence[RunSummary]) -> str:
    scores = [100 * run.best_mean_iou for run in group if run.best_mean_iou is not None]
    return (
        f"best mean IoU {statistics.mean(scores):.2f} +- {statistics.stdev(scores):.2f} over {len(scores)} runs that "
        f"differ in their seed only: {_some(group)}"
    )


def _some(group: Sequence[RunSummary]) -> str:
    names = [run.name for run in group]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _values(differing: dict[str, tuple[Any, ...]], at: int) -> list[str]:
    return [_word(values[at]) for values in differing.values()]


def _word(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return ",".join(map(_word, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={_word(each)}" for key, each in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text in columns; wide letters count as two."""
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = (
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
