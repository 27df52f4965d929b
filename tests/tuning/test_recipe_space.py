"""What a search may change: ranges and choices, the words for them, and what is refused."""

from __future__ import annotations

import re

import pytest

from atrous.contract import Recipe
from atrous.tuning import Between, Choice, space_around, space_of
from atrous.tuning.recipe_space import parameters_of, value_of, word

RECIPE = Recipe(encoder="resnet18")


def test_ranges_and_choices_are_read() -> None:
    space = space_of(
        ["learning_rate=0.001..0.1", "momentum=0.8..0.95", "batch=2..8", "crop=128,256x336", "scale=0.5:2,1:1"], RECIPE
    )
    assert space["learning_rate"] == Between(low=0.001, high=0.1, log=True)
    assert space["momentum"] == Between(low=0.8, high=0.95)
    assert space["batch"] == Between(low=2, high=8, whole=True)
    assert space["crop"] == Choice(words=("128", "256x336"), values=((128, 128), (256, 336)))
    assert space["scale"] == Choice(words=("0.5:2", "1:1"), values=((0.5, 2.0), (1.0, 1.0)))


def test_numbers_of_an_integer_field_are_integers_and_log_from_ten_times_on() -> None:
    assert space_of(["batch=2..20"], RECIPE)["batch"] == Between(low=2, high=20, log=True, whole=True)
    assert space_of(["elastic=0..100"], RECIPE)["elastic"] == Between(low=0, high=100)


def test_words_stand_for_values_of_any_kind() -> None:
    space = space_of(
        ["encoder=none,resnet50", "freeze_norm=true,false", "output_stride=8,16", "loss=focal,cross_entropy+0.5*dice"],
        RECIPE,
    )
    values = {name: each.values for name, each in space.items() if isinstance(each, Choice)}
    assert values == {
        "encoder": (None, "resnet50"),
        "freeze_norm": (True, False),
        "output_stride": (8, 16),
        "loss": ("focal", "cross_entropy+0.5*dice"),
    }


@pytest.mark.parametrize("value", [None, True, 3, 0.1234567891234, (256, 256), (256, 336), (0.5, 2.0), "focal+dice"])
def test_a_word_is_read_back(value: object) -> None:
    name = "crop" if isinstance(value, tuple) and isinstance(value[0], int) else "encoder"
    read = value_of(name, word(value))
    assert (value, value) == read if value == 256 else read in (value, 256)


def test_the_space_around_a_recipe_holds_it() -> None:
    for recipe in (RECIPE, Recipe(augment="none", loss="focal", ema=0.99, encoder_rate=0.0, weight_decay=0.0)):
        space = space_around(recipe)
        start = parameters_of(space, recipe)
        assert (start is None) == (recipe.weight_decay == 0)  # a logarithm has no zero
    assert str(space_around(RECIPE)["loss"]) == "cross_entropy, cross_entropy+dice, cross_entropy+lovasz"
    assert set(space_around(RECIPE)) == {
        "learning_rate", "weight_decay", "encoder_rate", "augment", "crops", "loss", "class_weights", "ema",
    }  # fmt: skip


def test_a_drawn_number_has_three_digits_and_stays_inside() -> None:
    assert Between(low=0.001, high=0.1).rounded(0.0123456) == 0.0123
    assert Between(low=0.9, high=0.9999).rounded(0.99989) == 0.99989


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate", "NAME=A..B or NAME=a,b,c is accepted"),
        ("learning_rate=", "NAME=A..B or NAME=a,b,c is accepted"),
        ("=1..2", "the recipe has no field ''; there are model, "),
        ("learning_rat=0.1..1", "the recipe has no field 'learning_rat'; did you mean 'learning_rate'?"),
        ("weight-decay=1..2", "the recipe has no field 'weight-decay'; did you mean 'weight_decay'?"),
        ("seed=0,1,2", "seed is luck and no setting"),
        ("epochs=10..20", "epochs would make trials of different length"),
        ("freeze=encoder,decoder", "freeze is not one value"),
        ("augment=flip..strong", "augment is not one number; give choices"),
        ("crop=128..256", "crop is not one number; give choices"),
        ("learning_rate=0.1..0.2..0.3", "a range is A..B"),
        ("learning_rate=0.1..0.2,0.3", "a range is A..B"),
        ("learning_rate=0.1..", "learning_rate: input should be a valid number"),
        ("learning_rate=0.1..0.01", "from 0.1 to 0.01 is no range; give the smaller number first"),
        ("learning_rate=0.1..0.1", "a range has two different ends"),
        ("learning_rate=0..0.1", "learning_rate: input should be greater than 0, 0 came"),
        ("learning_rate=0.1..inf", "learning_rate: input should be a finite number"),
        ("learning_rate=nan..1", "learning_rate: input should be"),
        ("momentum=0.5..1", "momentum: input should be less than 1, 1 came"),
        ("batch=1.5..8", "batch: input should be a valid integer"),
        ("augment=flip,wild", "augment: input should be 'none', 'flip', 'light' or 'strong', 'wild' came"),
        ("augment=flip", "one value is no choice; give it to all trials by its flag"),
        ("augment=flip,flip", "a value came twice"),
        ("augment=flip,", "augment: input should be"),
        ("loss=focal,dicee", "did you mean 'dice'?"),
        ("model=unet,deeplab_v3plu", "no model 'deeplab_v3plu'; did you mean 'deeplab_v3plus'?"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        space_of([text], RECIPE)


def test_a_field_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="batch came twice; give all its values at once"):
        space_of(["batch=2..4", "batch=4,8"], RECIPE)
