"""Crops of several samples: four in one (mosaic), and objects of one put into another (copy-paste)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, Sample
from atrous.data.augmentation.crops import cropped, labels_of, without_objects
from atrous.data.augmentation.degrading import varied
from atrous.data.augmentation.placing import drawn_warp
from atrous.data.augmentation.presets import LIGHT, Augmentation
from atrous.data.augmentation.warps import warped, warped_labels, warped_numbers
from atrous.data.parting import compacted, numbered

_Crop = tuple[NDArray[Any], NDArray[np.uint8]]


def mosaic(
    samples: Sequence[Sample],
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    fill: tuple[float, ...] = (0.0,),
    mirror: bool = False,
    limits: tuple[float, float] | None = None,
) -> _Crop:
    """Return one crop made of four samples, which meet at a point of its middle half; each is varied for itself.

    Raises `ValueError` unless four samples with labels and one number of channels come (one channel is repeated).

    >>> four = [Sample(image=np.zeros((9, 9, 1), np.uint8), labels=np.full((9, 9), n, np.uint8)) for n in range(4)]
    >>> np.unique(mosaic(four, (40, 40), np.random.default_rng(0))[1]).tolist()
    [0, 1, 2, 3, 255]
    """
    options: dict[str, Any] = {"augmentation": augmentation, "fill": fill, "mirror": mirror, "limits": limits}
    crop = joined([without_objects(sample) for sample in samples], size, random, **options)
    return crop.image, labels_of(crop)


def joined(
    samples: Sequence[Sample],
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    fill: tuple[float, ...] = (0.0,),
    mirror: bool = False,
    limits: tuple[float, float] | None = None,
) -> Sample:
    """Return the crop that `mosaic` returns as a sample, with instances where a sample has them.

    No number is that of objects of two samples. Of samples without instances the connected regions are objects.
    """
    if len(samples) != 4 or min(size) < 2:
        raise ValueError(f"{len(samples)} samples came for a crop of {size}; a mosaic is of four, and 2 x 2 at least")
    row, column = (min(max(int(side * random.uniform(0.25, 0.75)), 1), side - 1) for side in size)
    samples = matched(samples)
    image = np.empty((*size, samples[0].image.shape[2]), samples[0].image.dtype)
    labels = np.empty(size, np.uint8)
    numbers = None if all(sample.instances is None for sample in samples) else np.zeros(size, np.int32)
    options: dict[str, Any] = {"augmentation": augmentation, "fill": fill, "mirror": mirror, "limits": limits}
    for index, sample in enumerate(samples):
        rows = slice(0, row) if index < 2 else slice(row, size[0])
        columns = slice(0, column) if index % 2 == 0 else slice(column, size[1])
        part = (rows.stop - rows.start, columns.stop - columns.start)
        crop = cropped(sample, part, random, **options)
        image[rows, columns], labels[rows, columns] = crop.image, labels_of(crop)
        if numbers is not None:
            numbers[rows, columns] = _above(int(numbers.max()), _objects(crop))
    return Sample(image=image, labels=labels, instances=numbers, path=samples[0].path)


def _objects(crop: Sample) -> NDArray[np.int32]:
    return numbered(labels_of(crop)) if crop.instances is None else compacted(crop.instances)


def _above(highest: int, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return object numbers that are all above another, 0 staying 0."""
    return np.where(numbers != 0, numbers + np.int32(highest), np.int32(0))


def copy_paste(
    crop: _Crop,
    sample: Sample,
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    limits: tuple[float, float] | None = None,
) -> _Crop:
    """Return `crop` (image, labels) with some objects of `sample` over it, each with its labels.

    The objects are those with a number in the sample's instances, or without instances the regions of its classes but
    0; each is taken with the chance one half, and one at least. They are scaled and placed as a crop of their own.
    What is labelled 255 is never pasted. The crop that came is not changed.

    Source: Ghiasi et al., Simple Copy-Paste (arXiv 2012.07177).
    """
    done = pasted(Sample(image=crop[0], labels=crop[1]), sample, random, augmentation=augmentation, limits=limits)
    return done.image, labels_of(done)


def pasted(
    crop: Sample,
    sample: Sample,
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    limits: tuple[float, float] | None = None,
) -> Sample:
    """Return what `copy_paste` returns as a sample; where `crop` has instances, what is pasted gets new numbers.

    Of a `sample` without instances the connected regions that are pasted are objects.
    """
    labels = labels_of(crop)
    base, sample = matched([crop, sample])
    size = labels.shape
    where = drawn_warp(labels_of(sample), size, random, augmentation=augmentation)
    found = warped_labels(labels_of(sample), where, size)
    numbers = found if sample.instances is None else warped_numbers(sample.instances, where, size)
    numbers = np.where(found == IGNORE, 0, numbers)
    objects = np.unique(numbers)
    objects = objects[objects != 0]
    if not len(objects):
        return crop
    kept = objects[random.random(len(objects)) < 0.5]
    over = np.isin(numbers, kept if len(kept) else random.choice(objects, 1))
    other = varied(warped(sample.image, where, size, fill=(0.0,)), random, augmentation, limits=limits)
    instances = None
    if crop.instances is not None:
        of_regions = sample.instances is None
        new = numbered(np.where(over, found, np.uint8(0))) if of_regions else compacted(numbers.astype(np.int32))
        before = compacted(crop.instances)
        instances = np.where(over, _above(int(before.max(initial=0)), new), before)
    image = np.where(over[..., None], other, base.image)
    return Sample(image=image, labels=np.where(over, found, labels), instances=instances, path=crop.path)


def matched(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with one number of channels and one type, so that they can be mixed."""
    channels = max(sample.image.shape[2] for sample in samples)
    dtype = np.result_type(*(sample.image.dtype for sample in samples))
    same = []
    for sample in samples:
        image = sample.image
        if image.shape[2] != channels and (image.shape[2] != 1 or channels != 3):
            counts = " and ".join(str(count) for count in sorted({each.image.shape[2] for each in samples}))
            raise ValueError(f"{sample.path}: images of {counts} channels came; only images of one kind can be mixed")
        image = np.repeat(image, 3, 2) if image.shape[2] != channels else image
        same.append(Sample(image=_as(image, dtype), labels=sample.labels, instances=sample.instances, path=sample.path))
    return same


def _as(image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    # uint16 beside int16 would be int32, which nothing here is made for.
    wanted = dtype if dtype in (np.uint8, np.uint16, np.int16) else np.dtype(np.float32)
    return image.astype(wanted, copy=False)
