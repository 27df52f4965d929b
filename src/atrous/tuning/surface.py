"""The surface of a search as a picture: what each pair of numbers gains over no CRF."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atrous.data.writers import atomic, check_figure
from atrous.tuning.crf import HEADINGS, Numbers, Trial
from atrous.tuning.result import Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_plot(path: str | Path, tuning: Tuning) -> None:
    """Draw the gain over no CRF, in points of a hundred.

    A map of sigma_alpha and sigma_beta for each w1 of the grid, then one of w2 and sigma_gamma.

    Raises what `check_figure` does, and `AtrousError` where the file cannot be written.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    plain = tuning.trials[0].score
    panels = _panels(tuning.trials)
    gains = [100 * (trial.score - plain) for _, _, trials in panels for trial in trials]
    largest = max(0.01, *(abs(gain) for gain in gains))
    figure = Figure(figsize=(3.4 * len(panels) + 0.8, 3.6), facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (title, places, trials) in zip(axes, panels, strict=True):
        image = _draw(panel, title, places, trials, plain, largest)
    figure.colorbar(image, ax=axes, label=f"change of {HEADINGS[tuning.objective]}, points")
    path = Path(path)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=160, format=path.suffix[1:].lower())


def _panels(trials: tuple[Trial, ...]) -> list[tuple[str, tuple[int, int], list[Trial]]]:
    """Return of each map its title, which two numbers span it, and its trials."""
    coarse = [trial for trial in trials if trial.stage == "coarse"]
    numbers = [trial.numbers for trial in coarse if trial.numbers is not None]
    panels = [
        (
            f"w1 {w1:g}; w2 3, sigma_gamma 3",
            (1, 2),
            [trial for trial in coarse if trial.numbers and trial.numbers.w1 == w1],
        )
        for w1 in sorted({each.w1 for each in numbers})
    ]
    smooth = [trial.numbers for trial in trials if trial.stage == "smoothness" and trial.numbers is not None]
    if smooth:
        w1, alpha, beta = smooth[0][:3]
        # A pair that an earlier stage has tried is not tried again.
        same = [each for each in trials if each.numbers and each.numbers[:3] == smooth[0][:3]]
        pairs = _whole_map(
            {each[3:] for each in smooth}, sorted({each.numbers[3:] for each in same if each.numbers is not None})
        )
        same = [each for each in same if each.numbers and each.numbers[3:] in pairs]
        panels.append((f"w1 {w1:g}, sigma_alpha {alpha:g}, sigma_beta {beta:g}", (3, 4), same))
    return panels


def _whole_map(wanted: set[tuple[float, float]], known: list[tuple[float, float]]) -> set[tuple[float, float]]:
    """Return the pairs of a map without holes: those wanted, and each known one that leaves no hole in its row."""
    pairs = set(product(*map(set, zip(*wanted, strict=True))))
    for pair in known:
        wider = set(product(*map(set, zip(*pairs, pair, strict=True))))
        if wider <= set(known):
            pairs = wider
    return pairs


def _draw(panel: Axes, title: str, places: tuple[int, int], trials: list[Trial], plain: float, largest: float) -> Any:
    """Draw one map with its numbers in it, and return its image."""
    known = [(trial.numbers, 100 * (trial.score - plain)) for trial in trials if trial.numbers is not None]
    rows, columns = (sorted({numbers[place] for numbers, _ in known}) for place in places)
    gains = np.full((len(rows), len(columns)), np.nan)
    for numbers, gain in known:
        row, column = rows.index(numbers[places[0]]), columns.index(numbers[places[1]])
        gains[row, column] = gain
        panel.text(column, row, f"{gain:+.2f}", ha="center", va="center", fontsize=8)
    image = panel.imshow(gains, cmap="RdBu", vmin=-largest, vmax=largest, origin="lower", aspect="auto", alpha=0.8)
    panel.set_title(title, fontsize=9)
    panel.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    panel.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    panel.set_ylabel(Numbers._fields[places[0]])
    panel.set_xlabel(Numbers._fields[places[1]])
    return image
