"""Sums of many measures, and what is printed of numbers that are not."""

import numpy as np
import pytest

from atrous.evaluation import joined
from atrous.evaluation.figures import means_known, percent, plain, shares


class Counted:
    """A measure that counts how many values its sums have copied."""

    copied = 0

    def __init__(self, values):
        self.values = values

    def __add__(self, other):
        Counted.copied += len(self.values) + len(other.values)
        return Counted(self.values + other.values)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100])
def test_joined_keeps_the_order(count):
    assert joined(Counted((each,)) for each in range(count)).values == tuple(range(count))


def test_joined_is_not_quadratic():
    Counted.copied = 0
    joined(Counted((each,)) for each in range(2048))
    assert Counted.copied == 2048 * 11


def test_joined_of_nothing():
    with pytest.raises(ValueError, match="no measures came; give those of at least one image"):
        joined([])


def test_what_is_not_a_number():
    assert plain(float("nan")) is None
    assert percent(float("nan")).strip() == "-"
    assert percent(1.0) == "100.00"
    np.testing.assert_array_equal(shares(np.array([3, 0]), np.array([4, 0])), [0.75, np.nan])
    np.testing.assert_array_equal(means_known(np.array([[1.0, np.nan], [np.nan, np.nan]])), [1, np.nan])
