"""The scores of a confusion matrix against a loop over pixels, the definitions of FCN section 5, and torchmetrics."""

import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
    multiclass_precision,
    multiclass_recall,
)

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
    empty = dict.fromkeys(("iou", "dice", "recall", "accuracy"))
    assert stored["classes"][2] == {"name": "class 2", **empty, "precision": 0.0, "pixels": 0, "predicted": 2}
    figures = {"iou": 0.75, "dice": 6 / 7, "precision": 1.0, "recall": 0.75, "accuracy": 0.75}
    assert stored["classes"][0] == {"name": "class 0", **figures, "pixels": 4, "predicted": 3}
    assert (stored["images"], stored["mean_iou"]) == (2, scores.mean_iou)
    assert stored["definitions"] == DEFINITIONS


def test_as_text_names_every_definition():
    scores = Scores(space=space_of(3), confusion=np.array([[3, 1, 0], [0, 4, 2], [0, 0, 0]]), images=2)
    lines = scores.as_text().splitlines()
    assert lines[0].startswith("mean IoU                 66.07   mean over the classes in the ground truth")
    words = {
        name: text for name, text in DEFINITIONS.items() if not name.startswith("foreground") and "void" not in name
    }
    assert all(definition in scores.as_text() for definition in words.values())
    rows = [line.split() for line in lines if line.startswith("class ")][1:]
    assert rows[0] == ["class", "0", "75.00", "85.71", "100.00", "75.00", "40.00"]
    assert rows[2] == ["class", "2", "-", "-", "0.00", "-", "0.00"]


def test_every_figure_has_a_definition():
    space = LabelSpace(names=("background", "cell", "none"))
    scores = Scores.of(np.uint8([[0, 0, 1, 255]]), np.uint8([[0, 2, 1, 1]]), space)
    document = scores.as_json()
    figures = {name for name, value in document.items() if isinstance(value, float)}
    assert figures < set(DEFINITIONS)
    assert set(document["classes"][0]) - {"name", "pixels", "predicted", "accuracy", "iou_with_void"} < set(DEFINITIONS)
    assert all(words in scores.as_text(void=True) for words in DEFINITIONS.values())
    assert "ESPNet" in DEFINITIONS["mean_iou_with_void"]
    assert "SegNet" not in DEFINITIONS["mean_iou_with_void"]  # its program takes void out of truth and prediction


def test_dice_precision_and_recall_against_counting():
    random = np.random.default_rng(3)
    truth, found = random.integers(0, 4, (2, 20, 20)).astype(np.uint8)
    truth[:3] = 255
    scores = scores_of(truth, found, 5)
    for index in range(4):
        true, ours = (truth == index)[3:], (found == index)[3:]
        both = (true & ours).sum()
        expected = [both / ours.sum(), both / true.sum(), 2 * both / (true.sum() + ours.sum())]
        np.testing.assert_allclose([scores.precision[index], scores.recall[index], scores.dice[index]], expected)
    np.testing.assert_allclose(scores.mean_dice, np.mean(scores.dice[:4]))
    assert np.isnan([scores.dice[4], scores.recall[4], scores.precision[4]]).all()


def test_dice_precision_and_recall_against_torchmetrics():
    random = np.random.default_rng(4)
    truth, found = random.integers(0, 4, (2, 30, 30)).astype(np.uint8)
    both = torch.from_numpy(found.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))
    scores = scores_of(truth, found, 4)
    for ours, theirs in (
        (scores.dice, multiclass_f1_score),
        (scores.precision, multiclass_precision),
        (scores.recall, multiclass_recall),
    ):
        np.testing.assert_allclose(ours, theirs(*both, num_classes=4, average=None).numpy(), rtol=1e-6)


def test_void_as_false_positives():
    space = space_of(2)
    truth, found = np.uint8([[0, 0, 1, 1, 255, 255, 255]]), np.uint8([[0, 0, 1, 0, 1, 1, 255]])
    scores = Scores.of(truth, found, space)
    assert scores.void.tolist() == [0, 2]
    np.testing.assert_allclose(scores.iou, [2 / 3, 1 / 2])
    np.testing.assert_allclose(scores.iou_with_void, [2 / 3, 1 / 4])
    np.testing.assert_allclose((scores + scores).mean_iou_with_void, (2 / 3 + 1 / 4) / 2)
    assert (scores + scores).void.tolist() == [0, 4]
    document = scores.as_json()
    assert document["void"] == [0, 2]
    np.testing.assert_allclose(document["classes"][1]["iou_with_void"], 1 / 4)
    assert "void wrong" not in scores.as_text()
    (line,) = [line for line in scores.as_text(void=True).splitlines() if line.startswith("mean IoU, void wrong")]
    assert line.split()[4] == "45.83"


def test_void_that_was_not_counted_is_unknown():
    scores = Scores(space=space_of(2), confusion=np.eye(2, dtype=np.int64), images=1)
    assert math.isnan(scores.mean_iou_with_void)
    assert "void" not in scores.as_json()
    counted = Scores.of(np.uint8([[0, 255]]), np.uint8([[0, 0]]), space_of(2))
    assert (scores + counted).void is None


def test_foreground_means_are_offered_where_there_is_a_background():
    matrix = np.array([[90, 10, 0], [10, 10, 0], [0, 5, 15]])
    named = Scores(space=LabelSpace(names=("Background", "cat", "dog")), confusion=matrix, images=1)
    np.testing.assert_allclose(named.foreground_mean_iou, (10 / 35 + 15 / 20) / 2)
    np.testing.assert_allclose(named.foreground_mean_dice, (20 / 45 + 30 / 35) / 2)
    np.testing.assert_allclose(named.foreground_mean_accuracy, (0.5 + 0.75) / 2)
    assert named.as_json()["foreground_mean_iou"] == named.foreground_mean_iou
    assert "foreground mean IoU" in named.as_text()
    street = Scores(space=LabelSpace(names=("road", "car", "dog")), confusion=matrix, images=1)
    assert "foreground_mean_iou" not in street.as_json()
    assert "foreground" not in street.as_text()
    asked = Scores(space=street.space, confusion=matrix, images=1, background=True)
    assert "foreground_mean_iou" in (asked + asked).as_json()
    said = Scores(space=named.space, confusion=matrix, images=1, background=False)
    assert "foreground_mean_iou" not in said.as_json()


def test_labels_outside_are_refused_where_they_count():
    with pytest.raises(ValueError, match=r"predicted label 7 is outside 0\.\.1, and truth is counted there"):
        Scores.of(np.uint8([[0, 1]]), np.uint8([[0, 7]]), space_of(2))


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


def test_a_class_that_is_only_predicted():
    """By default it is in no mean; in the other convention it is a 0 among them, and one that is nowhere is in none."""
    truth, found = np.uint8([[0, 0, 1, 1, 255]]), np.uint8([[0, 2, 1, 1, 3]])
    scores = Scores.of(truth, found, space_of(4))
    assert (scores.mean_iou, scores.mean_iou_with_absent) == ((1 / 2 + 1) / 2, (1 / 2 + 1 + 0) / 3)
    assert scores.as_json()["mean_iou_with_absent"] == 1 / 2
    (line,) = [line for line in scores.as_text().splitlines() if line.startswith("mean IoU, absent wrong")]
    assert line.split()[4] == "50.00"
    right = Scores.of(truth, truth, space_of(4))
    assert right.mean_iou_with_absent == right.mean_iou == 1
    assert "absent wrong" not in right.as_text()


def test_scores_of_other_classes_are_not_added():
    one, other = (scores_of(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), count) for count in (1, 3))
    with pytest.raises(ValueError, match=r"classes \('class 0',\) and \(.*\) came; measures of the same classes are"):
        one + other
