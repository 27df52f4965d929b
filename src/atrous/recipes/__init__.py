"""Recipes: the settings of runs, as functions that return a `Recipe`.

A variant is `dataclasses.replace(standard("unet"), epochs=10)`.
"""

from atrous.recipes.starting import standard

__all__ = ["standard"]
