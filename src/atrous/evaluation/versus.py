"""Two evaluations of the same images: what the second gains, class by class and image by image, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.evaluation.bootstrap import Difference, compared, drawn_sums
from atrous.evaluation.dependence import frames_note
from atrous.evaluation.figures import mean_known, percent, plain
from atrous.evaluation.per_image import PerImage
from atrous.evaluation.report import NO_CLASS
from atrous.evaluation.scores import DEFINITIONS

VERSUS_DEFINITIONS = {
    "difference": "the second minus the first, of scores from one confusion matrix over the set each",
    "interval": "of a paired bootstrap: the same images are drawn for both, with replacement, and both are scored",
    "won": "images whose mean IoU is higher with the second, and with the first",
    "protocol": "intervals say how other images like these may do; two trainings of one recipe differ too, which only "
    "runs of several seeds show",
}
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Versus:
    """Two evaluations of the same images with the same truth; `names` say which is which.

    `resamples` is how many bootstrap samples intervals are of, `block` how many neighbouring images are drawn together;
    there is no interval for one image.
    """

    names: tuple[str, str]
    first: PerImage
    second: PerImage
    resamples: int = 1000
    block: int = 1

    @classmethod
    def of(
        cls, first: PerImage, second: PerImage, *, names: tuple[str, str], resamples: int = 1000, block: int = 1
    ) -> Versus:
        """Pair two evaluations by the names of the images.

        Raises `AtrousError` where classes, images or the counts of the truth differ: then nothing is compared; and
        `ValueError` for a block of more images than there are.
        """
        if not 1 <= block <= len(first):
            raise ValueError(f"block {block} came, and {len(first)} images are compared; 1 to {len(first)} of them")
        first, second = _without_none(first), _without_none(second)
        _refuse_classes(first, second, names)
        _refuse_images(first, second, names)
        place = {name: index for index, name in enumerate(second.names)}
        order = [place[name] for name in first.names]
        paired = PerImage(space=second.space, names=first.names, counts=second.counts[order])
        _refuse_truths(first, paired, names)
        return cls(names=_apart(names), first=first, second=paired, resamples=resamples, block=block)

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """The differences of mean IoU and pixel accuracy with their intervals; none of one image."""
        if len(self.first) < 2:
            return {}
        return {
            measure: compared(self.first, self.second, names=self.names, measure=measure, **self._draws)
            for measure in ("mean_iou", "pixel_accuracy")
        }

    @property
    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Mean IoU and pixel accuracy of both."""
        first, second = (_means(side) for side in (self.first, self.second))
        return first, second

    @cached_property
    def classes(self) -> list[dict[str, Any]]:
        """Per class: name, `first` and `second` IoU, `difference`, and its interval `low` to `high`, None without."""
        sides = [_iou(side.counts.sum(0)) for side in (self.first, self.second)]
        low, high = self._class_intervals()
        return [
            {
                "name": name,
                "first": plain(sides[0][index]),
                "second": plain(sides[1][index]),
                "difference": plain(sides[1][index] - sides[0][index]),
                "low": plain(low[index]),
                "high": plain(high[index]),
            }
            for index, name in enumerate(self.first.space.names)
        ]

    def _class_intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        count = len(self.first)
        nothing = np.full(len(self.first.space), np.nan)
        if count < 2:
            return nothing, nothing
        both = np.stack([self.first.counts, self.second.counts])
        sides = [_iou(sums) for sums in drawn_sums(both, seed=0, **self._draws)]
        change = sides[1] - sides[0]
        known = ~np.isnan(change).all(0)
        low, high = nothing.copy(), nothing.copy()
        low[known], high[known] = np.nanpercentile(change[:, known], (2.5, 97.5), axis=0)
        return low, high

    @property
    def _draws(self) -> dict[str, int]:
        return {"resamples": self.resamples, "block": self.block}

    @property
    def note(self) -> str | None:
        """What speaks against the intervals, None where nothing does."""
        if not self.differences:
            return None
        notes = self.differences["mean_iou"].note, frames_note(self.first.names, self.block)
        return next((note for note in notes if note), None)

    @property
    def gains(self) -> list[tuple[str, float, float]]:
        """Per image its name and both mean IoU, the largest gain first; images without any are left out."""
        rows = zip(self.first.names, self.first.mean_iou, self.second.mean_iou, strict=True)
        known = [(name, float(one), float(two)) for name, one, two in rows if not np.isnan(one + two)]
        return sorted(known, key=lambda row: row[1] - row[2])

    @property
    def sentence(self) -> str:
        """What the comparison comes to, in words."""
        if not self.differences:
            return "one image: nothing can be said about other images"
        return self.differences["mean_iou"].sentence

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        first, second = self.means
        return {
            "first": {"name": self.names[0], **{key: plain(value) for key, value in first.items()}},
            "second": {"name": self.names[1], **{key: plain(value) for key, value in second.items()}},
            "images": len(self.first),
            "difference": {key: plain(second[key] - first[key]) for key in first},
            "intervals": {key: value.as_json() for key, value in self.differences.items()} or None,
            "sentence": self.sentence,
            "note": self.note,
            "classes": self.classes,
            "per_image": [{"name": name, "first": one, "second": two} for name, one, two in self.gains],
            "definitions": {**{key: DEFINITIONS[key] for key in first}, **VERSUS_DEFINITIONS},
        }

    def as_text(self) -> str:
        """Return both scores and the difference in per cent, the sentence, a line per class, and who gained most."""
        first, second = self.means
        width = max(14, *(len(name) for name in self.first.space.names))
        lines = [f"first: {self.names[0]}", f"second: {self.names[1]}", ""]
        lines.append(f"{'':<{width}}    first   second   change   interval")
        for key, value in first.items():
            difference = self.differences.get(key)
            ends = None if difference is None else (difference.low, difference.high)
            name = key.replace("_", " ").replace("iou", "IoU")
            lines.append(f"{name:<{width}}{_row(value, second[key], ends)}   {DEFINITIONS[key]}")
        lines += [
            "",
            self.sentence,
            *([self.note] if self.note else []),
            "",
            f"{'class (IoU)':<{width}}    first   second   change   interval",
        ]
        for row in self.classes:
            ends = None if row["low"] is None else (row["low"], row["high"])
            first_iou, second_iou = (float("nan") if row[key] is None else row[key] for key in ("first", "second"))
            lines.append(f"{row['name']:<{width}}{_row(first_iou, second_iou, ends)}")
        lines += ["", *self._images(), "", *(f"{name}: {words}" for name, words in VERSUS_DEFINITIONS.items())]
        return "\n".join(lines)

    @property
    def won(self) -> tuple[int, int]:
        """How many images are better with the second, and with the first."""
        return sum(two > one for _, one, two in self.gains), sum(two < one for _, one, two in self.gains)

    def _images(self) -> list[str]:
        better, worse = self.won
        lines = [f"of {len(self.first)} images {better} are better with the second, {worse} with the first"]
        for title, rows in (("gained most", self.gains[:_SHOWN]), ("lost most", self.gains[::-1][:_SHOWN])):
            wanted = [row for row in rows if (row[2] > row[1]) is (title == "gained most") and row[2] != row[1]]
            told = ", ".join(f"{name} {100 * (two - one):+.2f}" for name, one, two in wanted)
            lines += [f"{title}: {told}"] if told else []
        return lines


def _row(first: float, second: float, ends: tuple[float, float] | None) -> str:
    change = second - first
    told = "        -" if np.isnan(change) else f"{100 * change:+9.2f}"
    words = "" if ends is None else f"   {100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}"
    return f"   {percent(first)}   {percent(second)}{told}{words}"


def _iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return IoU of (..., 3) counts; NaN where the truth has none."""
    found, truth, predicted = np.moveaxis(counts.astype(np.float64), -1, 0)
    return np.divide(found, truth + predicted - found, out=np.full(found.shape, np.nan), where=truth > 0)


def _means(side: PerImage) -> dict[str, float]:
    total = side.counts.sum(0)
    pixels = total[:, 1].sum()
    accuracy = float(total[:, 0].sum() / pixels) if pixels else float("nan")
    return {"mean_iou": mean_known(_iou(total)), "pixel_accuracy": accuracy}


def _without_none(side: PerImage) -> PerImage:
    """Return counts without those of pixels of no class: of two folders of masks one may have them, one not."""
    if side.space.names[-1] != NO_CLASS:
        return side
    space = LabelSpace(names=side.space.names[:-1], colours=side.space.colours[:-1])
    return PerImage(space=space, names=side.names, counts=side.counts[:, :-1])


def _apart(names: tuple[str, str]) -> tuple[str, str]:
    return names if names[0] != names[1] else (f"{names[0]} (first)", f"{names[1]} (second)")


def _refuse_classes(first: PerImage, second: PerImage, names: tuple[str, str]) -> None:
    one, two = first.space.names, second.space.names
    if one == two:
        return
    if sorted(one) == sorted(two):
        raise AtrousError(f"{names[0]} and {names[1]} have the same classes in another order; nothing is compared")
    lacks = [name for name in one if name not in two][:3], [name for name in two if name not in one][:3]
    told = [f"only {name} has {', '.join(some)}" for name, some in zip(names, lacks, strict=True) if some]
    raise AtrousError(
        f"{names[0]} has {len(one)} classes and {names[1]} {len(two)}: {'; '.join(told)}. Runs are compared on "
        "the same classes in the same order"
    )


def _refuse_images(first: PerImage, second: PerImage, names: tuple[str, str]) -> None:
    alone = [sorted(set(one.names) - set(two.names)) for one, two in ((first, second), (second, first))]
    if not any(alone):
        return
    told = [f"only in {name}: {', '.join(some[:3])}" for name, some in zip(names, alone, strict=True) if some]
    raise AtrousError(
        f"{names[0]} was scored on {len(first)} images and {names[1]} on {len(second)}, which are not the same "
        f"({'; '.join(told)}). Score both on the same split of the same data"
    )


def _refuse_truths(first: PerImage, second: PerImage, names: tuple[str, str]) -> None:
    differ = np.flatnonzero((first.counts[..., 1] != second.counts[..., 1]).any(1))
    if len(differ):
        raise AtrousError(
            f"{names[0]} and {names[1]} were scored against other masks: those of {len(differ)} images differ, first "
            f"{first.names[differ[0]]}. Score both against the same"
        )
