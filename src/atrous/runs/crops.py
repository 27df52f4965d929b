"""The crops that a network is trained on: their size, what lies around an image, and how they are varied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from atrous.contract import Geometry, Recipe, Sample
from atrous.data import Pair, read_sample
from atrous.models import Segmenter
from atrous.training import Crops

_SIZES = 9  # that a step of several sizes draws from, where the network takes as many


def crops_of(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    recipe: Recipe,
    *,
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
    class_weights: tuple[float, ...] | None = None,
) -> Crops:
    """Return the crops of `pairs` for a network: of a size it takes, with what its padding puts around an image.

    `read` reads a pair in place of `read_sample`, and `transform` changes a sample before it is cropped.
    `class_weights` are for crops with weights of their own.
    """
    geometry, pre = segmenter.geometry, segmenter.preprocessing
    sizes = _sizes(recipe, geometry)
    fill = tuple(mean * (pre.high - pre.low) + pre.low for mean in pre.mean)
    return Crops(
        pairs=pairs,
        read=read or partial(read_sample, space=segmenter.space, instances=needs_objects(recipe)),
        size=(geometry.valid(recipe.crop[0]), geometry.valid(recipe.crop[1])),
        sizes=sizes if len(sizes) > 1 or recipe.multi_scale != (1, 1) else (),
        channels=pre.channels,
        fill=fill if pre.order == "RGB" else fill[::-1],
        recipe=recipe,
        margin=geometry.margin,
        mirror=pre.padding == "mirror",
        transform=transform,
        class_weights=class_weights,
        limits=(pre.low, pre.high),
        classes=len(segmenter.space),
    )


def needs_objects(recipe: Recipe) -> bool:
    """Return whether the numbers of objects are needed, whose decoding takes its time."""
    return recipe.separation > 0 or recipe.copy_paste > 0


def _sizes(recipe: Recipe, geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """Return the sizes that a step draws from: valid ones, evenly between the smallest and the largest share."""
    height, width = recipe.crop
    shares = np.linspace(*recipe.multi_scale, _SIZES)
    sizes = {(geometry.valid(round(height * share)), geometry.valid(round(width * share))) for share in shares}
    return tuple(sorted(sizes))
