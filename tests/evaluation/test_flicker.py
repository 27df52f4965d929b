"""Flicker by hand: what changes, where the truth and the image do not."""

import json
import math

import numpy as np
import pytest

from atrous.evaluation import FLICKER_DEFINITIONS, Flicker, Frame

BEFORE, AFTER = np.uint8([[0, 0, 1, 1, 2]]), np.uint8([[0, 1, 1, 0, 1]])


def test_where_the_truth_stays():
    truths = np.uint8([[0, 0, 1, 1, 255]]), np.uint8([[0, 0, 1, 2, 1]])
    found = Flicker.of(Frame(BEFORE, truths[0]), Frame(AFTER, truths[1]))
    assert found.flicker == 1 / 3  # of places 0, 1 and 2 the second
    assert found.changed == 3 / 5
    assert found.truth_changed == 1 / 4
    assert math.isnan(found.still_flicker)


def test_where_the_image_stays():
    images = np.zeros((2, 1, 5, 3), np.uint8)
    images[1, 0, 1] = (0, 9, 0)
    images[:, 0, 3] = ((250,) * 3, (255,) * 3)
    found = Flicker.of(Frame(BEFORE, image=images[0]), Frame(AFTER, image=images[1]))
    assert (found.changed_still, found.still) == (2, 4)
    assert found.still_flicker == 0.5
    assert math.isnan(found.flicker)
    assert Flicker.of(Frame(BEFORE, image=images[0]), Frame(AFTER, image=images[1]), tolerance=9).still == 5
    grey = [Frame(labels, image=image[..., 0]) for labels, image in zip((BEFORE, AFTER), images, strict=True)]
    assert Flicker.of(*grey).still == 5


def test_bytes_do_not_wrap_around():
    bright, dark = np.full((1, 5, 1), 255, np.uint8), np.zeros((1, 5, 1), np.uint8)
    assert Flicker.of(Frame(BEFORE, image=bright), Frame(BEFORE, image=dark)).still == 0
    assert Flicker.of(Frame(BEFORE, image=dark), Frame(BEFORE, image=bright)).still == 0


def test_frames_that_are_the_same_do_not_flicker():
    frame = Frame(BEFORE, BEFORE, np.zeros((1, 5, 3), np.uint8))
    found = Flicker.of(frame, frame)
    assert (found.flicker, found.still_flicker, found.changed, found.truth_changed) == (0, 0, 0, 0)


def test_sums_are_over_all_pairs():
    one, other = Flicker.of(Frame(BEFORE), Frame(AFTER)), Flicker.of(Frame(BEFORE), Frame(BEFORE))
    assert (one + other).changed == 3 / 10
    assert (one + other).pairs == 2
    assert one + Flicker() == one


def test_the_table_and_the_document():
    found = Flicker.of(Frame(BEFORE), Frame(AFTER))
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (document["flicker"], document["changed"], document["pairs"]) == (None, 0.6, 1)
    assert all(words in found.as_text() for words in FLICKER_DEFINITIONS.values())
    assert math.isnan(Flicker().changed)


@pytest.mark.parametrize(
    ("previous", "current", "tolerance", "words"),
    [
        (Frame(BEFORE[:, :2]), Frame(AFTER), 8, r"previous labels is \(1, 2\) and current labels is \(1, 5\); give"),
        (Frame(BEFORE, AFTER[:, :2]), Frame(AFTER), 8, r"previous truth is \(1, 2\)"),
        (Frame(BEFORE), Frame(AFTER.astype(float)), 8, "current labels is float64 of shape"),
        (Frame(BEFORE, image=np.zeros((2, 5))), Frame(AFTER), 8, r"images are \(2, 5\) and labels \(1, 5\); frames of"),
        (Frame(BEFORE, image=np.zeros((1, 5))), Frame(AFTER, image=np.zeros((1, 5, 3))), 8, r"images are \(1, 5\) and"),
        (Frame(BEFORE), Frame(AFTER), -1, "tolerance -1 came; it is in stored values"),
    ],
)
def test_what_is_refused(previous, current, tolerance, words):
    with pytest.raises(ValueError, match=words):
        Flicker.of(previous, current, tolerance=tolerance)


def test_what_is_ignored_in_both_frames_is_not_the_same_class():
    void = np.uint8([[0, 255, 255, 255, 2]])
    found = Flicker.of(Frame(BEFORE, void), Frame(AFTER, void))
    assert (found.changed_true, found.same_true, found.truth_moved, found.known) == (1, 2, 0, 2)


def test_the_tolerance_is_said():
    assert "no channel does by more than 8 stored values" in Flicker().as_text()
