"""Recipes: the settings of runs, as functions that return a `Recipe`.

`standard` is what `train` starts from. The papers' are named after paper and data and stand in `recipes.papers`, with
every number's source; a stage that starts from another run is told which:

    recipes.fcn32s_voc()
    recipes.fcn16s_voc(start="runs/fcn32s_voc")

A variant is `dataclasses.replace(recipes.unet_isbi(), steps=1000)`.
"""

from atrous.recipes.naming import cited, described, named
from atrous.recipes.papers import TABLE as PAPERS
from atrous.recipes.papers.cited import PaperRecipe
from atrous.recipes.starting import standard

__all__ = ["PAPERS", "cited", "described", "named", "standard"]


def __getattr__(name: str) -> PaperRecipe:
    if name in PAPERS:
        return PAPERS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
