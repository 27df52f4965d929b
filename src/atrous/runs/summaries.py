"""A run in a few numbers, read from its folder: how far it came, how well it does, on which data, and what is wrong."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from atrous.contract import AtrousError, Recipe
from atrous.runs.recording import LOG, read_log
from atrous.store import CONFIG, WEIGHTS, read_json, read_recipe

State = Literal["running?", "finished", "stopped", "damaged"]

_MARKS = ("recipe.json", "split.json", LOG)
_FRESH = 120.0  # seconds since the last write, in which a run may still be under way


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run: `name` is its folder's path below the one that was searched, `folder` where it is.

    Scores are shares from 0 to 1, None where it was never scored; `pixel_accuracy` is that of the best epoch.
    `seconds` is what training took, without validation, and `seconds_guessed` says that an old log did not tell.
    `data` is the fingerprint's hash, and `scored_on` one of the images and classes that the scores are of: two runs
    compare where theirs are the same. `running?` means that something was written in the last minutes. `problem` says
    what is wrong with a damaged run.
    """

    name: str
    folder: Path
    state: State
    recipe: Recipe | None = None
    epochs_done: int = 0
    epochs: int | None = None
    best_mean_iou: float | None = None
    best_epoch: int | None = None
    last_mean_iou: float | None = None
    pixel_accuracy: float | None = None
    seconds: float = 0.0
    seconds_guessed: bool = False
    images_per_second: float | None = None
    layout: str | None = None
    images: int | None = None
    data: str | None = None
    scored_on: str | None = None
    problem: str | None = None


def runs_below(folder: Path) -> Iterator[Path]:
    """Yield the folders that are runs, `folder` itself or below it, in order of their names.

    Links are not followed, and neither hidden folders nor those of a run are searched.

    Raises `AtrousError` where there is no such folder.
    """
    if not folder.is_dir():
        raise AtrousError(f"{folder}: no such folder; name one that holds runs")
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                files, folders = _sorted_out(entries)
        except OSError:  # a folder that may not be read hides its runs, and not those of others
            continue
        if _is_run(files, folders):
            yield here
            continue
        below = sorted((name for name in folders if not name.startswith(".")), reverse=True)
        pending += [here / name for name in below]


def _sorted_out(entries: Iterator[os.DirEntry[str]]) -> tuple[set[str], set[str]]:
    files, folders = set(), set()
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.add(entry.name)
        else:
            files.add(entry.name)
    return files, folders


def _is_run(files: set[str], folders: set[str]) -> bool:
    """Return whether a folder is a run, perhaps one that lacks something."""
    marks = sum(name in files for name in _MARKS)
    return marks >= 2 or (marks == 1 and bool(folders & {"best", "last"}))


def summary(run: Path, name: str) -> RunSummary:
    """Return a run in numbers; what cannot be read is told in `problem`, and the rest is there all the same."""
    problems: list[str] = []
    recipe = _tried(problems, lambda: read_recipe(run))
    lines = _tried(problems, lambda: read_log(run)) or []
    config = _tried(problems, lambda: _config(run, lines)) or {}
    facts = _tried(problems, lambda: _facts(run)) or config.get("fingerprint")
    facts = facts if isinstance(facts, dict) else {}
    split = _tried(problems, lambda: read_json(run / "split.json"))
    epochs = _epochs(recipe, lines)
    return RunSummary(
        name=name,
        folder=run,
        state="damaged" if problems else _state(run, recipe, lines, epochs),
        recipe=recipe,
        epochs=epochs,
        layout=_text(facts.get("layout")),
        images=_images(facts),
        data=_text(facts.get("sha256")),
        scored_on=_scored_on(facts, split, config.get("classes")),
        problem="; ".join(_below(problem, run) for problem in problems) or None,
        **_scores(lines),
        **_speed(lines, recipe),
    )


def _tried(problems: list[str], read: Any) -> Any:
    try:
        return read()
    except AtrousError as error:
        problems.append(str(error))
        return None


def _below(problem: str, run: Path) -> str:
    return problem.removeprefix(f"{run}{os.sep}").removeprefix(f"{run}: ")


def _facts(run: Path) -> Any:
    path = run / "fingerprint.json"
    return read_json(path) if path.exists() else None


def _config(run: Path, lines: Sequence[Any]) -> dict[str, Any]:
    """Return the settings of the best model, else of the last; raises `AtrousError` where there should be one."""
    for name in ("best", "best.old", "last", "last.old"):
        folder = run / name
        if folder.is_dir():
            values = read_json(folder / CONFIG)
            if not isinstance(values, dict):
                raise AtrousError(f"{folder / CONFIG}: no settings are in it")
            if not (folder / WEIGHTS).is_file():
                raise AtrousError(f"{folder / WEIGHTS}: missing")
            return values
    if lines:
        raise AtrousError(f"{run}: neither best/ nor last/ is there: its weights are gone")
    return {}


def _epochs(recipe: Recipe | None, lines: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many epochs the run is to take; where steps end it, what they come to."""
    if recipe is None or recipe.steps is None:
        return None if recipe is None else recipe.epochs
    if not lines or not lines[0]["epoch"] or not lines[0]["step"]:
        return None
    return math.ceil(recipe.steps * lines[0]["epoch"] / lines[0]["step"])


def _scores(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scored = [line for line in lines if _number(line.get("mean_iou")) is not None]
    found: dict[str, Any] = {"epochs_done": lines[-1]["epoch"] if lines else 0}
    if scored:
        best = max(scored, key=lambda line: (line["mean_iou"], line["epoch"]))
        found |= {"best_mean_iou": float(best["mean_iou"]), "best_epoch": best["epoch"]}
        found |= {"last_mean_iou": float(scored[-1]["mean_iou"]), "pixel_accuracy": _number(best.get("pixel_accuracy"))}
    return found


def _speed(lines: Sequence[Mapping[str, Any]], recipe: Recipe | None) -> dict[str, Any]:
    """Return the time that training took and the median speed; an old log has only the second."""
    told = [_number(line.get("seconds")) for line in lines]
    speeds = [speed for line in lines if (speed := _number(line.get("images_per_second")) or 0.0) > 0]
    seconds, guessed = sum(each for each in told if each is not None), False
    if lines and None in told and recipe is not None and speeds:
        seconds = lines[-1]["step"] * recipe.batch * recipe.accumulate / statistics.harmonic_mean(speeds)
        guessed = True
    middle = statistics.median(speeds) if speeds else None
    return {"seconds": float(seconds), "seconds_guessed": guessed, "images_per_second": middle}


def _state(run: Path, recipe: Recipe | None, lines: Sequence[Mapping[str, Any]], epochs: int | None) -> State:
    if lines and recipe is not None:
        done = lines[-1]["epoch"]
        scored = [line for line in lines if _number(line.get("mean_iou")) is not None]
        best = max(scored, key=lambda line: (line["mean_iou"], line["epoch"]), default={"epoch": done})
        out_of_patience = recipe.patience and done - best["epoch"] >= recipe.patience
        if out_of_patience or (epochs is not None and done >= epochs):
            return "finished"
    latest = _latest_write(run)
    took = (_number(lines[-1].get("seconds")) or 0.0) if lines else 0.0
    return "running?" if time.time() - latest < max(_FRESH, 2 * took) else "stopped"


def _latest_write(run: Path) -> float:
    latest = 0.0
    for path in (run / LOG, run / "recipe.json", run / "last", *(run / "events").glob("*")):
        with suppress(OSError):
            latest = max(latest, path.stat().st_mtime)
    return latest


def _images(facts: Mapping[str, Any]) -> int | None:
    """Return how many images the data have; an early fingerprint tells those of each split only."""
    splits = facts.get("splits")
    counts = list(splits.values()) if isinstance(splits, dict) else []
    count = facts.get("count", sum(counts) if counts and all(type(each) is int for each in counts) else None)
    return count if type(count) is int else None


def _scored_on(facts: Mapping[str, Any], split: Any, classes: Any) -> str | None:
    """Return a hash of the images and classes that a score is of; None where they are not known."""
    val = split.get("val") if isinstance(split, dict) else None
    if not isinstance(facts.get("sha256"), str) or not isinstance(val, list):
        return None
    return sha256(repr((facts["sha256"], sorted(map(str, val)), classes)).encode()).hexdigest()


def _number(value: Any) -> float | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if whole else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
