"""The seven nouns every room speaks: Sample, LabelSpace, Preprocessing, Geometry, Scorer, Prediction, Recipe.

Beside them `Config`, the settings that a trained network carries with it.

Sizes are (height, width). Inputs are never changed in place, and the same height and width come back for every
height and width of at least one pixel. Inside the package classes are 0..n-1 and 255 is ignore, always.
"""

from atrous.contract.config import FORMAT, Config, config_json, config_of, plain, validated
from atrous.contract.explaining import explained
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
from atrous.contract.stored import check_channels, stored

AtrousError.__module__ = __name__  # what a traceback calls it

__all__ = [
    "FORMAT",
    "IGNORE",
    "LOSSES",
    "AtrousError",
    "Colour",
    "Config",
    "Encoding",
    "Geometry",
    "LabelSpace",
    "Prediction",
    "Preprocessing",
    "Recipe",
    "Sample",
    "Scorer",
    "check_channels",
    "config_json",
    "config_of",
    "distinct_colours",
    "explained",
    "loss_terms",
    "mirrored",
    "plain",
    "stored",
    "validated",
]
