"""The curves of a run as a picture: loss, rate, scores, and the IoU of every class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.data.writers import atomic
from atrous.runs.recording import read_log
from atrous.store import model_folder, read_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
_BLUE, _RED, _GREY = "#1f5fa8", "#c0392b", "#7f8c8d"
_NAMED = 12  # classes at either end that a legend names
_ROOM = 1.08  # times the highest value is where a picture ends
_MARKED = 30  # epochs whose points are still told apart

Line = dict[str, Any]


def without_curves() -> str | None:
    """Return the words for a run whose curves cannot be drawn, None where they can be."""
    if find_spec("matplotlib") is not None:
        return None
    return 'no curves.png without matplotlib: pip install "atrous[plots]"; events/ and log.jsonl hold the numbers'


def draw_curves(out: Path, space: LabelSpace | None = None) -> None:
    """Write `curves.png` from the log: loss, rate, mean IoU with pixel accuracy, and every class's IoU.

    `space` names and colours the classes; without it the run's models say them. Where matplotlib is missing, or no
    epoch is done, nothing is written.

    Raises `AtrousError` for a damaged log, and where the picture cannot be written.
    """
    lines = read_log(out)
    if not lines or without_curves():
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    (loss, scores), (rate, classes) = figure.subplots(2, 2, sharex=True, width_ratios=(1, 1.25))
    _draw_number(loss, lines, "loss", "loss, mean over the epoch")
    _draw_number(rate, lines, "rate", "learning rate at the end of the epoch")
    _draw_scores(scores, lines)
    _draw_classes(classes, lines, space or _space_of(out))
    for axes in (loss, scores, rate, classes):
        _frame(axes, last=lines[-1]["epoch"])
    with atomic(out / CURVES) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _frame(axes: Axes, *, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, last + max(0.3, 0.02 * last))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("epoch", fontsize=8)


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)


def _draw_number(axes: Axes, lines: Sequence[Line], key: str, title: str) -> None:
    _titled(axes, title)
    values = [_number(line.get(key)) for line in lines]
    if all(math.isnan(value) for value in values):
        axes.text(0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color="0.5")
        return
    axes.plot(_epochs(lines), values, color=_BLUE, linewidth=1.6, marker=_marker(lines), markersize=3)
    highest = max(value for value in values if not math.isnan(value))
    axes.set_ylim(0, _ROOM * highest if highest > 0 and math.isfinite(highest) else None)


def _draw_scores(axes: Axes, lines: Sequence[Line]) -> None:
    _titled(axes, "scores on val, per cent")
    scored = [line for line in lines if not math.isnan(_number(line.get("mean_iou")))]
    if not scored:
        axes.text(0.5, 0.5, "no epoch was scored", transform=axes.transAxes, ha="center", color="0.5")
        return
    for key, name, colour in (("pixel_accuracy", "pixel accuracy", _GREY), ("mean_iou", "mean IoU", _RED)):
        values = [100 * _number(line.get(key)) for line in scored]
        style: dict[str, Any] = {"color": colour, "marker": _marker(scored), "markersize": 3}
        axes.plot(_epochs(scored), values, linewidth=1.8, label=f"{name} {values[-1]:.2f}", **style)
    best = max(scored, key=lambda line: line["mean_iou"])
    words = f"best mean IoU {100 * best['mean_iou']:.2f}, epoch {best['epoch']}"
    axes.plot(best["epoch"], 100 * best["mean_iou"], "o", color=_RED, markersize=8, mfc="white", label=words)
    axes.set_ylim(0, 100)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _draw_classes(axes: Axes, lines: Sequence[Line], space: LabelSpace | None) -> None:
    scored = [line for line in lines if isinstance(line.get("iou"), list) and line["iou"]]
    count = len(scored[-1]["iou"]) if scored else 0
    scored = [line for line in scored if len(line["iou"]) == count]
    table = np.array([100 * _number(value) for line in scored for value in line["iou"]]).reshape(len(scored), count)
    order = _from_best(table)
    many = len(order) > 2 * _NAMED
    _titled(axes, f"IoU of each class, per cent{f' ({_NAMED} best and worst named)' if many else ''}")
    for place, index in enumerate(order):
        name, colour = _looks(index, count, space)
        named = not many or not _NAMED <= place < len(order) - _NAMED
        label = f"{name} {table[-1, index]:.1f}" if named else None
        style: dict[str, Any] = {"marker": _marker(scored), "markersize": 2}
        axes.plot(_epochs(scored), table[:, index], color=colour, linewidth=1.0, label=label, **style)
    if order:
        axes.set_ylim(0, 100)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False, labelspacing=0.25)


def _from_best(table: NDArray[np.float64]) -> list[int]:
    """Return the classes that were ever scored, from the highest IoU at the end to the lowest."""
    if not len(table):
        return []
    order = np.argsort(-np.nan_to_num(table[-1], nan=-1.0), kind="stable")
    return [int(index) for index in order if not np.isnan(table[:, index]).all()]


def _looks(index: int, count: int, space: LabelSpace | None) -> tuple[str, Any]:
    """Return a class's name for the legend, and its colour, darkened where white paper would swallow it."""
    if space is None or len(space) != count:
        return f"class {index}", None
    name = _drawable(space.names[index], f"class {index}")
    colour = np.array(space.colours[index]) / 255
    light = float(colour @ (0.299, 0.587, 0.114))
    # A name that starts with _ would be left out of the legend, and two $ would be read as mathematics.
    words = (name if len(name) <= 24 else f"{name[:22]}...").replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words, tuple(colour * min(1.0, 0.7 / max(light, 1e-6)))


def _drawable(name: str, otherwise: str) -> str:
    """Return the name where the font has all its letters: in place of others it would draw boxes, and warn."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    letters = get_font(findfont(FontProperties())).get_charmap()
    return name if all(ord(letter) in letters for letter in name) else otherwise


def _space_of(out: Path) -> LabelSpace | None:
    try:
        return read_config(model_folder(out)).space
    except AtrousError:
        return None


def _epochs(lines: Sequence[Line]) -> list[int]:
    return [line["epoch"] for line in lines]


def _marker(lines: Sequence[Line]) -> str | None:
    return "o" if len(lines) <= _MARKED else None


def _number(value: Any) -> float:
    """Return a number of the log, nan for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
