"""A refined scorer: what its refiner is given, and what comes back, on NumPy and on torch."""

import numpy as np
import pytest
import torch

from atrous.contract import LabelSpace, Preprocessing
from atrous.models.fcn import CAFFE_PREPROCESSING
from atrous.prediction import averaged, refine, refined
from atrous.prediction.refining import in_255

LIBRARIES = [np.asarray, torch.from_numpy]


def halves(images):
    shape = (len(images), 2, *images.shape[2:])
    return torch.full(shape, 0.5) if isinstance(images, torch.Tensor) else np.full(shape, 0.5, np.float32)


def picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_refiner_sees_each_image_and_its_probabilities(library, channels):
    images, seen = picture(2, channels, 4, 7), []

    def refiner(image, probabilities):
        seen.append((image, probabilities))
        return np.stack([image[..., 0] < 128, image[..., 0] >= 128]).astype(np.float32)

    found = refined(halves, refiner)(library(images))
    assert type(found) is type(library(images))
    np.testing.assert_array_equal(np.asarray(found).argmax(1), images[:, 0] >= 128)
    assert str(found.dtype).endswith("float32")
    for index, (image, probabilities) in enumerate(seen):
        assert (image.dtype, image.shape) == (np.uint8, (4, 7, channels))
        np.testing.assert_array_equal(image, images[index].transpose(1, 2, 0))
        assert np.shares_memory(image, images)
        assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 4, 7))


@pytest.mark.parametrize("library", LIBRARIES)
def test_float_images_stay_where_their_range_is_not_known(library):
    images = np.array([[[[0.25, 4000.5]]]], np.float32)
    seen = []
    refined(halves, lambda image, probabilities: seen.append(image) or probabilities)(library(images))
    assert seen[0].dtype == np.float32
    assert seen[0].ravel().tolist() == [0.25, 4000.5]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("given", ["scorer", "keyword", "nested"])
def test_the_range_of_the_network_is_spread_over_0_to_255(library, given):
    class Deep:
        preprocessing = Preprocessing(low=100, high=1120)
        __call__ = staticmethod(halves)

    def refiner(image, probabilities):
        seen.append(image)
        return probabilities

    seen = []
    scorer, options = (halves, {"preprocessing": Deep.preprocessing}) if given == "keyword" else (Deep(), {})
    scorer = refined(scorer, refiner, **options)
    scorer = refined(scorer, refiner) if given == "nested" else scorer
    scorer(library(np.array([[[[100, 104, 1120, 60]]]], np.float32)))
    scorer(library(np.array([[[[7, 255]]]], np.uint8)))
    for image in seen[: len(seen) // 2]:
        assert image.dtype == np.float32
        assert image.ravel().tolist() == [0, 1, 255, -10]
    for image in seen[len(seen) // 2 :]:
        assert image.dtype == np.uint8
        assert image.ravel().tolist() == [7, 255]


def test_sixteen_bits_are_exactly_the_eight_that_they_were_made_of():
    eight = np.arange(256, dtype=np.uint8)
    deep = in_255(eight.astype(np.uint16) * 257, Preprocessing(high=65535))
    assert deep.dtype == np.float32
    np.testing.assert_array_equal(deep, eight)


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(), CAFFE_PREPROCESSING])
def test_values_in_0_to_255_stay(preprocessing):
    values = np.array([0.5, 3, 255], np.float32)
    assert in_255(values, preprocessing) is values
    assert in_255(values.astype(np.uint8), preprocessing).dtype == np.uint8


def test_other_depths_of_probabilities_become_float32():
    half = refined(lambda images: halves(images).to(torch.bfloat16), lambda image, probabilities: probabilities)
    found = half(torch.zeros(1, 3, 2, 2))
    assert found.dtype == torch.float32
    double = refined(halves, lambda image, probabilities: probabilities.astype(np.float64))
    assert double(np.zeros((1, 3, 2, 2), np.uint8)).dtype == np.float32


def test_labels_are_not_offered_and_gradients_stop():
    class Learning:
        space = LabelSpace(names=("a", "b"))

        def __call__(self, images):
            return torch.full((1, 2, 2, 2), 0.5, requires_grad=True) * 1

        def labels(self, images):
            raise AssertionError("labels would leave the refiner out")

    scorer = refined(Learning(), lambda image, probabilities: probabilities)
    assert not hasattr(scorer, "labels")
    assert not scorer(torch.zeros(1, 3, 2, 2)).requires_grad


def test_images_move_as_the_inner_scorer_says():
    class Elsewhere:
        def from_numpy(self, images):
            return torch.from_numpy(images).float() + 1

        __call__ = staticmethod(halves)

    scorer = refined(Elsewhere(), lambda image, probabilities: probabilities)
    assert scorer.from_numpy(np.zeros((1, 1, 1, 1), np.uint8)).tolist() == [[[[1.0]]]]
    assert refined(halves, None).from_numpy(np.zeros((1, 1, 1, 1), np.uint16)).dtype == np.float32


def test_refined_scorers_nest():
    def shifted(image, probabilities):
        return probabilities + np.array([0.25, -0.25], np.float32)[:, None, None]

    scorer = averaged(refined(refined(halves, shifted), shifted), halves)
    assert scorer(np.zeros((1, 3, 1, 1), np.uint8)).ravel().tolist() == [0.75, 0.25]


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the refiner returned \(2, 3\) for probabilities of \(2, 4, 7\); the shapes"):
        refine(lambda image, probabilities: np.zeros((2, 3)), picture(4, 7, 3), np.zeros((2, 4, 7), np.float32))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "the refiner returned NaN or infinity in 56 of 56 values; finite numbers are needed"),
        (-np.inf, "the refiner returned NaN or infinity in 56 of 56 values"),
        (1e300, "the refiner returned NaN or infinity in 56 of 56 values"),
        ("a", r"the refiner returned <U1; finite numbers of shape \(2, 4, 7\) are needed"),
        (1j, r"the refiner returned complex128; finite numbers of shape \(2, 4, 7\) are needed"),
        (None, r"the refiner returned object; finite numbers of shape \(2, 4, 7\) are needed"),
    ],
)
def test_what_are_no_finite_numbers_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        refine(lambda image, given: np.full(given.shape, value), picture(4, 7, 3), np.zeros((2, 4, 7), np.float32))


def test_nothing_is_no_refined_probabilities():
    with pytest.raises(ValueError, match=r"the refiner returned \(\) for probabilities of \(2, 4, 7\); the shapes"):
        refine(lambda image, given: None, picture(4, 7, 3), np.zeros((2, 4, 7), np.float32))
