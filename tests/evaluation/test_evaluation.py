"""All measures in one value: each is what it is alone, sets add up, and nothing depends on order or on void."""

import json
import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.contract import LabelSpace
from atrous.evaluation import (
    MEASURES,
    BoundaryIoU,
    BoundaryScores,
    Calibration,
    Distances,
    Evaluation,
    Flicker,
    Frame,
    ObjectScores,
    PerImage,
    RandScores,
    Scores,
    TrimapScores,
    WarpingScores,
    joined,
)

SPACE = LabelSpace(names=("membrane", "cell"))
quickly = settings(max_examples=25, deadline=None)


def scene(seed, shape=(16, 20)):
    random = np.random.default_rng(seed)
    truth = np.kron(random.integers(0, 2, (4, 5)), np.ones((4, 4), int))[: shape[0], : shape[1]].astype(np.uint8)
    labels = np.where(random.random(shape) < 0.9, truth, 1 - truth).astype(np.uint8)
    truth[random.random(shape) < 0.05] = 255
    right = random.uniform(0.5, 1, shape)
    probabilities = np.where(labels == np.arange(2)[:, None, None], right, 1 - right).astype(np.float32)
    image = random.integers(0, 255, (*shape, 3)).astype(np.uint8)
    return truth, labels, probabilities, image


def evaluated(seed, name=None, *, before=None, measures=MEASURES):
    truth, labels, probabilities, image = scene(seed)
    options = {"probabilities": probabilities, "image": image, "previous": before, "spacing": (2, 1), "unit": "mm"}
    return Evaluation.of(name or f"{seed}.png", truth, labels, SPACE, measures=measures, **options)


def frame(seed):
    truth, labels, _, image = scene(seed)
    return Frame(labels, truth, image)


def same(one, other):
    """Whether two measures are equal in every field, arrays included."""
    return all(np.array_equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))


def test_each_part_is_the_measure_alone():
    truth, labels, probabilities, _ = scene(0)
    both = truth, labels
    alone = {
        "scores": Scores.of(*both, SPACE),
        "boundary": BoundaryScores.of(*both, SPACE),
        "trimap": TrimapScores.of(*both, SPACE),
        "boundary_iou": BoundaryIoU.of(*both, SPACE),
        "distances": Distances.of(*both, SPACE, spacing=(2, 1), unit="mm"),
        "objects": ObjectScores.of(*both, SPACE),
        "rand": RandScores.of(*both),
        "warping": WarpingScores.of(*both),
        "calibration": Calibration.of(truth, probabilities),
        "flicker": Flicker.of(frame(1), frame(0)),
        "per_image": PerImage.of("0.png", *both, SPACE),
    }
    found = evaluated(0, before=frame(1))
    assert set(alone) == {"scores", "per_image", *MEASURES}
    for name, measure in alone.items():
        assert same(getattr(found, name), measure), name
    assert found.measures == MEASURES
    assert found.names == ("0.png",)
    assert found.space == SPACE


def test_only_what_was_asked_for():
    found = evaluated(0, measures=("trimap",))
    assert found.measures == ("trimap",)
    assert found.boundary is None
    assert set(evaluated(0, measures=()).as_json()) - {"trimap"} == set(found.as_json()) - {"trimap"}
    assert (found + evaluated(1, measures=())).measures == ()


def test_joined_is_the_sum_in_order():
    parts = [evaluated(seed, before=frame(seed + 1)) for seed in range(5)]
    whole, slow = joined(parts), parts[0]
    for part in parts[1:]:
        slow = slow + part
    assert whole.names == tuple(f"{seed}.png" for seed in range(5))
    assert json.dumps(whole.as_json()) == json.dumps(slow.as_json())
    assert whole.flicker.pairs == 5


def test_the_document_and_the_text_have_every_part():
    whole = joined(evaluated(seed, before=frame(seed + 1)) for seed in range(3))
    document = json.loads(json.dumps(whole.as_json(), allow_nan=False))
    assert set(whole.scores.as_json()) < set(document)
    for name in (*MEASURES, "per_image"):
        assert document[name] == json.loads(json.dumps(getattr(whole, name).as_json()))
        assert document[name]["definitions"]
        assert getattr(whole, name).as_text() in whole.as_text()
    assert document["intervals"]["mean_iou"]["value"] == pytest.approx(document["mean_iou"])
    assert whole.as_text().startswith("mean IoU ")
    assert "void wrong" in whole.as_text(void=True)


def test_a_single_image_has_no_interval():
    found = evaluated(0)
    assert found.intervals() is None
    assert found.as_json()["intervals"] is None
    assert "intervals" not in found.as_text()


def test_the_first_frame_has_no_flicker():
    found = evaluated(0, measures=("flicker",))
    assert found.flicker == Flicker()
    both = found + evaluated(1, before=frame(0), measures=("flicker",))
    assert both.flicker == Flicker.of(frame(0), frame(1))


def test_objects_and_rand_error_are_what_they_are_alone():
    truth, labels, *_ = scene(0)
    found = evaluated(0, measures=("objects", "rand"))
    assert same(found.objects, ObjectScores.of(truth, labels, SPACE))
    assert found.rand == RandScores.of(truth, labels)


def test_volumes_have_scores_distances_and_calibration():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (3, 6, 7)).astype(np.uint8)
    probabilities = np.stack([truth == 0, truth == 1]).astype(np.float32)
    options = {"probabilities": probabilities, "spacing": (3, 1, 1)}
    found = Evaluation.of("v", truth, truth, SPACE, measures=("distances", "calibration"), **options)
    assert (found.scores.mean_iou, found.distances.mean_average, found.calibration.ece) == (1, 0, 0)
    for measure in set(MEASURES) - {"distances", "calibration", "flicker"}:
        with pytest.raises(ValueError, match=r"shape \(3, 6, 7\)"):
            Evaluation.of("v", truth, truth, SPACE, measures=(measure,))


@pytest.mark.parametrize(
    ("measures", "names", "words"),
    [
        (("hausdorff",), ("a", "b"), "measure 'hausdorff' came; there are boundary, trimap, boundary_iou, distances"),
        ("boundary", ("a", "b"), r"measures is 'boundary'; give several names, such as \('boundary',\)"),
        (("calibration",), ("a", "b"), "calibration came without probabilities; give those of the network"),
        (("warping", "rand"), ("a", "b", "c"), "rand and warping came with 3 classes; membranes that part cells are"),
    ],
)
def test_what_is_refused(measures, names, words):
    labels = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match=words):
        Evaluation.of("x", labels, labels, LabelSpace(names=names), measures=measures)


maps = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 255]))
_FLAT = tuple(set(MEASURES) - {"calibration", "flicker"})


@quickly
@given(maps)
def test_a_perfect_prediction_is_perfect(truth):
    labels = np.where(truth == 255, 0, truth)
    found = Evaluation.of("x", truth, labels, SPACE, measures=_FLAT)
    perfect = {
        1: [
            *(getattr(found.scores, name) for name in ("mean_iou", "mean_dice", "pixel_accuracy", "mean_accuracy")),
            found.per_image.mean,
            found.boundary.mean_f,
            found.boundary_iou.mean_iou,
            *found.trimap.pixel_accuracy,
            *found.trimap.mean_iou,
            *found.objects.aji[found.objects.counts[:, 0, ::2].sum(1) > 0],
        ],
        0: [
            found.distances.mean_hausdorff95,
            found.distances.mean_average,
            found.warping.warping_error,
            found.warping.pixel_error,
        ],
    }
    for value, measured in perfect.items():
        assert all(each == value or math.isnan(each) for each in measured), (value, measured)


@quickly
@given(st.permutations(range(4)))
def test_the_order_of_images_changes_nothing(order):
    parts = [evaluated(seed, before=frame(seed + 1)) for seed in range(4)]
    one, other = joined(parts), joined(parts[index] for index in order)
    np.testing.assert_array_equal(one.scores.confusion, other.scores.confusion)
    for name in set(MEASURES) | {"per_image"}:
        first, second = (getattr(each, name).as_json() for each in (one, other))
        for key, value in first.items():
            if isinstance(value, float):
                assert value == pytest.approx(second[key], rel=1e-12), (name, key)


@quickly
@given(st.integers(0, 1000), maps)
def test_predictions_on_ignored_pixels_change_nothing(seed, truth):
    """But the objects found there, of which more than half may be ignored, and what void came to."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, truth.shape).astype(np.uint8)
    other = np.where(truth == 255, 1 - labels, labels).astype(np.uint8)
    names = tuple(set(_FLAT) - {"objects", "rand"})  # what is found there parts or joins what is found beside it
    one, two = (Evaluation.of("x", truth, each, SPACE, measures=names) for each in (labels, other))
    assert json.dumps(without_void(one)) == json.dumps(without_void(two))


def without_void(evaluation):
    document = evaluation.as_json()
    del document["void"], document["mean_iou_with_void"]
    for row in document["classes"]:
        del row["iou_with_void"]
    return document


@pytest.mark.parametrize("part", ["scores", "per_image", "boundary", "trimap", "boundary_iou", "distances", "objects"])
def test_measures_of_other_classes_are_not_added(part):
    """Even of as many: what was counted of one would be taken for the other."""
    labels = np.zeros((4, 4), np.uint8)
    spaces = LabelSpace(names=("a", "b")), LabelSpace(names=("x", "y"))
    one, other = (getattr(Evaluation.of("x", labels, labels, space, measures=_FLAT), part) for space in spaces)
    assert one + one is not None
    with pytest.raises(ValueError, match=r"classes \('a', 'b'\) and \('x', 'y'\) came; measures of the same classes"):
        one + other


def test_probabilities_of_other_classes_are_refused():
    labels, thirds = np.zeros((4, 4), np.uint8), np.full((3, 4, 4), 1 / 3)
    with pytest.raises(ValueError, match="probabilities of 3 classes came; the data has 2"):
        Evaluation.of("x", labels, labels, SPACE, measures=("calibration",), probabilities=thirds)


def test_void_by_sets_of_pixels():
    """Both conventions, with void left out and with void wrong, against a loop that shares nothing with the package."""
    random = np.random.default_rng(4)
    space = LabelSpace(names=("a", "b", "c"))
    images = []
    for _ in range(3):
        truth = random.integers(0, 3, (9, 11)).astype(np.uint8)
        labels = np.where(random.random(truth.shape) < 0.7, truth, random.integers(0, 3, truth.shape)).astype(np.uint8)
        truth[random.random(truth.shape) < 0.2] = 255
        images.append((truth, labels))
    left_out, wrong = [], []
    for index in range(3):
        places = [set(zip(*np.nonzero(np.stack(each) == index), strict=True)) for each in zip(*images, strict=True)]
        void = set(zip(*np.nonzero(np.stack([truth for truth, _ in images]) == 255), strict=True))
        true, found = places
        left_out.append(len(true & found) / len(true | (found - void)))
        wrong.append(len(true & found) / len(true | found))
    scores = joined(Evaluation.of(f"{k}", *image, space) for k, image in enumerate(images)).scores
    np.testing.assert_allclose([scores.mean_iou, scores.mean_iou_with_void], [np.mean(left_out), np.mean(wrong)])
