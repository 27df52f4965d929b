"""Cases: the network runs once per image, and what it said is kept, in memory or on disk."""

import errno
from pathlib import Path

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.data import write_image
from atrous.data.pairs import Pair
from atrous.tuning import Case, cases_of, compared, kept

SPACE = LabelSpace(names=("dark", "light"))


def case(seed, dtype=np.uint8):
    random = np.random.default_rng(seed)
    light = random.random((6, 5)).astype(np.float32)
    image = random.integers(0, 255, (6, 5, 3)).astype(dtype)
    return Case(image, random.integers(0, 2, (6, 5)).astype(np.uint8), np.stack([1 - light, light]))


@pytest.mark.parametrize("limit", [1 << 20, 400, 0])
def test_cases_come_back_from_memory_and_from_disk(limit):
    told = []
    with kept((case(seed) for seed in range(4)), limit=limit, progress=told.append) as loaders:
        for _ in range(2):
            for seed, load in enumerate(loaders):
                found, given = load(), case(seed)
                np.testing.assert_array_equal(found.image, given.image)
                np.testing.assert_array_equal(found.truth, given.truth)
                assert found.probabilities.dtype == np.float32
                np.testing.assert_allclose(found.probabilities, given.probabilities, atol=5e-4)
                np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-6)
    assert told == [1, 2, 3, 4]


def test_only_what_exceeds_the_limit_is_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = sum(array.nbytes for array in case(0)[:2]) + 6 * 5 * 2 * 2
    with kept((case(seed) for seed in range(5)), limit=2 * one):
        assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    words = r"0.npz: could not be written \(No space left on device\); free some space, set TMPDIR to another disk, or"
    with pytest.raises(AtrousError, match=words), kept([case(0)], limit=0):
        pass


def halves(images):
    return np.full((1, 2, 3, 4), 0.5, np.float32)


class Deep:
    """A scorer that was trained on 16 bits."""

    preprocessing = Preprocessing(high=65535)
    __call__ = staticmethod(halves)


@pytest.fixture
def pairs(tmp_path):
    """Return two images of the value 7, of 8 and of 16 bits."""
    for name, value in (("a", np.uint8(7)), ("b", np.uint16(7 * 257))):
        write_image(tmp_path / f"{name}.tif", np.full((3, 4), value))
        write_image(tmp_path / f"m{name}.png", np.ones((3, 4), np.uint8))
    return [Pair(name, tmp_path / f"{name}.tif", tmp_path / f"m{name}.png") for name in "ab"]


def test_cases_of_files_have_images_as_a_refiner_takes_them(pairs):
    first, second = cases_of(Deep(), pairs, SPACE)
    assert (first.image.dtype, first.image.shape, first.path) == (np.uint8, (3, 4, 1), pairs[0].image)
    assert first.image.tolist() == second.image.tolist()
    assert second.image.dtype == np.float32
    assert first.truth.tolist() == [[1] * 4] * 3
    assert [case.image.max() for case in cases_of(halves, pairs, SPACE)] == [7, 7 * 257]  # of no known range
    pairs[1] = Pair("b", Path("gone.png"), None)
    with pytest.raises(AtrousError, match=r"gone.png"):
        list(cases_of(halves, pairs, SPACE))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_none_are_told_with_the_image(pairs, value):
    def scorer(images):
        return np.where(images.max() > 7, value, halves(images))

    cases = cases_of(scorer, pairs, SPACE)
    next(cases)
    with pytest.raises(AtrousError, match=r"/b.tif: the network's probabilities hold NaN or infinity; give an earlier"):
        next(cases)
    with pytest.raises(AtrousError, match=r"/a.tif: the scorer returned \(2, 1, 1\) for an image of 3x4"):
        next(cases_of(lambda images: np.ones((1, 2, 1, 1), np.float32), pairs, SPACE))


@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_what_a_refiner_refuses_is_told_with_the_image(pairs, limit):
    def refuses(image, probabilities):
        raise ValueError("no")

    with kept(cases_of(halves, pairs, SPACE), limit=limit) as loaders:
        with pytest.raises(AtrousError, match=r"/a.tif: no$"):
            compared((load() for load in loaders), refuses, SPACE, words="w")
        with pytest.raises(AtrousError, match=r"/a.tif: the refiner returned NaN or infinity in 24 of 24 values"):
            compared((load() for load in loaders), lambda image, given: given * np.nan, SPACE, words="w")
    with pytest.raises(ValueError, match=r"^no$"):
        compared([case(0)], refuses, SPACE, words="w")


def test_compared_scores_both_in_one_pass():
    told = []

    def swapped(image, probabilities):
        return probabilities[::-1]

    both = compared(map(case, range(3)), swapped, SPACE, words="a swap", note="n", progress=told.append)
    assert told == [1, 2, 3]
    assert (both.refiner, both.note) == ("a swap", "n")
    before, after = both.before.scores, both.after.scores
    np.testing.assert_array_equal(before.confusion, after.confusion[:, ::-1])
    assert before.pixel_accuracy == pytest.approx(1 - after.pixel_accuracy)
    alone = compared(map(case, range(3)), None, SPACE, words="nothing")
    assert alone.after is alone.before
    np.testing.assert_array_equal(alone.before.scores.confusion, before.confusion)
    with pytest.raises(ValueError, match="no cases came; scores need at least one"):
        compared([], None, SPACE, words="nothing")
