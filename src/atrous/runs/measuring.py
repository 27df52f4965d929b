"""Every measure of a set: what a scorer says of labelled images, or what two folders of masks hold, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Pair, read_sample
from atrous.data.parts import path_of
from atrous.evaluation import Evaluation, Frame, joined
from atrous.evaluation.gallery import Gallery
from atrous.evaluation.sizes import RegionSizes
from atrous.prediction import ahead, predicted
from atrous.runs.lengths import Lengths, Surfaces
from atrous.runs.mask_folders import MaskFolders

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """One image with what is true and what was found: `truth` and `labels` (h, w) uint8, and what else there is."""

    name: str
    truth: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None
    instances: NDArray[Any] | None = None
    image: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Wished:
    """What is measured of every image: `measures` of the evaluation, and whether regions are sorted by `sizes`.

    `background` says whether the first class is the background; None goes by its name. `lengths` is how distances are
    measured, and `frames` names the images that follow the one before them in a film. `notes` say what was decided.
    """

    measures: tuple[str, ...] = ()
    sizes: bool = False
    background: bool | None = None
    lengths: Lengths = field(default_factory=Lengths)
    frames: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def needs_probabilities(self) -> bool:
        """Whether labels are not enough."""
        return "calibration" in self.measures


def answers(scorer: Any, pairs: Sequence[Pair], space: LabelSpace, *, probabilities: bool = False) -> Iterator[Answer]:
    """Yield what a scorer says of labelled pairs, in order, each at its original resolution.

    Raises `AtrousError` for a pair that cannot be read or has no mask: a score over part of a set is no score.
    """
    for pair, sample in ahead(pairs, partial(read_sample, space=space)):
        if isinstance(sample, AtrousError):
            raise sample
        if sample.labels is None:
            raise AtrousError(f"{path_of(pair.image)}: has no mask, and a score needs one")
        found = predicted(scorer, sample, space, probabilities=probabilities)
        if found.probabilities is not None and not np.isfinite(found.probabilities).all():
            raise AtrousError(f"{path_of(pair.image)}: the network's probabilities hold NaN or infinity")
        yield Answer(
            name=pair.name,
            truth=sample.labels,
            labels=found.labels,
            probabilities=found.probabilities,
            instances=sample.instances,
            image=sample.image,
        )


def mask_answers(folders: MaskFolders) -> Iterator[Answer]:
    """Yield the pairs of two folders of masks, in order; raises `AtrousError` for one that cannot be read."""
    for pair, read in ahead(folders.pairs, folders.labels):
        if isinstance(read, AtrousError):
            raise read
        yield Answer(name=pair.name, truth=read[0], labels=read[1])


class Measuring:
    """The measures of a set as its images come, in their order."""

    def __init__(self, space: LabelSpace, wished: Wished) -> None:
        """Begin with no image."""
        self._space, self._wished = space, wished
        self._single = tuple(name for name in wished.measures if name != "distances")
        self._surfaces = Surfaces(space, wished.lengths) if "distances" in wished.measures else None
        self._previous: Frame | None = None

    def of(self, answer: Answer) -> Evaluation:
        """Return the measures of the next image, without distances, which `whole` puts beside the sum."""
        if self._surfaces is not None:
            self._surfaces.add(answer.name, answer.truth, answer.labels)
        evaluation = Evaluation.of(
            answer.name,
            answer.truth,
            answer.labels,
            self._space,
            measures=self._single,
            probabilities=answer.probabilities,
            instances=answer.instances,
            image=answer.image,
            previous=self._previous if answer.name in self._wished.frames else None,
        )
        if "flicker" in self._single:
            self._previous = Frame(labels=answer.labels, truth=answer.truth, image=answer.image)
        return evaluation

    def whole(self, total: Evaluation) -> Evaluation:
        """Return the sum over all images with what is not measured of single ones."""
        scores = replace(total.scores, background=self._wished.background)
        distances = None if self._surfaces is None else self._surfaces.joined()
        return replace(total, scores=scores, distances=distances)


def measured(
    found: Iterable[Answer],
    space: LabelSpace,
    wished: Wished,
    *,
    gallery: Gallery | None = None,
    total: int = 0,
    progress: Progress | None = None,
) -> tuple[Evaluation, RegionSizes | None]:
    """Return every measure that is wished for, over all answers; `gallery` is offered each image.

    Raises `ValueError` where no answer came.
    """
    sizes: list[RegionSizes] = []
    measuring = Measuring(space, wished)

    def each() -> Iterator[Evaluation]:
        for done, answer in enumerate(found, 1):
            evaluation = measuring.of(answer)
            if wished.sizes:
                sizes.append(RegionSizes.of(answer.truth, answer.labels, space))
            if gallery is not None:
                score = float(evaluation.per_image.mean_iou[0])
                gallery.offer(answer.name, score, answer.truth, answer.labels, image=answer.image)
            if progress is not None:
                progress(done, total)
            yield evaluation

    evaluation = measuring.whole(joined(each()))
    return evaluation, joined(sizes) if sizes else None
