"""What runs of several seeds come to: the mean of their scores, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atrous.store import model_folder, read_config, write_json

SEEDS = "seeds.json"
_SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


@dataclass(frozen=True)
class Seeds:
    """Scores of runs that differ in their seed: of each run, their mean, and their deviation (of a sample, n - 1)."""

    runs: tuple[str, ...]
    scores: dict[str, tuple[float, ...]]
    mean: dict[str, float]
    deviation: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the scores as lines of plain text, in per cent."""
        if not self.mean:
            return f"{len(self.runs)} runs, none of them scored: no images were held out"
        lines = [f"{len(self.runs)} runs, mean and deviation of their best epochs"]
        for name, values in self.scores.items():
            each = ", ".join(f"{100 * value:.2f}" for value in values)
            words = name.replace("_", " ").replace("iou", "IoU")
            lines.append(f"{words:<24}{100 * self.mean[name]:6.2f} +- {100 * self.deviation[name]:.2f}   ({each})")
        return "\n".join(lines)

    def write(self, out: Path) -> None:
        """Write `seeds.json`."""
        write_json(out / SEEDS, self.as_json())


def seeds_summary(folders: Sequence[Path]) -> Seeds:
    """Return what the best scores of several runs come to; raises `AtrousError` where one of them has no model."""
    stored = [read_config(model_folder(folder)).scores or {} for folder in folders]
    scores = {
        name: tuple(each[name] for each in stored)
        for name in _SCORES
        if all(isinstance(each.get(name), float) for each in stored)
    }
    return Seeds(
        runs=tuple(folder.name for folder in folders),
        scores=scores,
        mean={name: statistics.fmean(values) for name, values in scores.items()},
        deviation={name: statistics.stdev(values) for name, values in scores.items()},
    )
