"""Several scorers as one: the mean of their probabilities, or the product of their logits.

Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015 (arXiv 1505.04366), section
5.2: DeconvNet sees the shape of objects and FCN the whole scene, so that together (EDeconvNet) they err less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from array_api_compat import array_namespace
from numpy.typing import NDArray

from atrous.contract import Geometry, LabelSpace, Preprocessing, Scorer
from atrous.prediction.arrays import from_numpy, scored, softmax
from atrous.prediction.passing import geometry_of_all, preprocessing_of, space_of


def averaged(*scorers: Scorer, weights: Sequence[float] | None = None) -> Mean:
    """Return a scorer whose probabilities are the mean of the others', weighted where `weights` has one for each.

    Weights are shares: only their proportions count. All scorers must take the same images (NumPy, or tensors on one
    device) and know the same classes.

    Raises `ValueError` for no scorer, weights that are not one above zero for each, and, once images are scored, for
    probabilities of different shapes.

    Source: DeconvNet, section 5.2 (the mean of DeconvNet and FCN-8s).

    >>> import numpy as np
    >>> first = lambda images: np.array([1, 0], np.float32).reshape(1, 2, 1, 1)
    >>> second = lambda images: np.array([0, 1], np.float32).reshape(1, 2, 1, 1)
    >>> averaged(first, second, weights=(3, 1))(np.zeros((1, 3, 1, 1), np.uint8)).ravel().tolist()
    [0.75, 0.25]
    """
    if not scorers:
        raise ValueError("no scorer came; give one or more to average")
    shares = tuple(weights) if weights is not None else (1.0,) * len(scorers)
    if len(shares) != len(scorers) or not all(0 < share < inf for share in shares):
        raise ValueError(f"weights {shares} came for {len(scorers)} scorers; give one above 0 for each")
    return Mean(scorers, tuple(share / sum(shares) for share in shares))


def multiplied(first: Scorer, second: Scorer) -> Product:
    """Return a scorer whose logits are those of `first` times those of `second` where these are above zero, else zero.

    This is what the authors' code does with DeconvNet's fused logits, `proposed(...)`, and FCN-8s; their paper has the
    mean, `averaged`. A class that `second` gives a logit below zero comes out at zero, whatever `first` says. Both
    must take the same images and know the same classes.

    Raises `TypeError` for a scorer without `logits`, and `ValueError`, once images are scored, for different shapes.

    Source: HyeonwooNoh/DeconvNet, inference.

    >>> import numpy as np
    >>> class Constant:
    ...     def __init__(self, *logits): self.values = np.array(logits, np.float32).reshape(1, -1, 1, 1)
    ...     def logits(self, images): return self.values
    >>> multiplied(Constant(4, 1), Constant(-2, 3)).logits(np.zeros((1, 3, 1, 1), np.uint8)).ravel().tolist()
    [0.0, 3.0]
    """
    for place, scorer in (("first", first), ("second", second)):
        if not hasattr(scorer, "logits"):
            raise TypeError(
                f"the {place} scorer has no `logits`, which are multiplied; a Segmenter has them and so has "
                "`proposed`. Any scorers can be averaged"
            )
    return Product(first, second)


@dataclass(frozen=True)
class Mean:
    """What `averaged` returns: a scorer without `labels`, which needs all probabilities."""

    scorers: tuple[Any, ...]
    shares: tuple[float, ...]

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        total, shape = None, None
        for scorer, share in zip(self.scorers, self.shares, strict=True):
            probabilities = scored(scorer, images)
            shape = tuple(probabilities.shape) if shape is None else shape
            _check_same(shape, tuple(probabilities.shape))
            total = probabilities * share if total is None else total + probabilities * share
        arrays = array_namespace(total)
        return arrays.astype(total, arrays.float32)

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the first scorer takes them."""
        return from_numpy(self.scorers[0], images)

    @property
    def geometry(self) -> Geometry:
        """What windows for all of them need."""
        return geometry_of_all(self.scorers)

    @property
    def space(self) -> LabelSpace | None:
        """The first scorer's classes, None where it does not say."""
        return space_of(self.scorers[0])

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The first scorer's, None where it has none."""
        return preprocessing_of(self.scorers[0])


@dataclass(frozen=True)
class Product:
    """What `multiplied` returns: a scorer that also has the product's `logits`."""

    first: Any
    second: Any

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        logits = self.logits(images)
        return softmax(array_namespace(logits).astype(logits, array_namespace(logits).float32))

    def logits(self, images: Any) -> Any:
        """Return the product (n, classes, h, w)."""
        first, second = scored(self.first.logits, images), scored(self.second.logits, images)
        _check_same(tuple(first.shape), tuple(second.shape))
        return first * array_namespace(second).clip(second, min=0)

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the first scorer takes them."""
        return from_numpy(self.first, images)

    @property
    def geometry(self) -> Geometry:
        """What windows for all of them need."""
        return geometry_of_all((self.first, self.second))

    @property
    def space(self) -> LabelSpace | None:
        """The first scorer's classes, None where it does not say."""
        return space_of(self.first)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The first scorer's, None where it has none."""
        return preprocessing_of(self.first)


def _check_same(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    if first[:2] != second[:2]:
        raise ValueError(
            f"the scorers know {first[1]} and {second[1]} classes; put together only those of the same classes, in the "
            "same order"
        )
    if first != second:
        raise ValueError(f"the scorers returned {first} and {second} for the same images; the shapes must be equal")
