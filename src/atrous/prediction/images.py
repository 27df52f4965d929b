"""The driver: samples in, predictions out, one image at a time, whatever the scorer is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.prediction import memory
from atrous.prediction.arrays import from_numpy, scored, to_numpy
from atrous.prediction.wanted import Wanted

Item = TypeVar("Item")
Result = TypeVar("Result")

_COPIES = 4  # of probabilities: the network's, those of the frame before, their mix, those being written


def predicted(scorer: Scorer, sample: Sample, space: LabelSpace, *, probabilities: bool = False) -> Prediction:
    """Return what `scorer` says of one sample, at the sample's own size.

    Where probabilities are not asked for and the scorer offers `labels`, they are never computed.

    Raises `ValueError` where the scorer's answer has another size or number of classes than it must.

    >>> half = lambda images: np.full((1, 2, *images.shape[2:]), 0.5, np.float32)
    >>> space = LabelSpace(names=("a", "b"))
    >>> predicted(half, Sample(image=np.zeros((2, 3, 3), np.uint8)), space).labels.tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    height, width = sample.image.shape[:2]
    images = from_numpy(scorer, np.ascontiguousarray(sample.image.transpose(2, 0, 1))[None])
    if not probabilities and hasattr(scorer, "labels"):
        labels = to_numpy(scorer.labels(images))[0]
        scores = None
    else:
        scores = to_numpy(scored(scorer, images))[0]
        if scores.shape != (len(space), height, width):
            raise ValueError(
                f"the scorer returned {scores.shape} for an image of {height}x{width}; "
                f"(classes, h, w) must be ({len(space)}, {height}, {width})"
            )
        labels = scores.argmax(0)
    if labels.shape != (height, width):
        raise ValueError(f"the scorer returned labels of {labels.shape} for an image of {height}x{width}")
    kept = scores.astype(np.float32, copy=False) if probabilities and scores is not None else None
    return Prediction(labels=labels.astype(np.uint8, copy=False), space=space, path=sample.path, probabilities=kept)


def check_probabilities(size: tuple[int, ...], space: LabelSpace, wanted: Wanted, *, of: str) -> None:
    """Raise `AtrousError` where the limit of memory cannot hold probabilities of this (height, width), being written.

    `of` says in words of what they are.
    """
    if wanted.max_memory is None:
        return
    height, width = size
    needed = memory.resident() + _COPIES * 4 * len(space) * height * width
    if needed > wanted.max_memory:
        raise AtrousError(
            f"a limit of {memory.in_words(wanted.max_memory)} cannot hold the probabilities of {of} of {height} x "
            f"{width} pixels and {len(space)} classes: {memory.in_words(needed)} are needed. Give that much, or leave "
            "out smoothing, probabilities and cutouts."
        )


def ahead(
    items: Iterable[Item], work: Callable[[Item], Result], *, count: int = 4, threads: int = 2
) -> Iterator[tuple[Item, Result | AtrousError]]:
    """Yield every item with what `work` made of it, in order, up to `count` of them computed ahead by threads.

    An `AtrousError` of one item is yielded in place of its result; the rest goes on. Any other exception ends the
    iteration.

    >>> [result for _, result in ahead([1, 2], str)]
    ['1', '2']
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > count:
                first, future = waiting.popleft()
                yield first, _result(future)
        for first, future in waiting:
            yield first, _result(future)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except AtrousError as error:
        return error
