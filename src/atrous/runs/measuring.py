"""Every measure of a set: what a scorer says of labelled images, or what two folders of masks hold, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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

    `background` says whether the first class is the background; None goes by its name.
    """

    measures: tuple[str, ...] = ()
    sizes: bool = False
    background: bool | None = None

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
    evaluation = joined(_each(found, space, wished, sizes, gallery=gallery, total=total, progress=progress))
    scores = replace(evaluation.scores, background=wished.background)
    return replace(evaluation, scores=scores), joined(sizes) if sizes else None


def _each(
    found: Iterable[Answer],
    space: LabelSpace,
    wished: Wished,
    sizes: list[RegionSizes],
    *,
    gallery: Gallery | None,
    total: int,
    progress: Progress | None,
) -> Iterator[Evaluation]:
    previous: Frame | None = None
    for done, answer in enumerate(found, 1):
        evaluation = evaluation_of(answer, space, wished.measures, previous=previous)
        if "flicker" in wished.measures:
            previous = Frame(labels=answer.labels, truth=answer.truth, image=answer.image)
        if wished.sizes:
            sizes.append(RegionSizes.of(answer.truth, answer.labels, space))
        if gallery is not None:
            score = float(evaluation.per_image.mean_iou[0])
            gallery.offer(answer.name, score, answer.truth, answer.labels, image=answer.image)
        if progress is not None:
            progress(done, total)
        yield evaluation


def evaluation_of(
    answer: Answer, space: LabelSpace, measures: Sequence[str], *, previous: Frame | None = None
) -> Evaluation:
    """Return the measures of one image."""
    return Evaluation.of(
        answer.name,
        answer.truth,
        answer.labels,
        space,
        measures=tuple(measures),
        probabilities=answer.probabilities,
        instances=answer.instances,
        image=answer.image,
        previous=previous,
    )
