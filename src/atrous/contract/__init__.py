"""The seven nouns every room speaks: Sample, LabelSpace, Preprocessing, Geometry, Scorer, Prediction, Recipe.

Sizes are (height, width). Inputs are never changed in place, and the same height and width come back for every
height and width of at least one pixel. Inside the package classes are 0..n-1 and 255 is ignore, always.
"""

from atrous.contract.nouns import (
    IGNORE,
    AtrousError,
    Colour,
    Encoding,
    Geometry,
    LabelSpace,
    Prediction,
    Preprocessing,
    Sample,
    Scorer,
    distinct_colours,
    mirrored,
)
from atrous.contract.recipe import LOSSES, Recipe, loss_terms

AtrousError.__module__ = __name__  # what a traceback calls it

__all__ = [
    "IGNORE",
    "LOSSES",
    "AtrousError",
    "Colour",
    "Encoding",
    "Geometry",
    "LabelSpace",
    "Prediction",
    "Preprocessing",
    "Recipe",
    "Sample",
    "Scorer",
    "distinct_colours",
    "loss_terms",
    "mirrored",
]
