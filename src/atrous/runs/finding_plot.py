"""The search of a learning rate as a picture: the loss over the rate, and the rates it suggests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atrous.data.writers import atomic, check_figure
from atrous.runs.finding import RateSearch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _RED, _GREEN, _GREY = "#1f5fa8", "#c0392b", "#1e8449", "#7f8c8d"
_HEADROOM = 0.25
"""How far above the losses of the fall the picture reaches, as a share of their height."""


def write_rates(path: str | Path, search: RateSearch) -> None:
    """Draw the loss at each rate, the smoothed one, and the rates suggested, with the recipe's own.

    Raises what `check_figure` does, and `AtrousError` where the file cannot be written.
    """
    check_figure(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(search.rates, search.losses, color="0.75", linewidth=0.8, marker=".", markersize=4, label="each batch")
    axes.plot(search.rates, search.smoothed, color=_BLUE, linewidth=2, label="smoothed")
    _mark(axes, search)
    axes.set_xscale("log")
    axes.set_xlim(search.rates[0], search.rates[-1])
    axes.set_ylim(*_limits(search))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.set_title(f"{len(search.rates)} steps: {search.ended}", loc="left", fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    path = Path(path)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix[1:].lower())


def _mark(axes: Axes, search: RateSearch) -> None:
    suggested, tenth = (search.suggested, _RED, "-"), (search.tenth, _GREEN, "--")
    marks = [
        (*suggested, "steepest fall, suggested"),
        (*tenth, "a tenth of the lowest"),
        (search.recipe_rate, _GREY, ":", "in the recipe"),
    ]
    if search.suggested == search.tenth:
        marks[:2] = [(*suggested, "a tenth of the lowest, suggested")]
    for rate, colour, style, words in marks:
        if rate is not None and search.rates[0] <= rate <= search.rates[-1]:
            axes.axvline(rate, color=colour, linestyle=style, linewidth=1.4, label=f"{words}: {rate:.2g}")


def _limits(search: RateSearch) -> tuple[float, float]:
    """Return the losses between which the picture lies: those of the fall, whatever the growth after it comes to."""
    until = search.rates.index(search.lowest) + 1
    losses = np.asarray(search.losses)
    low, high = float(losses.min()), float(losses[:until].max())
    room = _HEADROOM * max(high - low, 1e-3 * abs(high), 1e-12)
    return low - room / 3, high + room
