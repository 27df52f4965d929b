"""Losses, computed in float32 whatever the network's precision, with 255 left out."""

from atrous.training.losses.comparing import (
    Targets,
    check_class_weights,
    check_weights,
    mean_of,
    on_grid,
    resized,
)
from atrous.training.losses.pixels import cross_entropy, focal, hard_pixels
from atrous.training.losses.regions import dice, jaccard, lovasz, tversky
from atrous.training.losses.terms import Term, terms_of

__all__ = [
    "Targets",
    "Term",
    "check_class_weights",
    "check_weights",
    "cross_entropy",
    "dice",
    "focal",
    "hard_pixels",
    "jaccard",
    "lovasz",
    "mean_of",
    "on_grid",
    "resized",
    "terms_of",
    "tversky",
]
