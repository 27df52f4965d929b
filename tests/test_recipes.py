"""Recipes: every network has one that can be trained; the papers' have the papers' numbers, each with its source."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from atrous import recipes
from atrous.cli.recipe_flags import RecipeFlags, changes_of
from atrous.contract import LabelSpace, Preprocessing, Recipe, Sample
from atrous.models import TABLE, Segmenter, build
from atrous.recipes import PAPERS, cited, described, naming, standard
from atrous.recipes.papers.cited import paper_recipe
from atrous.training import Crops, prepared, train

HEAVY = {"batch": 1, "momentum": 0.99, "reduction": "sum", "weight_decay": 5e-4, "bias_rate": 2, "schedule": "constant"}
HEAVY |= {"warm_up": 0, "augment": "none", "crop": (500, 500)}
CVPR = {**HEAVY, "batch": 20, "momentum": 0.9, "reduction": "mean"}
DECONVNET = {"batch": 8, "accumulate": 8, "learning_rate": 0.01, "schedule": "steps", "drop": 0.1, "measure_norm": 501}
DECONVNET |= {"momentum": 0.9, "weight_decay": 5e-4, "bias_rate": 2, "crop": (224, 224)}
V1 = {"learning_rate": 0.01, "encoder_rate": 0.1, "bias_rate": 2, "momentum": 0.9, "weight_decay": 5e-4, "drop": 0.1}
V1 |= {"schedule": "steps", "compare": "grid", "steps": 6_000, "scale": (1, 1)}
V2 = {"crop": (321, 321), "encoder_rate": 0.1, "bias_rate": 2, "momentum": 0.9, "weight_decay": 5e-4, "compare": "grid"}
V2 |= {"schedule": "poly", "power": 0.9, "steps": 20_000}
V3 = {"crop": (513, 513), "batch": 16, "learning_rate": 0.007, "schedule": "poly", "power": 0.9, "steps": 30_000}
V3 |= {"momentum": 0.9, "weight_decay": 1e-4, "output_stride": 16, "scale": (0.5, 2.0), "compare": "resized"}
STAGE2 = {"output_stride": 8, "freeze_norm": True, "learning_rate": 0.001}
CITYSCAPES = {"crop": (769, 769), "steps": 90_000}

PUBLISHED = {
    "fcn32s_voc": {**HEAVY, "learning_rate": 1e-10, "steps": 100_000},
    "fcn16s_voc": {**HEAVY, "learning_rate": 1e-12, "steps": 100_000},
    "fcn8s_voc": {**HEAVY, "learning_rate": 1e-14, "steps": 100_000},
    "fcn8s_at_once_voc": {**HEAVY, "learning_rate": 1e-10, "steps": 300_000, "options": {"at_once": True}},
    "fcn32s_voc_cvpr": {**CVPR, "learning_rate": 1e-4, "epochs": 175, "steps": None},
    "fcn16s_voc_cvpr": {**CVPR, "learning_rate": 1e-6, "options": {"deconvolution": "learnt"}},
    "fcn8s_voc_cvpr": {**CVPR, "learning_rate": 1e-8, "options": {"deconvolution": "learnt"}},
    "fcn32s_context": {**HEAVY, "learning_rate": 1e-10, "steps": 400_000},
    "fcn16s_context": {**HEAVY, "learning_rate": 1e-12, "steps": 400_000},
    "fcn8s_context": {**HEAVY, "learning_rate": 1e-14, "steps": 400_000},
    "fcn32s_siftflow": {**HEAVY, "learning_rate": 1e-10, "steps": 100_000, "crop": (256, 256)},
    "fcn16s_siftflow": {**HEAVY, "learning_rate": 1e-12, "steps": 100_000, "crop": (256, 256)},
    "fcn8s_siftflow": {**HEAVY, "learning_rate": 1e-12, "steps": 100_000, "crop": (256, 256)},
    "fcn32s_nyud": {**HEAVY, "learning_rate": 1e-10, "steps": 100_000, "crop": (480, 640)},
    "hypercolumn_voc": {
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "accumulate": 20,
        "steps": 10_000,
    },
    "unet_isbi": {"batch": 1, "momentum": 0.99, "crop": (572, 572), "elastic": 10, "separation": 10},
    "unet_nuclei": {"batch": 1, "momentum": 0.99, "elastic": 10, "separation": 10},
    "deconvnet_voc_stage1": {**DECONVNET, "drop_every": 9_000, "steps": 20_000},
    "deconvnet_voc_stage2": {**DECONVNET, "drop_every": 10_000, "steps": 40_000},
    "deeplab_v1_voc": {**V1, "batch": 20, "drop_every": 2_000, "options": {"variant": "4x4"}},
    "deeplab_v1_largefov_voc": {**V1, "batch": 30, "drop_every": 1_000, "crop": (321, 321)},
    "deeplab_v1_msc_largefov_voc": {**V1, "learning_rate": 1e-3, "encoder_rate": 1, "batch": 30, "drop_every": 2_000},
    "deeplab_v2_vgg16_largefov_voc": {**V2, "batch": 10, "learning_rate": 0.01, "scale": (1, 1)},
    "deeplab_v2_vgg16_aspp_voc": {**V2, "batch": 10, "learning_rate": 0.01, "scale": (1, 1)},
    "deeplab_v2_resnet101_voc": {
        **V2,
        "batch": 1,
        "accumulate": 10,
        "learning_rate": 2.5e-3,
        "scale": (0.5, 1.5),
        "loss_weights": (1, 1, 1, 1),
        "options": {"head": "aspp-l", "multiscale": True, "norm": "frozen"},
    },
    "deeplab_v3_voc": {**V3, "options": {"multigrid": [1, 2, 4]}, "encoder": "resnet101"},
    "deeplab_v3_voc_stage2": {**V3, **STAGE2},
    "deeplab_v3_cityscapes": {**V3, **CITYSCAPES},
    "deeplab_v3plus_voc": {**V3, "encoder": "resnet101"},
    "deeplab_v3plus_voc_stage2": {**V3, **STAGE2},
    "deeplab_v3plus_xception_voc": {**V3, "encoder": "xception65", "weight_decay": 4e-5},
    "deeplab_v3plus_xception_voc_stage2": {**V3, **STAGE2, "encoder": "xception65", "weight_decay": 4e-5},
    "deeplab_v3plus_cityscapes": {**V3, **CITYSCAPES, "encoder": "xception65", "weight_decay": 4e-5},
}
"""What the papers and their releases say, written down apart from the recipes."""

STAGES = [name for name, recipe in PAPERS.items() if recipe.after is not None]


def made(name):
    return PAPERS[name](start="runs/before" if name in STAGES else None)


def network(recipe, **options):
    """Build the recipe's network for 21 classes, from random weights."""
    given = {"encoder": recipe.encoder, "output_stride": recipe.output_stride}
    given = {key: value for key, value in given.items() if value is not None}
    return build(recipe.model, 21, **given, **recipe.options, **options)


@pytest.mark.parametrize("model", TABLE)
def test_every_network_has_a_recipe(model):
    recipe = standard(model)
    assert isinstance(recipe, Recipe)
    assert recipe.model == model
    assert replace(recipe, epochs=1).epochs == 1


def test_what_the_papers_fix():
    assert (standard().model, standard().encoder) == ("deeplab_v3plus", "resnet18")
    assert (standard("unet").batch, standard("unet").momentum, standard("unet").crop) == (1, 0.99, (572, 572))
    assert standard("unet").elastic == 10
    assert standard("fcn8s").weight_decay == 5e-4
    assert standard("something else").model == "something else"


def test_biases_learn_twice_as_fast_where_caffe_trained():
    caffe = {"fcn32s", "fcn16s", "fcn8s", "hypercolumn", "deeplab_v1", "deeplab_v2"}
    assert {model for model in TABLE if standard(model).bias_rate == 2} == caffe
    assert standard() == Recipe(encoder="resnet18")


def test_deeplab_v2_learns_its_norms_only_from_random_weights():
    assert (standard("deeplab_v2").options, standard("deeplab_v2").learning_rate) == ({"norm": "batch"}, 0.025)
    started = standard("deeplab_v2", pretrained="runs/before")
    assert (started.options, started.learning_rate, started.encoder_rate) == ({}, 2.5e-3, 0.1)
    vgg = standard("deeplab_v2", encoder="vgg16")
    assert (vgg.options, vgg.learning_rate, vgg.encoder) == ({}, 0.01, "vgg16")


def test_a_chosen_encoder_takes_the_place_of_the_light_one():
    assert standard("deeplab_v3", encoder="resnet50").encoder == "resnet50"


def test_the_table_of_numbers_is_whole():
    assert set(PUBLISHED) == set(PAPERS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_are_the_papers(name):
    recipe, expected = made(name), PUBLISHED[name]
    assert {field: getattr(recipe, field) for field in expected} == expected
    assert recipe.model == {"deeplab_v3plus": "deeplab_v3plus"}.get(name[:14], recipe.model)
    assert recipe.pretrained == ("runs/before" if name in STAGES else not name.startswith("unet"))


@pytest.mark.parametrize("name", PAPERS)
def test_every_number_has_a_source(name):
    recipe, default = made(name), Recipe()
    differing = {field.name for field in fields(Recipe) if getattr(recipe, field.name) != getattr(default, field.name)}
    rows = cited(name)["fields"]
    assert differing <= {row["name"] for row in rows}
    assert all(row["source"].strip() for row in rows)
    order = [field.name for field in fields(Recipe)]
    assert [row["name"] for row in rows] == sorted((row["name"] for row in rows), key=order.index)


@pytest.mark.parametrize("name", PAPERS)
def test_every_network_is_built_and_takes_the_crop(name):
    recipe = made(name)
    assert recipe.model in TABLE
    with torch.device("meta"):
        geometry = network(recipe).geometry
    assert tuple(geometry.valid(side) for side in recipe.crop) == recipe.crop


@pytest.mark.parametrize("name", STAGES)
def test_a_later_stage_continues_the_network_of_the_one_before(name):
    with torch.device("meta"):
        before, after = (network(PAPERS[each](start="x")).state_dict() for each in (PAPERS[name].after.name, name))
    shared = [key for key in after if key in before]
    assert all(after[key].shape == before[key].shape for key in shared)
    # Nothing is lost but a coarser deconvolution, and what is new are skips and branches.
    assert all("upscore" in key for key in set(before) - set(after))
    assert all(key.startswith(("score_pool", "upscore", "branches.")) for key in set(after) - set(before))


@pytest.mark.parametrize("name", STAGES)
def test_a_later_stage_says_what_comes_first(name):
    with pytest.raises(ValueError, match=f"^{name} starts from a run of {PAPERS[name].after.name}, and none came: "):
        recipes.named(name)


def test_the_words_of_a_missing_stage(tmp_path):
    words = (
        "starts from a run of fcn16s_voc, and none came: first `atrous train DATA --recipe fcn16s_voc "
        "--pretrained=runs/fcn32s_voc --out runs/fcn16s_voc`, then `atrous train DATA --recipe fcn8s_voc "
        "--pretrained=runs/fcn16s_voc --out runs/fcn8s_voc`"
    )
    for start in (None, ""):
        with pytest.raises(ValueError) as told:  # noqa: PT011  (the words are compared whole)
            recipes.fcn8s_voc(start=start)
        assert str(told.value) == f"fcn8s_voc {words}"
    file = tmp_path / "vgg16.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"fcn8s_voc starts from a run of fcn16s_voc, and the file .*vgg16.safet"):
        recipes.fcn8s_voc(start=file)
    assert recipes.fcn32s_voc(start=file).pretrained == str(file)
    assert recipes.fcn8s_voc(start=tmp_path).pretrained == str(tmp_path)


@pytest.mark.parametrize("start", [True, 3, ["runs/a"]])
def test_a_start_is_a_path(start):
    with pytest.raises(TypeError, match=r"start .* came; it is the path of a run or a model folder"):
        recipes.fcn16s_voc(start=start)


@pytest.mark.parametrize("name", ["fcn8s_vc", "FCN-8s VOC", "fcn8svoc"])
def test_the_nearest_name_is_said(name):
    with pytest.raises(ValueError, match=f"recipe '{name}' is not known; did you mean 'fcn8s_voc'"):
        recipes.named(name)


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"recipe 'auto' is no paper's. `atrous train DATA --recipe auto` works one out"
    ):
        recipes.named("auto")
    assert naming.listed().startswith("`atrous train DATA --recipe auto` works one out from the data and this machine")
    with pytest.raises(ValueError, match=r"recipe 'zzz' is not known; `atrous recipes` lists all 33"):
        cited("zzz")
    with pytest.raises(AttributeError, match="has no attribute 'fcn64s_voc'"):
        _ = recipes.fcn64s_voc


def test_a_recipe_is_called_by_its_name():
    assert recipes.unet_isbi() == recipes.named("unet_isbi")
    assert [row["name"] for row in described()] == list(PAPERS)
    assert all(row["summary"].endswith(".") and row["source"] for row in described())


def test_a_changed_recipe_leaves_the_next_one_alone():
    recipes.fcn8s_at_once_voc().options["at_once"] = False
    assert recipes.fcn8s_at_once_voc().options == {"at_once": True}


def test_a_field_that_there_is_not_is_refused():
    @paper_recipe("a paper")
    def wrong():
        """A recipe."""
        return {"learning_speed": (1, "section 1")}

    with pytest.raises(ValueError, match="learning_speed"):
        wrong()


def halves(index):
    """Return a noisy picture whose left part is dark, class 0, and whose right part is bright, class 1."""
    random = np.random.default_rng(index)
    labels = np.zeros((40, 40), np.uint8)
    labels[:, random.integers(12, 28) :] = 1
    image = (labels * 150)[..., None] + random.integers(0, 60, (40, 40, 3))
    return Sample(image=image.astype(np.uint8), labels=labels)


def begun(recipe, net, crop):
    """Return a training of two small pictures at the recipe's settings, with fewer crops a step."""
    few = {"batch": min(recipe.batch, 2), "accumulate": min(recipe.accumulate, 2), "crop": crop}
    recipe = replace(recipe, **few, class_weights="none", precision="float32")
    segmenter = Segmenter(net, LabelSpace(names=[f"c{index}" for index in range(21)]), Preprocessing())
    side = net.geometry.valid(crop)
    crops = Crops(
        pairs=range(2),
        read=halves,
        size=(side, side),
        channels=3,
        fill=(0.0,) * 3,
        recipe=recipe,
        margin=net.geometry.margin,
        mirror=recipe.model == "unet",
        limits=(0.0, 255.0),
    )
    return prepared(segmenter, crops, device="cpu", workers=0)


def changed_by_a_step(training):
    """Return the names of the weights that a step changes."""
    before = {name: value.clone() for name, value in training.segmenter.net.named_parameters()}
    assert np.isfinite(next(train(training)).loss)
    now = training.segmenter.net.named_parameters()
    return {name for name, value in now if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("name", "width"),
    [
        *((name, 1 / 64) for name in PAPERS if name.startswith(("fcn", "hypercolumn", "unet", "deeplab_v1"))),
        ("deconvnet_voc_stage1", 1 / 64),
        ("deeplab_v2_vgg16_aspp_voc", 1 / 64),
        ("deeplab_v2_resnet101_voc", 1 / 64),
        ("deeplab_v3_voc_stage2", 1 / 64),
        ("deeplab_v3plus_xception_voc", 1 / 64),
    ],
)
def test_a_step_trains(name, width):
    torch.manual_seed(0)
    recipe = replace(made(name), width=width)
    crop = 220 if recipe.model == "unet" else 40  # of 220, U-Net scores 36
    changed = changed_by_a_step(begun(recipe, network(recipe, width=width), crop))
    assert changed
    if name == "deeplab_v1_msc_largefov_voc":
        assert all(each.startswith("branches.") for each in changed)
    if recipe.freeze_norm:
        assert not any("bn" in each for each in changed)


def test_summed_loss_at_the_released_rate_changes_a_later_stage():
    """Nothing of a step of FCN-16s at 1e-12 is lost in the skip's scores, which are zero yet."""
    torch.manual_seed(0)
    recipe = recipes.fcn16s_voc(start="x")
    net = network(recipe, width=1 / 16)
    torch.nn.init.normal_(net.score_fr.weight, std=0.01)
    changed = changed_by_a_step(begun(recipe, net, 40))
    assert {"score_pool4.weight", "score_pool4.bias"} <= changed
    assert 0 < net.score_pool4.weight.abs().max() < 1e-6


@pytest.mark.parametrize(("word", "value"), [("true", True), ("false", False), ("runs/a", "runs/a")])
def test_a_flag_leaves_published_weights_out(word, value):
    assert changes_of(RecipeFlags(pretrained=word)) == {"pretrained": value}


def test_the_command_lists_all(run):
    code, out, err = run("recipes")
    assert (code, err) == (0, "")
    for name, recipe in PAPERS.items():
        assert f"  {name:<36}{recipe.summary}\n" in out
        assert recipe.source in out
    assert json.loads(run("recipes", "--json")[1]) == described()


def test_the_command_shows_one(run):
    code, out, _ = run("recipes", "fcn16s_voc")
    assert code == 0
    assert "learning_rate   1e-12                       voc-fcn16s/solver.prototxt\n" in out
    assert "pretrained      a run of fcn32s_voc         the stage before\n" in out
    assert out.endswith("next: " + PAPERS["fcn16s_voc"].command + "\n")
    shown = json.loads(run("recipes", "fcn16s_voc", "--json")[1])
    assert shown["after"] == "fcn32s_voc"
    assert {"name": "learning_rate", "value": 1e-12, "source": "voc-fcn16s/solver.prototxt"} in shown["fields"]
    assert naming.as_text("unet_isbi") in run("recipes", "unet_isbi")[1]


def test_the_command_refuses_what_there_is_not(run):
    code, out, err = run("recipes", "unet_isbie")
    assert (code, out) == (2, "")
    assert err == "atrous: recipe 'unet_isbie' is not known; did you mean 'unet_isbi'? `atrous recipes` lists all 33\n"


def test_epochs_that_are_given_take_the_place_of_a_recipes_steps():
    from atrous.verbs.learning import _recipe

    assert _recipe("unet_isbi", {"epochs": 3}).steps is None
    assert _recipe("unet_isbi", {"steps": 7}).steps == 7
