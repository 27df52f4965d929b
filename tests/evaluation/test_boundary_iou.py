"""Boundary IoU against erosion by steps, as its authors compute it, and by hand."""

import json
import math

import cv2
import numpy as np
import pytest

from atrous.contract import LabelSpace
from atrous.evaluation import BOUNDARY_IOU_DEFINITIONS, BoundaryIoU
from atrous.evaluation.boundary_iou import rim

SPACE = LabelSpace(names=("a", "b", "c"))


def eroded_away(region, depth):
    """Return what erosion by 3x3, as often as the depth, takes from a region; outside the image is outside."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kept = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=depth)[1:-1, 1:-1]
    return region & (kept == 0)


def blobs(seed, shape=(40, 50)):
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 3, (5, 5)), np.ones((8, 10), int))[: shape[0], : shape[1]].astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [1, 2, 5, 100])
def test_the_rim_is_what_erosion_takes(seed, depth):
    region = blobs(seed) == 1
    np.testing.assert_array_equal(rim(region, depth), eroded_away(region, depth))


@pytest.mark.parametrize("seed", range(4))
def test_scores_against_erosion(seed):
    truth = blobs(seed)
    found = np.roll(truth, (1, 2), (0, 1))
    scores = BoundaryIoU.of(truth, found, SPACE, share=0.05)
    depth = round(0.05 * math.hypot(40, 50))
    for index in range(3):
        true, ours = (eroded_away(each == index, depth) for each in (truth, found))
        np.testing.assert_allclose(scores.iou[index], (true & ours).sum() / (true | ours).sum())
    np.testing.assert_allclose(scores.mean_iou, scores.iou.mean())


def test_void_makes_no_contour():
    truth = np.zeros((9, 30), np.uint8)
    truth[:, 15:] = 255
    found = np.zeros_like(truth)
    found[:, 15:] = 1
    scores = BoundaryIoU.of(truth, found, SPACE, share=0.01)
    assert scores.counts[0].tolist() == [9 + 2 * 14] * 3  # the border of the image, not that of the void
    assert scores.iou[0] == 1
    assert np.isnan(scores.iou[1:]).all()
    void = truth == 255
    np.testing.assert_array_equal(rim(truth == 0, 2, void=void)[3:6, 2:], False)
    turned = rim((truth == 0)[:, ::-1], 2, void=void[:, ::-1])
    np.testing.assert_array_equal(turned[:, ::-1], rim(truth == 0, 2, void=void))


def test_void_inside_the_crop_of_a_region():
    random = np.random.default_rng(0)
    region, void = np.zeros((30, 30), bool), random.random((30, 30)) < 0.3
    region[10:20, 10:20] = ~void[10:20, 10:20]
    expected = region & eroded_away(region | void, 3)
    np.testing.assert_array_equal(rim(region, 3, void=void), expected)


def test_sums_are_over_the_set():
    truth = blobs(0)
    one, other = BoundaryIoU.of(truth, truth, SPACE), BoundaryIoU.of(truth, np.roll(truth, 3, 1), SPACE)
    both = one + other
    np.testing.assert_array_equal(both.counts, one.counts + other.counts)
    assert both.images == 2
    assert one.mean_iou == 1 > both.mean_iou > other.mean_iou
    with pytest.raises(ValueError, match=r"shares 0\.02 and 0\.05 came"):
        one + BoundaryIoU.of(truth, truth, SPACE, share=0.05)


def test_a_class_that_the_truth_lacks_is_in_no_mean():
    truth = np.zeros((10, 10), np.uint8)
    found = truth.copy()
    found[5, 5] = 1
    scores = BoundaryIoU.of(truth, found, SPACE)
    assert np.isnan(scores.iou[1])
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert document["classes"][1] == {"name": "b", "boundary_iou": None}
    assert document["mean_boundary_iou"] == scores.mean_iou
    assert all(words in scores.as_text() for words in BOUNDARY_IOU_DEFINITIONS.values())
    assert BoundaryIoU.of(np.uint8([[0]]), np.uint8([[0]]), SPACE).mean_iou == 1


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_shares_that_are_none(share):
    with pytest.raises(ValueError, match=r"share .* came; it is that of the diagonal"):
        BoundaryIoU.of(np.uint8([[0]]), np.uint8([[0]]), SPACE, share=share)
