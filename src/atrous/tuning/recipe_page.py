"""The report of a search of recipes: a page with the command that trains the best, a table as CSV, and curves."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import fields
from typing import Any

from atrous.contract import AtrousError, Recipe
from atrous.data.writers import atomic, check_figure
from atrous.tuning.recipe_report import FEWEST, OBJECTIVE, Searched, percent, ranked, settings_of
from atrous.tuning.recipe_space import word

_CURVES = 40  # the most that are drawn


def write_report(found: Searched, *, command: str = "", curves: bool = False) -> None:
    """Write `trials.csv` and `report.md`, and the figure `curves.png` where matplotlib is there.

    `command` is what starts a training on the same data, to which the settings are added.
    """
    names = list(dict.fromkeys(name for row in found.rows for name in row.settings))
    with (
        atomic(found.out / "trials.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["trial", "state", "mean_iou", "epochs", *names, "error"])
        for row in found.rows:
            settings = [word(row.settings[name]) if name in row.settings else "" for name in names]
            table.writerow([row.number, row.state, row.value, len(row.epochs), *settings, row.error])
    with atomic(found.out / "report.md") as temporary:
        temporary.write_text(_markdown(found, command), encoding="utf-8")
    if curves:
        _write_curves(found)


def _markdown(found: Searched, command: str) -> str:
    lines = [f"# Search of a recipe: {found.study}", "", f"Score: {OBJECTIVE}.", "", f"Trials: {found.counts()}.", ""]
    if found.best is not None:
        lines += [f"## Best: trial {found.best.number}, mean IoU {percent(found.best.value)}", "", _comparison(found)]
        lines += ["", "| setting | best | of the recipe |", "|---|---|---|"]
        for name, value in found.best.settings.items():
            lines.append(f"| {name} | {_cell(word(value))} | {_cell(word(getattr(found.recipe, name)))} |")
        lines += ["", "Its run is in `best/`. The command that trains with its settings:", ""]
        lines += ["```", f"{command} {shlex.join(flags_of(found.best_recipe or found.recipe))}".strip(), "```", ""]
    lines += [*(f"{line[:1].upper()}{line[1:]}".rstrip(".") + "." for line in found.warnings()), ""]
    lines += [
        *_importance(found),
        "## Trials",
        "",
        "| trial | state | mean IoU | epochs | settings |",
        "|--:|---|--:|--:|---|",
    ]
    for row in ranked(found.rows):
        settings = _cell(settings_of(row))
        lines.append(f"| {row.number} | {row.state} | {percent(row.value)} | {len(row.epochs)} | {settings} |")
    return "\n".join(lines) + "\n"


def _comparison(found: Searched) -> str:
    """Return a sentence on the best trial beside the recipe itself, where that is one of the trials."""
    for row in found.rows:
        same = all(
            word(value) == word(_near(getattr(found.recipe, name), value)) for name, value in row.settings.items()
        )
        if row.settings and same and row.value is not None and found.best is not None:
            return f"The recipe itself is trial {row.number}: mean IoU {percent(row.value)}, {row.state}."
    return "The recipe itself is none of the trials."


def _near(own: Any, value: Any) -> Any:
    """Return `value` for a number of the recipe that is `value` to three digits, which is all that trials have."""
    return value if isinstance(own, float) and isinstance(value, float) and f"{own:.3g}" == f"{value:.3g}" else own


def _importance(found: Searched) -> list[str]:
    title = ["## What decides", ""]
    if not found.weights:
        return [*title, f"Fewer than {FEWEST} trials finished: too few to tell which settings decide.", ""]
    lines = ["How much each setting decides whether a trial is among the best (PED-ANOVA of Optuna; the sum is 1):", ""]
    lines += [
        "| setting | share |",
        "|---|--:|",
        *(f"| {name} | {share:.2f} |" for name, share in found.weights.items()),
    ]
    return [*title, *lines, ""]


def flags_of(recipe: Recipe) -> list[str]:
    """Return the flags of `train` that make this recipe.

    >>> flags_of(Recipe(encoder="resnet18", learning_rate=0.01))
    ['--model', 'deeplab_v3plus', '--lr', '0.01']
    """
    from atrous.recipes import standard

    start = standard(recipe.model, encoder=recipe.encoder, pretrained=recipe.pretrained)
    words = ["--model", recipe.model]
    bare = standard(recipe.model, pretrained=recipe.pretrained)
    if recipe.encoder != bare.encoder and recipe.encoder is not None:
        words += ["--encoder", recipe.encoder]
    if recipe.pretrained:
        words.append("--pretrained" if recipe.pretrained is True else f"--pretrained={recipe.pretrained}")
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if field.name not in ("model", "encoder", "pretrained") and value != getattr(start, field.name):
            words += _flag(field.name, value)
    return words


def _flag(name: str, value: Any) -> list[str]:
    flag = "--lr" if name == "learning_rate" else f"--{name.replace('_', '-')}"
    if name == "options":
        return [part for key, each in value.items() for part in ("--option", f"{key}={json.dumps(each)}")]
    if isinstance(value, bool):
        return [flag] if value else []
    if name == "class_weights" and isinstance(value, tuple):
        return [flag, ",".join(map(word, value))]
    if isinstance(value, tuple) and name != "crop":
        return [flag, *map(word, value)]
    return [] if value is None else [flag, word(value)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _write_curves(found: Searched) -> None:
    """Draw the scores of the trials over their epochs; without matplotlib there is no figure."""
    path, rows = found.out / "curves.png", [row for row in found.rows if row.epochs]
    try:
        check_figure(path)
    except AtrousError:
        return
    if not rows:
        return
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for row in ranked(tuple(rows))[:_CURVES][::-1]:
        is_best = found.best is not None and row.number == found.best.number
        style = {"finished": "-", "stopped": "--"}.get(row.state, ":")
        colour, width = ("tab:blue", 2.2) if is_best else ("0.6", 1.0)
        scores = [100 * score for score in row.epochs.values()]
        axes.plot(list(row.epochs), scores, style, color=colour, linewidth=width, marker=".")
        axes.annotate(
            str(row.number),
            (list(row.epochs)[-1], scores[-1]),
            fontsize=7,
            color=colour,
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean IoU on val, per cent")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("trials by number: best blue, stopped early dashed", fontsize=10)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
