"""What refining changed: the scores of the same pixels before and after, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.evaluation.boundary import DEFINITION, BoundaryScores
from atrous.evaluation.scores import DEFINITIONS, Scores

_MEANS = (
    ("mean IoU", "mean_iou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("mean accuracy", "mean_accuracy"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
    ("boundary F", "boundary_f"),
)
_DEFINITIONS = {name: {**DEFINITIONS, "boundary_f": DEFINITION}[name] for _, name in (*_MEANS, ("", "protocol"))}


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The scores and the boundary scores of the same labels; `+` puts those of other images beside them."""

    scores: Scores
    boundary: BoundaryScores

    @classmethod
    def of(cls, truth: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> Measured:
        """Measure one image: `truth` and `labels` are (h, w) uint8."""
        return cls(scores=Scores.of(truth, labels, space), boundary=BoundaryScores.of(truth, labels, space))

    def __add__(self, other: Measured) -> Measured:
        """Return the scores of the images of both."""
        return Measured(scores=self.scores + other.scores, boundary=self.boundary + other.boundary)

    @property
    def means(self) -> dict[str, float]:
        """What is compared, 0..1 or NaN: the four means of `Scores` by their names, and `boundary_f`."""
        shares = {field: getattr(self.scores, field) for _, field in _MEANS if field != "boundary_f"}
        return {**shares, "boundary_f": self.boundary.mean_f}


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Scores of one set of images before and after refining.

    `refiner` says in words what refined them, and `note` what a reader of the scores must know.
    """

    before: Measured
    after: Measured
    refiner: str
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        before, after = self.before.means, self.after.means
        return {
            "refiner": self.refiner,
            "note": self.note,
            "images": self.before.scores.images,
            **{name: plain_means(means) for name, means in (("before", before), ("after", after))},
            "change": plain_means({name: after[name] - before[name] for name in before}),
            "classes": [self._class(index) for index in range(len(self.before.scores.space))],
            "confusion": {name: side.scores.confusion.tolist() for name, side in self._sides()},
            "definitions": _DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the scores in per cent before and after with the change, the means first, then a line per class."""
        space, before, after = self.before.scores.space, self.before.means, self.after.means
        width = max(22, *(len(name) for name in space.names))
        lines = [f"refined with {self.refiner}", *([self.note] if self.note else []), ""]
        lines.append(f"{'':<{width}}   before    after   change")
        lines += [
            f"{name:<{width}}{_change(before[field], after[field])}   {_DEFINITIONS[field]}" for name, field in _MEANS
        ]
        lines += [f"({self.before.scores.images} images; {DEFINITIONS['protocol']})", ""]
        lines.append(f"{'class':<{width}}      IoU    after   change   boundary F    after   change")
        columns = [
            (side.scores.iou[index], side.boundary.f[index])
            for index in range(len(space))
            for side in (self.before, self.after)
        ]
        for name, (iou, f), (new_iou, new_f) in zip(space.names, columns[::2], columns[1::2], strict=True):
            lines.append(f"{name:<{width}}{_change(iou, new_iou)}    {_change(f, new_f)}")
        return "\n".join(lines)

    def _sides(self) -> tuple[tuple[str, Measured], ...]:
        return ("before", self.before), ("after", self.after)

    def _class(self, index: int) -> dict[str, Any]:
        values: dict[str, Any] = {"name": self.before.scores.space.names[index]}
        for name in ("iou", "accuracy", "boundary_f"):
            first, second = (
                float((side.boundary.f if name == "boundary_f" else getattr(side.scores, name))[index])
                for _, side in self._sides()
            )
            values[name] = plain_means({"before": first, "after": second, "change": second - first})
        return values


def plain_means(means: dict[str, float]) -> dict[str, float | None]:
    """Return scores as JSON takes them: NaN becomes None."""
    return {name: None if np.isnan(value) else float(value) for name, value in means.items()}


def _change(before: float, after: float) -> str:
    return "".join(f"{'-':>9}" if np.isnan(value) else f"{100 * value:9.2f}" for value in (before, after)) + (
        f"{'-':>9}" if np.isnan(after - before) else f"{100 * (after - before):+9.2f}"
    )
