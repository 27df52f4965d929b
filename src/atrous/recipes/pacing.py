"""How long a planned run is, how fast it learns, and how often it is scored."""

from __future__ import annotations

import math

from atrous.recipes.choosing import Choices
from atrous.recipes.fitting import NORM_BATCH, geometry_of, scored_pixels
from atrous.recipes.looking import Data
from atrous.recipes.plan import Machine

_FEWEST, _MOST, _MOST_ON_CPU = 4_000, 60_000, 20_000
"""Steps."""
_VALIDATIONS = 100
_VALIDATION_SHARE = 0.25


def length(choices: Choices, data: Data, machine: Machine) -> int:
    """Choose the epochs, and return the steps of the run."""
    recipe = choices.recipe
    crops = recipe.batch * recipe.accumulate
    per_epoch = math.ceil(data.train / crops)
    if recipe.steps is not None:
        choices.note("steps", "given")
        return recipe.steps
    worth = max(1.0, data.pixels / (4 * scored_pixels(recipe.crop, geometry_of(recipe))))
    wished = 4_000 * math.sqrt(data.train * worth / 100) * math.sqrt(NORM_BATCH / crops)
    most = _MOST_ON_CPU if machine.kind == "cpu" else _MOST
    wished = wished / 2 if machine.kind == "cpu" else wished
    epochs = max(1, round(min(most, max(_FEWEST, wished)) / per_epoch))
    rule = "half of what a GPU would take" if machine.kind == "cpu" else "as DeepLab's 30,000 for 10,582 images"
    if wished > most:
        rule = "the most planned"
    elif wished < _FEWEST:
        rule = "the fewest that train a network from scratch" if not recipe.pretrained else "the fewest planned"
    choices.choose("epochs", epochs, f"{epochs * per_epoch:,} steps of {crops}: {rule}")
    return choices.recipe.epochs * per_epoch


def rate(choices: Choices, steps: int) -> None:
    """Choose rate, warm-up and averaging for a run of `steps`."""
    recipe, start = choices.recipe, choices.start
    crops = recipe.batch * recipe.accumulate
    times = min(2.0, crops / start.batch)
    if recipe.optimizer == "adamw":
        choices.choose("learning_rate", 2e-4 if recipe.pretrained else 1e-3, "AdamW's, whose steps are of one size")
        choices.choose("weight_decay", 0.01, "AdamW's own, which is apart from the gradient")
    else:
        tuned = 0.2 if recipe.pretrained and recipe.model in ("deeplab_v3", "deeplab_v3plus") else 1.0
        reason = f"{start.learning_rate:g} for {start.batch}, in proportion to the batch (Goyal et al. 2017)"
        reason = (
            reason if crops != start.batch else f"{recipe.model}'s here, for {crops} crop{'s' * (crops > 1)} a step"
        )
        reason += ", a fifth of it for weights that know something already" if tuned < 1 else ""
        choices.choose("learning_rate", float(f"{start.learning_rate * times * tuned:.3g}"), reason)
    share = 0.05 if times > 1 else 0.02
    warm_up = min(max(100, round(share * steps)), steps // 10)
    reason = f"{warm_up / steps:.0%} of the run" if warm_up else "the run is too short for one"
    choices.choose("warm_up", warm_up, reason)
    decay = max(0.0, min(0.999, round(1 - 20 / steps, 4)))
    reason = f"averages about the last {1 / (1 - decay):,.0f} steps: the score swings less"
    choices.choose("ema", decay, reason if decay else "the run is too short to average over")


def validation(choices: Choices, data: Data) -> None:
    """Choose how often the run is scored."""
    recipe = choices.recipe
    epochs = recipe.epochs
    if recipe.steps is not None:
        epochs = math.ceil(recipe.steps / math.ceil(data.train / (recipe.batch * recipe.accumulate)))
    # Of a step, about a third is the forward pass, which is all that a validation takes.
    shown_pixels = scored_pixels(recipe.crop, geometry_of(recipe)) * max(data.train, recipe.batch * recipe.accumulate)
    share = data.val * data.pixels / 3 / shown_pixels
    every = max(math.ceil(epochs / _VALIDATIONS), min(math.ceil(share / _VALIDATION_SHARE), max(1, epochs // 10)))
    reason = f"{max(1, epochs // every):,} times, " + (
        f"about {share / (share + every):.0%} of the time" if data.val else "though there is no val to score on"
    )
    choices.choose("validate_every", every, reason)
