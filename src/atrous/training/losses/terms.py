"""A recipe's loss as terms: what each adds up to, and what that is divided by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from atrous.contract import Recipe, loss_terms
from atrous.training.losses.comparing import Targets, check_class_weights
from atrous.training.losses.pixels import (
    cross_entropy_total,
    focal_total,
    hard_pixels_count,
    hard_pixels_total,
    weight_sum,
)
from atrous.training.losses.regions import crop_count, lovasz_total, tversky_total

Total = Callable[[Tensor, Targets], Tensor]
Count = Callable[[Targets], Tensor]


@dataclass(frozen=True)
class Term:
    """One loss of a sum: `weight` times `total(logits, targets)` / `count(targets)`, both scalars in float32.

    Over parts of a batch, on several devices or one after the other, totals are added and counts are added, and their
    quotient is the loss of the whole. The count hangs on the targets alone, so that it is known before any logits are.
    """

    name: str
    weight: float
    total: Total
    count: Count


def terms_of(recipe: Recipe, *, classes: int, class_weights: Tensor | None = None) -> tuple[Term, ...]:
    """Return the terms of a recipe's loss, for logits of so many classes.

    With a `separation` the weights of classes are a part of those of a crop's pixels already: there, only the losses of
    regions, which take none of pixels, are given them.

    Raises `ValueError` where there are class weights, and not one per class.

    >>> [(term.name, term.weight) for term in terms_of(Recipe(loss="cross_entropy+0.5*dice"), classes=3)]
    [('cross_entropy', 1.0), ('dice', 0.5)]
    """
    if class_weights is not None:
        check_class_weights(class_weights, classes)
    parts = _parts(recipe, class_weights)
    return tuple(Term(name, weight, *parts[name]) for weight, name in loss_terms(recipe.loss))


def _parts(recipe: Recipe, class_weights: Tensor | None) -> dict[str, tuple[Total, Count]]:
    smoothing, share, (alpha, beta) = recipe.label_smoothing, recipe.hard_pixels, recipe.tversky
    beside = None if recipe.separation else class_weights
    pixels = partial(weight_sum, class_weights=beside)
    crops = partial(crop_count, class_weights=class_weights)
    entropy = partial(cross_entropy_total, class_weights=beside, label_smoothing=smoothing)
    hard = partial(hard_pixels_total, class_weights=beside, label_smoothing=smoothing, share=share)
    overlap = partial(tversky_total, class_weights=class_weights)
    return {
        "cross_entropy": (entropy, pixels),
        "focal": (partial(focal_total, class_weights=beside, focusing=recipe.focusing), pixels),
        "hard_pixels": (hard, partial(hard_pixels_count, share=share)),
        "dice": (partial(overlap, alpha=0.5, beta=0.5), crops),
        "jaccard": (partial(overlap, alpha=1.0, beta=1.0), crops),
        "tversky": (partial(overlap, alpha=alpha, beta=beta), crops),
        "lovasz": (partial(lovasz_total, class_weights=class_weights), crops),
    }
