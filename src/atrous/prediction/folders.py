"""Many images: predictions one by one, or as files below a folder; a broken image does not stop the rest."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.data import read_image
from atrous.prediction.images import ahead, predicted
from atrous.prediction.outputs import write_prediction
from atrous.prediction.sources import Source


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a prediction into a folder came to: the files written, and the images that could not be predicted.

    `refined` says in words what refined the probabilities, None where nothing did.
    """

    written: list[Path]
    failed: dict[Path, str]
    refined: str | None = None


def each_predicted(
    scorer: Scorer, sources: Sequence[Source], space: LabelSpace, *, probabilities: bool = False
) -> Iterator[Prediction]:
    """Yield the prediction of every source in order; one that cannot be read or scored is logged and left out."""
    for source, sample in ahead(sources, _read):
        found = _tried(scorer, source, sample, space, probabilities=probabilities)
        if isinstance(found, Prediction):
            yield replace(found, path=source.path)


def predict_into(
    out: Path,
    scorer: Scorer,
    sources: Sequence[Source],
    space: LabelSpace,
    *,
    save: Collection[str],
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Write what `save` names of every source below `out`: reading ahead and writing behind, by threads.

    Raises `AtrousError` where the disk refuses a result.
    """
    written: list[Path] = []
    failed: dict[Path, str] = {}
    waiting: deque[Future[list[Path]]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for done, (source, sample) in enumerate(ahead(sources, _read), 1):
            found = _tried(scorer, source, sample, space, probabilities="probabilities" in save)
            if isinstance(found, Prediction) and isinstance(sample, Sample):
                waiting.append(pool.submit(write_prediction, out, source.name, found, sample, save=save))
            else:
                failed[source.path] = str(found)
            while len(waiting) > 4:
                written += waiting.popleft().result()
            if progress is not None:
                progress(done, len(sources))
        for future in waiting:
            written += future.result()
    return Outcome(written=written, failed=failed)


def _tried(
    scorer: Scorer, source: Source, sample: Sample | AtrousError, space: LabelSpace, *, probabilities: bool
) -> Prediction | str:
    """Return the prediction, or the words, logged, that say why there is none."""
    try:
        if isinstance(sample, AtrousError):
            raise sample
        return predicted(scorer, sample, space, probabilities=probabilities)
    except (AtrousError, ValueError) as error:
        words = str(error) if str(source.path) in str(error) else f"{source.path}: {error}"
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        words = f"{source.path}: too large for this machine's memory; make the image smaller, or cut it into parts"
    logging.getLogger("atrous").warning("%s (skipped)", words)
    return words


def _read(source: Source) -> Sample:
    return Sample(image=read_image(source.path), path=source.path)
