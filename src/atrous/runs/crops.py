"""The crops that a network is trained on: their size, what lies around an image, and how they are varied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from atrous.contract import Recipe, Sample
from atrous.data import Pair, read_sample
from atrous.models import Segmenter
from atrous.training import Crops


def crops_of(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    recipe: Recipe,
    *,
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
) -> Crops:
    """Return the crops of `pairs` for a network: of a size it takes, with what its padding puts around an image.

    `read` reads a pair in place of `read_sample`, and `transform` changes a sample before it is cropped.
    """
    geometry, pre = segmenter.geometry, segmenter.preprocessing
    fill = tuple(mean * (pre.high - pre.low) + pre.low for mean in pre.mean)
    return Crops(
        pairs=pairs,
        read=read or partial(read_sample, space=segmenter.space),
        size=(geometry.valid(recipe.crop[0]), geometry.valid(recipe.crop[1])),
        channels=pre.channels,
        fill=fill if pre.order == "RGB" else fill[::-1],
        recipe=recipe,
        margin=geometry.margin,
        mirror=pre.padding == "mirror",
        transform=transform,
        limits=(pre.low, pre.high),
    )
