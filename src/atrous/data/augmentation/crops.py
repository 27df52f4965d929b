"""One training crop of a sample: warped once, then recoloured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import Sample
from atrous.data.augmentation.degrading import varied
from atrous.data.augmentation.placing import drawn_warp
from atrous.data.augmentation.presets import LIGHT, Augmentation
from atrous.data.augmentation.warps import warped, warped_labels, warped_numbers


def crop_sample(
    sample: Sample,
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    fill: tuple[float, ...] = (0.0,),
    margin: int = 0,
    mirror: bool = False,
    limits: tuple[float, float] | None = None,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return one training crop of `sample`: image (h, w, c) of the sample's type and labels (h, w) uint8.

    A crop may reach `margin` pixels over the image's border: a net with a margin learns the border only so. Pixels
    outside the image hold `fill` (one value per channel), or with `mirror` what lies as far inside; they are labelled
    255. `limits` are the smallest and largest stored value, for gamma and noise: needed where images are not 8-bit.

    Raises `ValueError` for a sample without labels.

    >>> sample = Sample(image=np.zeros((8, 9, 3), np.uint8), labels=np.ones((8, 9), np.uint8))
    >>> image, labels = crop_sample(sample, (4, 6), np.random.default_rng(0))
    >>> image.shape, labels.shape
    ((4, 6, 3), (4, 6))
    """
    options: dict[str, Any] = {"augmentation": augmentation, "fill": fill, "margin": margin, "mirror": mirror}
    crop = cropped(without_objects(sample), size, random, limits=limits, **options)
    return crop.image, labels_of(crop)


def cropped(
    sample: Sample,
    size: tuple[int, int],
    random: np.random.Generator,
    *,
    augmentation: Augmentation = LIGHT,
    fill: tuple[float, ...] = (0.0,),
    margin: int = 0,
    mirror: bool = False,
    limits: tuple[float, float] | None = None,
) -> Sample:
    """Return the crop that `crop_sample` returns as a sample, with the sample's instances where it has them.

    Their numbers are those of the same nearest pixels as the labels, and 0 outside the image.

    >>> sample = Sample(image=np.zeros((8, 9, 3), np.uint8), labels=np.ones((8, 9), np.uint8))
    >>> sample = replace(sample, instances=np.full((8, 9), 7, np.int32))
    >>> np.unique(cropped(sample, (4, 6), np.random.default_rng(0)).instances).tolist()
    [7]
    """
    labels = labels_of(sample)
    where = drawn_warp(labels, size, random, augmentation=augmentation, margin=margin)
    image = varied(warped(sample.image, where, size, fill=fill, mirror=mirror), random, augmentation, limits=limits)
    numbers = None if sample.instances is None else warped_numbers(sample.instances, where, size)
    return Sample(image=image, labels=warped_labels(labels, where, size), instances=numbers, path=sample.path)


def without_objects(sample: Sample) -> Sample:
    """Return the sample without its instances."""
    return sample if sample.instances is None else replace(sample, instances=None)


def labels_of(sample: Sample) -> NDArray[np.uint8]:
    """Return the sample's labels; raises `ValueError` where it has none."""
    if sample.labels is None:
        raise ValueError(f"{sample.path}: a sample without labels came; training needs a mask for every image")
    return sample.labels
