"""One training crop of a sample: warped once, then recoloured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import Sample
from atrous.data.augmentation.degrading import varied
from atrous.data.augmentation.placing import drawn_warp
from atrous.data.augmentation.presets import LIGHT, Augmentation
from atrous.data.augmentation.warps import warped, warped_labels


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
    labels = labels_of(sample)
    where = drawn_warp(labels, size, random, augmentation=augmentation, margin=margin)
    image = warped(sample.image, where, size, fill=fill, mirror=mirror)
    return varied(image, random, augmentation, limits=limits), warped_labels(labels, where, size)


def labels_of(sample: Sample) -> NDArray[np.uint8]:
    """Return the sample's labels; raises `ValueError` where it has none."""
    if sample.labels is None:
        raise ValueError(f"{sample.path}: a sample without labels came; training needs a mask for every image")
    return sample.labels
