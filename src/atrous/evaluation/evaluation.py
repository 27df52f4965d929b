"""Everything that is measured of a labelled set, in one value that adds up over images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.evaluation.bootstrap import Intervals, intervals
from atrous.evaluation.boundary import BoundaryScores
from atrous.evaluation.boundary_iou import BoundaryIoU
from atrous.evaluation.calibration import Calibration
from atrous.evaluation.distances import Distances
from atrous.evaluation.flicker import Flicker, Frame
from atrous.evaluation.objects import ObjectScores
from atrous.evaluation.per_image import PerImage
from atrous.evaluation.rand import RandScores
from atrous.evaluation.scores import Scores
from atrous.evaluation.trimap import TrimapScores
from atrous.evaluation.warping import WarpingScores

MEASURES = (
    "boundary",
    "trimap",
    "boundary_iou",
    "distances",
    "objects",
    "rand",
    "warping",
    "calibration",
    "flicker",
)
"""What can be measured besides the scores of the confusion matrix and those per image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The scores of a labelled set, per image too, and the measures that were asked for; the others are None.

    >>> truth, found = np.uint8([[0, 0, 1, 1]]), np.uint8([[0, 1, 1, 1]])
    >>> evaluation = Evaluation.of("a.png", truth, found, LabelSpace(names=("a", "b")), measures=("boundary",))
    >>> evaluation.measures, evaluation.scores.pixel_accuracy, evaluation.boundary.mean_f
    (('boundary',), 0.75, 1.0)
    """

    scores: Scores
    per_image: PerImage
    boundary: BoundaryScores | None = None
    trimap: TrimapScores | None = None
    boundary_iou: BoundaryIoU | None = None
    distances: Distances | None = None
    objects: ObjectScores | None = None
    rand: RandScores | None = None
    warping: WarpingScores | None = None
    calibration: Calibration | None = None
    flicker: Flicker | None = None

    @classmethod
    def of(
        cls,
        name: str,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        measures: Collection[str] = (),
        probabilities: NDArray[Any] | None = None,
        instances: NDArray[Any] | None = None,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
        image: NDArray[Any] | None = None,
        previous: Frame | None = None,
    ) -> Evaluation:
        """Measure one image, which is called `name`.

        `truth` and `labels` are (h, w) uint8, 255 where the truth is ignored; volumes (d, h, w) have scores, distances
        and calibration, and no other measures. `measures` are some of `MEASURES`, of which calibration needs the
        `probabilities` (classes, h, w). `instances` (h, w) numbers the true objects, `spacing` and `unit` are those of
        `Distances.of`. `previous` is the frame before in a sequence, None for the first, and `image` this frame's.

        Raises `ValueError` for unknown measures, calibration without probabilities of its classes, Rand or warping
        error of other than two classes, and what each measure refuses.
        """
        _check(measures, space, probabilities)
        scores, frame = Scores.of(truth, labels, space), Frame(labels, truth, image)
        makers = {
            "boundary": lambda: BoundaryScores.of(truth, labels, space),
            "trimap": lambda: TrimapScores.of(truth, labels, space),
            "boundary_iou": lambda: BoundaryIoU.of(truth, labels, space),
            "distances": lambda: Distances.of(truth, labels, space, spacing=spacing, unit=unit),
            "objects": lambda: ObjectScores.of(truth, labels, space, instances=instances),
            "rand": lambda: RandScores.of(truth, labels),
            "warping": lambda: WarpingScores.of(truth, labels),
            "calibration": lambda: None if probabilities is None else Calibration.of(truth, probabilities),
            "flicker": lambda: Flicker() if previous is None else Flicker.of(previous, frame),
        }
        parts: dict[str, Any] = {measure: makers[measure]() for measure in MEASURES if measure in measures}
        return cls(scores=scores, per_image=PerImage.counted(name, scores.confusion, space), **parts)

    def __add__(self, other: Evaluation) -> Evaluation:
        """Return the evaluation of the images of both; a measure is there where both have it. See `joined` for many."""
        parts: dict[str, Any] = {
            name: getattr(self, name) + getattr(other, name) if name in other.measures else None
            for name in self.measures
        }
        return replace(
            Evaluation(scores=self.scores + other.scores, per_image=self.per_image + other.per_image), **parts
        )

    @property
    def space(self) -> LabelSpace:
        """The classes."""
        return self.scores.space

    @property
    def names(self) -> tuple[str, ...]:
        """The images, in order."""
        return self.per_image.names

    @property
    def measures(self) -> tuple[str, ...]:
        """Which of `MEASURES` are there."""
        return tuple(name for name in MEASURES if getattr(self, name) is not None)

    def intervals(
        self, *, resamples: int = 1000, seed: int = 0, level: float = 0.95, block: int = 1
    ) -> Intervals | None:
        """Return bootstrap intervals over the images, see `intervals`; None of a single image."""
        if len(self.names) < 2:
            return None
        return intervals(self.per_image, resamples=resamples, seed=seed, level=level, block=block)

    def as_json(self) -> dict[str, Any]:
        """Return the scores as `Scores` does; beside them `per_image`, `intervals` and the measures, each with its own.

        `intervals` is None of a single image.
        """
        sure = self.intervals()
        return {
            **self.scores.as_json(),
            "per_image": self.per_image.as_json(),
            "intervals": None if sure is None else sure.as_json(),
            **{name: getattr(self, name).as_json() for name in self.measures},
        }

    def as_text(self, *, void: bool = False) -> str:
        """Return one table after the other; the first score is mean IoU. `void` is that of `Scores.as_text`."""
        sure = self.intervals()
        tables = [self.scores.as_text(void=void), self.per_image.as_text()]
        tables += [] if sure is None else [sure.as_text()]
        return "\n\n".join([*tables, *(getattr(self, name).as_text() for name in self.measures)])


def _check(measures: Collection[str], space: LabelSpace, probabilities: NDArray[Any] | None) -> None:
    if isinstance(measures, str):
        raise ValueError(f"measures is {measures!r}; give several names, such as ({measures!r},)")
    if unknown := [measure for measure in measures if measure not in MEASURES]:
        raise ValueError(f"measure {unknown[0]!r} came; there are {', '.join(MEASURES)}")
    if "calibration" in measures and probabilities is None:
        raise ValueError("calibration came without probabilities; give those of the network, or leave it out")
    if "calibration" in measures and probabilities is not None and len(probabilities) != len(space):
        raise ValueError(f"probabilities of {len(probabilities)} classes came; the data has {len(space)}")
    if len(space) != 2 and (needy := sorted({"rand", "warping"} & set(measures))):
        raise ValueError(
            f"{' and '.join(needy)} came with {len(space)} classes; membranes that part cells are two classes"
        )
