"""Scores of pixels and of objects, of the same predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.evaluation.objects import ObjectScores
from atrous.evaluation.rand import RandScores
from atrous.evaluation.scores import Scores


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoresWithObjects:
    """The scores of pixels and of objects; of two classes whose objects the data does not number, the Rand error too.

    Those are two classes of which one may part the other, as membranes part cells; else `rand` is None.
    """

    scores: Scores
    objects: ObjectScores
    rand: RandScores | None

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        instances: NDArray[Any] | None = None,
    ) -> ScoresWithObjects:
        """Measure one image: `truth` and `labels` are (h, w) uint8, `instances` (h, w) numbers true objects."""
        return cls(
            scores=Scores.of(truth, labels, space),
            objects=ObjectScores.of(truth, labels, space, instances=instances),
            rand=RandScores.of(truth, labels) if len(space) == 2 and instances is None else None,
        )

    def __add__(self, other: ScoresWithObjects) -> ScoresWithObjects:
        """Return the scores of the images of both; the Rand error is there where both have it."""
        rand = None if self.rand is None or other.rand is None else self.rand + other.rand
        return ScoresWithObjects(scores=self.scores + other.scores, objects=self.objects + other.objects, rand=rand)

    def as_json(self) -> dict[str, Any]:
        """Return the scores of pixels as `Scores` does, and below `objects` and `rand` the others'."""
        rand = {} if self.rand is None else {"rand": self.rand.as_json()}
        return {**self.scores.as_json(), "objects": self.objects.as_json(), **rand}

    def as_text(self) -> str:
        """Return one table after the other; the first score is mean IoU."""
        return "\n\n".join(part.as_text() for part in (self.scores, self.objects, self.rand) if part is not None)
