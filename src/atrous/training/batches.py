"""Batches of crops: which sample comes when is a function of seed and epoch, so a run can be resumed at any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from atrous.contract import Recipe, Sample
from atrous.data.augmentation import crop_sample


@dataclass(frozen=True)
class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Samples as training crops; an item is asked for by (epoch, index) and is the same in every process.

    `read` turns one of `pairs` into a labelled `Sample`; it travels to worker processes, so it is a plain function or
    a `functools.partial` of one. `fill` is what lies outside the image, in stored units,
    unless it is `mirror`ed; `margin` is how far a crop may reach over the border.
    """

    pairs: Sequence[Any]
    read: Callable[[Any], Sample]
    size: tuple[int, int]
    channels: int
    fill: tuple[float, ...]
    recipe: Recipe
    margin: int = 0
    mirror: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = item
        random = np.random.default_rng((self.recipe.seed, epoch, index))
        image, labels = crop_sample(
            self.read(self.pairs[index]),
            self.size,
            random,
            scale=self.recipe.scale,
            augment=self.recipe.augment,
            fill=self.fill,
            margin=self.margin,
            mirror=self.mirror,
        )
        if image.shape[2] == 1 and self.channels == 3:
            image = np.repeat(image, 3, 2)
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(labels)


class Order(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index): every sample once an epoch, shuffled by seed and epoch; the last batch is filled up.

    Filling the last batch from the epoch's beginning keeps every batch whole, so that batch norm never sees a single
    crop and every sample is seen. `shard` is (rank, processes): each process takes its share of every batch, so the
    batches of a run are the same on any number of machines.
    """

    def __init__(self, count: int, *, batch: int, seed: int, shard: tuple[int, int] = (0, 1)) -> None:
        self.count, self.batch, self.seed, self.shard = count, batch, seed, shard
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        order = np.resize(order, len(self) * self.batch).reshape(-1, self.batch)
        for row in order[self.skip :]:
            yield [(self.epoch, int(index)) for index in row[self.shard[0] :: self.shard[1]]]


def loader(
    crops: Crops, *, workers: int, shard: tuple[int, int] = (0, 1), pin: bool = False
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader of `crops`; its `batch_sampler` is an `Order`, to be told the epoch and what to skip."""
    order = Order(len(crops), batch=crops.recipe.batch, seed=crops.recipe.seed, shard=shard)
    return DataLoader(
        crops,
        batch_sampler=order,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # A generator of its own: starting workers must not advance the one that dropout draws from.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    """Let a worker use one thread: the others belong to the network."""
    import cv2

    # 0, not 1: OpenCV then leaves its threads alone. To stop them would wait for threads that a fork did not copy.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
