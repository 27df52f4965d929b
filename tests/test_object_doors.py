"""Scores of objects from the doors: `objects=True`, `--objects`, and what is printed."""

import json

import numpy as np
import pytest
import torch

import atrous
from atrous.contract import LabelSpace, Preprocessing
from atrous.data import write_image
from atrous.evaluation import ObjectScores, RandScores
from atrous.models import Segmenter, build
from atrous.store import Config, plain, save_model

SPACE = LabelSpace(names=("background", "object"))


def cells(seed):
    """Return object numbers (32, 32): 3 x 3 squares of 10 pixels, some of which touch, some not there."""
    there = np.random.default_rng(seed).random((3, 3)) < 0.8
    numbers = np.where(there, np.arange(1, 10).reshape(3, 3), 0)
    return np.pad(np.kron(numbers, np.ones((10, 10), np.uint8)), 1).astype(np.uint8)


def folder(root, masks, split):
    for name in ("a", "b", "c"):
        numbers = cells(ord(name))
        noise = np.random.default_rng(ord(name)).integers(0, 60, (*numbers.shape, 3))
        image = np.where(numbers[..., None] > 0, 250 - noise, noise).astype(np.uint8)
        write_image(root / "images" / split / f"{name}.png", image)
        write_image(root / "masks" / split / f"{name}.png", masks(numbers))
    return root


def saved(root, space):
    """Save a network that nothing was trained in, with a bias that gives both classes."""
    torch.manual_seed(0)
    options = {"width": 1 / 16, "padding": "same", "depth": 2}
    net = build("unet", len(space), **options)
    segmenter = Segmenter(net, space, Preprocessing()).eval()
    with torch.no_grad():
        logits = segmenter.logits(torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8))[0]
        net.score.bias[0] += (logits[1] - logits[0]).median()
    config = Config(
        model="unet",
        options=options,
        space=space,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(root / "best", segmenter, config)
    return root


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    root = tmp_path_factory.mktemp("numbered")
    space = LabelSpace(names=SPACE.names, encoding="instances")
    return saved(root / "run", space), folder(root / "data", lambda numbers: numbers, "val")


@pytest.fixture(scope="module")
def plainly(tmp_path_factory):
    root = tmp_path_factory.mktemp("plainly")
    return saved(root / "run", SPACE), folder(root / "data", lambda numbers: (numbers > 0).astype(np.uint8), "val")


def found_in(run, data):
    paths = sorted((data / "images" / "val").iterdir())
    return [atrous.predict(run, path, device="cpu").labels for path in paths]


def test_objects_are_those_that_the_data_numbers(numbered):
    run, data = numbered
    told = []
    scores = atrous.evaluate(run, data, objects=True, device="cpu", progress=lambda *each: told.append(each))
    assert scores.evaluation.rand is None
    assert told == [(1, 3), (2, 3), (3, 3)]
    expected = None
    for name, labels in zip("abc", found_in(run, data), strict=True):
        numbers = cells(ord(name))
        each = ObjectScores.of((numbers > 0).astype(np.uint8), labels, SPACE, instances=numbers)
        expected = each if expected is None else expected + each
    np.testing.assert_array_equal(scores.evaluation.objects.counts, expected.counts)
    true = sum(len(np.unique(cells(ord(name)))) - 1 for name in "abc")
    assert scores.evaluation.objects.counts[0, 0, ::2].sum() == true
    plain_scores = atrous.evaluate(run, data, device="cpu")
    assert plain_scores.evaluation.measures == ()
    np.testing.assert_array_equal(scores.scores.confusion, plain_scores.scores.confusion)


def test_two_classes_without_numbers_have_a_rand_error(plainly):
    run, data = plainly
    scores = atrous.evaluate(run, data, objects=True, device="cpu")
    truths = [(cells(ord(name)) > 0).astype(np.uint8) for name in "abc"]
    first, *others = (RandScores.of(*each) for each in zip(truths, found_in(run, data), strict=True))
    for each in others:
        first = first + each
    assert scores.evaluation.rand == first
    np.testing.assert_allclose(first.pixel_error, 1 - scores.scores.pixel_accuracy)


def test_the_command_prints_one_table_after_the_other(run, plainly, numbered):
    code, said, _ = run("evaluate", *plainly, "--objects", "--quiet")
    assert code == 0
    firsts = [part.splitlines()[0].split("  ")[0] for part in said.split("\n\n")]
    assert said.startswith("mean IoU ")
    assert [each for each in firsts if each in ("mean IoU", "F1 of objects", "Rand error")] == [
        "mean IoU",
        "F1 of objects",
        "Rand error",
    ]
    code, said, _ = run("evaluate", *numbered, "--objects", "--quiet")
    assert code == 0
    assert "F1 of objects" in said
    assert "Rand" not in said


def test_the_document_has_them(run, plainly):
    code, said, _ = run("evaluate", *plainly, "--objects", "--json")
    document = json.loads(said)
    assert code == 0
    assert {"mean_iou", "classes", "confusion", "objects", "rand"} <= set(document)
    assert [each["name"] for each in document["objects"]["classes"]] == ["object"]
    assert {"rand_error", "pixel_error", "definitions"} <= set(document["rand"])
    _, said, _ = run("evaluate", *plainly, "--json")
    assert not {"objects", "rand"} & set(json.loads(said))


def test_not_together_with_a_crf(run, plainly):
    with pytest.raises(ValueError, match=r"objects came with crf; .* leave one out"):
        atrous.evaluate(*plainly, objects=True, crf="mild")
    code, _, said = run("evaluate", *plainly, "--objects", "--crf", "mild")
    assert code == 2
    assert "objects came with crf" in said
