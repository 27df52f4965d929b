"""The five numbers of a fully connected CRF, searched from coarse to fine on labelled images.

Chen, Papandreou, Kokkinos, Murphy and Yuille, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", ICLR 2015 (arXiv 1412.7062), section 5, and DeepLab v2 (arXiv 1606.00915), section 4.1: w2 and
sigma_gamma are 3 at first while w1, sigma_alpha and sigma_beta are searched on a coarse grid, then around its best.

| stage | what is tried |
|---|---|
| `published` | no CRF; mild numbers; those of DeepLab v2 (v1's belong to another normalisation) |
| `coarse` | a grid of w1, sigma_alpha, sigma_beta, with w2 = sigma_gamma = 3 |
| `fine` | half-way from the best of the grid to its neighbours in each direction, 27 at most |
| `smoothness` | a grid of w2 and sigma_gamma, beside the best w1, sigma_alpha, sigma_beta so far |
| `finest` | half-way again around the best so far, with its w2 and sigma_gamma |

Different from the papers: theirs leave w2 and sigma_gamma at 3, their grids are of strong numbers only, and a CRF is
taken for granted. A network whose own edges are good may want a weak one, or none, so both can win here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain, product
from math import isnan
from operator import itemgetter
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.data.census import workers
from atrous.evaluation import BoundaryScores, Scores
from atrous.prediction import ahead
from atrous.prediction.refining import checked
from atrous.tuning.cases import Case, named

Objective = Literal["mean_iou", "boundary_f", "pixel_accuracy"]
HEADINGS: dict[Objective, str] = {
    "mean_iou": "mean IoU",
    "boundary_f": "boundary F",
    "pixel_accuracy": "pixel accuracy",
}
"""How the objectives are called in tables and pictures."""


class Numbers(NamedTuple):
    """The five numbers, with the papers' names."""

    w1: float
    sigma_alpha: float
    sigma_beta: float
    w2: float
    sigma_gamma: float


Sweep = Callable[[NDArray[Any], NDArray[np.float32], Sequence[Numbers]], Iterable[NDArray[np.float32]]]
"""From an image (h, w, c) and probabilities (labels, h, w) to the refined ones of each numbers, in order."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The values that are tried, in any order; they are kept ascending.

    Those of w1, sigma_alpha and sigma_beta span the ranges of DeepLab v1 (5..10, 50..100, 3..10) and v2 (3..6, 30..100,
    3..6), which step by 1, 10 and 1. Those of w2 and sigma_gamma are ours.

    Raises `TypeError` for what are no numbers, `ValueError` for none, a sigma that is not above 0 or a weight below it.

    >>> Grid(w1=(6, 3)).w1
    (3.0, 6.0)
    """

    w1: tuple[float, ...] = (3, 6, 10)
    sigma_alpha: tuple[float, ...] = (30, 50, 70, 100)
    sigma_beta: tuple[float, ...] = (3, 5, 7, 10)
    w2: tuple[float, ...] = (0.5, 1, 2, 3, 5)
    sigma_gamma: tuple[float, ...] = (1, 2, 3, 5)

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _ascending(each.name, getattr(self, each.name)))


def _ascending(name: str, values: Any) -> tuple[float, ...]:
    from atrous.crf import parameters

    if not isinstance(values, Iterable) or isinstance(values, str):
        raise TypeError(f"{name} is {values!r}; some numbers are needed, such as (3, 6)")
    limits: dict[str, Any] = {"strictly": True} if name.startswith("sigma") else {"below": parameters.VAST}
    found = sorted({parameters.number(name, value, **limits) for value in values})
    if not found:
        raise ValueError(f"{name} is empty; at least one number is needed, such as (3,)")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What some numbers, or no CRF (None), came to: `score` is the objective, 0..1; `stage` when it was tried."""

    stage: str
    numbers: Numbers | None
    score: float


def searched(
    cases: Sequence[Callable[[], Case]],
    space: LabelSpace,
    sweep: Sweep,
    *,
    objective: Objective = "mean_iou",
    grid: Grid | None = None,
    published: Sequence[Numbers] = (),
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Trial]:
    """Return all trials in order, no CRF first; `best_of` takes the best.

    `cases` are functions that return each labelled image with its probabilities, as `kept` yields them; images are
    tried in parallel by `threads` (one per processor, 8 at most). `progress` is told how many refinements are done, of
    at most `most_trials` for each image.

    Raises `ValueError` for another objective, `AtrousError` where no pixel of the images is counted, and with its path
    for an image whose probabilities the sweep refuses, or of which it makes anything but finite numbers.
    """
    if objective not in get_args(Objective):
        raise ValueError(f"objective {objective!r} came; {', '.join(get_args(Objective))} are possible")
    grid = grid or Grid()
    search = _Search(cases, space, sweep, objective, threads or workers(), progress)
    search.add("published", [None, *published])
    if isnan(search.trials[0].score):
        raise AtrousError("no pixel of these images is counted: every mask is empty or ignore; choose others")
    coarse = [Numbers(*three, 3, 3) for three in product(grid.w1, grid.sigma_alpha, grid.sigma_beta)]
    search.add("coarse", coarse)
    among_coarse = [trial for trial in search.trials if trial.numbers in coarse]
    search.add("fine", around(_best_numbers(among_coarse), search.trials))
    found = _best_numbers(search.trials)
    search.add("smoothness", [found._replace(w2=w2, sigma_gamma=s) for w2, s in product(grid.w2, grid.sigma_gamma)])
    search.add("finest", around(_best_numbers(search.trials), search.trials))
    return search.trials


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial of the highest score, the first of several: a CRF must better no CRF to win."""
    return max(trials, key=lambda trial: trial.score)


def around(centre: Numbers, trials: Sequence[Trial]) -> list[Numbers]:
    """Return the centre and its neighbours in w1, sigma_alpha and sigma_beta, 27 in all.

    A neighbour lies half-way to the next value that the search has tried of that number, published ones apart. Below
    the lowest value the next is 0, above the highest it is as far as the one below.

    >>> trials = [Trial(stage="coarse", numbers=Numbers(w1, 30, 3, 3, 3), score=0) for w1 in (3, 6)]
    >>> sorted({each.w1 for each in around(Numbers(3, 30, 3, 3, 3), trials)})
    [1.5, 3, 4.5]
    """
    known = [trial.numbers for trial in trials if trial.numbers is not None and trial.stage != "published"]
    values = [
        _halfway(value, sorted({each[place] for each in (*known, centre)})) for place, value in enumerate(centre[:3])
    ]
    return [centre._replace(w1=w1, sigma_alpha=alpha, sigma_beta=beta) for w1, alpha, beta in product(*values)]


def _halfway(value: float, tried: list[float]) -> tuple[float, float, float]:
    place = tried.index(value)
    below = tried[place - 1] if place else 0.0
    above = tried[place + 1] if place + 1 < len(tried) else 2 * value - below
    return _short((below + value) / 2), value, _short((value + above) / 2)


def _short(value: float) -> float:
    """Return a number of at most three digits: more would say nothing."""
    return float(f"{value:.3g}")


def most_trials(grid: Grid, published: Sequence[Numbers]) -> int:
    """Return how many trials a search makes at most: some of them may turn out to be the same."""
    coarse = len(grid.w1) * len(grid.sigma_alpha) * len(grid.sigma_beta)
    return 1 + len(published) + coarse + len(grid.w2) * len(grid.sigma_gamma) + 2 * 27


def _best_numbers(trials: Sequence[Trial]) -> Numbers:
    scores = [(trial.numbers, trial.score) for trial in trials if trial.numbers is not None]
    return max(scores, key=itemgetter(1))[0]


def crf_sweep(
    image: NDArray[Any], probabilities: NDArray[np.float32], candidates: Sequence[Numbers]
) -> Iterator[NDArray[np.float32]]:
    """Yield the marginals of each candidate in order, on one thread; those of the same sigmas in a row share lattices.

    >>> halves = np.full((2, 1, 3), 0.5, np.float32)
    >>> [each.shape for each in crf_sweep(np.zeros((1, 3, 3), np.uint8), halves, [Numbers(2, 30, 5, 1, 1)] * 2)]
    [(2, 1, 3), (2, 1, 3)]
    """
    from atrous.crf import DenseCRF

    lattice, made_for = None, None
    for candidate in candidates:
        crf = DenseCRF(**candidate._asdict(), threads=1)
        if lattice is None or candidate[1:3] != made_for:
            lattice, made_for = crf.lattice(image), candidate[1:3]
        yield crf(lattice, probabilities)


@dataclass
class _Search:
    """What has been tried so far, and how more is tried."""

    cases: Sequence[Callable[[], Case]]
    space: LabelSpace
    sweep: Sweep
    objective: Objective
    threads: int
    progress: Callable[[int], None] | None
    trials: list[Trial] = field(default_factory=list)

    def add(self, stage: str, candidates: Sequence[Numbers | None]) -> None:
        """Try the candidates that have not been tried yet on every image, all of them image by image."""
        known = {trial.numbers for trial in self.trials}
        new = sorted({each for each in candidates if each and each not in known}, key=_by_lattice)
        asked = [None, *new] if None in candidates else new
        if not asked:
            return
        sums: list[Any] = [None] * len(asked)
        work = partial(self._tried, candidates=asked)
        for done, (_, found) in enumerate(ahead(self.cases, work, count=self.threads, threads=self.threads), 1):
            if isinstance(found, AtrousError):
                raise found
            sums = [part if total is None else total + part for total, part in zip(sums, found, strict=True)]
            if self.progress is not None:
                self.progress(len(self.trials) * len(self.cases) + len(asked) * done)
        self.trials += [
            Trial(stage=stage, numbers=each, score=_score(total, self.objective))
            for each, total in zip(asked, sums, strict=True)
        ]

    def _tried(
        self, load: Callable[[], Case], *, candidates: Sequence[Numbers | None]
    ) -> list[Scores] | list[BoundaryScores]:
        """Return what one image's scores are with each candidate."""
        case = load()
        kind: Any = BoundaryScores if self.objective == "boundary_f" else Scores
        numbers = [each for each in candidates if each is not None]
        plain = [case.probabilities] if None in candidates else []
        maps = chain(plain, self.sweep(case.image, case.probabilities, numbers))
        with named(case.path):
            found = (checked(each, case.probabilities.shape).argmax(0).astype(np.uint8) for each in maps)
            return [kind.of(case.truth, labels, self.space) for labels in found]


def _by_lattice(numbers: Numbers) -> tuple[float, ...]:
    return *numbers[1:3], numbers.sigma_gamma, numbers.w1, numbers.w2


def _score(total: Any, objective: Objective) -> float:
    return float(total.mean_f if objective == "boundary_f" else getattr(total, objective))
