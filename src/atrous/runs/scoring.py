"""Scores of a scorer over labelled pairs: read ahead, predicted one by one, counted in one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core import confusion
from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data import Pair, read_sample
from atrous.evaluation import Scores
from atrous.prediction import ahead, predicted

Shown = tuple[str, NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]
"""An image's name, the image, its labels and the predicted ones."""


def scored(
    scorer: Any,
    pairs: Sequence[Pair],
    space: LabelSpace,
    *,
    progress: Callable[[int, int], None] | None = None,
    shown: Callable[[Pair, Sample, NDArray[np.uint8]], None] | None = None,
) -> Scores:
    """Return the scores of `scorer` over labelled pairs, each at its original resolution.

    `shown` is called with every pair, its sample and its predicted labels.

    Raises `AtrousError` for a pair that cannot be read or has no mask: a score over part of a set is no score.
    """
    matrix = np.zeros((len(space), len(space)), np.int64)
    for done, (pair, sample) in enumerate(ahead(pairs, partial(read_sample, space=space)), 1):
        if isinstance(sample, AtrousError):
            raise sample
        if sample.labels is None:
            raise AtrousError(f"{pair.image}: has no mask, and a score needs one")
        labels = predicted(scorer, sample, space).labels
        matrix += confusion(sample.labels, labels, len(space))
        if shown is not None:
            shown(pair, sample, labels)
        if progress is not None:
            progress(done, len(pairs))
    return Scores(space=space, confusion=matrix, images=len(pairs))
