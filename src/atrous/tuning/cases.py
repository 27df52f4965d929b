"""Labelled images with a network's probabilities: the network runs once, whatever is tried on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace, Scorer
from atrous.data import Pair, read_sample
from atrous.data.parts import path_of
from atrous.evaluation import Comparison, Measured
from atrous.prediction import Refiner, ahead, predicted, refine
from atrous.prediction.passing import preprocessing_of
from atrous.prediction.refining import in_255

Progress = Callable[[int, int], None]
LIMIT = 1 << 30
"""How many bytes of cases are kept in memory; the rest goes to a temporary folder."""


class Case(NamedTuple):
    """An image (h, w, c) in 0..255 as a refiner takes it, its labels (h, w) uint8, and probabilities (classes, h, w).

    `path` is where the image came from, for what is said of it.
    """

    image: NDArray[Any]
    truth: NDArray[np.uint8]
    probabilities: NDArray[Any]
    path: Path | None = None


@contextmanager
def named(path: Path | None) -> Iterator[None]:
    """Turn a `ValueError` of the block into an `AtrousError` that begins with the path, where there is one."""
    try:
        yield
    except ValueError as error:
        if path is None:
            raise
        raise AtrousError(f"{path}: {error}") from error


def cases_of(scorer: Scorer, pairs: Sequence[Pair], space: LabelSpace) -> Iterator[Case]:
    """Yield a case for every pair, in order; reading goes ahead while the scorer runs.

    Images that are not uint8 are float32, with the range of the scorer's `preprocessing` spread over 0..255.

    Raises `AtrousError` for a pair that cannot be read, has no mask or cannot be scored, NaN being no score: a score
    over part of a set is no score.
    """
    for pair, sample in ahead(pairs, partial(read_sample, space=space)):
        if isinstance(sample, AtrousError):
            raise sample
        if sample.labels is None:
            raise AtrousError(f"{path_of(pair.image)}: has no mask, and a score needs one")
        with named(path_of(pair.image)):
            probabilities = predicted(scorer, sample, space, probabilities=True).probabilities
        if probabilities is None or not np.isfinite(probabilities).all():
            raise AtrousError(
                f"{path_of(pair.image)}: the network's probabilities hold NaN or infinity; give an earlier "
                "checkpoint, or an image of finite values"
            )
        yield Case(in_255(sample.image, preprocessing_of(scorer)), sample.labels, probabilities, path_of(pair.image))


def compared(
    cases: Iterable[Case],
    refiner: Refiner | None,
    space: LabelSpace,
    *,
    words: str,
    note: str | None = None,
    progress: Callable[[int], None] | None = None,
    shown: Callable[[Case, NDArray[Any], NDArray[Any]], None] | None = None,
) -> Comparison:
    """Return the scores of the cases before and after refining, in one pass; without a refiner both are equal.

    `words` say what the refiner is, and `progress` is told how many cases are done. `shown` is called with every case
    and its probabilities before and after.

    Raises `ValueError` where there is no case, and `AtrousError` with the image's path for what the refiner refuses or
    should not return.
    """
    before: Measured | None = None
    after: Measured | None = None
    for done, case in enumerate(cases, 1):
        probabilities = case.probabilities
        before = _with(before, case, probabilities, space)
        if refiner is not None:
            with named(case.path):
                probabilities = refine(refiner, case.image, probabilities)
            after = _with(after, case, probabilities, space)
        if shown is not None:
            shown(case, case.probabilities, probabilities)
        if progress is not None:
            progress(done)
    if before is None:
        raise ValueError("no cases came; scores need at least one")
    return Comparison(before=before, after=after or before, refiner=words, note=note)


def _with(sofar: Measured | None, case: Case, probabilities: NDArray[Any], space: LabelSpace) -> Measured:
    found = Measured.of(case.truth, probabilities.argmax(0).astype(np.uint8), space)
    return found if sofar is None else sofar + found


@contextmanager
def kept(
    cases: Iterable[Case], *, limit: int = LIMIT, progress: Callable[[int], None] | None = None
) -> Iterator[list[Callable[[], Case]]]:
    """Yield a function per case that returns it again, as often as is wanted and from any thread.

    Probabilities are kept in half precision, and come back as float32 that sums to one. Cases are held in memory up to
    `limit` bytes, and beyond that in a temporary folder, which is removed at the end.

    Raises `AtrousError` where the disk refuses.
    """
    loaders: list[Callable[[], Case]] = []
    used = 0
    with TemporaryDirectory(prefix="atrous-") as folder:
        for case in cases:
            half = case._replace(probabilities=case.probabilities.astype(np.float16))
            used += half.image.nbytes + half.truth.nbytes + half.probabilities.nbytes
            if used <= limit:
                loaders.append(partial(_whole, half))
            else:
                loaders.append(partial(_loaded, _stored(Path(folder) / f"{len(loaders)}.npz", half), half.path))
            if progress is not None:
                progress(len(loaders))
        yield loaders


def _stored(path: Path, case: Case) -> Path:
    try:
        np.savez(path, image=case.image, truth=case.truth, probabilities=case.probabilities)
    except OSError as error:
        raise AtrousError(
            f"{path}: could not be written ({error.strerror}); free some space, set TMPDIR to another disk, or take "
            "fewer --images"
        ) from error
    return path


def _loaded(path: Path, image: Path | None) -> Case:
    with np.load(path) as stored:
        return _whole(Case(**stored, path=image))


def _whole(case: Case) -> Case:
    probabilities = case.probabilities.astype(np.float32)
    return case._replace(probabilities=probabilities / probabilities.sum(0))
