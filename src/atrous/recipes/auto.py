"""A recipe planned from the data's fingerprint and the machine, each choice with its reason.

The rules are those of papers where there are any, and say which; the others are practice, and say what they weigh. A
setting that is given is never changed, and what is chosen after it goes by it.

Source: that data decide the recipe by rules is nnU-Net's (Isensee et al. 2021, arXiv 1904.08128).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from atrous.contract import Recipe
from atrous.recipes.choosing import Choices
from atrous.recipes.fitting import NORM_BATCH, Memory, crop_for, fitted, geometry_of, scored_pixels
from atrous.recipes.looking import Data, looked_at
from atrous.recipes.pacing import length, rate, validation
from atrous.recipes.plan import Choice, Machine, Plan, gigabytes, shown

__all__ = ["Choice", "Machine", "Plan", "planned"]

_FEW = 50
"""Below how many training images a network sees too little of the world."""
_DOMINATED = 0.9
_BACKGROUND = 0.8
_RARE = 0.01
_TRUNKED = ("deeplab_v2", "deeplab_v3", "deeplab_v3plus")
_NORMALISED = (*_TRUNKED, "deconvnet")
_CPU_CROP, _CROP, _LARGE_CROP = 256 * 336, 513 * 513, 769 * 769
_LARGE_SIDE = 1000
_GPU_BATCH = 16


def planned(facts: Mapping[str, Any], machine: Machine, *, given: Mapping[str, Any], memory: Memory) -> Plan:
    """Return a recipe for a dataset's fingerprint on a machine, with what was chosen and why.

    `given` are settings of the recipe that are decided already; None counts as not given. `memory` returns the bytes
    that a step of a recipe takes, as `runs.machine.training_bytes` does.

    Raises `AtrousError` for a fingerprint without training images and where nothing fits the memory, `ValueError` for
    settings that a recipe does not have or that cannot be.
    """
    given = _checked(given, machine)
    data = looked_at(facts)
    choices = Choices(given, _model(data))
    _network(choices, data, machine)
    _loss(choices, data)
    needed = _size(choices, data, machine, memory)
    _variation(choices, data)
    steps = length(choices, data, machine)
    rate(choices, steps)
    validation(choices, data)
    return Plan(
        recipe=choices.recipe,
        choices=choices.all(),
        machine=machine,
        data={"train": data.train, "val": data.val, "size": list(data.size), "classes": len(data.names)},
        steps=steps,
        memory=needed,
        notes=_notes(data),
    )


def _checked(given: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    known = [field.name for field in fields(Recipe)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(f"no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    batch = given.get("batch")
    if isinstance(batch, int) and batch % machine.processes:
        raise ValueError(f"batch {batch} cannot be shared by {machine.processes} processes: make it a multiple")
    return {name: value for name, value in given.items() if value is not None}


def _model(data: Data) -> str:
    return "unet" if data.objects or (data.channels == 1 and data.train < _FEW) else "deeplab_v3plus"


def _network(choices: Choices, data: Data, machine: Machine) -> None:
    if choices.recipe.model == "unet" and data.objects:
        choices.note("model", "masks number objects: U-Net learns the gaps between them (its paper)")
    elif choices.recipe.model == "unet":
        choices.note("model", f"{data.train} grey images: U-Net learnt from 30 (its paper)")
    else:
        choices.note("model", "the latest of the networks here, and sharp at edges by its decoder")
    if machine.kind == "cpu" and choices.recipe.model not in _TRUNKED and _is_wide(choices.recipe):
        choices.choose("width", 0.5, "half of the paper's channels: a quarter of the work, on a CPU")
    fast = machine.bfloat16
    reason = f"this {machine.kind} {'has matrix units for it' if fast else 'is not faster in bfloat16'}"
    choices.choose("precision", "bfloat16" if fast else "float32", reason)


def _is_wide(recipe: Recipe) -> bool:
    return not recipe.pretrained and not recipe.encoder


def _loss(choices: Choices, data: Data) -> None:
    largest = max(data.shares)
    name = data.names[data.shares.index(largest)]
    if largest >= _DOMINATED:
        reason = f"{name} is {largest:.1%} of the pixels: cross-entropy alone would settle for it (nnU-Net: the sum)"
        choices.choose("loss", "cross_entropy+dice", reason)
    else:
        choices.choose(
            "loss", "cross_entropy", f"no class is over {_DOMINATED:.0%} of the pixels ({name} {largest:.1%})"
        )
    if data.objects and "cross_entropy" in choices.recipe.loss:
        choices.choose("separation", 10.0, "U-Net's weight of the gaps, so that objects that touch stay apart")
    share, rarest = data.shares[data.rarest], data.names[data.rarest]
    if "dice" in choices.recipe.loss:
        choices.choose("class_weights", "none", "dice counts every class alike")
    elif share < _RARE * data.middle:
        reason = f"{rarest} is {share / data.middle:.2%} of the median class; median balancing (SegNet) would weigh it "
        choices.choose("class_weights", "root", f"{reason}{data.middle / max(share, 1e-12):,.0f} times")
    else:
        reason = f"the rarest class, {rarest}, is {share / max(data.middle, 1e-12):.0%} of the median one"
        choices.choose("class_weights", "none", f"{reason}: weights cost accuracy (SegNet, table 1)")


def _size(choices: Choices, data: Data, machine: Machine, memory: Memory) -> int:
    """Choose trunk, crop, batch and accumulation together: they share the memory."""
    choices.choose("ema", 0.99, "")  # as large as any other decay
    pixels, why = _crop_pixels(data, machine)
    wished = crop_for(data.size, pixels, geometry_of(choices.recipe))
    batch = _batch(choices, machine)
    choices.choose("crop", wished, "")
    choices.choose("batch", batch, "")
    encoders = _encoders(choices, data, machine)
    needed = 0
    for encoder, reason in encoders:
        trial = replace(choices.recipe, encoder=encoder)
        if encoder != encoders[-1][0] and not _fits_well(trial, machine, memory):
            continue
        choices.recipe, needed = fitted(trial, machine, memory, given=choices.given)
        if reason:
            choices.note("encoder", reason)
        break
    _explain_size(choices, data, wished=wished, why=why, batch=batch, available=gigabytes(machine.memory))
    return needed


def _crop_pixels(data: Data, machine: Machine) -> tuple[int, str]:
    if machine.kind == "cpu":
        return _CPU_CROP, "256x336 keep a step on a CPU short"
    if min(data.size) >= _LARGE_SIDE:
        return _LARGE_CROP, "769 is DeepLab v3+'s crop for images of 1024x2048"
    return _CROP, "513 is DeepLab v3's crop"


def _batch(choices: Choices, machine: Machine) -> int:
    own = choices.start.batch
    wished = _GPU_BATCH if own == NORM_BATCH and machine.kind == "cuda" else own
    return math.ceil(wished / machine.processes) * machine.processes


def _encoders(choices: Choices, data: Data, machine: Machine) -> list[tuple[str | None, str]]:
    own = choices.recipe.encoder
    if "encoder" in choices.given or choices.recipe.model not in _TRUNKED:
        return [(own, "")]
    if machine.kind != "cuda":
        return [("resnet18", f"the light trunk, on {machine.kind}; a GPU would take resnet50")]
    if data.train < _FEW and not choices.recipe.pretrained:
        return [("resnet18", f"{data.train} images do not teach a deeper one from scratch")]
    return [
        ("resnet50", "the memory takes it, with this crop and batch"),
        ("resnet18", f"resnet50 with a batch of {NORM_BATCH} of this crop does not fit"),
    ]


def _fits_well(recipe: Recipe, machine: Machine, memory: Memory) -> bool:
    own = math.ceil(min(NORM_BATCH, recipe.batch) / machine.processes)
    return memory(replace(recipe, batch=own)) <= machine.memory


def _explain_size(
    choices: Choices, data: Data, *, wished: tuple[int, int], why: str, batch: int, available: str
) -> None:
    recipe, geometry = choices.recipe, geometry_of(choices.recipe)
    covered = scored_pixels(recipe.crop, geometry) / data.pixels
    margin = f", with U-Net's {geometry.margin} pixels around it" if geometry.margin else ""
    part = f"{covered:.0%} of a median image" if covered < 0.95 else "the whole of a median image"
    if recipe.crop != wished:
        why = f"{shown(wished)} does not fit {available}"
    choices.note("crop", part + margin + (f": {why}" if covered < 0.95 else ""))
    if recipe.batch < batch:
        reason = f"{batch} do not fit {available}"
    elif batch == choices.start.batch:
        reason = f"what {recipe.model} is trained with" + (" (batch norm wants 8)" if batch == NORM_BATCH else "")
    else:
        reason = "the DeepLab papers' batch: statistics of batch norm need many crops"
    choices.note("batch", reason)
    if recipe.accumulate > 1:
        choices.note("accumulate", f"{recipe.batch * recipe.accumulate} crops a step all the same")
    _norm(choices)


def _norm(choices: Choices) -> None:
    """Choose another norm where a batch is too small for statistics of its own."""
    recipe = choices.recipe
    if recipe.batch >= NORM_BATCH or recipe.model not in _NORMALISED or "norm" in (choices.given.get("options") or {}):
        return
    if recipe.pretrained and recipe.model != "deeplab_v2":
        choices.choose("freeze_norm", True, f"{recipe.batch} crops are too few for batch norm; its statistics are kept")
    elif not recipe.pretrained:
        choices.recipe = replace(recipe, options={**recipe.options, "norm": "group"})
        reason = f"{recipe.batch} crops are too few for batch norm, of which group norm needs none"
        choices.made["options"] = Choice("options", choices.recipe.options, reason)


def _variation(choices: Choices, data: Data) -> None:
    few, images = data.train < _FEW, f"{data.train:,} image{'s' * (data.train > 1)}"
    if few:
        choices.choose("augment", "strong", f"{images}: turned, sheared and degraded, each is many")
    else:
        choices.choose("augment", "light", f"{images}: zoom, flips and small changes of colour")
    if choices.start.scale == (0.5, 2.0) and data.is_scanned:
        choices.choose("scale", (0.7, 1.4), "an instrument's images have one scale (nnU-Net: 0.7 to 1.4)")
    else:
        low, high = choices.start.scale
        choices.choose(
            "scale", (low, high), "near and far differ (the DeepLab papers)" if low < high else "its paper's"
        )
    if data.objects or (data.channels == 1 and (few or choices.start.elastic)):
        amount = float(max(1, round(10 * min(1.0, min(choices.recipe.crop) / 512))))
        choices.choose("elastic", amount, "tissue bends: U-Net's 10 pixels of 512")
    _where(choices, data)


def _where(choices: Choices, data: Data) -> None:
    """Choose where crops lie; it matters where they show a small part of an image."""
    covered = scored_pixels(choices.recipe.crop, geometry_of(choices.recipe)) / data.pixels
    share, hidden = data.within[data.hidden], data.names[data.hidden]
    if covered < 0.5 and data.shares[0] >= _BACKGROUND:
        reason = f"{data.names[0]} is {data.shares[0]:.0%}: a third of the crops about something else (nnU-Net)"
        choices.choose("crops", "foreground", reason)
    elif covered < 0.5 and share < _RARE:
        reason = f"{hidden} is {share:.2%} of the images that show it, and a crop shows {covered:.0%} of one"
        choices.choose("crops", "balanced", reason)
    else:
        reason = (
            f"a crop shows {min(covered, 1):.0%} of an image"
            if covered >= 0.5
            else "every class fills a part of the images that show it"
        )
        choices.choose("crops", "anywhere", reason)


def _notes(data: Data) -> tuple[str, ...]:
    notes = []
    if data.unseen:
        many = ", ..." if len(data.unseen) > 5 else ""
        notes.append(f"no pixel of {', '.join(data.unseen[:5])}{many}: nothing can be learnt of it")
    if data.dtype != "uint8":
        notes.append(f"{data.dtype}: the network's input is scaled by the data's 0.5 and 99.5 percentiles")
    if data.val == 0:
        notes.append("no val split: nothing tells which epoch is best")
    return tuple(notes)
