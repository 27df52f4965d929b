"""The boundary F-score against a loop over all pairs of contour pixels, and by hand."""

import json
import math

import numpy as np
import pytest

from atrous.contract import LabelSpace
from atrous.evaluation import BoundaryScores, boundary_f
from atrous.evaluation.boundary import SHARE


def contour_of(labels, index):
    """Return the contour pixels of a class, pixel by pixel."""
    height, width = labels.shape
    found = []
    for row in range(height):
        for column in range(width):
            if labels[row, column] != index:
                continue
            beside = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
            inside = [labels[y, x] for y, x in beside if 0 <= y < height and 0 <= x < width]
            if any(label not in (index, 255) for label in inside):
                found.append((row, column))
    return found


def near(contour, other, reach):
    if not contour:
        return 1.0
    matched = [any(math.hypot(y - v, x - u) <= reach + 1e-9 for v, u in other) for y, x in contour]
    return sum(matched) / len(matched)


def slowly(truth, predicted, classes, reach):
    predicted = np.where(truth == 255, 255, predicted)
    values = np.full((classes, 3), np.nan)
    for index in range(classes):
        there = (truth == index).any(), (predicted == index).any()
        if all(there):
            ours, theirs = contour_of(predicted, index), contour_of(truth, index)
            precision, recall = near(ours, theirs, reach), near(theirs, ours, reach)
            f = 2 * precision * recall / (precision + recall) if precision + recall else 0
            values[index] = precision, recall, f
        elif any(there):
            values[index] = 0
    return values


def blobs(random, shape, classes):
    coarse = random.integers(0, classes, (5, 6)).astype(np.uint8)
    return np.kron(coarse, np.ones((6, 6), np.uint8))[: shape[0], : shape[1]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reach", [None, 0, 1, 1.5, 5])
def test_against_a_loop(seed, reach):
    random = np.random.default_rng(seed)
    shape = (23, 29)
    truth = blobs(random, shape, 4)
    predicted = np.roll(truth, random.integers(-2, 3, 2), (0, 1))
    noise = random.random(shape)
    predicted = np.where(noise < 0.03, 4, predicted).astype(np.uint8)
    truth[noise > 0.9] = 255
    expected = slowly(truth, predicted, 6, max(1.0, 0.0075 * math.hypot(*shape)) if reach is None else reach)
    np.testing.assert_allclose(boundary_f(truth, predicted, 6, tolerance=reach), expected, rtol=1e-12)


def test_default_tolerance_grows_with_the_diagonal():
    truth, found = np.zeros((2, 600, 800), np.uint8)  # diagonal 1000: 7.5 pixels
    truth[:, 400:], found[:, 407:] = 1, 1
    np.testing.assert_array_equal(boundary_f(truth, found, 2), 1)
    found[:, 400:408] = 0
    np.testing.assert_array_equal(boundary_f(truth, found, 2), 0)


def test_void_makes_no_contour():
    truth = np.zeros((9, 20), np.uint8)
    truth[:, 8:12] = 255
    truth[:, 12:] = 1
    predicted = np.where(np.arange(20) < 10, 0, 1).astype(np.uint8)[None].repeat(9, 0)
    np.testing.assert_array_equal(boundary_f(truth, predicted, 2), 1)  # neither has a contour that counts
    predicted[4, 9] = 2  # under the void
    assert np.isnan(boundary_f(truth, predicted, 3)[2]).all()


def test_classes_of_one_side_and_of_none():
    truth = np.zeros((4, 4), np.uint8)
    values = boundary_f(truth, np.ones((4, 4), np.uint8), 3)
    np.testing.assert_array_equal(values, [[0, 0, 0], [0, 0, 0], [np.nan] * 3])
    half = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 4, 0)
    np.testing.assert_array_equal(boundary_f(truth, half, 2), [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(boundary_f(half, truth, 2), [[1, 0, 0], [0, 0, 0]])
    assert np.isnan(boundary_f(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), 2)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_odd_sizes(shape):
    labels = (np.arange(math.prod(shape)) % 2).astype(np.uint8).reshape(shape)
    values = boundary_f(labels, labels, 2)
    assert set(values[~np.isnan(values)]) == {1.0}


def test_means_are_over_the_images_that_have_the_class():
    values = np.full((3, 3, 3), np.nan)
    values[0, 0], values[1, 0], values[1, 1] = (1, 0.5, 0.75), (0, 0.5, 0.25), (0.2, 0.4, 0.3)
    scores = BoundaryScores(space=LabelSpace(names=("a", "b", "c")), values=values)
    np.testing.assert_allclose(scores.f, [0.5, 0.3, np.nan])
    np.testing.assert_allclose(scores.precision, [0.5, 0.2, np.nan])
    np.testing.assert_allclose(scores.recall, [0.5, 0.4, np.nan])
    assert scores.mean_f == pytest.approx(0.4)
    assert math.isnan(BoundaryScores(space=scores.space, values=values[2:]).mean_f)


def test_the_table_and_the_document():
    truth = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 4, 0)
    space = LabelSpace(names=("a", "b", "c"))
    scores = BoundaryScores.of(truth, truth, space) + BoundaryScores.of(truth, np.zeros_like(truth), space)
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert (document["mean_f"], document["images"]) == (scores.mean_f, 2)
    assert document["classes"][0] == {"name": "a", "f": 0.5, "precision": 1.0, "recall": 0.5}
    assert document["classes"][2] == {"name": "c", "f": None, "precision": None, "recall": None}
    text = scores.as_text()
    assert document["definitions"]["mean_f"] in text
    assert text.splitlines()[-1].split() == ["c", "-", "-", "-"]
    assert text.splitlines()[-3].split() == ["a", "50.00", "100.00", "50.00"]


@pytest.mark.parametrize(
    ("truth", "predicted", "options", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), np.uint8), {}, r"truth is float64 of shape \(2, 2\); labels are uint8"),
        (np.zeros((2, 2), np.uint8), np.zeros(4, np.uint8), {}, r"predicted is uint8 of shape \(4,\); labels are"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), {}, r"truth is \(2, 2\) and predicted \(2, 3\); give"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), {"tolerance": -1}, "tolerance -1 came; it is a dist"),
        (np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), {}, "truth has label 3; 2 classes are 0..1"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), {}, "predicted has label 255; 2 classes are"),
    ],
)
def test_what_is_refused(truth, predicted, options, words):
    with pytest.raises(ValueError, match=words):
        boundary_f(truth, predicted, 2, **options)


def test_the_tolerance_is_said():
    truth = np.uint8([[0, 1]])
    scores = BoundaryScores.of(truth, truth, LabelSpace(names=("a", "b")))
    assert f"the tolerance is {100 * SHARE:g} % of the image's diagonal, at least a pixel" in scores.as_text()
