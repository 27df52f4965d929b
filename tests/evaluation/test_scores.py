"""The four scores against a loop over pixels, the definitions of FCN section 5, and torchmetrics."""

import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from atrous._core import confusion
from atrous.contract import LabelSpace
from atrous.evaluation import DEFINITIONS, Scores


def space_of(count):
    return LabelSpace(names=tuple(f"class {index}" for index in range(count)))


def scores_of(truth, predicted, count):
    return Scores(space=space_of(count), confusion=confusion(truth, predicted, count), images=1)


def by_counting(truth, predicted, count):
    """Return the four scores of FCN section 5, pixel by pixel."""
    pixels = [(int(t), int(p)) for t, p in zip(truth.flat, predicted.flat, strict=True) if t != 255]
    present = [index for index in range(count) if any(t == index for t, _ in pixels)]
    iou, accuracy, share = {}, {}, {}
    for index in present:
        both = sum(t == index and p == index for t, p in pixels)
        either = sum(index in (t, p) for t, p in pixels)
        total = sum(t == index for t, _ in pixels)
        iou[index], accuracy[index], share[index] = both / either, both / total, total / len(pixels)
    return {
        "pixel_accuracy": sum(t == p for t, p in pixels) / len(pixels),
        "mean_accuracy": sum(accuracy.values()) / len(present),
        "mean_iou": sum(iou.values()) / len(present),
        "frequency_weighted_iou": sum(share[index] * iou[index] for index in present),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("absent", [False, True])
def test_scores_against_counting(seed, absent):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, (13, 17)).astype(np.uint8)
    predicted = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 5, truth.shape)).astype(np.uint8)
    if absent:
        truth[truth == 3] = 1  # 3 is only predicted, 5 and 6 are nowhere
    truth[random.random(truth.shape) < 0.1] = 255
    scores = scores_of(truth, predicted, 7)
    for name, value in by_counting(truth, predicted, 7).items():
        np.testing.assert_allclose(getattr(scores, name), value, rtol=1e-12, err_msg=name)
    assert np.isnan(scores.iou).tolist() == [False, False, False, absent, False, True, True]


def test_by_hand():
    scores = Scores(space=space_of(3), confusion=np.array([[3, 1, 0], [0, 4, 2], [0, 0, 0]]), images=2)
    np.testing.assert_allclose(scores.iou, [3 / 4, 4 / 7, np.nan])
    np.testing.assert_allclose(scores.accuracy, [3 / 4, 4 / 6, np.nan])
    np.testing.assert_allclose(scores.mean_iou, (3 / 4 + 4 / 7) / 2)
    np.testing.assert_allclose(scores.frequency_weighted_iou, (4 * 3 / 4 + 6 * 4 / 7) / 10)
    np.testing.assert_allclose(scores.pixel_accuracy, 0.7)


def test_nothing_counted_is_not_a_number():
    scores = scores_of(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 2)
    for name in ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"):
        assert math.isnan(getattr(scores, name)), name
    stored = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert (stored["mean_iou"], stored["classes"][0]["iou"]) == (None, None)
    assert scores.as_text().splitlines()[0].startswith("mean IoU                     -")


def test_as_json_holds_everything():
    scores = Scores(space=space_of(3), confusion=np.array([[3, 1, 0], [0, 4, 2], [0, 0, 0]]), images=2)
    stored = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert stored["confusion"] == scores.confusion.tolist()
    assert stored["classes"][2] == {"name": "class 2", "iou": None, "accuracy": None, "pixels": 0}
    assert stored["classes"][0] == {"name": "class 0", "iou": 0.75, "accuracy": 0.75, "pixels": 4}
    assert (stored["images"], stored["mean_iou"]) == (2, scores.mean_iou)
    assert stored["definitions"] == DEFINITIONS


def test_as_text_names_every_definition():
    scores = Scores(space=space_of(3), confusion=np.array([[3, 1, 0], [0, 4, 2], [0, 0, 0]]), images=2)
    lines = scores.as_text().splitlines()
    assert lines[0].startswith("mean IoU                 66.07   mean over the classes in the ground truth")
    assert all(definition in scores.as_text() for definition in DEFINITIONS.values())
    assert lines[-3].split() == ["class", "0", "75.00", "75.00", "40.00"]
    assert lines[-1].split() == ["class", "2", "-", "-", "0.00"]


def test_against_torchmetrics():
    """With all classes in the truth its macro averages are the same; with 255 ignored, too."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, (40, 40)).astype(np.uint8)
    predicted = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 4, truth.shape)).astype(np.uint8)
    truth[:5] = 255
    scores = scores_of(truth, predicted, 4)
    both = torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))
    options = {"num_classes": 4, "ignore_index": 255}
    iou = multiclass_jaccard_index(*both, average=None, **options)
    np.testing.assert_allclose(scores.iou, iou.numpy(), rtol=1e-6)
    np.testing.assert_allclose(scores.mean_iou, float(iou.mean()), rtol=1e-6)
    weighted = multiclass_jaccard_index(*both, average="weighted", **options)
    np.testing.assert_allclose(scores.frequency_weighted_iou, float(weighted), rtol=1e-6)
    for average, name in (("micro", "pixel_accuracy"), ("macro", "mean_accuracy")):
        theirs = multiclass_accuracy(*both, average=average, **options)
        np.testing.assert_allclose(getattr(scores, name), float(theirs), rtol=1e-6)
