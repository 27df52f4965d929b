"""The seven nouns: what they accept, the words for what they refuse, and the arithmetic of sizes and mirrors."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from atrous.contract import Geometry, LabelSpace, Preprocessing, Recipe, Scorer, distinct_colours, mirrored


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"names": ()}, "0 classes came; 1 to 255 are possible, since labels are one byte and 255 is ignore"),
        ({"names": tuple(map(str, range(256)))}, "256 classes came; 1 to 255"),
        ({"names": ("a", "b", "a")}, "names repeat 'a'; every class needs its own"),
        ({"names": ("a", "b"), "values": (7, 7)}, "values repeat 7; every class needs its own"),
        ({"names": ("a", "b"), "values": (1,)}, "2 names, 2 colours and 1 values came; give as many of each"),
        ({"names": ("a",), "colours": ((0, 0, 0), (1, 1, 1))}, "1 names, 2 colours and 1 values came"),
        ({"names": ("a",), "encoding": "rgb"}, "'indices', 'colours' or 'instances'"),
        ({"names": ("a",), "names_": ()}, "names_"),
    ],
)
def test_label_spaces_that_cannot_be(fields, words):
    with pytest.raises(ValidationError, match=words):
        LabelSpace(**fields)


def test_label_space_fills_in_what_is_left_out():
    space = LabelSpace(names=("a", "b", "c"))
    assert (len(space), space.values, space.ignore, space.encoding) == (3, (0, 1, 2), 255, "indices")
    assert space.colours == distinct_colours(3)
    coloured = LabelSpace(names=("a", "b"), colours=((1, 2, 3), (4, 5, 6)), encoding="colours")
    assert coloured.values == coloured.colours
    assert len(LabelSpace(names=tuple(map(str, range(255))))) == 255
    assert TypeAdapter(LabelSpace).validate_json(TypeAdapter(LabelSpace).dump_json(coloured)) == coloured
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'ignore'"):
        space.ignore = 0


def test_colours_can_be_told_apart():
    colours = distinct_colours(255)
    assert len(set(colours)) == 255
    assert colours[:7] == distinct_colours(7)
    assert np.array(colours).min() >= 0
    assert np.array(colours).max() <= 255
    first = np.array(colours[:10], int)
    apart = np.abs(first[:, None] - first).sum(2) + 1000 * np.eye(10, dtype=int)
    assert apart.min() > 30


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low": 3, "high": 3}, "high 3.0 is not above low 3.0"),
        ({"low": float("nan")}, "high 255.0 is not above low nan"),
        ({"mean": (0.5,)}, r"mean \(0.5,\) and std .* need one entry per channel, and std above 0"),
        ({"mean": (), "std": ()}, "need one entry per channel"),
        ({"mean": (0.5,), "std": (0.0,)}, "std above 0"),
        ({"order": "rgb"}, "'RGB' or 'BGR'"),
        ({"padding": "edge"}, "'mirror' or 'mean'"),
    ],
)
def test_preprocessing_that_cannot_be(fields, words):
    with pytest.raises(ValidationError, match=words):
        Preprocessing(**fields)


def test_preprocessing_knows_its_channels():
    assert Preprocessing().channels == 3
    assert Preprocessing(mean=(0.5,), std=(0.2,)).channels == 1


@pytest.mark.parametrize("field", ["multiple", "minimum", "stride"])
def test_geometry_that_cannot_be(field):
    with pytest.raises(ValidationError, match=f"(?s){field}.*greater than or equal to 1"):
        Geometry(**{field: 0})
    with pytest.raises(ValidationError, match=r"(?s)margin.*greater than or equal to 0"):
        Geometry(margin=-1)


geometries = st.builds(
    Geometry,
    multiple=st.integers(1, 40),
    offset=st.integers(0, 80),
    minimum=st.integers(1, 300),
    margin=st.integers(0, 100),
)


@given(geometries, st.integers(1, 2000))
def test_valid_is_the_smallest_valid_side(geometry, side):
    def accepted(candidate):
        return candidate >= geometry.minimum and candidate % geometry.multiple == geometry.offset % geometry.multiple

    valid = geometry.valid(side)
    assert accepted(valid)
    assert valid >= side
    assert not any(accepted(candidate) for candidate in range(max(side, 1), valid))
    assert geometry.valid(valid) == valid


@given(geometries, st.integers(1, 2000))
def test_padding_makes_a_valid_side_with_the_margin_on_both_sides(geometry, side):
    before, after = geometry.padding(side)
    assert before == geometry.margin
    assert after >= geometry.margin
    assert before + side + after == geometry.valid(side + 2 * geometry.margin)


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
def test_mirrored_is_numpys_reflection(side, before, after):
    expected = np.pad(np.arange(side), (before, after), "reflect" if side > 1 else "edge")
    np.testing.assert_array_equal(mirrored(side, before, after), expected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epochs": 0}, "(?s)epochs.*greater than or equal to 1"),
        ({"batch": 0}, "(?s)batch.*greater than or equal to 1"),
        ({"crop": 0}, "(?s)crop.*greater than or equal to 1"),
        ({"learning_rate": 0}, "(?s)learning_rate.*greater than 0"),
        ({"momentum": 1}, "(?s)momentum.*less than 1"),
        ({"scale": (2, 1)}, r"scale \(2.0, 1.0\) is \(smallest, largest\)"),
        ({"seed": -1}, "(?s)seed.*greater than or equal to 0"),
        ({"precision": "half"}, "'auto', 'float32', 'bfloat16' or 'float16'"),
        ({"compare": "both"}, "'resized' or 'grid'"),
        ({"augment": "heavy"}, "'none', 'flip', 'light' or 'strong'"),
        ({"crops": "middle"}, "'anywhere', 'balanced' or 'foreground'"),
        ({"elastic": -1}, "(?s)elastic.*greater than or equal to 0"),
        ({"mosaic": 1.5}, "(?s)mosaic.*less than or equal to 1"),
        ({"output_stride": 4}, "8, 16 or 32"),
    ],
)
def test_recipes_that_cannot_be(fields, words):
    with pytest.raises(ValidationError, match=words):
        Recipe(**fields)
    with pytest.raises(ValidationError, match=words):
        replace(Recipe(), **fields)


def test_a_recipe_is_frozen_replaced_and_stored():
    recipe = Recipe(crop=65, scale=(1, 1))
    assert recipe.crop == (65, 65)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'epochs'"):
        recipe.epochs = 3
    changed = replace(recipe, epochs=3, crop=(33, 65))
    assert (changed.epochs, changed.crop, recipe.epochs) == (3, (33, 65), 50)
    with pytest.raises((TypeError, ValidationError), match="epohcs"):
        replace(recipe, epohcs=3)
    adapter = TypeAdapter(Recipe)
    assert adapter.validate_json(adapter.dump_json(changed)) == changed


def test_a_lambda_is_a_scorer():
    assert isinstance(lambda images: images, Scorer)
    assert not isinstance(3, Scorer)
