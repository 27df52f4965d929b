"""Recipes: every network of the table has one that can be trained, and unknown names wait for the table's words."""

from dataclasses import replace

import pytest

from atrous.contract import Recipe
from atrous.models import TABLE
from atrous.recipes import standard


@pytest.mark.parametrize("model", TABLE)
def test_every_network_has_a_recipe(model):
    recipe = standard(model)
    assert isinstance(recipe, Recipe)
    assert recipe.model == model
    assert replace(recipe, epochs=1).epochs == 1


def test_what_the_papers_fix():
    assert (standard().model, standard().encoder) == ("deeplab_v3plus", "resnet18")
    assert (standard("unet").batch, standard("unet").momentum, standard("unet").crop) == (1, 0.99, (572, 572))
    assert standard("fcn8s").weight_decay == 5e-4
    assert standard("something else").model == "something else"


def test_deeplab_v2_learns_its_norms_only_from_random_weights():
    assert (standard("deeplab_v2").options, standard("deeplab_v2").learning_rate) == ({"norm": "batch"}, 0.025)
    started = standard("deeplab_v2", pretrained="runs/before")
    assert (started.options, started.learning_rate, started.encoder_rate) == ({}, 2.5e-3, 0.1)
    vgg = standard("deeplab_v2", encoder="vgg16")
    assert (vgg.options, vgg.learning_rate, vgg.encoder) == ({}, 0.01, "vgg16")


def test_a_chosen_encoder_takes_the_place_of_the_light_one():
    assert standard("deeplab_v3", encoder="resnet50").encoder == "resnet50"
