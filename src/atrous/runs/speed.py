"""How fast a dataset is read, decoded and augmented on this machine, beside what the network takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from typing import Any, cast

from torch.utils.data import DataLoader

from atrous.contract import Recipe
from atrous.data import Dataset
from atrous.data.facts import spaced
from atrous.models import Segmenter, build
from atrous.runs.choices import network_options, preprocessing
from atrous.runs.crops import crops_of
from atrous.training import Batch, Training, prepared, train

_LOOKED_AT = 32  # images whose decoding is timed
_LEAST_STEPS = 3


@dataclass(frozen=True)
class Feeding:
    """Images per second of the loader with its `workers`, and of the network; times are per image, in milliseconds.

    `decode_ms` and `augment_ms` are those of one process. On a CPU the network and the loader share the cores, so both
    together are slower than the slower of them.
    """

    workers: int
    batch: int
    decode_ms: float
    augment_ms: float
    loader: float
    network: float
    device: str

    @property
    def limit(self) -> str:
        """What is slower: "loader" or "network"."""
        return "loader" if self.loader < self.network else "network"

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return {**asdict(self), "limit": self.limit}

    def as_text(self) -> str:
        """Return the report as lines of plain text, the last of which says what to do."""
        total = self.decode_ms + self.augment_ms
        workers = f"{self.workers} process{'es' if self.workers != 1 else ''} beside the network's own"
        return "\n".join(
            [
                f"loader   {self.loader:8.1f} images/s, {workers}",
                f"network  {self.network:8.1f} images/s, steps of {self.batch} on {self.device}",
                f"an image takes {total:.1f} ms in one process: {self.decode_ms:.1f} to read and decode, "
                f"{self.augment_ms:.1f} to crop and vary",
                self._advice(),
            ]
        )

    def _advice(self) -> str:
        if self.limit == "network":
            return f"the network limits: the loader could feed {self.loader / self.network:.1f} of it"
        wanted = self.network / self.loader
        if self.decode_ms > self.augment_ms:
            return (
                f"the loader limits, {wanted:.1f} times too slow, and most of its time is decoding: keep what is "
                "decoded with --cache FOLDER, store smaller images, or give more --workers where there are cores"
            )
        return (
            f"the loader limits, {wanted:.1f} times too slow, and most of its time is augmentation: give more "
            "--workers where there are cores, a smaller --crop, or --augment light"
        )


def feeding(
    dataset: Dataset,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    cache: Any = None,
    device: str | None = None,
    workers: int | None = None,
    seconds: float = 5.0,
) -> Feeding:
    """Time the loader and the network apart, each for about so many seconds, with random weights.

    With a `cache` every image is decoded before, as after the first epoch. Raises `AtrousError` for files that cannot
    be read, `ValueError` for a time that is not above zero.
    """
    if not seconds > 0:
        raise ValueError(f"seconds {seconds} came; a time above 0 is accepted")
    net = build(recipe.model, len(dataset.space), **{**network_options(recipe, facts), "pretrained": False})
    segmenter = Segmenter(net, dataset.space, preprocessing(net, facts))
    crops = crops_of(dataset.splits["train"], segmenter, recipe, read=cache)
    if cache is not None:
        for pair in crops.pairs:
            cache(pair)
    decode = _mean_ms(crops.read, spaced(crops.pairs, _LOOKED_AT))
    whole = _mean_ms(lambda index: crops[0, index], range(min(_LOOKED_AT, len(crops))))
    training = prepared(segmenter, crops, device=device, workers=workers)
    loader, batch = _loader_speed(training, seconds)
    return Feeding(
        workers=training.batches.num_workers,
        batch=recipe.batch,
        decode_ms=decode,
        augment_ms=max(0.0, whole - decode),
        loader=loader,
        network=_network_speed(training, batch, seconds),
        device=str(training.accelerator.device),
    )


def _mean_ms(function: Any, items: Any) -> float:
    function(items[0])  # what is done once only, such as imports, is not timed
    began = time.perf_counter()
    for item in items:
        function(item)
    return 1000 * (time.perf_counter() - began) / len(items)


def _loader_speed(training: Training, seconds: float) -> tuple[float, Batch]:
    """Return images per second of the loader, once its processes have started, and a batch of it."""
    batches = _endless(training)
    batch = next(batches)
    for _ in range(2 * training.batches.num_workers):  # what was read ahead while the processes started
        next(batches)
    return _per_second(batches, seconds) * len(batch[0]), batch


def _per_second(items: Iterator[Any], seconds: float) -> float:
    """Return how many items come in a second, taken for about so many seconds."""
    began, done = time.perf_counter(), 0
    while done < _LEAST_STEPS or time.perf_counter() - began < seconds:
        next(items)
        done += 1
    return done / (time.perf_counter() - began)


def _endless(training: Training) -> Iterator[Batch]:
    order = training.order
    while True:
        yield from training.batches
        order.epoch += 1


@dataclass(frozen=True)
class _Same:
    """A loader that yields one batch again and again, as long as an epoch is."""

    batch: Batch
    batch_sampler: Any
    dataset: Any

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        return islice(cycle([self.batch]), len(self))


def _network_speed(training: Training, batch: Batch, seconds: float) -> float:
    """Return images per second of training steps on one batch, which the loader has nothing to do with."""
    same = cast("DataLoader[Batch]", _Same(batch, training.order, training.crops))
    endless = replace(training, batches=same, recipe=replace(training.recipe, epochs=1_000_000))
    steps = train(endless)
    next(steps)
    return _per_second(steps, seconds) * len(batch[0])
