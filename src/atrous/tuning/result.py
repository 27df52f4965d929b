"""A CRF tuned for a scorer: the search on some images, and what it gives on the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace, Scorer
from atrous.data import Pair
from atrous.data.facts import spaced
from atrous.evaluation import Comparison, plain_means
from atrous.tuning.cases import LIMIT, Progress, cases_of, compared, kept
from atrous.tuning.crf import (
    HEADINGS,
    Grid,
    Numbers,
    Objective,
    Sweep,
    Trial,
    best_of,
    crf_sweep,
    most_trials,
    searched,
)

_SHOWN = 10
"""How many of the best trials the table has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """What a search came to.

    `best` are its numbers, None where no CRF is better than any that was tried. `tuned` compares before and after on
    the images of the search, named in `images`, which flatters; `held_out` does on the rest of the split, where some
    were held out.
    """

    trials: tuple[Trial, ...]
    objective: Objective
    best: Numbers | None
    images: tuple[str, ...]
    tuned: Comparison
    held_out: Comparison | None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            **self.as_stored(),
            "tuned": self.tuned.as_json(),
            "held_out": None if self.held_out is None else self.held_out.as_json(),
            "trials": [{"stage": each.stage, **_crf(each.numbers), "score": each.score} for each in self.trials],
        }

    def as_stored(self) -> dict[str, Any]:
        """Return what a run keeps: the numbers, how they were found, and the means before and after."""
        return {
            **_crf(self.best),
            "objective": self.objective,
            "tried": len(self.trials),
            "tuned": _means(self.tuned),
            "held_out": None if self.held_out is None else _means(self.held_out),
        }

    def as_text(self) -> str:
        """Return the best trials as a table, then the scores before and after, in per cent."""
        plain = self.trials[0].score
        lines = [
            f"{len(self.trials)} trials on {len(self.images)} images; {HEADINGS[self.objective]} in per cent",
            "",
            "    w1  sigma_alpha  sigma_beta     w2  sigma_gamma    score   change   stage",
        ]
        ranked = sorted(self.trials, key=lambda trial: -trial.score)
        rows = [*ranked[:_SHOWN], *(trial for trial in ranked[_SHOWN:] if trial.numbers is None)]
        lines += [f"{_row(trial)}{100 * (trial.score - plain):+9.2f}   {trial.stage}" for trial in rows]
        if self.best is None:
            lines += [
                "",
                "No CRF is better than any that was tried: --crf will leave this model's probabilities alone.",
            ]
        lines += ["", "On the images it was tuned on, which flatters:", self.tuned.as_text()]
        if self.held_out is not None:
            lines += ["", "On the other images of the split:", self.held_out.as_text()]
        return "\n".join(lines)


def tuned(
    scorer: Scorer,
    pairs: Sequence[Pair],
    space: LabelSpace,
    *,
    images: int | None = None,
    objective: Objective = "mean_iou",
    grid: Grid | None = None,
    sweep: Sweep = crf_sweep,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> Tuning:
    """Search the five numbers on `images` of the pairs, evenly spaced (None: on all), and score the rest with the best.

    The network runs once on every image. `progress` is told how much is done, and of how much; `limit` is how many
    bytes of probabilities are kept in memory rather than on disk.

    Raises `ValueError` for no pairs, fewer than one image, or what `searched` refuses; `AtrousError` for an image that
    cannot be read or has no mask.
    """
    if not pairs or (images is not None and images < 1):
        raise ValueError(f"images {images} of {len(pairs)} came; tuning needs at least 1")
    some = spaced(pairs, images)
    names = tuple(pair.name for pair in some)
    rest = [pair for pair in pairs if pair.name not in names]
    grid, published = grid or Grid(), _published() if sweep is crf_sweep else []
    refinements = most_trials(grid, published) * len(some)
    told = partial(_told, progress, len(pairs) + refinements)
    with kept(cases_of(scorer, some, space), limit=limit, progress=told(0)) as cases:
        options: dict[str, Any] = {"objective": objective, "grid": grid, "published": published}
        trials = searched(cases, space, sweep, progress=told(len(some)), **options)
        best = best_of(trials).numbers
        refiner = None if best is None else partial(_refined, sweep, best)
        words = "nothing, since no CRF was better" if best is None else f"a CRF of {_listed(best)}"
        on_tuned = compared((load() for load in cases), refiner, space, words=words)
    others = cases_of(scorer, rest, space)
    last = told(len(some) + refinements)
    return Tuning(
        trials=tuple(trials),
        objective=objective,
        best=best,
        images=names,
        tuned=on_tuned,
        held_out=compared(others, refiner, space, words=words, progress=last) if rest else None,
    )


def _published() -> list[Numbers]:
    """Return the published numbers that belong to the symmetric normalisation, which is the one that is searched."""
    from atrous.crf import deeplab_v2, mild

    return [Numbers(*(getattr(crf, name) for name in Numbers._fields)) for crf in (mild(), deeplab_v2())]


def _refined(
    sweep: Sweep, numbers: Numbers, image: NDArray[Any], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    return next(iter(sweep(image, probabilities, [numbers])))


def _told(progress: Progress | None, total: int, before: int) -> Callable[[int], None] | None:
    """Return what tells `progress` of one part of the work, which comes after `before`."""
    return None if progress is None else lambda done: progress(before + done, total)


def _crf(numbers: Numbers | None) -> dict[str, Any]:
    return {"crf": None if numbers is None else numbers._asdict()}


def _listed(numbers: Numbers) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in numbers._asdict().items())


def _means(comparison: Comparison) -> dict[str, Any]:
    before, after = comparison.before.means, comparison.after.means
    images = comparison.before.scores.images
    return {"images": images, "before": plain_means(before), "after": plain_means(after)}


def _row(trial: Trial) -> str:
    if trial.numbers is None:
        return f"{'no CRF':<52}{100 * trial.score:9.2f}"
    w1, alpha, beta, w2, gamma = trial.numbers
    return f"{w1:6g}{alpha:13g}{beta:12g}{w2:7g}{gamma:13g} {100 * trial.score:9.2f}"
