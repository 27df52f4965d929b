"""Batches of crops: which sample comes when is a function of seed and epoch, so a run can be resumed at any step."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from atrous.contract import IGNORE, Recipe, Sample
from atrous.data.augmentation import augmentation_of, cropped, joined, pasted
from atrous.data.parting import parted
from atrous.training.weighting import crop_weights


class Item(NamedTuple):
    """What is asked of `Crops`: a crop of `size` of a sample, by its number; `turn` counts further ones in `epoch`."""

    epoch: int
    sample: int
    turn: int = 0
    size: tuple[int, int] | None = None


class Batch(NamedTuple):
    """Crops of one size: images (n, c, h, w) in stored units, labels (n, h, w) uint8, and the samples they are of.

    `weights` (n, h, w) float32 are those of the loss, where pixels differ in theirs; `seen` (256,) counts the labels.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None
    indices: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Crops(Dataset[Batch]):
    """Samples as training crops; an `Item` is the same crop in every process.

    `read` turns one of `pairs` into a labelled `Sample`; it travels to worker processes, so it is a plain function or
    a `functools.partial` of one. `fill` is what lies outside the image, in stored units,
    unless it is `mirror`ed; `margin` is how far a crop may reach over the border. `transform`, which travels as well,
    makes another sample of the one that was read, before it is cropped: `data.augmentation.from_torchvision` and
    `from_albumentations` return such. `limits` are the smallest and the largest stored value, for images of no 8 bits.
    `sizes` are those that a step draws from, where it is not always `size`. Where the recipe has a `separation`, a crop
    has weights, of which `class_weights` are a part, and objects that touch are parted by a line of class 0. `classes`
    is how many there are; what a `transform` returns is held against it.
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
    sizes: tuple[tuple[int, int], ...] = ()
    class_weights: tuple[float, ...] | None = None
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: Item | tuple[int, int]) -> Batch:
        item = Item(*item)
        turn = (item.turn,) if item.turn else ()
        random = np.random.default_rng((self.recipe.seed, item.epoch, item.sample, *turn))
        crop = self._crop(item.sample, random, item.size or self.size)
        labels, weights = self._weighted(crop)
        image = crop.image if crop.image.dtype == np.uint8 else crop.image.astype(np.float32)
        planes = _planes(image)
        if len(planes) == 1 and self.channels == 3:
            planes = np.repeat(planes, 3, 0)
        return Batch(
            images=torch.from_numpy(planes),
            labels=torch.from_numpy(labels),
            weights=None if weights is None else torch.from_numpy(weights),
            indices=torch.tensor(item.sample),
            seen=torch.from_numpy(np.bincount(labels.ravel(), minlength=256)),
        )

    def _crop(self, index: int, random: np.random.Generator, size: tuple[int, int]) -> Sample:
        augmentation = augmentation_of(self.recipe)
        options: dict[str, Any] = {"augmentation": augmentation, "limits": self.limits}
        around: dict[str, Any] = {"fill": self.fill, "mirror": self.mirror}
        # Drawn only where it is wanted: the other crops of a seed stay what they are without.
        if augmentation.mosaic and random.random() < augmentation.mosaic and min(size) > 1:
            indices = [index, *random.integers(len(self.pairs), size=3)]
            crop = joined([self._sample(each, random) for each in indices], size, random, **options, **around)
        else:
            crop = cropped(self._sample(index, random), size, random, margin=self.margin, **options, **around)
        if augmentation.copy_paste and random.random() < augmentation.copy_paste:
            other = self._sample(random.integers(len(self.pairs)), random)
            crop = pasted(crop, other, random, **options)
        return crop

    def _weighted(self, crop: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Return the labels of a crop, and the weights of its pixels where they differ."""
        labels = cast(NDArray[np.uint8], crop.labels)
        if not self.recipe.separation:
            return labels, None
        if crop.instances is not None:
            labels = parted(labels, crop.instances)
        weights = crop_weights(
            labels, crop.instances, separation=self.recipe.separation, class_weights=self.class_weights
        )
        return labels, weights

    def _sample(self, index: int | np.int64, random: np.random.Generator) -> Sample:
        sample = self.read(self.pairs[int(index)])
        if self.transform is None:
            return sample
        return checked(self.transform(sample, random), sample, classes=self.classes)


def checked(changed: Any, sample: Sample, *, classes: int | None = None) -> Sample:
    """Return what a transform made of a sample, its labels as uint8.

    Raises `ValueError`, naming the file, where it is no sample, or has labels of another size than its image, that are
    no whole numbers, or, where the number of `classes` is given, of none of these.
    """
    fits = isinstance(changed, Sample)
    if fits and (changed.labels is None or changed.image.shape[:2] == changed.labels.shape):
        return changed if changed.labels is None else replace(changed, labels=_labels(changed, sample, classes))
    came = f"an image {changed.image.shape} and labels of another size" if fits else type(changed).__name__
    raise ValueError(
        f"{sample.path}: the transform returned {came}; it takes (Sample, Generator) and returns a Sample whose image "
        "(h, w, c) and labels (h, w) have one size"
    )


def _labels(changed: Sample, sample: Sample, classes: int | None) -> NDArray[np.uint8]:
    labels = cast(NDArray[Any], changed.labels)
    accepted = (
        "labels are whole numbers from 0" if classes is None else f"with {classes} classes they are 0 to {classes - 1}"
    )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{sample.path}: the transform returned labels of {labels.dtype}; {accepted}")
    wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= (IGNORE if classes is None else classes)))]
    if wrong.size:
        raise ValueError(
            f"{sample.path}: the transform returned the label {wrong[0]}; {accepted}, and {IGNORE} is ignored"
        )
    return labels.astype(np.uint8, copy=False)


def _planes(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image (h, w, c) as planes (c, h, w)."""
    if image.shape[2] not in (3, 4):
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    import cv2

    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))  # a third of the time of a transposed copy
    return planes


class Order(Sampler[list[Item]]):
    """Batches of items: every sample once an epoch, shuffled by seed and epoch; the last step is filled up.

    Filling it from the epoch's beginning keeps every batch whole, so that batch norm never sees a single crop and every
    sample is seen. A step is `accumulate` batches. `shard` is (rank, processes): each process takes its share of every
    batch, so the batches of a run are the same on any number of machines. A step draws one of `sizes`.
    """

    def __init__(
        self,
        count: int,
        *,
        batch: int,
        seed: int,
        accumulate: int = 1,
        shard: tuple[int, int] = (0, 1),
        sizes: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.count, self.batch, self.seed, self.accumulate = count, batch, seed, accumulate
        self.shard, self.sizes = shard, sizes
        self.epoch, self.skip = 0, 0

    @property
    def steps(self) -> int:
        """How many steps an epoch takes."""
        return math.ceil(self.count / (self.batch * self.accumulate))

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[Item]]:
        crops = self.batch * self.accumulate
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        turns = np.arange(self.steps * crops) // self.count
        order = np.resize(order, self.steps * crops)
        for step in range(self.skip, self.steps):
            size = self._size(step)
            for first in range(step * crops, (step + 1) * crops, self.batch):
                mine = slice(first + self.shard[0], first + self.batch, self.shard[1])
                yield [
                    Item(self.epoch, int(index), int(turn), size)
                    for index, turn in zip(order[mine], turns[mine], strict=True)
                ]

    def _size(self, step: int) -> tuple[int, int] | None:
        if not self.sizes:
            return None
        random = np.random.default_rng((self.seed, self.epoch, step, 1))
        return self.sizes[int(random.integers(len(self.sizes)))]


def loader(crops: Crops, *, workers: int, shard: tuple[int, int] = (0, 1), pin: bool = False) -> DataLoader[Batch]:
    """Return the loader of `crops`; its `batch_sampler` is an `Order`, to be told the epoch and what to skip."""
    recipe = crops.recipe
    order = Order(
        len(crops),
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        shard=shard,
        sizes=crops.sizes,
    )
    return DataLoader(
        crops,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_together,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # A generator of its own: starting workers must not advance the one that dropout draws from.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_alone,
    )


def _together(crops: Sequence[Batch]) -> Batch:
    weighted = crops[0].weights is not None
    # PyTorch's own stacking: in a worker it writes into the memory that is handed over.
    return Batch(
        images=default_collate([crop.images for crop in crops]),
        labels=default_collate([crop.labels for crop in crops]),
        weights=default_collate([crop.weights for crop in crops]) if weighted else None,
        indices=torch.stack([crop.indices for crop in crops]),
        seen=torch.stack([crop.seen for crop in crops]).sum(0),
    )


def _alone(worker: int) -> None:
    """Let a worker use one thread, since the others belong to the network, and leave Ctrl-C to what started it."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # 0, not 1: OpenCV then leaves its threads alone. To stop them would wait for threads that a fork did not copy.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
