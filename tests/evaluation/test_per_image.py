"""Scores of every image against the scores of that image alone."""

import json

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.evaluation import PER_IMAGE_DEFINITIONS, PerImage, Scores, joined

SPACE = LabelSpace(names=("a", "b", "c"))


def maps(count, shape=(9, 11)):
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (count, *shape)).astype(np.uint8)
    found = np.where(random.random(truth.shape) < 0.7, truth, random.integers(0, 3, truth.shape)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = 255
    return truth, found


def per_image(truth, found):
    return joined(PerImage.of(f"{k}.png", t, f, SPACE) for k, (t, f) in enumerate(zip(truth, found, strict=True)))


def test_each_is_what_the_image_alone_comes_to():
    truth, found = maps(6)
    images = per_image(truth, found)
    alone = [Scores.of(t, f, SPACE) for t, f in zip(truth, found, strict=True)]
    np.testing.assert_allclose(images.iou, [each.iou for each in alone])
    np.testing.assert_allclose(images.dice, [each.dice for each in alone])
    np.testing.assert_allclose(images.mean_iou, [each.mean_iou for each in alone])
    np.testing.assert_allclose(images.mean_dice, [each.mean_dice for each in alone])
    np.testing.assert_allclose(images.pixel_accuracy, [each.pixel_accuracy for each in alone])
    np.testing.assert_allclose(images.mean, np.mean([each.mean_iou for each in alone]))
    whole = joined(alone)
    np.testing.assert_array_equal(images.counts.sum(0)[:, 1], whole.truth)
    np.testing.assert_array_equal(images.counts.sum(0)[:, 0], np.diag(whole.confusion))


def test_a_class_that_was_only_predicted_counts_in_that_image():
    images = PerImage.of("x", np.zeros((1, 4), np.uint8), np.uint8([[0, 0, 0, 1]]), SPACE)
    np.testing.assert_allclose(images.iou[0], [0.75, 0, np.nan])
    assert images.mean == 0.375


def test_worst_and_best():
    truth, found = maps(5)
    truth[3] = 255
    images = per_image(truth, found)
    order = sorted((0, 1, 2, 4), key=lambda index: images.mean_iou[index])
    assert [name for name, _ in images.worst(9)] == [f"{index}.png" for index in order]
    assert [name for name, _ in images.best(2)] == [f"{index}.png" for index in order[::-1][:2]]
    assert images.worst(1)[0][1] == np.nanmin(images.mean_iou)
    alike = PerImage(space=SPACE, names=("x", "y"), counts=np.ones((2, 3, 3), np.int64))
    assert [name for name, _ in alike.worst()] == [name for name, _ in alike.best()] == ["x", "y"]


def test_the_document_is_read_back():
    images = per_image(*maps(4))
    document = json.loads(json.dumps(images.as_json(), allow_nan=False))
    assert document["definitions"] == PER_IMAGE_DEFINITIONS
    assert document["mean_iou"] == images.mean
    back = PerImage.from_json(document, SPACE)
    assert back.names == images.names
    np.testing.assert_array_equal(back.counts, images.counts)


def test_an_image_without_counted_pixels_is_in_no_mean():
    nothing = PerImage.of("void", np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), SPACE)
    something = PerImage.of("x", np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), SPACE)
    assert (nothing + something).mean == 1
    document = json.loads(json.dumps(nothing.as_json(), allow_nan=False))
    assert (document["mean_iou"], document["images"][0]["mean_iou"], document["images"][0]["counts"]) == (
        None,
        None,
        [],
    )


def test_the_text_names_the_worst():
    images = per_image(*maps(3))
    text = images.as_text()
    assert all(words in text for words in PER_IMAGE_DEFINITIONS.values())
    name, value = images.worst(1)[0]
    assert f"lowest: {name} {100 * value:.2f}" in text


@pytest.mark.parametrize(
    "document",
    [{}, {"images": [{"name": "x", "counts": [[3, 1, 1, 1]]}]}, {"images": [{"name": "x", "counts": [[0, 1]]}]}, []],
)
def test_documents_that_are_none(document):
    with pytest.raises(AtrousError, match=r"counts per image cannot be read .* evaluate the run again"):
        PerImage.from_json(document, SPACE)
