"""What a CRF says of images, probabilities and logits that it cannot use.

What costs nothing is checked before every call: types and shapes. What must read every value is looked at by `fault`
and `image_fault` only after a kernel has said that it cannot use them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Name = Literal["probabilities", "logits"]
TOLERANCE = 0.01
"""How far from 1 the sum of a pixel's probabilities may be, as the kernels have it."""
_AXES = {2: "h, w", 3: "d, h, w"}


@dataclass(frozen=True, eq=False)
class Unary:
    """What is known of each pixel alone: `values` (labels, *shape), and whether they are probabilities or logits."""

    values: NDArray[Any]
    name: Name


def one_of(probabilities: Any, logits: Any) -> Unary:
    """Return the one of the two that came.

    Raises `TypeError` for both, for neither, and for what is no array.
    """
    if (probabilities is None) == (logits is None):
        came = "neither probabilities nor logits" if logits is None else "both probabilities and logits"
        raise TypeError(f"{came} came; give exactly one: crf(image, probabilities) or crf(image, logits=logits)")
    name: Name = "logits" if probabilities is None else "probabilities"
    return Unary(array(logits if probabilities is None else probabilities, name), name)


def array(value: Any, name: str) -> NDArray[Any]:
    """Return `value`.

    Raises `TypeError` where it is no NumPy array.
    """
    if isinstance(value, np.ndarray):
        return value
    kind = type(value)
    if kind.__module__.partition(".")[0] == "torch":
        raise TypeError(f"{name}: a torch tensor came; a NumPy array is needed: {name}.detach().cpu().numpy()")
    raise TypeError(f"{name}: a {kind.__name__} came; a NumPy array is needed: np.asarray({name})")


def checked_image(image: Any, dimensions: int) -> NDArray[Any]:
    """Return the image as (*shape, channels), a view of the one that came.

    `dimensions` is 2 for an image (h, w) or (h, w, c), and 3 for a volume (d, h, w) or (d, h, w, c).

    Raises `TypeError` for what is no array, `ValueError` for another dtype or shape.
    """
    image = array(image, "image")
    if image.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"image is {image.dtype}; uint8, or float32 in the units of sigma_beta, is accepted: give "
            "image.astype(np.float32) and a sigma_beta that fits the range of its values"
        )
    if image.ndim not in (dimensions, dimensions + 1) or 0 in image.shape:
        raise ValueError(
            f"image has shape {image.shape}; ({_AXES[dimensions]}) or ({_AXES[dimensions]}, c) is accepted, each at "
            "least 1. DenseCRF.batch takes several images, DenseCRF.volume volumes"
        )
    return image if image.ndim > dimensions else image[..., None]


def colours_fault(image: NDArray[Any]) -> str | None:
    """Return why an image (*shape, channels) does not hold colours of 0..255, or None where it does."""
    if image.dtype == np.uint8 or (image.min() >= 0 and image.max() <= 255):  # NaN compares as False
        return None
    bad = ~np.isfinite(image)
    if bad.any():
        return f"image holds {_kinds(image, bad)}: {_where(bad, 'channel', last=True)}; give finite values"
    return (
        f"image holds values from {image.min():g} to {image.max():g}; 0 to 255 is accepted, whatever the dtype: scale "
        "or clip it to that range"
    )


def checked_features(features: Any) -> NDArray[Any]:
    """Return features (d, h, w) or (d, depth, h, w) of floating point.

    Raises `TypeError` for what is no array, `ValueError` for another dtype or shape.
    """
    features = array(features, "features")
    if features.dtype.kind != "f" or features.ndim not in (3, 4) or 0 in features.shape:
        raise ValueError(
            f"features are {features.dtype} of shape {features.shape}; floating-point numbers (d, h, w) or "
            "(d, depth, h, w) are needed, each at least 1"
        )
    return features


def checked_unary(unary: Unary, shape: tuple[int, ...]) -> Unary:
    """Return it as float32 (labels, *shape), C-contiguous, without a copy where it is so already.

    Raises `ValueError` for another dtype, and for sizes other than the image's.
    """
    values, name = unary.values, unary.name
    if values.dtype.kind != "f":
        raise ValueError(
            f"{name} are {values.dtype}; floating-point numbers of shape (labels, {_AXES[len(shape)]}) are needed. Are "
            "these labels? Make probabilities of them with atrous.crf.soft_labels"
        )
    if values.shape[1:] != shape or 0 in values.shape:
        raise ValueError(_shape_fault(values.shape, name, shape))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return Unary(np.ascontiguousarray(values, np.float32), name)


def turned(image: Any, unary: Unary) -> str | None:
    """Return what to do where the image has its channels first, going by the shape of the other; None where not."""
    if not isinstance(image, np.ndarray) or image.ndim != unary.values.ndim:
        return None
    shape = unary.values.shape[1:]
    if image.shape[:-1] == shape or image.shape[1:] != shape:
        return None
    return (
        f"image has shape {image.shape}; axis 0, of length {len(image)}, looks like the channels, which come last: "
        f"give image.transpose{(*range(1, image.ndim), 0)}"
    )


def image_fault(image: NDArray[Any], sigma_alpha: float, sigma_beta: float) -> str:
    """Return why the features of an image (*shape, channels) are not finite."""
    bad = ~np.isfinite(image)
    if bad.any():
        return f"image holds {_kinds(image, bad)}: {_where(bad, 'channel', last=True)}; give finite values"
    return (
        f"positions over sigma_alpha {sigma_alpha:g}, or values up to {np.abs(image).max():g} over sigma_beta "
        f"{sigma_beta:g}, are too large for float32; give larger sigmas"
    )


def fault(unary: Unary) -> str | None:
    """Return why probabilities or logits (labels, *shape) cannot be used, or None where they can."""
    values, name = unary.values, unary.name
    bad = ~np.isfinite(values)
    if bad.any():
        hint = "; were they made with np.log of 0? Give the probabilities instead" if name == "logits" else ""
        return f"{name} hold {_kinds(values, bad)}: {_where(bad)}; every value must be finite{hint}"
    return _probability_fault(values) if name == "probabilities" else None


def _probability_fault(values: NDArray[Any]) -> str | None:
    ask = "Are these logits? Give logits=..."
    if values.min() < 0:
        return f"probabilities go down to {values.min():g}; below 0 are {_where(values < 0)}. {ask}"
    sums = values.sum(0, dtype=np.float64)
    off = np.abs(sums - 1)
    if off.max() <= TOLERANCE:
        return None
    for axis in range(1, values.ndim):
        if np.abs(values.sum(axis, dtype=np.float64) - 1).max() <= TOLERANCE:
            order = (axis, *(other for other in range(values.ndim) if other != axis))
            return f"probabilities sum to 1 over axis {axis}, not 0: give probabilities.transpose{order}, labels first"
    worst = np.unravel_index(int(off.argmax()), off.shape)
    return (
        f"the probabilities of a pixel must sum to 1; {_amount(off > TOLERANCE)} pixels do not, and pixel "
        f"{_place(worst)} is furthest off with a sum of {sums[worst]:g}. {ask}"
    )


def _shape_fault(came: tuple[int, ...], name: Name, shape: tuple[int, ...]) -> str:
    start = (
        f"{name} have shape {came}; (labels, {_AXES[len(shape)]}) with at least one label and the image's sizes "
        f"{shape} is needed"
    )
    if len(came) != len(shape) + 1:
        return f"{start}. DenseCRF.batch takes several images, DenseCRF.volume volumes"
    if 0 in came:
        return f"{start}. There is nothing to refine"
    for order in permutations(range(len(came))):
        if tuple(came[axis] for axis in order[1:]) == shape:
            axis = order[0]
            looks = f"Axis {axis}, of length {came[axis]}, looks like the labels" if axis else "The sides are swapped"
            return f"{start}. {looks}: give {name}.transpose{order}"
    return f"{start}. Resize the logits to the image before their softmax"


def _kinds(values: NDArray[Any], bad: NDArray[np.bool_]) -> str:
    nan = np.isnan(values[bad])
    return "NaN" if nan.all() else "NaN and infinity" if nan.any() else "infinity"


def _where(bad: NDArray[np.bool_], other: str = "label", *, last: bool = False) -> str:
    """Say how many values are meant, and where the first is, its label or channel (the last axis) apart."""
    first = np.unravel_index(int(bad.argmax()), bad.shape)
    pixel, index = (first[:-1], first[-1]) if last else (first[1:], first[0])
    return f"{_amount(bad)} values, the first at pixel {_place(pixel)} of {other} {index}"


def _amount(bad: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(bad):,} of {bad.size:,}"


def _place(index: Iterable[Any]) -> str:
    return f"({', '.join(str(int(position)) for position in index)})"
