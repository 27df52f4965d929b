"""Augmentations of other libraries as functions from a sample and a generator to a sample, seeded by the generator.

What they make beyond the image's border is labelled 255, whatever they fill masks with: a second mask of ones goes with
the labels, and where it is not one afterwards nothing was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, Sample

Transform = Callable[[Sample, np.random.Generator], Sample]


def from_torchvision(transform: Callable[..., Any]) -> Transform:
    """Return a callable of `torchvision.transforms.v2` as one from (sample, generator) to sample.

    It is called with a `tv_tensors.Image` (c, h, w) and a `tv_tensors.Mask` of several planes, as
    `transform(image, mask)`, and must return the two. PyTorch's generator is seeded for it from the given one, and put
    back. The image must keep its type: leave out ToDtype and Normalize, since the network normalises by itself.

    Raises `TypeError` for what is not callable; the result raises `TypeError` or `ValueError`, naming the image, where
    the transform fails or returns something else than an image and a mask of one size.
    """
    if not callable(transform):
        raise TypeError(f"{type(transform).__name__} came; a callable of torchvision.transforms.v2 is accepted")
    return partial(_by_torchvision, transform)


def from_albumentations(transform: Callable[..., Any]) -> Transform:
    """Return a callable of albumentations, mostly a `Compose`, as one from (sample, generator) to sample.

    It is called as `transform(image=, mask=)` with an image (h, w, c) and a mask of several planes (h, w, n), and must
    return the two in a dictionary. It is seeded from the given generator by its own `set_random_seed`. The image must
    keep its type: leave out Normalize and ToTensorV2, since the network normalises by itself.

    Raises `TypeError` for what is not callable or cannot be seeded; the result raises `TypeError` or `ValueError`,
    naming the image, where the transform fails or returns something else than an image and a mask of one size.
    """
    if not callable(transform) or not hasattr(transform, "set_random_seed"):
        raise TypeError(
            f"{type(transform).__name__} came; a callable of albumentations with `set_random_seed` is accepted, such "
            "as A.Compose([...])"
        )
    return partial(_by_albumentations, transform)


def _by_torchvision(transform: Callable[..., Any], sample: Sample, random: np.random.Generator) -> Sample:
    import torch
    from torchvision import tv_tensors

    # Copies: what works in place must not write to the sample, which may be a map that the system keeps from writing.
    planes = np.array(_planes(sample).transpose(2, 0, 1), order="C")
    image = tv_tensors.Image(torch.from_numpy(np.array(sample.image.transpose(2, 0, 1), order="C")))
    with torch.random.fork_rng(devices=[]), _named(sample):
        torch.manual_seed(int(random.integers(2**63)))
        result = transform(image, tv_tensors.Mask(torch.from_numpy(planes)))
    return _from_torchvision(sample, result)


def _from_torchvision(sample: Sample, result: Any) -> Sample:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            f"{sample.path}: the transform returned {type(result).__name__}; an image and a mask are needed, as they "
            "came"
        )
    arrays = [np.asarray(each) for each in result]
    if any(each.ndim != 3 for each in arrays):
        shapes = " and ".join(str(each.shape) for each in arrays)
        raise ValueError(
            f"{sample.path}: the transform returned shapes {shapes}; (c, h, w) and (planes, h, w) are needed"
        )
    return _sample(sample, arrays[0].transpose(1, 2, 0), arrays[1].transpose(1, 2, 0))


def _by_albumentations(transform: Any, sample: Sample, random: np.random.Generator) -> Sample:
    transform.set_random_seed(int(random.integers(2**31)))
    planes = _planes(sample)
    with _named(sample):
        result = transform(image=sample.image.copy(), mask=planes)  # as above
    if not isinstance(result, dict) or not {"image", "mask"} <= result.keys():
        raise TypeError(
            f"{sample.path}: the transform returned {type(result).__name__}; a dictionary with image and mask is "
            "needed, as albumentations returns it"
        )
    image = np.asarray(result["image"])
    return _sample(sample, image[..., None] if image.ndim == 2 else image, np.asarray(result["mask"]))


@contextmanager
def _named(sample: Sample) -> Iterator[None]:
    """Name the image in what the transform raises: which it was cannot be seen from a process that reads many."""
    try:
        yield
    except Exception as error:  # whatever the caller's own function raises
        raise ValueError(f"{sample.path}: the transform failed: {type(error).__name__}: {error}") from error


def _planes(sample: Sample) -> NDArray[Any]:
    """Return what must follow the image, (h, w, n) uint8: labels, ones, and the objects' numbers in two bytes."""
    if sample.labels is None:
        raise ValueError(f"{sample.path}: a sample without labels came; training needs a mask for every image")
    planes = [sample.labels, np.ones_like(sample.labels)]
    if sample.instances is not None:
        places = np.unique(sample.instances, return_inverse=True)[1].reshape(sample.instances.shape)
        if places.max(initial=0) >= 1 << 16:
            raise ValueError(f"{sample.path}: more than 65,536 objects came; drop the sample's instances first")
        planes += [(places & 255).astype(np.uint8), (places >> 8).astype(np.uint8)]
    return np.stack(planes, 2)


def _sample(before: Sample, image: NDArray[Any], planes: NDArray[Any]) -> Sample:
    """Return the sample with what the transform made of it."""
    _check(before, image, planes)
    outside = planes[:, :, 1] != 1
    labels = planes[:, :, 0].astype(np.uint8)
    labels[outside] = IGNORE
    instances = None
    if before.instances is not None:
        numbers = np.unique(before.instances)
        places = planes[:, :, 2].astype(np.int64) + 256 * planes[:, :, 3].astype(np.int64)
        places[outside] = 0  # whatever it was filled with
        if places.max(initial=0) >= len(numbers):
            raise ValueError(
                f"{before.path}: the transform mixed the mask's values; masks must be resampled with the nearest pixel"
            )
        instances = np.where(outside, 0, numbers[places]).astype(np.int32)
    return replace(before, image=np.ascontiguousarray(image), labels=labels, instances=instances)


def _check(before: Sample, image: NDArray[Any], planes: NDArray[Any]) -> None:
    if image.dtype != before.image.dtype:
        raise ValueError(
            f"{before.path}: the transform made {image.dtype} of an image of {before.image.dtype}; leave out what "
            "converts or normalises, since the network normalises by itself"
        )
    count = 2 if before.instances is None else 4
    if image.ndim != 3 or image.shape[2] != before.image.shape[2] or planes.shape != (*image.shape[:2], count):
        raise ValueError(
            f"{before.path}: the transform made {image.shape} and {planes.shape} of an image {before.image.shape} and "
            f"a mask {(*before.image.shape[:2], count)}; the image and the mask need one size, and channels stay"
        )
