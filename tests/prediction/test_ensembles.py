"""The mean of probabilities and the product of logits, on NumPy and on torch, by hand."""

import numpy as np
import pytest
import torch

from atrous.prediction import averaged, multiplied

IMAGES = np.zeros((1, 3, 2, 2), np.uint8)


class Constant:
    """Score every pixel alike, in the library of the images."""

    def __init__(self, *logits):
        self.values = logits

    def logits(self, images):
        values = np.array(self.values, np.float32).reshape(1, -1, 1, 1) * np.ones((*images.shape[:1], 1, 2, 2))
        values = values.astype(np.float32)
        return torch.from_numpy(values) if isinstance(images, torch.Tensor) else values

    def __call__(self, images):
        logits = self.logits(images)
        powers = np.exp(logits) if isinstance(logits, np.ndarray) else logits.exp()
        return powers / powers.sum(1)[:, None]


def values(maps):
    return np.asarray(maps)[0, :, 0, 1]


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_mean(library):
    first, second = Constant(0, np.log(3)), Constant(np.log(9), 0)
    found = averaged(first, second)(library(IMAGES))
    assert type(found) is type(library(IMAGES))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(values(found), [0.575, 0.425], atol=1e-6)
    weighted = averaged(first, second, weights=(30, 10))(library(IMAGES))
    np.testing.assert_allclose(values(weighted), [0.4125, 0.5875], atol=1e-6)
    np.testing.assert_allclose(values(averaged(first)(library(IMAGES))), [0.25, 0.75], atol=1e-6)


def test_mean_of_other_depths_is_float32():
    assert averaged(lambda images: np.full((1, 2, 2, 2), 0.5))(IMAGES).dtype == np.float32
    half = averaged(lambda images: torch.full((1, 2, 2, 2), 0.5, dtype=torch.bfloat16))
    assert half(torch.from_numpy(IMAGES)).dtype == torch.float32


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_product(library):
    scorer = multiplied(Constant(2, -3, 4), Constant(3, 2, -5))
    np.testing.assert_allclose(values(scorer.logits(library(IMAGES))), [6, -6, 0])
    found = scorer(library(IMAGES))
    assert str(found.dtype).endswith("float32")
    powers = np.exp([6, -6, 0])
    np.testing.assert_allclose(values(found), powers / powers.sum(), rtol=1e-5)


def test_products_and_means_nest():
    inner = multiplied(Constant(1, 2), Constant(1, 1))
    assert multiplied(inner, Constant(2, 2)).logits(IMAGES)[0, :, 0, 0].tolist() == [2, 4]
    outer = averaged(inner, lambda images: np.full((1, 2, 2, 2), 0.5, np.float32))
    np.testing.assert_allclose(outer(IMAGES).sum(1), 1, atol=1e-6)


def test_no_gradient_is_kept():
    class Learning:
        def logits(self, images):
            return torch.ones(1, 2, 2, 2, requires_grad=True) * 2

        __call__ = logits

    images = torch.from_numpy(IMAGES)
    assert not multiplied(Learning(), Learning())(images).requires_grad
    assert not averaged(Learning(), Learning())(images).requires_grad


def test_images_move_as_the_first_scorer_says():
    class Torch(Constant):
        def from_numpy(self, images):
            return torch.from_numpy(images)

    for ensemble in (averaged(Torch(1, 2), Constant(1, 2)), multiplied(Torch(1, 2), Constant(1, 2))):
        assert isinstance(ensemble.from_numpy(IMAGES), torch.Tensor)
    assert averaged(Constant(1, 2)).from_numpy(IMAGES) is IMAGES


@pytest.mark.parametrize("together", [averaged, multiplied])
def test_other_classes(together):
    with pytest.raises(ValueError, match="the scorers know 2 and 3 classes; put together only those of the same"):
        together(Constant(1, 2), Constant(1, 2, 3))(IMAGES)


def test_other_sizes():
    with pytest.raises(ValueError, match=r"returned \(1, 2, 2, 2\) and \(1, 2, 1, 1\) for the same images; the shapes"):
        averaged(Constant(1, 2), lambda images: np.ones((1, 2, 1, 1), np.float32))(IMAGES)


def test_what_is_refused():
    with pytest.raises(ValueError, match="no scorer came; give one or more to average"):
        averaged()
    for weights in ((1,), (1, 0), (1, -1), (1, float("nan")), (1, float("inf"))):
        with pytest.raises(ValueError, match=r"weights \(1.* came for 2 scorers; give one above 0 for each"):
            averaged(Constant(1), Constant(1), weights=weights)
    with pytest.raises(TypeError, match="the second scorer has no `logits`, which are multiplied; a Segmenter has"):
        multiplied(Constant(1), lambda images: images)
