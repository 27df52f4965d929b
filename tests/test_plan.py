"""The planned recipe: what each rule chooses, that what is given stays, and that it fits the memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from atrous.contract import AtrousError, Recipe
from atrous.models import TABLE, build
from atrous.recipes.auto import Choice, Machine, planned
from atrous.recipes.fitting import crop_for, fitted, geometry_of, scored_pixels
from atrous.recipes.looking import looked_at
from atrous.recipes.plan import shown

GIGABYTE = 10**9
CPU = Machine(kind="cpu", memory=16 * GIGABYTE, cores=2)
GPU = Machine(kind="cuda", memory=22 * GIGABYTE, cores=8, bfloat16=True)


def facts_of(train=367, val=101, size=(360, 480), shares=(0.5, 0.3, 0.2), channels=(3,), dtype="uint8", images=None):
    count = train + val
    classes = [
        {"name": f"class {index}", "share": share, "images": count if images is None else images[index]}
        for index, share in enumerate(shares)
    ]
    splits = {"train": train, "val": val} if val else {"train": train}
    return {
        "count": count,
        "splits": splits,
        "sizes": {"median": list(size)},
        "channels": list(channels),
        "dtypes": [dtype],
        "classes": classes,
    }


def memory(recipe: Recipe) -> int:
    """A network that takes 100 MB, and 400 bytes for each pixel of its crops: four times that with a deep trunk."""
    deep = 4 if recipe.encoder == "resnet50" else 1
    return 10**8 + round(400 * deep * recipe.batch * recipe.crop[0] * recipe.crop[1] * recipe.width)


def plan_of(machine=CPU, given=None, **facts):
    return planned(facts_of(**facts), machine, given=given or {}, memory=memory)


def reason_of(plan, setting) -> str:
    return next(each.reason for each in plan.choices if each.setting == setting)


def test_a_cpu_keeps_trunk_and_crop_small():
    recipe = plan_of().recipe
    assert (recipe.model, recipe.encoder, recipe.crop, recipe.batch) == ("deeplab_v3plus", "resnet18", (257, 337), 8)
    assert (recipe.precision, recipe.pretrained) == ("float32", False)


def test_a_gpu_takes_the_deeper_trunk_whole_images_and_more_of_them():
    recipe = plan_of(GPU).recipe
    assert (recipe.encoder, recipe.crop, recipe.batch, recipe.accumulate) == ("resnet50", (369, 481), 16, 1)
    assert (recipe.learning_rate, recipe.precision) == (0.1, "bfloat16")


def test_what_does_not_fit_is_accumulated_and_takes_the_light_trunk():
    plan = plan_of(replace(GPU, memory=GIGABYTE))
    assert (plan.recipe.encoder, plan.recipe.batch, plan.recipe.accumulate) == ("resnet18", 8, 2)
    assert plan.memory <= GIGABYTE
    assert "does not fit" in reason_of(plan, "encoder")
    assert plan.recipe.learning_rate == 0.1


def test_the_crop_shrinks_before_the_batch():
    plan = plan_of(replace(GPU, memory=GIGABYTE * 4 // 10), size=(512, 512))
    assert plan.recipe.batch == 8
    assert plan.recipe.crop[0] < 513
    assert "513x513 does not fit 400 MB" in reason_of(plan, "crop")


def test_too_few_crops_for_batch_norm_take_group_norm_or_freeze():
    plan = plan_of(replace(GPU, memory=170_000_000), given={"crop": (257, 257)})
    assert plan.recipe.batch == 2
    assert plan.recipe.options == {"norm": "group"}
    plan = plan_of(replace(GPU, memory=170_000_000), given={"crop": (257, 257), "pretrained": True})
    assert plan.recipe.freeze_norm


def test_what_is_given_stays_and_is_gone_by():
    plan = plan_of(GPU, given={"crop": 512, "batch": 4, "seed": 3, "ema": None})
    assert (plan.recipe.crop, plan.recipe.batch, plan.recipe.accumulate, plan.recipe.seed) == ((512, 512), 4, 1, 3)
    assert plan.recipe.learning_rate == 0.025
    assert plan.recipe.ema > 0.9
    assert Choice("crop", (512, 512), "given", True) in plan.choices
    assert {each.setting for each in plan.choices if each.given} == {"crop", "batch", "seed"}


def test_every_setting_can_be_given():
    plan = plan_of()
    for choice in plan.choices:
        again = plan_of(given={choice.setting: choice.value})
        assert next(each for each in again.choices if each.setting == choice.setting).given


def test_unet_keeps_its_own_optimiser_and_batch():
    recipe = plan_of(GPU, given={"model": "unet"}).recipe
    assert (recipe.batch, recipe.momentum, recipe.learning_rate, recipe.weight_decay) == (1, 0.99, 0.001, 0.0)
    assert recipe.crop == (556, 668)


def test_few_grey_images_take_unet():
    plan = plan_of(train=24, val=6, size=(512, 512), shares=(0.22, 0.78), channels=(1,))
    recipe = plan.recipe
    assert (recipe.model, recipe.width, recipe.augment, recipe.scale) == ("unet", 0.5, "strong", (0.7, 1.4))
    assert recipe.elastic > 0


def test_masks_that_number_objects_take_unet_and_separation():
    plan = planned(facts_of() | {"labels": "instances"}, GPU, given={}, memory=memory)
    assert (plan.recipe.model, plan.recipe.separation) == ("unet", 10.0)
    assert plan.recipe.elastic > 0
    given = planned(facts_of() | {"labels": "instances"}, GPU, given={"separation": 0.0}, memory=memory)
    assert given.recipe.separation == 0
    assert plan_of(GPU).recipe.separation == 0


@pytest.mark.parametrize("channels", [3, 4])
def test_grey_that_is_stored_as_colour_is_grey(channels):
    facts = facts_of(train=24, val=6, channels=(channels,))
    grey = {"mean": [100.0, 100.5, 100.0, 255.0][:channels], "std": [30.0, 30.0, 30.1, 0.0][:channels]}
    assert planned(facts | grey, GPU, given={}, memory=memory).recipe.model == "unet"
    assert looked_at(facts | grey).is_scanned
    assert not looked_at(facts | grey | {"mean": [100.0, 103.0, 100.0, 255.0][:channels]}).is_scanned


def test_a_small_foreground_takes_dice_and_crops_about_it():
    recipe = plan_of(train=49, val=11, size=(483, 648), shares=(0.926, 0.016, 0.058)).recipe
    assert (recipe.loss, recipe.class_weights, recipe.crops) == ("cross_entropy+dice", "none", "foreground")
    assert plan_of(shares=(0.84, 0.16)).recipe.loss == "cross_entropy"


def test_weights_are_for_what_is_far_below_the_median():
    assert plan_of(shares=(0.5, 0.3, 0.1999, 0.0001)).recipe.class_weights == "root"
    assert plan_of(shares=(0.5, 0.3, 0.19, 0.01)).recipe.class_weights == "none"
    # A class in two images cannot be learnt, whatever its weight.
    assert plan_of(shares=(0.5, 0.3, 0.1999, 0.0001), images=(468, 468, 468, 2)).recipe.class_weights == "none"


def test_classes_that_are_small_where_they_are_call_for_balanced_crops():
    assert plan_of(size=(720, 960), shares=(0.5, 0.495, 0.005)).recipe.crops == "balanced"
    assert plan_of(size=(720, 960), shares=(0.5, 0.495, 0.005), images=(468, 468, 20)).recipe.crops == "anywhere"
    assert plan_of(size=(256, 256), shares=(0.5, 0.495, 0.005)).recipe.crops == "anywhere"


def test_steps_grow_with_the_images_within_bounds():
    counts = [plan_of(GPU, train=train).steps for train in (1, 300, 3_000, 10_582, 1_000_000)]
    assert counts == sorted(counts)
    assert counts[0] == 4_000
    assert 28_000 < counts[3] < 30_000
    assert counts[4] <= 63_000
    assert plan_of(train=1_000_000).steps == 125_000  # one epoch is the least


def test_steps_that_are_given_end_the_run():
    plan = plan_of(given={"steps": 500})
    assert plan.steps == plan.recipe.steps == 500
    assert plan.recipe.warm_up == 50


def test_adamw_takes_its_own_rates():
    recipe = plan_of(given={"optimizer": "adamw"}).recipe
    assert (recipe.learning_rate, recipe.weight_decay) == (1e-3, 0.01)


def test_pretrained_is_never_chosen_and_told_of_by_the_run():
    plan = plan_of()
    assert not any("--pretrained" in note for note in plan.notes)
    given = plan_of(given={"pretrained": True})
    assert given.recipe.learning_rate == 0.01
    assert not any("--pretrained" in note for note in given.notes)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5_000, 5_000), (20, 3_000), (100, 5_000)])
@pytest.mark.parametrize("train", [1, 100_000])
@pytest.mark.parametrize("shares", [(None, 1.0), (1.0, 0.0), (None, None), (None, *[1 / 254] * 254)])
def test_odd_data_are_planned_for(size, train, shares):
    plan = plan_of(GPU, train=train, val=0, size=size, shares=shares)
    assert plan.steps >= 4_000 * (train == 1)
    assert plan.recipe.batch == 16
    assert plan.as_text().count("\n") == len(plan.choices) + len(plan.notes)
    assert any("no val" in note for note in plan.notes)


def test_classes_never_seen_are_named():
    assert any("no pixel of class 0" in note for note in plan_of(shares=(None, 0.6, 0.4)).notes)


def test_a_batch_is_shared_by_the_processes():
    plan = plan_of(replace(GPU, processes=3))
    assert plan.recipe.batch == 18
    with pytest.raises(ValueError, match="batch 16 cannot be shared by 3 processes"):
        plan_of(replace(GPU, processes=3), given={"batch": 16})


def test_what_does_not_fit_is_told_with_what_does():
    with pytest.raises(AtrousError, match=r"batch of 64 crops of 512x512 takes about .* MB; --batch 2 --accumulate 32"):
        plan_of(replace(CPU, memory=400_000_000), given={"batch": 64, "crop": (512, 512)})
    with pytest.raises(AtrousError, match=r"there are 101 MB; --batch 1 --width 0.25 would fit"):
        plan_of(replace(CPU, memory=101_000_000), size=(512, 512))
    with pytest.raises(AtrousError, match=r"a quarter of the width would still take"):
        plan_of(replace(CPU, memory=10_000_000))


def test_bad_settings_and_facts_are_refused():
    with pytest.raises(ValueError, match="no setting 'epoch'; did you mean 'epochs'"):
        plan_of(given={"epoch": 3})
    with pytest.raises(ValueError, match="batch"):
        plan_of(given={"batch": 0})
    with pytest.raises(AtrousError, match="no training images"):
        planned({**facts_of(), "splits": {"val": 3}}, CPU, given={}, memory=memory)
    with pytest.raises(AtrousError, match="no sizes of images"):
        planned({**facts_of(), "sizes": {}}, CPU, given={}, memory=memory)
    with pytest.raises(AtrousError, match="no classes"):
        planned({**facts_of(), "classes": []}, CPU, given={}, memory=memory)


def test_a_machine_is_checked():
    with pytest.raises(ValueError, match="cpu, cuda or mps"):
        Machine(kind="tpu", memory=1)
    with pytest.raises(ValueError, match="memory 0 came"):
        Machine(kind="cpu", memory=0)


def test_a_plan_is_json_and_columns():
    plan = plan_of(given={"batch": 4})
    read = json.loads(json.dumps(plan.as_json()))
    assert read["recipe"]["crop"] == [257, 337]
    assert {"setting": "batch", "value": 4, "reason": "given", "given": True} in read["choices"]
    assert Recipe(**read["recipe"]) == plan.recipe
    lines = plan.as_text().splitlines()[1 : 1 + len(plan.choices)]
    assert len({line.index(each.reason) for line, each in zip(lines, plan.choices, strict=True)}) == 1


def test_values_are_shown_as_flags_take_them():
    assert [shown(value) for value in ((8, 9), (0.5, 2.0), (), True, 1e-3, {})] == [
        "8x9",
        "0.5 to 2",
        "none",
        "True",
        "0.001",
        "none",
    ]


@pytest.mark.parametrize("model", TABLE)
def test_sizes_are_those_that_the_network_takes(model):
    import torch

    with torch.device("meta"):
        net = build(model, 3)
    geometry = geometry_of(Recipe(model=model))
    crop = crop_for((200, 900), 300 * 300, geometry)
    assert crop == tuple(net.geometry.valid(side) for side in crop)
    assert geometry.margin == net.geometry.margin


def test_crops_have_the_shape_of_images_to_a_limit():
    geometry = geometry_of(Recipe())
    assert crop_for((1024, 2048), 513 * 513, geometry) == (369, 721)
    assert crop_for((100, 5_000), 513 * 513, geometry) == (97, 721)
    assert scored_pixels((572, 572), geometry_of(Recipe(model="unet"))) == 388 * 388


def test_the_share_of_a_process_is_what_must_fit():
    recipe = Recipe(crop=(257, 257), batch=16)
    alone, _ = fitted(recipe, replace(GPU, memory=300_000_000), memory)
    shared, _ = fitted(recipe, replace(GPU, memory=320_000_000, processes=4), memory)
    assert (alone.batch, shared.batch) == (8, 16)


def test_training_shares_are_preferred():
    facts = facts_of(shares=(0.5, 0.5))
    for each, learnt, among in zip(facts["classes"], (90, 10), (100, 20), strict=True):
        each |= {"learnt": learnt, "among": among}
    data = looked_at(facts)
    assert data.shares == (0.9, 0.1)
    assert data.within == (0.9, 0.5)
