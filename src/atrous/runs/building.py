"""From a dataset and a recipe to a training that has not begun: the network, its crops and its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atrous.contract import Preprocessing, Recipe, Sample
from atrous.data import Dataset, Pair
from atrous.models import Segmenter, build
from atrous.recipes.weighting import class_weights_of
from atrous.runs.choices import network_options, preprocessing
from atrous.runs.crops import crops_of
from atrous.runs.environment import versions
from atrous.store import Config, model_folder, plain, read_config, start_from
from atrous.training import Training, prepared


def begun(
    dataset: Dataset,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    resumed: Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
) -> tuple[Training, Config, str | None]:
    """Return a training at its first step, the model's config, and a line on what it starts from.

    A run that is `resumed`, from the `last/` that is given, starts from no weights: it has its own.

    Raises `AtrousError` for weights and devices that cannot be had, `ValueError` for a recipe that does not fit the
    data or the network.
    """
    torch.manual_seed(recipe.seed)
    options = network_options(recipe, facts)
    start = Path(recipe.pretrained) if isinstance(recipe.pretrained, str) and Path(recipe.pretrained).is_dir() else None
    if resumed is not None or start is not None:
        options["pretrained"] = False  # the weights are the run's own, or another model's
    net = build(recipe.model, len(dataset.space), **options)
    line = start_from(net, start, dataset.space) if start is not None and resumed is None else None
    segmenter = Segmenter(net, dataset.space, _preprocessing(net, facts, resumed=resumed, start=start))
    weights = class_weights_of(recipe, facts["classes"])
    crops = crops_of(dataset.splits["train"], segmenter, recipe, read=read, transform=transform, class_weights=weights)
    training = prepared(segmenter, crops, device=device, workers=workers, class_weights=weights)
    config = Config(
        model=recipe.model,
        options={**options, "pretrained": False},
        space=dataset.space,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
        recipe=plain(recipe),
        versions=versions(),
        fingerprint=facts,
    )
    return training, config, line


def _preprocessing(net: Any, facts: dict[str, Any], *, resumed: Path | None, start: Path | None) -> Preprocessing:
    """Return how the data become the network's input: as the model took them that it starts from, where that fits.

    Images of another depth have a range of their own; the order of the channels is the model's all the same.
    """
    if resumed is not None:
        return read_config(resumed).preprocessing
    own = preprocessing(net, facts)
    before = own if start is None else read_config(model_folder(start)).preprocessing
    if before.channels != own.channels:
        return own
    if (before.low, before.high) == (own.low, own.high):
        return replace(before, padding=own.padding)
    turned = slice(None, None, 1 if before.order == own.order else -1)
    return replace(own, order=before.order, mean=own.mean[turned], std=own.std[turned])
