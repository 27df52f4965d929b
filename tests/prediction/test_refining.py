"""A refined scorer: what its refiner is given, and what comes back, on NumPy and on torch."""

import numpy as np
import pytest
import torch

from atrous.contract import LabelSpace
from atrous.prediction import averaged, refine, refined

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
def test_float_images_stay(library):
    images = np.array([[[[0.25, 4000.5]]]], np.float32)
    seen = []
    refined(halves, lambda image, probabilities: seen.append(image) or probabilities)(library(images))
    assert seen[0].dtype == np.float32
    assert seen[0].ravel().tolist() == [0.25, 4000.5]


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
