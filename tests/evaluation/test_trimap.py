"""Bands around boundaries against a loop over all pairs of pixels."""

import json
import math

import numpy as np
import pytest

from atrous.contract import LabelSpace
from atrous.evaluation import TRIMAP_DEFINITIONS, WIDTHS, Scores, TrimapScores

SPACE = LabelSpace(names=("a", "b", "c", "d"))


def maps(seed, shape=(17, 23)):
    random = np.random.default_rng(seed)
    truth = np.kron(random.integers(0, 4, (4, 5)), np.ones((6, 6), int))[: shape[0], : shape[1]].astype(np.uint8)
    found = np.where(random.random(shape) < 0.8, truth, random.integers(0, 4, shape)).astype(np.uint8)
    truth[random.random(shape) < 0.03] = 255
    return truth, found


def boundary_pixels(truth, around):
    height, width = truth.shape
    for y in range(height):
        for x in range(width):
            beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            labels = [truth[v, u] for v, u in beside if 0 <= v < height and 0 <= u < width]
            if around == "classes" and truth[y, x] != 255 and any(each not in (255, truth[y, x]) for each in labels):
                yield y, x
            if around == "void" and truth[y, x] != 255 and 255 in labels:
                yield y, x


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("around", ["classes", "void"])
def test_against_a_loop(seed, around):
    truth, found = maps(seed)
    widths = (1, 2, 3.5, 5)
    scores = TrimapScores.of(truth, found, SPACE, widths=widths, around=around)
    boundary = list(boundary_pixels(truth, around))
    nearest = np.array([[min(math.hypot(y - v, x - u) for v, u in boundary) for x in range(23)] for y in range(17)])
    for index, width in enumerate(widths):
        banded = np.where(nearest < width, truth, 255).astype(np.uint8)
        expected = Scores.of(banded, found, SPACE)
        np.testing.assert_array_equal(scores.confusion[index], expected.confusion)
        np.testing.assert_allclose(scores.mean_iou[index], expected.mean_iou)
        np.testing.assert_allclose(scores.pixel_accuracy[index], expected.pixel_accuracy)
    np.testing.assert_allclose(scores.share * (truth != 255).sum(), scores.confusion.sum((1, 2)))


def test_a_band_of_one_is_the_pixels_to_both_sides():
    truth = np.zeros((4, 20), np.uint8)
    truth[:, 10:] = 1
    scores = TrimapScores.of(truth, truth, SPACE, widths=(1, 2, 3))
    assert scores.confusion.sum((1, 2)).tolist() == [8, 16, 24]


def test_images_without_a_boundary_add_nothing():
    flat = np.zeros((5, 5), np.uint8)
    scores = TrimapScores.of(flat, flat, SPACE)
    assert np.isnan(scores.mean_iou).all()
    assert scores.share.tolist() == [0] * len(WIDTHS)
    truth, found = maps(1)
    one = TrimapScores.of(truth, found, SPACE)
    both = scores + one
    np.testing.assert_array_equal(both.confusion, one.confusion)
    assert (both.images, both.counted) == (2, one.counted + 25)
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert document["mean_iou"] == [None] * len(WIDTHS)
    nothing = np.full((3, 3), 255, np.uint8)
    assert np.isnan(TrimapScores.of(nothing, flat[:3, :3], SPACE).share).all()


def test_far_off_errors_are_in_no_band():
    truth = np.zeros((9, 60), np.uint8)
    truth[:, 10:] = 1
    found = truth.copy()
    found[:, 55:] = 0
    scores = TrimapScores.of(truth, found, SPACE, widths=(10, 40))
    np.testing.assert_array_equal(scores.pixel_accuracy, [1, 1])
    assert TrimapScores.of(truth, found, SPACE, widths=(50,)).pixel_accuracy[0] < 1


def test_the_table_and_the_document():
    scores = TrimapScores.of(*maps(0), SPACE)
    text = scores.as_text()
    assert text.splitlines()[1].split()[:3] == ["1", "px", f"{100 * scores.pixel_accuracy[0]:.2f}"]
    assert TRIMAP_DEFINITIONS["classes"] in text
    assert TRIMAP_DEFINITIONS["void"] not in text
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert (document["widths"], document["around"], document["images"]) == (list(WIDTHS), "classes", 1)
    assert document["mean_iou"] == scores.mean_iou.tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": ()}, r"widths \(\) came; they are pixels above 0"),
        ({"widths": (2, 2)}, r"widths \(2, 2\) came"),
        ({"widths": (0, 2)}, r"widths \(0, 2\) came"),
        ({"around": "everything"}, 'around is \'everything\'; bands lie around "classes" or "void"'),
        ({"widths": (1, np.inf)}, r"widths \(1\.0, inf\) came; they are pixels above 0"),
        ({"widths": (np.nan,)}, r"widths \(nan,\) came"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TrimapScores.of(*maps(0), SPACE, **options)


def test_other_bands_are_not_added():
    one, other = (TrimapScores.of(*maps(0), SPACE, widths=widths) for widths in ((1,), (2,)))
    with pytest.raises(ValueError, match=r"bands \(1,\) around classes and \(2,\) around classes came"):
        one + other


def test_widths_of_numpy_are_plain_in_json():
    truth = np.uint8([[0, 1]])
    scores = TrimapScores.of(truth, truth, LabelSpace(names=("a", "b")), widths=np.arange(1, 4))
    assert json.loads(json.dumps(scores.as_json()))["widths"] == [1, 2, 3]
    assert scores.widths == (1, 2, 3)
