"""Scores of a scorer over labelled pairs: read ahead, predicted one by one, counted in one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from atrous._core import confusion
from atrous.contract import AtrousError, LabelSpace
from atrous.data import Pair, read_sample
from atrous.evaluation import Scores
from atrous.prediction import ahead, predicted


def scored(
    scorer: Any, pairs: Sequence[Pair], space: LabelSpace, *, progress: Callable[[int, int], None] | None = None
) -> Scores:
    """Return the scores of `scorer` over labelled pairs, each at its original resolution.

    Raises `AtrousError` for a pair that cannot be read or has no mask: a score over part of a set is no score.
    """
    matrix = np.zeros((len(space), len(space)), np.int64)
    for done, (pair, sample) in enumerate(ahead(pairs, partial(read_sample, space=space)), 1):
        if isinstance(sample, AtrousError):
            raise sample
        if sample.labels is None:
            raise AtrousError(f"{pair.image}: has no mask, and a score needs one")
        matrix += confusion(sample.labels, predicted(scorer, sample, space).labels, len(space))
        if progress is not None:
            progress(done, len(pairs))
    return Scores(space=space, confusion=matrix, images=len(pairs))
