"""Warping keeps every region; the error against the best of all ways to warp small images."""

import json
import math

import numpy as np
import pytest
from skimage.measure import label

from atrous.evaluation import WARPING_DEFINITIONS, WarpingScores, warped
from atrous.evaluation.warping import _simple_points


def regions(cells):
    """Return how many cells (connected at sides) and membranes (at corners too, joined to the outside) there are."""
    padded = np.pad(cells, 1)
    return label(padded, connectivity=1).max(), label(~padded, connectivity=2).max()


def flipped(cells, place):
    other = cells.copy()
    other[place] = ~other[place]
    return other


def test_simple_points_against_the_count_of_regions():
    """In a 3x3 neighbourhood: one cell region at a side of the middle, one membrane region around it."""
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    ring = ring[1:] + ring[:1]  # from the top, clockwise
    for code, found in enumerate(_simple_points()):
        cells = np.zeros((3, 3), bool)
        for bit, place in enumerate(ring):
            cells[place] = code >> bit & 1
        numbers = label(cells, connectivity=1)
        beside = {int(numbers[place]) for place in ring[::2]} - {0}
        around = ~cells
        around[1, 1] = False
        assert found == (len(beside) == 1 and label(around, connectivity=2).max() == 1), code


@pytest.mark.parametrize("seed", range(8))
def test_regions_stay_as_many_and_nothing_simple_is_left(seed):
    random = np.random.default_rng(seed)
    truth = np.kron(random.random((6, 7)) < 0.7, np.ones((5, 5), bool))
    truth ^= random.random(truth.shape) < 0.02
    target = np.roll(truth, random.integers(-3, 4, 2), (0, 1)) ^ (random.random(truth.shape) < 0.05)
    bent = warped(truth, target)
    assert regions(bent) == regions(truth)
    assert not ((bent != truth) & (truth == target)).any()  # only what differed was flipped
    for place in map(tuple, np.argwhere(bent != target)):
        window = np.pad(bent, 1)[place[0] : place[0] + 3, place[1] : place[1] + 3]
        assert not simple(window)


def simple(window):
    inside, outside = window.copy(), window.copy()
    inside[1, 1], outside[1, 1] = True, False
    counts = {label(each, connectivity=1).max() for each in (inside, outside)}
    around = {label(~each, connectivity=2).max() for each in (inside, outside)}
    return len(counts) == len(around) == 1


@pytest.mark.parametrize("seed", range(6))
def test_never_better_than_the_best_way(seed):
    random = np.random.default_rng(seed)
    truth, target = random.random((2, 3, 4)) < 0.6
    least = best(truth, target)
    found = int((warped(truth, target) != target).sum())
    assert least <= found <= int((truth != target).sum())


def best(truth, target):
    """Return the fewest pixels that differ over all sequences of flips that keep the regions of a tiny image."""
    table, ring = _simple_points(), ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    seen, waiting = {truth.tobytes()}, [truth]
    least = truth.size
    while waiting:
        cells = waiting.pop()
        least = min(least, int((cells != target).sum()))
        padded = np.pad(cells, 1)
        for place in map(tuple, np.argwhere(cells != target)):
            code = sum(int(padded[place[0] + 1 + down, place[1] + 1 + right]) << bit
                       for bit, (down, right) in enumerate(ring))  # fmt: skip
            other = flipped(cells, place)
            if table[code] and other.tobytes() not in seen:
                seen.add(other.tobytes())
                waiting.append(other)
    return least


def test_a_membrane_aside_is_no_error_and_a_hole_in_it_is():
    truth = np.ones((20, 30), np.uint8)
    truth[:, 15] = 0
    aside = np.ones_like(truth)
    aside[:, 13:15] = 0
    assert WarpingScores.of(truth, aside).warping_error == 0
    aside[9:11, 13:15] = 1  # two cells become one
    scores = WarpingScores.of(truth, aside)
    assert 0 < scores.warped <= 4
    assert scores.pixel_error > 5 * scores.warping_error


def test_a_membrane_that_does_not_touch_its_place_stays_wrong():
    truth, aside = np.ones((2, 20, 30), np.uint8)
    truth[:, 15], aside[:, 12] = 0, 0
    assert WarpingScores.of(truth, aside).warping_error > 0.03


def test_a_cell_that_is_missed_or_made_up():
    truth = np.zeros((9, 9), np.uint8)
    truth[2:6, 2:6] = 1
    missed = WarpingScores.of(truth, np.zeros_like(truth))
    assert (missed.warped, missed.wrong) == (1, 16)  # it shrinks to a pixel, which cannot go
    false = WarpingScores.of(np.zeros_like(truth), truth)
    assert (false.warped, false.wrong) == (16, 16)


def test_ignored_pixels_are_left_out():
    truth = np.ones((8, 8), np.uint8)
    truth[:, 4] = 255
    labels = truth.copy()
    labels[:, 4] = 1
    scores = WarpingScores.of(truth, labels)
    assert (scores.warped, scores.wrong, scores.pixels) == (0, 0, 56)
    labels[:, 4] = 200
    assert WarpingScores.of(truth, labels).warped == 0
    nothing = WarpingScores.of(np.full((2, 2), 255, np.uint8), np.ones((2, 2), np.uint8))
    assert math.isnan(nothing.warping_error)
    assert json.loads(json.dumps(nothing.as_json(), allow_nan=False))["pixel_error"] is None
    both = nothing + scores
    assert (both.pixels, both.images) == (56, 2)


def test_the_table():
    truth = np.ones((5, 5), np.uint8)
    truth[2] = 0
    scores = WarpingScores.of(truth, np.ones_like(truth))
    text = scores.as_text()
    assert all(words in text for words in WARPING_DEFINITIONS.values())
    assert text.splitlines()[1].split()[:3] == ["pixel", "error", "20.00"]


@pytest.mark.parametrize(
    ("truth", "labels", "words"),
    [
        (np.uint8([[0, 2]]), np.uint8([[0, 1]]), "truth has class 2; membranes are 0 and cells 1"),
        (np.uint8([[0, 1]]), np.uint8([[0, 3]]), "labels has class 3"),
        (np.uint8([[0, 1]]), np.int16([[1, -2]]), "labels has class -2"),
        (np.zeros((1, 2)), np.uint8([[0, 1]]), r"truth is float64 of shape \(1, 2\); integers"),
        (np.uint8([[0, 1, 1]]), np.uint8([[0, 1]]), r"truth is \(1, 3\) and labels is \(1, 2\)"),
    ],
)
def test_what_is_refused(truth, labels, words):
    with pytest.raises(ValueError, match=words):
        WarpingScores.of(truth, labels)


@pytest.mark.parametrize("seed", range(6))
def test_pixels_flip_in_the_order_in_which_they_become_free(seed):
    random = np.random.default_rng(seed)
    truth, target = random.random((2, 9, 10)) < 0.6
    np.testing.assert_array_equal(warped(truth, target), in_turn(truth, target))


def in_turn(truth, target):
    """Bend by the definition: rows first, then neighbours of what was flipped, from the top and clockwise."""
    cells = np.pad(truth, 1)
    goal = np.pad(target, 1)
    queue = [tuple(place) for place in np.argwhere(cells != goal)]
    while queue:
        row, column = queue.pop(0)
        if cells[row, column] == goal[row, column] or not simple(cells[row - 1 : row + 2, column - 1 : column + 2]):
            continue
        cells[row, column] = goal[row, column]
        ring = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
        beside = [(row + down, column + right) for down, right in ring]
        queue += [place for place in beside if cells[place] != goal[place]]
    return cells[1:-1, 1:-1]
