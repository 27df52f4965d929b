"""The confusion matrix against a loop, its properties, and its words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from numpy.typing import NDArray

from atrous._core import confusion

pytestmark = pytest.mark.usefixtures("kernels")
# The fixture only sets an environment variable, which is the same for every example.
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def by_loop(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count one pixel after the other."""
    matrix = np.zeros((classes, classes), np.int64)
    for row, column in zip(truth.ravel(), predicted.ravel(), strict=True):
        if row != 255:
            matrix[row, column] += 1
    return matrix


def random_labels(seed: int, shape: tuple[int, ...], classes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return truth with about a fifth ignored, and a prediction that is out of range only where it is."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, shape, dtype=np.uint8)
    predicted = generator.integers(0, classes, shape, dtype=np.uint8)
    runs = generator.random(shape) < 0.5
    truth[runs], predicted[runs] = 0, classes - 1
    ignored = generator.random(shape) < 0.2
    truth[ignored], predicted[ignored] = 255, 255
    return truth, predicted


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=23),
    classes=st.sampled_from([1, 2, 11, 21, 150, 254, 255]),
    threads=st.integers(1, 5),
)
def test_equals_the_loop(seed: int, shape: tuple[int, ...], classes: int, threads: int) -> None:
    truth, predicted = random_labels(seed, shape, classes)
    matrix = confusion(truth, predicted, classes, threads=threads)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, by_loop(truth, predicted, classes))


@pytest.mark.parametrize("classes", [2, 150, 255])
def test_runs_of_equal_pairs_among_noise(classes: int) -> None:
    """Runs just shorter and longer than what a kernel may count at once, at every place, over its blocks of pixels."""
    generator = np.random.default_rng(classes)
    lengths = generator.choice([1, 2, 3, 7, 8, 15, 31, 32, 33, 63, 64, 65, 200], 400)
    truth, predicted = (np.repeat(labels, lengths) for labels in random_labels(classes, lengths.shape, classes))
    np.testing.assert_array_equal(confusion(truth, predicted, classes), by_loop(truth, predicted, classes))


@pytest.mark.parametrize("classes", [2, 19, 255])
def test_many_threads_count_every_pixel_once(classes: int) -> None:
    truth, predicted = random_labels(3, (1027, 1031), classes)
    matrix = confusion(truth, predicted, classes, threads=4)
    counted = truth != 255
    expected = np.zeros((classes, classes), np.int64)
    np.add.at(expected, (truth[counted], predicted[counted]), 1)
    np.testing.assert_array_equal(matrix, expected)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 40))
def test_parts_add_up_and_swapping_transposes(seed: int, cut: int) -> None:
    truth, predicted = (labels[labels != 255] for labels in random_labels(seed, (40, 7), 5))
    whole = confusion(truth, predicted, 5)
    parts = confusion(truth[:cut], predicted[:cut], 5) + confusion(truth[cut:], predicted[cut:], 5)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(confusion(predicted, truth, 5), whole.T)


def test_views_are_counted_and_left_unchanged() -> None:
    truth, predicted = random_labels(0, (30, 40), 6)
    before = truth.copy(), predicted.copy()
    matrix = confusion(truth[::2, ::-3], predicted[::2, ::-3], 6)
    np.testing.assert_array_equal(matrix, by_loop(truth[::2, ::-3], predicted[::2, ::-3], 6))
    np.testing.assert_array_equal((truth, predicted), before)


def test_all_ignored_is_all_zero() -> None:
    assert confusion(np.full((3, 3), 255, np.uint8), np.full((3, 3), 255, np.uint8), 4).sum() == 0


def labels(*values: int) -> NDArray[np.uint8]:
    """Return a row of labels."""
    return np.array([values], np.uint8)


def test_a_true_label_outside_is_refused() -> None:
    words = (
        r"^truth label 2 is outside 0\.\.1 and is not the ignore value 255; 3 pixels have it: "
        r"give more classes than 2, or map the labels to 0\.\.1 first$"
    )
    with pytest.raises(ValueError, match=words):
        confusion(labels(0, 2, 2, 2, 9, 255), labels(0, 0, 0, 0, 0, 0), 2)


def test_a_predicted_label_outside_is_refused_where_truth_is_counted() -> None:
    with pytest.raises(
        ValueError, match=r"^predicted label 255 is outside 0\.\.1, and truth is counted there; 1 pixels"
    ):
        confusion(labels(0, 1, 255), labels(0, 255, 255), 2)


@pytest.mark.parametrize("place", [0, 4095, 4096, 524_287, 600_000, 999_999])
def test_one_label_outside_is_found_anywhere(place: int) -> None:
    truth, predicted = np.zeros((2, 1_000_000), np.uint8)
    truth[place] = 21
    with pytest.raises(ValueError, match=r"truth label 21 is outside 0\.\.20 .* 1 pixels"):
        confusion(truth, predicted, 21, threads=3)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"truth has shape \(1, 2\) and predicted \(1, 1\); .* give both the same shape"
    ):
        confusion(labels(0, 1), labels(0), 2)
    with pytest.raises(ValueError, match=r"predicted has dtype int64; labels are uint8: convert it with astype"):
        confusion(labels(0), np.zeros((1, 1), np.int64), 2)
    with pytest.raises(ValueError, match="truth has dtype bool; labels are uint8"):
        confusion(np.zeros((1, 1), bool), labels(0), 2)
    for classes in (0, 256):
        with pytest.raises(ValueError, match=f"classes is {classes}; 1 to 255 are possible"):
            confusion(labels(0), labels(0), classes)
