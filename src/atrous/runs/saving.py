"""What is written of a network, and when: `last/` to go on from, `best/` to keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atrous.contract import AtrousError
from atrous.store import Config, save_model
from atrous.training import Training, measured_statistics, save_state, seen_by_all, state_of
from atrous.training.distributed import full_state, load_full_state, together


@contextmanager
def weights_to_score(training: Training) -> Iterator[tuple[Any, Mapping[str, Tensor] | None]]:
    """Yield the segmenter with the weights that are scored and kept, for the block, and those that it trains with.

    They are the averaged ones where the recipe averages; after the last step the statistics of batch norm are measured
    where it says so. None is yielded where they are those it trains with.
    """
    net, recipe = training.segmenter.net, training.recipe
    measured = recipe.measure_norm and training.step >= training.total
    if training.averaged is None and not measured:
        yield together(training.segmenter, training.copy, training.accelerator), None
        return
    trained = {name: tensor.detach().clone() for name, tensor in full_state(net).items()}
    try:
        if training.averaged is not None:
            load_full_state(net, training.averaged.state())
        if measured:
            measured_statistics(net, _normalised_crops(training, recipe.measure_norm))
        yield together(training.segmenter, training.copy, training.accelerator), trained
    finally:
        load_full_state(net, trained)


def _normalised_crops(training: Training, count: int) -> Iterator[Tensor]:
    order, device = training.order, training.accelerator.device
    epochs = -(-count // len(order))

    def batches(epoch: int) -> Iterator[Tensor]:
        order.epoch, order.skip = training.epochs + epoch, 0
        for batch in training.batches:
            yield training.segmenter.normalised(batch.images.to(device))

    yield from islice(chain.from_iterable(map(batches, range(epochs))), count)


def save_last(
    out: Path, training: Training, config: Config, *, segmenter: Any, trained: Mapping[str, Tensor] | None
) -> None:
    """Replace `last/` by the network as it is scored, with all that the run needs to go on.

    Every process has to call this; the first one writes. Raises `AtrousError`, and leaves what is there, where weights
    are not numbers.
    """
    optimizer, seen = state_of(training), seen_by_all(training)
    if not training.accelerator.is_main_process:
        return
    _check(segmenter, training, out)
    also = partial(save_state, training=training, optimizer=optimizer, seen=seen, trained=trained)
    save_model(out / "last", segmenter, config, also=also)


def save_best(out: Path, training: Training, config: Config, *, segmenter: Any) -> None:
    """Replace `best/` by the network as it is scored; the first process does."""
    if training.accelerator.is_main_process:
        save_model(out / "best", segmenter, config)


def _check(segmenter: Any, training: Training, out: Path) -> None:
    wrong = [
        name
        for name, tensor in segmenter.net.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if wrong:
        raise AtrousError(
            f"{out / 'last'}: not written, since weights are no numbers after step {training.step} (first "
            f"{wrong[0]!r}): start again with a lower --learning-rate (now {training.recipe.learning_rate:g}) or with "
            "--clip 1. What was saved before is unchanged"
        )
