"""F1 of objects against a loop over all pairs of objects, and by hand."""

from fractions import Fraction

import numpy as np
import pytest

from atrous.contract import LabelSpace
from atrous.evaluation import OBJECT_DEFINITIONS, THRESHOLDS, ObjectScores, matched_objects
from atrous.evaluation.matching import matching
from atrous.evaluation.overlaps import overlaps

SPACE = LabelSpace(names=("ground", "cell"))
THREE = LabelSpace(names=("ground", "cell", "fibre"))
LIMITS = [Fraction(k, 20) for k in range(10, 20)]


def pixels_of(numbers, number):
    return {tuple(place) for place in np.argwhere(numbers == number).tolist()}


def slowly(truth, found, void, minimum=1):
    """Return (10, 3) counts, object by object and in fractions, as the definition reads."""
    hidden = {tuple(place) for place in np.argwhere(void).tolist()}
    true = [pixels_of(truth, number) - hidden for number in set(truth.ravel().tolist()) - {0}]
    true = [pixels for pixels in true if pixels]
    ours = [pixels_of(found, number) for number in set(found.ravel().tolist()) - {0}]
    ours = [pixels for pixels in ours if len(pixels) >= minimum]
    rows = []
    for limit in LIMITS:
        matched = false = 0
        for pixels in ours:
            seen = pixels - hidden
            partners = [other for other in true if Fraction(len(seen & other), len(seen | other)) > limit]
            assert len(partners) <= 1
            matched += len(partners)
            false += not partners and Fraction(len(pixels & hidden), len(pixels)) <= limit
        rows.append((matched, false, len(true) - matched))
    return np.array(rows)


def blocks(random, shape, numbers):
    return np.kron(random.integers(0, numbers, (4, 5)), np.ones((5, 5), int))[: shape[0], : shape[1]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("minimum", [1, 9])
def test_against_a_loop(seed, minimum):
    random = np.random.default_rng(seed)
    truth = blocks(random, (18, 22), 6)
    found = np.where(random.random(truth.shape) < 0.1, 6, truth)
    found[random.random(truth.shape) < 0.1] = 0
    found = np.where(np.roll(found, 1, 1) == 3, 1, found) * 1000  # numbers need not be in a row
    void = random.random(truth.shape) < (seed % 3) * 0.25
    expected = slowly(truth, found, void, minimum)
    np.testing.assert_array_equal(matched_objects(truth, found, void=void, minimum=minimum), expected)
    assert len(THRESHOLDS) == len(LIMITS)
    np.testing.assert_allclose(THRESHOLDS, [float(limit) for limit in LIMITS])


@pytest.mark.parametrize("seed", range(4))
def test_labels_against_a_loop_over_regions(seed):
    random = np.random.default_rng(seed)
    truth = blocks(random, (20, 25), 2).astype(np.uint8)
    labels = np.where(random.random(truth.shape) < 0.04, 1 - truth, truth).astype(np.uint8)
    numbers = [spread(each) for each in (truth, labels)]
    scores = ObjectScores.of(truth, labels, SPACE)
    np.testing.assert_array_equal(scores.counts[0], slowly(*numbers, np.zeros(truth.shape, bool)))


def spread(labels):
    """Number the regions of class 1 by flooding from pixel to pixel, corners included."""
    numbers, number = np.zeros(labels.shape, int), 0
    for start in zip(*np.nonzero(labels == 1), strict=True):
        if numbers[start]:
            continue
        number, waiting = number + 1, [start]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]
            if inside and labels[row, column] == 1 and not numbers[row, column]:
                numbers[row, column] = number
                waiting += [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return numbers


def slow_jaccard(truth, found, void):
    """Return the two sums of the aggregated Jaccard index as Kumar's algorithm 1 reads."""
    hidden = {tuple(place) for place in np.argwhere(void).tolist()}
    true = [pixels_of(truth, number) - hidden for number in sorted(set(truth.ravel().tolist()) - {0})]
    ours = [pixels_of(found, number) - hidden for number in sorted(set(found.ravel().tolist()) - {0})]
    both = either = 0
    used = set()
    for pixels in filter(None, true):
        index = max(range(len(ours)), key=lambda each: len(pixels & ours[each]) / len(pixels | ours[each]), default=-1)
        if index < 0 or not pixels & ours[index]:
            either += len(pixels)
            continue
        both, either = both + len(pixels & ours[index]), either + len(pixels | ours[index])
        used.add(index)
    return both, either + sum(len(pixels) for index, pixels in enumerate(ours) if index not in used)


@pytest.mark.parametrize("seed", range(12))
def test_aggregated_jaccard_against_a_loop(seed):
    random = np.random.default_rng(seed)
    truth = blocks(random, (18, 22), 6)
    found = np.where(random.random(truth.shape) < 0.1, 6, np.roll(truth, seed % 4, 1))
    found[random.random(truth.shape) < 0.1] = 0
    void = random.random(truth.shape) < (seed % 3) * 0.25
    assert matching(truth, found, void=void).jaccard() == slow_jaccard(truth, found, void)


def test_aggregated_jaccard_by_hand():
    one = np.uint8([[1, 1, 1, 1, 0, 0, 1, 1]])
    other = np.uint8([[1, 1, 0, 1, 0, 0, 0, 0]])  # the first object in two pieces, the second missed
    scores = ObjectScores.of(one, other, SPACE)
    assert scores.jaccard.tolist() == [[2, 4 + 1 + 2]]
    both = scores + ObjectScores.of(one, one, SPACE)
    np.testing.assert_allclose(both.aji, [8 / 13])  # sums over the set, not the mean of 2 / 7 and 1
    nothing = np.zeros((1, 8), np.uint8)
    assert ObjectScores.of(nothing, one, SPACE).aji.tolist() == [0]
    assert np.isnan(ObjectScores.of(nothing, nothing, SPACE).aji).all()


def test_an_iou_of_exactly_the_threshold_is_no_match():
    truth, found = np.zeros((2, 1, 20), int)
    truth[0, :20], found[0, :13] = 1, 1  # IoU 0.65, which no float is
    counts = matched_objects(truth, found)
    assert counts[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    halves = np.array([[1, 1, 2, 2]])
    assert matched_objects(np.ones((1, 4), int), halves)[0].tolist() == [0, 2, 1]


def test_two_cells_that_were_found_as_one():
    instances = np.repeat(np.int32([[1, 1, 1, 1, 2, 2, 2, 2]]), 4, 0)
    truth = np.ones((4, 8), np.uint8)
    joined = ObjectScores.of(truth, truth, SPACE, instances=instances)
    assert joined.counts[0, 0].tolist() == [0, 1, 2]
    labels = truth.copy()
    labels[:, 4] = 0
    parted = ObjectScores.of(truth, labels, SPACE, instances=instances)
    assert parted.counts[0, 0].tolist() == [2, 0, 0]
    assert parted.counts[0, 5].tolist() == [1, 1, 1]  # 12 of 16 pixels are not above 0.75
    assert parted.f1.tolist() == [1.0]
    np.testing.assert_allclose(parted.mean_f1, [(5 * 1 + 5 * 0.5) / 10])
    both = joined + parted
    assert both.images == 2
    np.testing.assert_allclose([both.f1[0], both.precision[0], both.recall[0]], [4 / 7, 2 / 3, 2 / 4])


def test_objects_connected_at_a_corner_are_one():
    truth = np.eye(3, dtype=np.uint8)
    assert ObjectScores.of(truth, truth, SPACE).counts[0, 0].tolist() == [1, 0, 0]


def test_classes_are_counted_apart():
    truth = np.uint8([[1, 1, 0, 2, 2]])
    labels = np.uint8([[1, 1, 0, 1, 1]])
    scores = ObjectScores.of(truth, labels, THREE)
    assert scores.counts[:, 0].tolist() == [[1, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(scores.f1, [2 / 3, 0])
    numbers = np.int32([[7, 7, 0, 7, 7]])  # one number, two classes: an object of each
    np.testing.assert_array_equal(ObjectScores.of(truth, labels, THREE, instances=numbers).counts, scores.counts)


def test_ignored_pixels_are_left_out_of_the_iou():
    truth = np.uint8([[1, 1, 255, 255, 0, 0]])
    labels = np.uint8([[1, 1, 1, 1, 0, 0]])
    assert ObjectScores.of(truth, labels, SPACE).counts[0].tolist() == [[1, 0, 0]] * 10


def test_what_was_found_in_ignored_pixels_is_not_false():
    truth = np.uint8([[255, 255, 255, 0, 0, 0]])
    labels = np.uint8([[0, 1, 1, 1, 0, 0]])  # two thirds of it are ignored
    counts = ObjectScores.of(truth, labels, SPACE).counts[0]
    assert counts[:, 1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    everywhere = np.full((3, 3), 255, np.uint8)
    scores = ObjectScores.of(everywhere, np.ones((3, 3), np.uint8), SPACE)
    assert scores.counts.sum() == 0
    assert np.isnan(scores.f1).all()


def test_pixels_of_a_class_without_an_object_are_ignored_for_it():
    truth = np.uint8([[1, 1, 0, 1, 1]])
    crowd = np.int32([[1, 1, 0, 0, 0]])
    counts = ObjectScores.of(truth, truth, SPACE, instances=crowd).counts
    assert counts[0, 0].tolist() == [1, 0, 0]


def test_numbers_of_objects_may_be_any():
    truth = np.uint8([[1, 1, 0, 1, 1]])
    numbers = np.int32([[-7, -7, 0, 2_147_483_647, 2_147_483_647]])
    assert ObjectScores.of(truth, truth, SPACE, instances=numbers).counts[0, 0].tolist() == [2, 0, 0]


def test_specks_are_left_out_on_request():
    truth = np.uint8([[1, 1, 1, 0, 0]])
    labels = np.uint8([[1, 1, 1, 0, 1]])
    assert ObjectScores.of(truth, labels, SPACE).counts[0, 0].tolist() == [1, 1, 0]
    assert ObjectScores.of(truth, labels, SPACE, minimum=2).counts[0, 0].tolist() == [1, 0, 0]
    assert ObjectScores.of(truth, labels, SPACE, minimum=4).counts[0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [(0, 0, [0, 0, 0]), (1, 0, [0, 0, 1]), (0, 1, [0, 1, 0]), (1, 1, [1, 0, 0]), (255, 1, [0, 0, 0])],
)
def test_an_image_of_one_pixel(truth, found, expected):
    scores = ObjectScores.of(np.uint8([[truth]]), np.uint8([[found]]), SPACE)
    assert scores.counts[0].tolist() == [expected] * 10


def test_no_objects_at_all_is_no_score():
    empty = np.zeros((4, 5), np.uint8)
    scores = ObjectScores.of(empty, empty, SPACE)
    assert np.isnan([*scores.f1, *scores.mean_f1, *scores.precision, *scores.recall]).all()
    assert scores.as_json()["f1"] is None
    assert scores.as_json()["classes"][0]["f1_at"] == [None] * 10
    assert scores.as_text().splitlines()[-4].split() == ["cell", *"-----", "0", "0"]
    missed = ObjectScores.of(np.ones((4, 5), np.uint8), empty, SPACE)
    assert (missed.f1[0], missed.recall[0]) == (0, 0)
    assert np.isnan(missed.precision[0])


def test_the_table_and_the_document():
    truth, labels = np.uint8([[1, 1, 0, 2, 2]]), np.uint8([[1, 1, 0, 1, 1]])
    scores = ObjectScores.of(truth, labels, THREE)
    lines = scores.as_text().splitlines()
    assert lines[0].split()[:4] == ["F1", "of", "objects", "33.33"]
    assert lines[-5].split() == ["cell", "66.67", "66.67", "50.00", "100.00", "50.00", "1", "2"]
    assert lines[-2:] == ["precision: TP / (TP + FP) at IoU 0.5", "recall: TP / (TP + FN) at IoU 0.5"]
    assert all(words in scores.as_text() for words in OBJECT_DEFINITIONS.values())
    assert lines[-4].split() == ["fibre", "0.00", "0.00", "-", "0.00", "0.00", "1", "0"]
    document = scores.as_json()
    np.testing.assert_allclose([document["f1"], document["aji"]], [1 / 3, 1 / 4])
    assert [each["name"] for each in document["classes"]] == ["cell", "fibre"]
    assert document["classes"][0]["counts"][0] == [1, 1, 0]
    assert document["thresholds"] == list(THRESHOLDS)


def test_overlaps_of_large_numbers():
    most = 2**31 - 1
    found = overlaps(np.array([[most, 0, most]]), np.array([[most, most, most]]))
    assert [part.tolist() for part in found] == [[0, most], [most, most], [1, 2]]


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), "truth is float64"),
        (np.zeros((2, 2), int), np.zeros((2, 2, 1), int), r"found is int64 of shape \(2, 2, 1\)"),
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"truth is \(2, 2\) and found is \(2, 3\); give all the same"),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), r"truth is int64 of shape \(0, 2\)"),
    ],
)
def test_what_are_no_objects(truth, found, words):
    with pytest.raises(ValueError, match=words):
        matched_objects(truth, found)


def test_void_and_instances_of_another_size():
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"void is \(1, 2\) and truth \(2, 2\)"):
        matched_objects(zeros, zeros, void=np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match=r"instances is \(1, 2\)"):
        ObjectScores.of(zeros, zeros, SPACE, instances=np.zeros((1, 2), np.int32))


@pytest.mark.parametrize(
    ("truth", "labels", "words"),
    [
        (np.uint8([[0, 1]]), np.uint8([[0, 7]]), r"predicted has label 7; 2 classes are 0\.\.1"),
        (np.uint8([[0, 1]]), np.int16([[0, -1]]), r"predicted has label -1; 2 classes are 0\.\.1"),
        (np.uint8([[0, 9]]), np.uint8([[0, 1]]), r"truth has label 9; 2 classes are 0\.\.1"),
    ],
)
def test_labels_that_are_no_class(truth, labels, words):
    with pytest.raises(ValueError, match=words):
        ObjectScores.of(truth, labels, SPACE)
    assert ObjectScores.of(np.full_like(truth, 255), labels, SPACE).images == 1
