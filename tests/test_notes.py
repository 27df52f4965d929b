"""What a run says of itself: of what learns, of objects, and where something is not as it should be."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from atrous.contract import LabelSpace, Recipe
from atrous.data import Dataset, Pair
from atrous.evaluation import Scores
from atrous.runs.notes import never_seen, notes, one_class

NET = nn.Sequential()
NET.encoder, NET.classify = nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)


def space_of(count):
    return LabelSpace(names=tuple(f"class {index}" for index in range(count)))


def told(recipe, *, classes=3, encoding="indices", step=0):
    space = LabelSpace(names=tuple(map(str, range(classes))), encoding=encoding)
    accelerator = SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    training = SimpleNamespace(
        segmenter=SimpleNamespace(net=NET), accelerator=accelerator, step=step, total=9, copy=None,
        crops=SimpleNamespace(size=recipe.crop),
    )  # fmt: skip
    pairs = (Pair(name="a", image="a.png", mask="a.png"),)
    data = Dataset(root="x", layout="folders", space=space, splits={"train": pairs, "val": ()}, made_split=False)
    return list(notes(training, data, recipe))


def test_what_is_frozen_is_told_with_its_share():
    texts = [note.text for note in told(Recipe(pretrained=True, freeze=("encoder",)))]
    assert "frozen: encoder; 50.0% of the parameters learn" in texts
    texts = [note.text for note in told(Recipe(pretrained=True, freeze=("encoder",), freeze_epochs=1))]
    assert "frozen: encoder for 1 epoch; 50.0% of the parameters learn meanwhile" in texts
    texts = [note.text for note in told(Recipe(pretrained=True, freeze_norm=True))]
    assert "frozen: every norm; 100.0% of the parameters learn" in texts
    assert not any("frozen" in note.text for note in told(Recipe()))


def test_norms_that_know_nothing():
    (warning,) = [note for note in told(Recipe(freeze_norm=True)) if note.warning]
    assert warning.text.startswith("--freeze-norm keeps the norms of random weights")
    assert not [note for note in told(Recipe(freeze_norm=True, pretrained=True)) if note.warning]


def test_separation_says_what_an_object_is():
    words = "a connected region of each class counts as one object"
    assert any(words in note.text for note in told(Recipe(separation=10)))
    assert not any(words in note.text for note in told(Recipe(separation=10), classes=2))
    assert not any(words in note.text for note in told(Recipe(separation=10), classes=2, encoding="instances"))
    assert not any(words in note.text for note in told(Recipe()))


@pytest.mark.parametrize(("classes", "more"), [(4, ""), (9, " and 3 more")])
def test_classes_never_seen(classes, more):
    text = never_seen([1] + [0] * (classes - 1), space_of(classes)).text
    named = ", ".join(f"class {index}" for index in range(1, min(6, classes)))
    assert text.startswith(f"no pixel of {named}{more} was in the crops of a whole epoch")
    assert "--labels instances" not in text
    assert never_seen([1] * classes, space_of(classes)) is None


def test_many_classes_without_names_may_be_objects():
    text = never_seen([1] + [0] * 39, space_of(40)).text
    assert "no pixel of class 1, class 2, class 3, class 4, class 5 and 34 more was in" in text
    assert text.endswith("or do the masks number objects (--labels instances)?")


def test_one_class_recommends_what_is_not_set():
    scores = Scores(confusion=np.array([[5, 0], [3, 0]]), space=space_of(2), images=1)
    text = one_class(scores, Recipe()).text
    assert "a lower --learning-rate, --class-weights root or --loss cross_entropy+dice may help" in text
    text = one_class(scores, Recipe(class_weights="median", loss="cross_entropy+dice")).text
    assert text.endswith("if it stays so, a lower --learning-rate may help")
