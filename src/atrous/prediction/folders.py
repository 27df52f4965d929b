"""Many sources: predictions one by one, or as files below a folder; a broken one does not stop the rest."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.data import read_image
from atrous.data.images import MAX_PIXELS
from atrous.prediction.images import ahead, check_probabilities, predicted
from atrous.prediction.journal import Journal
from atrous.prediction.outputs import SCORED, write_prediction
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Progress, Wanted

Item = TypeVar("Item")
Result = TypeVar("Result")
_LARGE = 1 << 24
"""Pixels of a decoded image above which it is scored in blocks."""

BAD = (AtrousError, ValueError, MemoryError, RuntimeError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the disk says where no other result can be written either."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a prediction into a folder came to: the files written, and the sources that could not be predicted.

    `skipped` were finished before, by the same model with the same options; `redone` by another, with others, or have
    changed since.
    `refined` says in words what refined the probabilities, None where nothing did.
    """

    written: list[Path]
    failed: dict[Path, str]
    predicted: int = 0
    skipped: int = 0
    redone: int = 0
    refined: str | None = None

    def __add__(self, other: Outcome) -> Outcome:
        """Return what both came to."""
        return Outcome(
            written=self.written + other.written,
            failed={**self.failed, **other.failed},
            predicted=self.predicted + other.predicted,
            skipped=self.skipped + other.skipped,
            redone=max(self.redone, other.redone),
            refined=self.refined or other.refined,
        )


def each_predicted(
    scorer: Scorer,
    sources: Sequence[Source],
    space: LabelSpace,
    *,
    probabilities: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Prediction]:
    """Yield the prediction of every image in order; one that cannot be read or scored is logged and left out."""
    for source, sample in ahead(sources, _tried(partial(read_source, max_pixels=max_pixels))):
        try:
            if isinstance(sample, Exception):
                raise sample
            found = predicted(scorer, sample, space, probabilities=probabilities)
        except BAD as error:
            refusal(source, error)
        else:
            yield replace(found, path=source.path)


def predict_into(
    out: Path,
    scorer: Scorer,
    sources: Sequence[Source],
    space: LabelSpace,
    *,
    wanted: Wanted,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write what is wanted of every source below `out`: images are read ahead and written behind, by threads.

    What the journal knows as finished is skipped, and what is finished is noted in it. With one source alone,
    `progress` tells of its parts, as the frames of a video.

    Raises `AtrousError` where the disk is full.
    """
    left = [source for source in sources if journal is None or not journal.finished(source)]
    skipped = len(sources) - len(left)
    written: list[Path] = []
    failed: dict[Path, str] = {}
    inner = progress if len(sources) == 1 else None
    # Images that wait in memory would count against a limit.
    count, threads = (4, 2) if wanted.max_memory is None else (0, 1)
    with ThreadPoolExecutor(threads) as pool:
        start = partial(_started, pool=pool, scorer=scorer, space=space, out=out, wanted=wanted, progress=inner)
        samples = ahead(left, _tried(partial(_read, wanted=wanted)), count=count, threads=threads)
        started = ((source, start(source, sample)) for source, sample in samples)
        for done, (source, files) in enumerate(_later(started, count), skipped + 1):
            try:
                found = files()
            except BAD as error:
                failed[source.path] = refusal(source, error)
            else:
                written += found
                if journal is not None:
                    journal.note(source, [file.relative_to(out).as_posix() for file in found])
            if progress is not None and inner is None:
                progress(done, len(sources))
    return Outcome(
        written=written,
        failed=failed,
        predicted=len(left) - len(failed),
        skipped=skipped,
        redone=0 if journal is None else journal.redone,
    )


def predict_source(source: Source, scorer: Scorer, space: LabelSpace, out: Path, wanted: Wanted) -> list[Path]:
    """Write what is wanted of one source below `out`, and return the files.

    Raises `AtrousError`, `ValueError`, `MemoryError` or `RuntimeError` where it cannot be; `refusal` has words for all.
    """
    sample = _read(source, wanted=wanted)
    if sample is None:
        return _predict_file(source, scorer, space, out, wanted, None)
    return write_prediction(out, source.name, of_image(scorer, sample, space, wanted), sample, save=wanted.save)


def refusal(source: Source, error: Exception) -> str:
    """Return, and log, the words that say why a source has no prediction.

    Raises the error itself where no other source would fare better, as on a full disk, or nothing is known of it.
    """
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
        raise error
    if isinstance(error, RuntimeError) and "memory" not in str(error):
        raise error
    words = str(error) if str(source.path) in str(error) else f"{source.path}: {error}"
    if isinstance(error, MemoryError | RuntimeError):
        words = f"{source.path}: too large for this machine's memory; give --max-memory, which cuts it into parts"
    logging.getLogger("atrous").warning("%s (skipped)", words)
    return words


def _started(
    source: Source,
    sample: Sample | Exception | None,
    *,
    pool: ThreadPoolExecutor,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    progress: Progress | None,
) -> Callable[[], list[Path]]:
    """Predict a source, and return what gives its files once they are written, or raises what is wrong with it."""
    try:
        if isinstance(sample, Exception):
            raise sample
        if sample is None:
            files = _predict_file(source, scorer, space, out, wanted, progress)
            return lambda: files
        prediction = of_image(scorer, sample, space, wanted)
        return pool.submit(write_prediction, out, source.name, prediction, sample, save=wanted.save).result
    except BAD as error:
        return partial(_raise, error)


def _later(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield the items in order, each once `count` more have been taken."""
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _raise(error: Exception) -> list[Path]:
    raise error


def _tried(read: Callable[[Source], Result]) -> Callable[[Source], Result | Exception]:
    """Return a function that returns, in place of raising it, what is wrong with a source or its size."""

    def tried(source: Source) -> Result | Exception:
        try:
            return read(source)
        except BAD as error:
            return error

    return tried


def _read(source: Source, *, wanted: Wanted) -> Sample | None:
    """Return the image of a source; None of what is read piece by piece."""
    if source.kind != "image":
        return None
    if wanted.max_memory is None:
        return read_source(source, max_pixels=wanted.max_pixels)
    from atrous.prediction.raster_readers import decoded_whole

    raster = decoded_whole(source.path, max_pixels=wanted.max_pixels, max_memory=wanted.max_memory)
    return Sample(image=raster.image, path=source.path)


def read_source(source: Source, *, max_pixels: int = MAX_PIXELS) -> Sample:
    """Return the image of a source, whole; raises `AtrousError` for a video or a volume, and as `read_image` does."""
    if source.kind in ("video", "volume"):
        raise AtrousError(f"{source.path}: a {source.kind} is predicted into files; give out=, a folder for them")
    return Sample(image=read_image(source.path, max_pixels=max_pixels), path=source.path)


def of_image(scorer: Scorer, sample: Sample, space: LabelSpace, wanted: Wanted) -> Prediction:
    """Return the prediction of a decoded image: in blocks where that was asked for, memory is limited, or it is large.

    Probabilities are asked for of the whole image: they are as large as the largest that a block's could be.

    Raises `AtrousError` where the limit cannot hold what is computed.
    """
    whole = not SCORED.isdisjoint(wanted.save)
    height, width = sample.image.shape[:2]
    bounded = wanted.max_memory is not None or wanted.block is not None
    if not whole and (bounded or height * width > _LARGE):
        from atrous.prediction.rasters import predicted_in_blocks

        return predicted_in_blocks(scorer, sample, space, wanted)
    if whole:
        check_probabilities((height, width), space, wanted, of="an image")
    return predicted(scorer, sample, space, probabilities=whole)


def _predict_file(
    source: Source, scorer: Scorer, space: LabelSpace, out: Path, wanted: Wanted, progress: Progress | None
) -> list[Path]:
    if source.kind == "raster":
        from atrous.prediction.rasters import predict_raster as predict_kind
    elif source.kind == "video":
        from atrous.prediction.video import predict_video as predict_kind
    else:
        from atrous.prediction.volumes import predict_volume as predict_kind
    return predict_kind(source, scorer, space, out, wanted, progress=progress)
