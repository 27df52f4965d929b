"""Scores before and after, side by side: they add up over images, and say what changed."""

import json

import numpy as np
import pytest

from atrous.contract import LabelSpace
from atrous.evaluation import BoundaryScores, Comparison, Measured, Scores

SPACE = LabelSpace(names=("ground", "pole", "nowhere"))


def images(count=3):
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (count, 8, 9)).astype(np.uint8)
    found = np.where(random.random(truth.shape) < 0.8, truth, 1 - truth).astype(np.uint8)
    return truth, found


def measured(truth, found):
    parts = [Measured.of(each, other, SPACE) for each, other in zip(truth, found, strict=True)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def comparison(note=None):
    truth, found = images()
    return Comparison(before=measured(truth, found), after=measured(truth, truth), refiner="magic", note=note)


def test_parts_add_up():
    truth, found = images()
    whole = measured(truth, found)
    at_once = Scores.of(truth.reshape(-1, 9), found.reshape(-1, 9), SPACE)
    np.testing.assert_array_equal(whole.scores.confusion, at_once.confusion)
    assert whole.scores.images == 3
    each = [BoundaryScores.of(a, b, SPACE).values[0] for a, b in zip(truth, found, strict=True)]
    np.testing.assert_array_equal(whole.boundary.values, each)
    assert whole.means["mean_iou"] == at_once.mean_iou
    assert whole.means["boundary_f"] == pytest.approx(np.mean([v[:2, 2] for v in each]))


def test_as_json_holds_both_and_the_change():
    both = comparison("a word")
    stored = json.loads(json.dumps(both.as_json(), allow_nan=False))
    assert (stored["refiner"], stored["note"], stored["images"]) == ("magic", "a word", 3)
    assert stored["before"]["mean_iou"] == both.before.scores.mean_iou
    assert stored["after"]["mean_iou"] == 1
    assert stored["change"]["mean_iou"] == pytest.approx(1 - both.before.scores.mean_iou)
    pole, nowhere = stored["classes"][1:]
    assert pole["name"] == "pole"
    assert pole["iou"]["change"] == pytest.approx(1 - both.before.scores.iou[1])
    assert pole["boundary_f"]["after"] == 1
    assert nowhere["iou"] == {"before": None, "after": None, "change": None}
    assert set(stored["definitions"]) == {*both.before.means, "protocol"}
    assert stored["confusion"]["before"] == both.before.scores.confusion.tolist()


def test_as_text_has_a_line_per_class_with_the_change():
    both = comparison("what one must know")
    text = both.as_text()
    lines = text.splitlines()
    assert lines[:2] == ["refined with magic", "what one must know"]
    iou = both.before.scores.iou
    (pole,) = [line.split() for line in lines if line.startswith("pole")]
    assert pole[1:4] == [f"{100 * iou[1]:.2f}", "100.00", f"{100 - 100 * iou[1]:+.2f}"]
    (nowhere,) = [line.split() for line in lines if line.startswith("nowhere")]
    assert nowhere == ["nowhere", *"------"]
    assert all(definition in text for definition in both.as_json()["definitions"].values())
    (mean,) = [line.split() for line in lines if line.startswith("boundary F ")]
    assert mean[3] == "100.00"
