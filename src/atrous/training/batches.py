"""Batches of crops: which sample comes when is a function of seed and epoch, so a run can be resumed at any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from atrous.contract import Recipe, Sample
from atrous.data.augmentation import augmentation_of, copy_paste, crop_sample, mosaic


@dataclass(frozen=True)
class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Samples as training crops; an item is asked for by (epoch, index) and is the same in every process.

    `read` turns one of `pairs` into a labelled `Sample`; it travels to worker processes, so it is a plain function or
    a `functools.partial` of one. `fill` is what lies outside the image, in stored units,
    unless it is `mirror`ed; `margin` is how far a crop may reach over the border. `transform`, which travels as well,
    makes another sample of the one that was read, before it is cropped: `data.augmentation.from_torchvision` and
    `from_albumentations` return such. `limits` are the smallest and the largest stored value, for images of no 8 bits.
    """

    pairs: Sequence[Any]
    read: Callable[[Any], Sample]
    size: tuple[int, int]
    channels: int
    fill: tuple[float, ...]
    recipe: Recipe
    margin: int = 0
    mirror: bool = False
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None
    limits: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = item
        image, labels = self._crop(index, np.random.default_rng((self.recipe.seed, epoch, index)))
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        planes = _planes(image)
        if len(planes) == 1 and self.channels == 3:
            planes = np.repeat(planes, 3, 0)
        return torch.from_numpy(planes), torch.from_numpy(labels)

    def _crop(self, index: int, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        augmentation = augmentation_of(self.recipe)
        options: dict[str, Any] = {"augmentation": augmentation, "limits": self.limits}
        around: dict[str, Any] = {"fill": self.fill, "mirror": self.mirror}
        # Drawn only where it is wanted: the other crops of a seed stay what they are without.
        if augmentation.mosaic and random.random() < augmentation.mosaic and min(self.size) > 1:
            indices = [index, *random.integers(len(self.pairs), size=3)]
            image, labels = mosaic(
                [self._sample(each, random) for each in indices], self.size, random, **options, **around
            )
        else:
            sample = self._sample(index, random)
            image, labels = crop_sample(sample, self.size, random, margin=self.margin, **options, **around)
        if augmentation.copy_paste and random.random() < augmentation.copy_paste:
            other = self._sample(random.integers(len(self.pairs)), random)
            image, labels = copy_paste((image, labels), other, random, **options)
        return image, labels

    def _sample(self, index: int | np.int64, random: np.random.Generator) -> Sample:
        sample = self.read(self.pairs[int(index)])
        return sample if self.transform is None else checked(self.transform(sample, random), sample)


def checked(changed: Any, sample: Sample) -> Sample:
    """Return what a transform made of a sample; raises `ValueError` where that is none, or labels of another size."""
    fits = isinstance(changed, Sample)
    if fits and (changed.labels is None or changed.image.shape[:2] == changed.labels.shape):
        return cast(Sample, changed)
    came = f"an image {changed.image.shape} and labels of another size" if fits else type(changed).__name__
    raise ValueError(
        f"{sample.path}: the transform returned {came}; it takes (Sample, Generator) and returns a Sample whose image "
        "(h, w, c) and labels (h, w) have one size"
    )


def _planes(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image (h, w, c) as planes (c, h, w)."""
    if image.shape[2] not in (3, 4):
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    import cv2

    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))  # a third of the time of a transposed copy
    return planes


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
