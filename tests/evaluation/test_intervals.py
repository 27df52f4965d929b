"""Bootstrap intervals against drawing image by image, and what is said of two runs."""

import json

import numpy as np
import pytest
from scipy.stats import bootstrap

from atrous.contract import LabelSpace
from atrous.evaluation import INTERVAL_DEFINITIONS, PerImage, Scores, compared, intervals, joined
from atrous.evaluation.dependence import dependence, dependence_note

SPACE = LabelSpace(names=("a", "b", "c"))


def confusions(count, right, seed=0):
    """Return a confusion matrix per image; about one in ten images lacks the last class."""
    random, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    matrices = []
    for _ in range(count):
        truth = random.multinomial(400, [0.6, 0.3, 0.1] if random.random() < 0.9 else [0.7, 0.3, 0])
        share = np.clip(right + noise.normal(0, 0.05), 0, 1)
        rest = (1 - share) / 2
        matrices.append(np.stack([noise.multinomial(n, np.roll([share, rest, rest], i)) for i, n in enumerate(truth)]))
    return matrices


def per_image(matrices):
    return joined(PerImage.counted(f"{k}.png", matrix, SPACE) for k, matrix in enumerate(matrices))


def scores_of(matrices):
    return Scores(space=SPACE, confusion=np.sum(matrices, 0), images=len(matrices))


@pytest.mark.parametrize("block", [1, 4])
def test_against_drawing_image_by_image(block):
    matrices = confusions(9, 0.7)
    found = intervals(per_image(matrices), resamples=60, block=block)
    random = np.random.default_rng(0)
    starts = random.integers(0, 9, (60, -(-9 // block)))
    draws = []
    for row in starts:
        images = [(start + k) % 9 for start in row for k in range(block)][:9]
        draws.append(scores_of([matrices[index] for index in images]))
    for name in ("mean_iou", "pixel_accuracy", "mean_dice"):
        expected = np.quantile([getattr(draw, name) for draw in draws], [0.025, 0.975])
        interval = getattr(found, name)
        np.testing.assert_allclose(interval[1:], expected, rtol=1e-12)
        np.testing.assert_allclose(interval.value, getattr(scores_of(matrices), name))
    for index in range(3):
        expected = np.nanquantile([draw.iou[index] for draw in draws], [0.025, 0.975])
        np.testing.assert_allclose(found.iou[index][1:], expected, rtol=1e-12)


def test_about_what_scipy_comes_to():
    """Pixel accuracy of images of one size is the mean of theirs, for which SciPy has a bootstrap."""
    matrices = confusions(60, 0.8)
    values = [np.trace(matrix) / matrix.sum() for matrix in matrices]
    theirs = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    ours = intervals(per_image(matrices), resamples=4000).pixel_accuracy
    width = ours.high - ours.low
    np.testing.assert_allclose(ours[1:], theirs.confidence_interval, atol=0.1 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for seed in range(100):
        values = np.random.default_rng(seed).binomial(100, 0.8, 40)
        counts = np.stack([values, np.full(40, 100), np.full(40, 100)], 1)[:, None]
        images = PerImage(space=LabelSpace(names=("a",)), names=tuple(map(str, range(40))), counts=counts)
        found = intervals(images, resamples=200, seed=seed).pixel_accuracy
        inside += found.low <= 0.8 <= found.high
    assert 85 <= inside <= 100


def test_seeds_repeat_and_levels_widen():
    images = per_image(confusions(20, 0.7))
    first, again, other = (intervals(images, seed=seed).mean_iou for seed in (3, 3, 4))
    assert first == again != other
    wide = intervals(images, level=0.99).mean_iou
    assert wide.low < first.low < first.high < wide.high


def test_many_images_are_summed_in_parts(monkeypatch):
    images = per_image(confusions(12, 0.7))
    whole = intervals(images, resamples=50).mean_iou
    monkeypatch.setattr("atrous.evaluation.bootstrap._AT_ONCE", 12 * 7)
    parts = intervals(images, resamples=50).mean_iou
    assert parts == whole  # the same random numbers, in sevens


def test_a_class_that_no_truth_has_has_no_interval():
    matrices = [np.array([[5, 1, 0], [1, 5, 1], [0, 0, 0]])] * 3
    found = intervals(per_image(matrices))
    assert np.isnan(found.iou[2]).all()
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["classes"][2]["iou"] == {"value": None, "low": None, "high": None}
    assert document["definitions"] == INTERVAL_DEFINITIONS
    text = found.as_text()
    assert INTERVAL_DEFINITIONS["interval"] in text
    assert text.splitlines()[0].split() == ["95", "%", "intervals", "score", "low", "high"]
    assert text.splitlines()[6].split() == ["IoU", "of", "c", "-", "-", "-"]


def test_the_better_run_is_named():
    worse, better = per_image(confusions(40, 0.7)), per_image(confusions(40, 0.8))
    found = compared(worse, better, names=("old", "new"))
    assert found.significant
    expected = scores_of(confusions(40, 0.8)).mean_iou - scores_of(confusions(40, 0.7)).mean_iou
    np.testing.assert_allclose(found.value, expected)
    low, high = 100 * found.low, 100 * found.high
    assert found.sentence == (
        f"new is better by {100 * expected:.2f} points of mean IoU (95 % interval {low:.2f} to {high:.2f}, 40 images, "
        "paired bootstrap): significant at the 5 % level"
    )
    turned = compared(better, worse, names=("new", "old"))
    assert turned.sentence == found.sentence
    assert turned.value == -found.value
    assert "of mean Dice (90 % interval" in compared(worse, better, measure="mean_dice", level=0.9).sentence
    assert "paired bootstrap in blocks of 3)" in compared(worse, better, block=3).sentence


def test_pairs_tell_more_than_two_intervals():
    """Images differ more among themselves than the two runs do on each."""
    random = np.random.default_rng(0)
    right = random.integers(100, 380, 50)
    runs = [np.stack([values, np.full(50, 400), np.full(50, 400)], 1)[:, None] for values in (right, right + 4)]
    space, names = LabelSpace(names=("a",)), tuple(map(str, range(50)))
    one, other = (PerImage(space=space, names=names, counts=counts) for counts in runs)
    assert compared(one, other, measure="pixel_accuracy").significant
    assert intervals(one).pixel_accuracy.high > intervals(other).pixel_accuracy.low


def test_what_is_the_same_is_not_significant():
    images = per_image(confusions(20, 0.7))
    same = compared(images, images)
    assert (same.value, same.low, same.high, same.significant) == (0, 0, 0, False)
    assert same.sentence.startswith("A and B are equal in mean IoU (95 % interval 0.00 to 0.00, 20 images")
    noise = compared(images, per_image(shuffled(confusions(20, 0.7))))
    assert not noise.significant
    assert noise.sentence.endswith("not significant at the 5 % level")
    document = json.loads(json.dumps(noise.as_json(), allow_nan=False))
    assert (document["sentence"], document["significant"]) == (noise.sentence, False)


def shuffled(matrices):
    """Move one pixel from right to wrong and back in turn, so that neither run is better."""
    for index, matrix in enumerate(matrices):
        step = 8 if index % 2 else -8
        matrix[0] += (step, -step, 0)
    return matrices


def test_runs_are_matched_by_name():
    worse, better = per_image(confusions(10, 0.7)), per_image(confusions(10, 0.8))
    order = list(range(10))[::-1]
    turned = PerImage(space=SPACE, names=tuple(better.names[i] for i in order), counts=better.counts[order])
    assert compared(worse, turned) == compared(worse, better)


def test_runs_that_cannot_be_compared():
    one = per_image(confusions(5, 0.7))
    four = per_image(confusions(4, 0.7))
    with pytest.raises(ValueError, match=r"1 images are in one run only, such as 4\.png"):
        compared(one, four)
    with pytest.raises(ValueError, match=r"5 images, such as 0\.png, have other true pixels in the second run"):
        compared(one, per_image(confusions(5, 0.7, seed=9)))
    twice = PerImage(space=SPACE, names=("x",) * 5, counts=one.counts)
    with pytest.raises(ValueError, match="names of images repeat; each needs its own"):
        compared(one, twice)
    other = PerImage(space=LabelSpace(names=("a", "b", "z")), names=one.names, counts=one.counts)
    with pytest.raises(ValueError, match=r"classes \('a', 'b', 'c'\) and \('a', 'b', 'z'\) came"):
        compared(one, other)
    with pytest.raises(ValueError, match="measure 'iou' came; it is one of mean_iou, pixel_accuracy, mean_dice"):
        compared(one, one, measure="iou")


@pytest.mark.parametrize(
    ("count", "options", "words"),
    [
        (1, {}, "1 images came; an interval over images takes two or more"),
        (3, {"resamples": 0}, "0 draws came; one or more are needed"),
        (3, {"level": 95}, "level 95 came; it lies between 0 and 1"),
        (3, {"block": 4}, "blocks of 4 images came; they have 1 to 3"),
    ],
)
def test_what_is_refused(count, options, words):
    with pytest.raises(ValueError, match=words):
        intervals(per_image(confusions(count, 0.7)), **options)


def clip(count=100):
    """Return counts of frames whose accuracy drifts slowly."""
    right = np.round(300 + 60 * np.sin(np.arange(count) / 8)).astype(int)
    counts = np.stack([right, np.full(count, 400), np.full(count, 400)], 1)[:, None]
    return PerImage(space=LabelSpace(names=("a",)), names=tuple(map(str, range(count))), counts=counts)


def test_frames_of_a_clip_are_told():
    note = intervals(clip()).note
    assert note is not None
    assert "Neighbouring images are alike" in note
    needed = int(note.split("blocks of ")[1].split()[0])
    assert 5 <= needed <= 25
    assert note in intervals(clip()).as_text()
    blocks = intervals(clip(), block=needed)
    assert blocks.note is None
    assert blocks.pixel_accuracy.high - blocks.pixel_accuracy.low > 0.04
    assert compared(clip(), clip()).note == note


def test_few_images_are_told():
    few = intervals(per_image(confusions(6, 0.7)))
    assert few.note == "Of so few images (6) the interval is too narrow; take it as a hint."
    assert few.note in few.as_text().splitlines()
    assert compared(per_image(confusions(6, 0.7)), per_image(confusions(6, 0.8))).note == few.note
    assert intervals(per_image(confusions(20, 0.7))).note is None


def test_blocks_are_explained_where_they_are_drawn():
    images = per_image(confusions(6, 0.7))
    assert INTERVAL_DEFINITIONS["block"] not in intervals(images).as_text()
    assert "seed 0, blocks of 2;" in intervals(images, block=2).as_text()


def test_dependence_by_hand():
    values = np.array([1.0, 2, 4, 3, 5])
    expected = np.corrcoef(values[:-1], values[1:])[0, 1]
    np.testing.assert_allclose(dependence(values), expected)
    gap = np.array([1.0, 2, np.nan, 4, 3, 5, 6])  # an image in which nothing is counted
    kept = np.corrcoef([1, 4, 3, 5], [2, 3, 5, 6])[0, 1]
    np.testing.assert_allclose(dependence(gap), kept)
    assert dependence(np.ones(9)) == 0
    assert dependence(np.array([1.0, np.nan, 2])) == 0
    assert dependence(np.full(9, np.nan)) == 0
    assert dependence_note(np.ones(1), 1) is None
    assert dependence_note(np.random.default_rng(1).random(300), 1) is None


def test_nothing_counted_is_no_difference():
    nothing = per_image([np.zeros((3, 3), np.int64)] * 25)
    found = compared(nothing, nothing, names=("old", "new"))
    assert found.sentence == "old and new cannot be compared: no pixel of the 25 images is counted"
    assert not found.significant
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (document["value"], document["low"], document["scores"]) == (None, None, [None, None])


def test_numbers_of_numpy_are_plain_in_json():
    images, options = (
        per_image(confusions(4, 0.7)),
        {"seed": np.int64(3), "resamples": np.int64(9), "block": np.int64(2)},
    )
    plainly = {name: int(value) for name, value in options.items()}
    for document in (intervals(images, **options).as_json(), compared(images, images, **options).as_json()):
        assert plainly.items() <= json.loads(json.dumps(document)).items()
    assert intervals(images, **options) == intervals(images, **plainly)


def test_a_correlation_that_few_images_have_by_chance_is_not_told():
    """Of 12 images two standard errors are 0.58; the same scores again and again are a pattern."""
    scores = np.array([0.8, 0.4, 0.5, 0.2, 0.3, 0.0, 0.3, 0.7, 0.7, 0.8, 0.4, 0.5])
    assert 0.3 < dependence(scores) < 2 / np.sqrt(12)
    assert dependence_note(scores, 1) is None
    assert "Neighbouring images are alike" in str(dependence_note(np.tile(scores, 20), 1))
