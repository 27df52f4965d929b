"""The Rand error against a loop over all pairs of pixels, scikit-image, and by hand."""

from itertools import product

import numpy as np
import pytest

from atrous.evaluation import RandScores, rand_sums
from atrous.evaluation.rand import grown


def slowly(truth, found):
    """Count the ordered pairs of pixels of true cells that are together in both, in the truth, in what was found."""
    places = [place for place in np.ndindex(truth.shape) if truth[place]]
    common = true = joined = 0
    for first, second in product(places, repeat=2):
        together = truth[first] == truth[second]
        in_one = first == second or (found[first] != 0 and found[first] == found[second])
        common, true, joined = common + (together and in_one), true + together, joined + in_one
    return common, true, joined


@pytest.mark.parametrize("seed", range(8))
def test_against_all_pairs_of_pixels(seed):
    random = np.random.default_rng(seed)
    truth, found = random.integers(0, 4, (2, 7, 9))
    assert rand_sums(truth, found) == slowly(truth, found)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_image(seed):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed: no second opinion")
    random = np.random.default_rng(seed)
    truth = np.kron(random.integers(0, 9, (6, 7)), np.ones((4, 4), int))
    found = np.where(random.random(truth.shape) < 0.2, 11, truth + 1)
    pixels = np.count_nonzero(truth)  # they count pairs of two pixels, without each with itself
    common, true, joined = (total - pixels for total in rand_sums(truth, found))
    error, *parts = metrics.adapted_rand_error(truth, found)
    np.testing.assert_allclose(error, 1 - 2 * common / (true + joined), rtol=1e-12)
    # Which of the two it calls precision has differed from its documentation; the loop above tells them apart.
    np.testing.assert_allclose(sorted(parts), sorted([common / joined, common / true]), rtol=1e-12)


def two_cells(gap):
    """Return two cells of 4x4 with a membrane of `gap` columns between."""
    labels = np.zeros((4, 8 + gap), np.uint8)
    labels[:, :4] = labels[:, 4 + gap :] = 1
    return labels


def test_by_hand():
    truth = two_cells(1)
    joined = RandScores.of(truth, np.ones_like(truth))
    assert (joined.common, joined.true, joined.found) == (2 * 16**2, 2 * 16**2, 32**2)
    assert (joined.split_score, joined.merge_score) == (1.0, 0.5)
    np.testing.assert_allclose(joined.rand_error, 1 / 3)
    assert (joined.wrong, joined.pixels) == (4, 36)
    parted = truth.copy()
    parted[:, 2] = 0
    split = RandScores.of(truth, parted)  # the line goes to the nearest: to one of its sides
    assert split.merge_score == 1
    assert 0.5 < split.split_score < 1


def test_a_membrane_of_another_width_costs_pixels_only():
    truth, wider = two_cells(3), two_cells(3)
    wider[:, 3] = wider[:, 7] = 0
    scores = RandScores.of(truth, wider)
    assert scores.rand_error == 0
    assert scores.pixel_error == 8 / 44


def test_one_hole_joins_two_cells():
    truth = two_cells(3)
    holed = truth.copy()
    holed[2, 4:7] = 1
    scores = RandScores.of(truth, holed)
    np.testing.assert_allclose(scores.rand_error, 1 / 3)
    assert scores.pixel_error == 3 / 44


def test_cells_that_meet_at_a_corner_are_two():
    truth = np.kron(np.eye(2, dtype=np.uint8), np.ones((3, 3), np.uint8))
    scores = RandScores.of(truth, truth)
    assert (scores.true, scores.rand_error) == (2 * 9**2, 0)


def test_ignored_pixels_are_left_out():
    truth, labels = two_cells(2), two_cells(2)
    truth[:, :2], labels[:, 0] = 255, 0
    scores = RandScores.of(truth, labels)
    assert (scores.rand_error, scores.pixel_error, scores.pixels) == (0, 0, 32)
    assert scores.true == 8**2 + 16**2


def test_images_are_added():
    truth = two_cells(1)
    parts = RandScores.of(truth, np.ones_like(truth)), RandScores.of(truth, truth)
    both = parts[0] + parts[1]
    assert (both.images, both.common, both.true, both.found) == (2, 1024, 1024, 512 + 1024)
    np.testing.assert_allclose(both.rand_error, 1 - 2 * 1024 / (1024 + 1536))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 4)])
def test_nothing_found_and_nothing_there(shape):
    none, all_ = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
    pixels = none.size
    missed = RandScores.of(all_, none)
    assert (missed.common, missed.true, missed.found) == (pixels, pixels**2, pixels)  # each pixel alone
    empty = RandScores.of(none, all_)
    assert np.isnan([empty.rand_error, empty.split_score, empty.merge_score]).all()
    assert empty.pixel_error == 1
    assert empty.as_json()["rand_error"] is None
    assert empty.as_text().startswith("Rand error                   -")
    assert np.isnan(RandScores.of(np.full(shape, 255, np.uint8), all_).pixel_error)


def test_growing_gives_every_pixel_to_the_nearest():
    random = np.random.default_rng(0)
    cells = np.zeros((20, 30), np.int32)
    rows, columns = random.integers(0, 20, 6), random.integers(0, 30, 6)
    cells[rows, columns] = 7 * np.arange(1, 7)
    found = grown(cells)
    for place in np.ndindex(cells.shape):
        far = np.hypot(rows - place[0], columns - place[1])
        taken = far[(found[place] == cells[rows, columns])].min()
        assert taken <= 1.05 * far.min() + 1e-9
    np.testing.assert_array_equal(found[cells != 0], cells[cells != 0])


def test_the_table():
    truth = two_cells(1)
    lines = RandScores.of(truth, np.ones_like(truth)).as_text().splitlines()
    assert [line[:24].strip() for line in lines[:4]] == [
        "Rand error",
        "Rand split score",
        "Rand merge score",
        "pixel error",
    ]
    assert "33.33" in lines[0]
    assert "50.00" in lines[2]
    assert "11.11" in lines[3]


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), "truth is float64"),
        (np.zeros((2, 2), int), np.zeros((3, 2), int), "give all the same size"),
        (np.full((1, 2), -1), np.zeros((1, 2), int), "truth holds -1 to -1"),
        (np.zeros((1, 2), int), np.full((1, 2), 2**31), "found holds 2147483648"),
    ],
)
def test_what_are_no_cells(truth, found, words):
    with pytest.raises(ValueError, match=words):
        rand_sums(truth, found)


def test_a_third_class():
    with pytest.raises(ValueError, match="labels has class 2; membranes are 0 and cells 1"):
        RandScores.of(np.zeros((1, 2), np.uint8), np.uint8([[2, 0]]))
    with pytest.raises(ValueError, match="truth has class -1; membranes are 0 and cells 1"):
        RandScores.of(np.int16([[-1, 0]]), np.uint8([[1, 0]]))
