"""How sure a score is: bootstrap intervals over images, and of the difference of two runs on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.evaluation.dependence import note_on
from atrous.evaluation.figures import plain
from atrous.evaluation.per_image import PerImage

Measure = Literal["mean_iou", "pixel_accuracy", "mean_dice"]
MEASURE_TITLES: dict[Measure, str] = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_dice": "mean Dice",
}
INTERVAL_DEFINITIONS = {
    "interval": "percentile bootstrap over images: as many images are drawn with replacement, their counts summed in "
    "one matrix and the score computed, again and again; the interval leaves out as many of the lowest as of the "
    "highest; classes that a draw lacks are left out of its means",
    "block": "so many neighbouring images are drawn together, for images that depend on their neighbours, such as "
    "frames of a clip; the last is followed by the first",
    "protocol": "it covers which images were drawn, not which weights training came to: that takes several seeds",
}
_AT_ONCE = 1 << 22  # values of the draws that are summed at a time


class Interval(NamedTuple):
    """A score with the lower and upper end of its interval; NaN where it is undefined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Return the three as plain JSON values."""
        return {"value": plain(self.value), "low": plain(self.low), "high": plain(self.high)}


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Bootstrap intervals of a set's scores; `iou` has one per class, `note` what speaks against them, if anything."""

    space: LabelSpace
    mean_iou: Interval
    pixel_accuracy: Interval
    mean_dice: Interval
    iou: tuple[Interval, ...]
    level: float
    resamples: int
    seed: int
    block: int
    images: int
    note: str | None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [{"name": name, "iou": iou.as_json()} for name, iou in zip(self.space.names, self.iou, strict=True)]
        return {
            **{name: getattr(self, name) for name in ("level", "resamples", "seed", "block", "images")},
            **{name: getattr(self, name).as_json() for name in MEASURE_TITLES},
            "classes": classes,
            "note": self.note,
            "definitions": INTERVAL_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the scores with their intervals in per cent, the means first, then a line per class."""
        means = [(title, getattr(self, name)) for name, title in MEASURE_TITLES.items()]
        rows = [*means, *((f"IoU of {name}", iou) for name, iou in zip(self.space.names, self.iou, strict=True))]
        width = max(len(title) for title, _ in rows)
        lines = [f"{100 * self.level:g} % intervals" + " " * max(0, width - 13) + "   score       low      high"]
        lines += [f"{title:<{width}}   {'   '.join(_points(each) for each in row)}" for title, row in rows]
        how = f"{self.resamples} draws, seed {self.seed}, blocks of {self.block}"
        words = "; ".join(text for name, text in INTERVAL_DEFINITIONS.items() if self.block > 1 or name != "block")
        return "\n".join([*lines, f"({self.images} images, {how}; {words})", *([self.note] if self.note else [])])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better the second of two runs is than the first on the same images, with a paired interval.

    `value`, `low` and `high` are differences of `measure`, second less first; `note` says what speaks against them.
    """

    names: tuple[str, str]
    measure: Measure
    scores: tuple[float, float]
    value: float
    low: float
    high: float
    level: float
    resamples: int
    seed: int
    block: int
    images: int
    note: str | None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return bool(self.low > 0 or self.high < 0)

    @property
    def sentence(self) -> str:
        """What was found, in a sentence that can be cited; differences are in points, hundredths."""
        if np.isnan(self.value):
            return f"{' and '.join(self.names)} cannot be compared: no pixel of the {self.images} images is counted"
        sign = -1 if self.value < 0 else 1
        title, better = MEASURE_TITLES[self.measure], self.names[0 if sign < 0 else 1]
        low, high = sorted((100 * sign * self.low, 100 * sign * self.high))
        verdict = "significant" if self.significant else "not significant"
        blocks = f" in blocks of {self.block}" if self.block > 1 else ""
        found = f"{better} is better by {100 * abs(self.value):.2f} points of {title}"
        return (
            f"{found if self.value else f'{self.names[0]} and {self.names[1]} are equal in {title}'} "
            f"({100 * self.level:g} % interval {low:.2f} to {high:.2f}, {self.images} images, paired "
            f"bootstrap{blocks}): {verdict} at the {100 * (1 - self.level):g} % level"
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the sentence and the definitions included."""
        fields = ("measure", "level", "resamples", "seed", "block", "images", "significant", "sentence", "note")
        return {
            "names": list(self.names),
            "scores": [plain(score) for score in self.scores],
            **{name: plain(getattr(self, name)) for name in ("value", "low", "high")},
            **{name: getattr(self, name) for name in fields},
            "definitions": INTERVAL_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the sentence, and the note below it."""
        return "\n".join([self.sentence, *([self.note] if self.note else [])])


def intervals(
    images: PerImage, *, resamples: int = 1000, seed: int = 0, level: float = 0.95, block: int = 1
) -> Intervals:
    """Return bootstrap intervals of the scores of a set from the counts of its images.

    `block` neighbouring images are drawn together, in the order they came; 1 takes images as independent. The same
    seed gives the same intervals.

    Raises `ValueError` for fewer than two images, no draws, a level outside 0..1, and a block outside 1..images.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13; blocks: Politis and Romano, "A
    circular block-resampling procedure for stationary data", 1992.

    >>> counts = np.array([[[9, 10, 10]], [[5, 10, 10]], [[7, 10, 10]]])
    >>> images = PerImage(space=LabelSpace(names=("a",)), names=("x", "y", "z"), counts=counts)
    >>> intervals(images).pixel_accuracy
    Interval(value=0.7, low=0.5, high=0.9)
    """
    _check(len(images), resamples, level, block)
    drawn = drawn_sums(images.counts[None], resamples=resamples, seed=seed, block=block)[0]
    whole = images.counts.sum(0, keepdims=True)
    found: dict[str, Any] = {
        name: _interval(_score(whole, name)[0], _score(drawn, name), level) for name in MEASURE_TITLES
    }
    iou = tuple(_interval(value, draws, level) for value, draws in zip(_iou(whole)[0], _iou(drawn).T, strict=True))
    options = _options(level, resamples, seed, block)
    note = note_on(images.mean_iou, block)
    return Intervals(space=images.space, iou=iou, images=len(images), note=note, **found, **options)


def compared(
    first: PerImage,
    second: PerImage,
    *,
    names: tuple[str, str] = ("A", "B"),
    measure: Measure = "mean_iou",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    block: int = 1,
) -> Difference:
    """Return how much better the second of two runs is on the same images: every draw takes the same of both.

    Images are matched by their names, in the order of the first.

    Raises `ValueError` for what `intervals` refuses, an unknown measure, other classes, names that repeat or that only
    one of them has, and images whose true counts differ, since they were scored against other masks.

    >>> space, names = LabelSpace(names=("a",)), ("x", "y", "z")
    >>> one, other = np.array([[[9, 10, 10]], [[5, 10, 10]], [[7, 10, 10]]]), np.array([[[10, 10, 10]]] * 3)
    >>> runs = [PerImage(space=space, names=names, counts=counts) for counts in (one, other)]
    >>> compared(*runs, measure="pixel_accuracy").sentence.split(" (")[0]
    'B is better by 30.00 points of pixel accuracy'
    """
    if measure not in MEASURE_TITLES:
        raise ValueError(f"measure {measure!r} came; it is one of {', '.join(MEASURE_TITLES)}")
    counts = np.stack([first.counts, _matched(first, second)])
    _check(len(first), resamples, level, block)
    drawn = drawn_sums(counts, resamples=resamples, seed=seed, block=block)
    draws = [_score(sums, measure) for sums in drawn]
    scores = [float(_score(each.sum(0, keepdims=True), measure)[0]) for each in counts]
    value, low, high = _interval(scores[1] - scores[0], draws[1] - draws[0], level)
    options = _options(level, resamples, seed, block)
    options |= {"images": len(first), "note": note_on(first.mean_iou, block), "measure": measure, "names": names}
    return Difference(scores=(scores[0], scores[1]), value=value, low=low, high=high, **options)


def drawn_sums(counts: NDArray[np.int64], *, resamples: int, seed: int, block: int) -> NDArray[np.float64]:
    """Return (runs, resamples, classes, 3): the counts (runs, images, classes, 3) of drawn images, summed."""
    runs, images = counts.shape[:2]
    random = np.random.default_rng(seed)
    flat = counts.reshape(runs, images, -1).astype(np.float64)
    sums = np.empty((runs, resamples, flat.shape[2]))
    step = max(1, _AT_ONCE // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        starts = random.integers(0, images, (rows, -(-images // block)))
        drawn = ((starts[..., None] + np.arange(block)) % images).reshape(rows, -1)[:, :images]
        numbers = drawn + np.arange(rows)[:, None] * images
        times = np.bincount(numbers.ravel(), minlength=rows * images).reshape(rows, images)
        sums[:, start : start + rows] = times.astype(np.float64) @ flat
    return sums.reshape(runs, resamples, *counts.shape[2:])


def _iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return IoU (n, classes) of counts (n, classes, 3), NaN where the truth lacks the class."""
    found, truth, predicted = np.moveaxis(counts, -1, 0).astype(np.float64)
    return np.divide(found, truth + predicted - found, out=np.full(found.shape, np.nan), where=truth > 0)


def _score(counts: NDArray[Any], measure: Measure) -> NDArray[np.float64]:
    """Return a score (n,) of counts (n, classes, 3), as `Scores` defines it; NaN where no truth is counted."""
    truth = counts[..., 1]
    if measure == "pixel_accuracy":
        totals = truth.sum(1).astype(np.float64)
        return np.divide(counts[..., 0].sum(1), totals, out=np.full(len(totals), np.nan), where=totals > 0)
    values = _iou(counts)
    values = 2 * values / (1 + values) if measure == "mean_dice" else values
    present = truth > 0
    classes = present.sum(1)
    sums = np.where(present, values, 0).sum(1)
    return np.divide(sums, classes, out=np.full(len(classes), np.nan), where=classes > 0)


def _interval(value: float, draws: NDArray[np.float64], level: float) -> Interval:
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def _matched(first: PerImage, second: PerImage) -> NDArray[np.int64]:
    """Return the counts of the second in the order of the first's names."""
    if first.space.names != second.space.names:
        raise ValueError(f"classes {first.space.names} and {second.space.names} came; runs of the same are compared")
    places = {name: index for index, name in enumerate(second.names)}
    if len(places) < len(second.names) or len(set(first.names)) < len(first.names):
        raise ValueError("names of images repeat; each needs its own, by which the runs are matched")
    if alone := sorted(places.keys() ^ set(first.names)):
        raise ValueError(
            f"{len(alone)} images are in one run only, such as {alone[0]}; runs on the same images are compared"
        )
    counts = second.counts[[places[name] for name in first.names]]
    if other := np.flatnonzero((counts[..., 1] != first.counts[..., 1]).any(1)).tolist():
        raise ValueError(
            f"{len(other)} images, such as {first.names[other[0]]}, have other true pixels in the second run; score "
            "both against the same masks"
        )
    return counts


def _check(images: int, resamples: int, level: float, block: int) -> None:
    if images < 2:
        raise ValueError(f"{images} images came; an interval over images takes two or more")
    if resamples < 1:
        raise ValueError(f"{resamples} draws came; one or more are needed, 1000 are usual")
    if not 0 < level < 1:
        raise ValueError(f"level {level} came; it lies between 0 and 1, such as 0.95")
    if not 1 <= block <= images:
        raise ValueError(f"blocks of {block} images came; they have 1 to {images}")


def _options(level: float, resamples: int, seed: int, block: int) -> dict[str, Any]:
    """Return how was drawn, in numbers that JSON takes."""
    return {"level": float(level), "resamples": int(resamples), "seed": int(seed), "block": int(block)}


def _points(value: float) -> str:
    return "      -" if np.isnan(value) else f"{100 * value:7.2f}"
