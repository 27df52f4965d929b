"""The mean over the eight ways to lay a square: the plain scorer where all are alike, and by hand where not."""

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.models import Segmenter, unet
from atrous.prediction import rotated, windowed

LIBRARIES = (np.asarray, torch.from_numpy)


def picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def neighbours(images):
    """Score each pixel by itself and its four neighbours alike: the same for every mirror image."""
    arrays = array_namespace(images)
    values = arrays.astype(images[:, :1], arrays.float32) / 255
    total = values * 1.0
    total[:, :, 1:] += values[:, :, :-1]
    total[:, :, :-1] += values[:, :, 1:]
    total[..., 1:] += values[..., :-1]
    total[..., :-1] += values[..., 1:]
    return arrays.concat([total / 5, 1 - total / 5], axis=1)


def leftmost(images):
    """Give every pixel the first value of its row."""
    arrays = array_namespace(images)
    values = arrays.astype(images[:, :1, :, :1], arrays.float32) / 255
    row = arrays.broadcast_to(values, (images.shape[0], 1, *images.shape[2:]))
    return arrays.concat([row, 1 - row], axis=1)


@given(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), st.sampled_from(LIBRARIES))
@settings(deadline=None)
def test_a_scorer_to_which_all_are_alike_is_as_it_was(shape, library):
    images = picture(shape[0], 3, *shape[1:])
    before = images.copy()
    found = rotated(neighbours)(library(images))
    assert type(found) is type(library(images))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), neighbours(images), atol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_all_eight_are_looked_at_once():
    seen = []

    def looking(images):
        seen.append(images[0, 0].tolist())
        return neighbours(images)

    image = np.array([[[[0, 1, 2], [3, 4, 5]]]], np.uint8)
    rotated(looking)(image)
    turned = [np.rot90(image[0, 0], count) for count in range(4)]
    expected = [each.tolist() for each in (*turned, *(np.fliplr(each) for each in turned))]
    assert sorted(map(str, seen)) == sorted(map(str, expected))
    assert len(set(map(str, seen))) == 8
    assert seen[0] == image[0, 0].tolist()


@pytest.mark.parametrize("library", LIBRARIES)
def test_by_hand(library):
    # `leftmost` gives a row its first value; turned and mirrored, each of the four ends of a pixel's row and column.
    values = np.array([[0, 51, 255], [255, 0, 51]], np.uint8)
    found = np.asarray(rotated(leftmost)(library(values[None, None])))[0, 0]
    ends = values / 255
    expected = (ends[:, :1] + ends[:, -1:] + ends[:1] + ends[-1:]) / 4
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_turned_images_give_turned_probabilities():
    torch.manual_seed(1)
    preprocessing = Preprocessing(mean=(0.5,), std=(0.2,), padding="mirror")
    scorer = Segmenter(
        unet(2, in_channels=1, width=1 / 32, depth=2), LabelSpace(names=("a", "b")), preprocessing
    ).eval()
    images = torch.from_numpy(picture(2, 1, 20, 32))
    turning = rotated(scorer)
    for turned in (images.flip(2), images.transpose(2, 3), images.rot90(1, (2, 3))):
        found = turning(turned)
        assert found.shape == (2, 2, *turned.shape[2:])
        assert not found.requires_grad
    torch.testing.assert_close(turning(images.rot90(1, (2, 3))), turning(images).rot90(1, (2, 3)), atol=1e-6, rtol=0)
    torch.testing.assert_close(turning(images.transpose(2, 3)), turning(images).transpose(2, 3), atol=1e-6, rtol=0)
    assert (turning(images) - scorer(images)).abs().max() > 1e-5
    assert (turning.geometry, turning.space, turning.preprocessing) == (scorer.geometry, scorer.space, preprocessing)
    # Windows inside are the whole images that are turned, whatever lies where.
    large = torch.from_numpy(picture(1, 1, 101, 77))
    torch.testing.assert_close(rotated(windowed(scorer, 52))(large), turning(large), atol=2e-5, rtol=0)


def test_what_is_passed_on():
    assert (rotated(neighbours).geometry, rotated(neighbours).space) == (Geometry(), None)
    assert rotated(neighbours).from_numpy(picture(1, 1, 2, 2)).dtype == np.uint8
    assert not hasattr(rotated(neighbours), "labels")


def test_what_is_refused():
    with pytest.raises(
        ValueError, match=r"images of shape \(1, 1, 0, 3\) came; \(n, c, h, w\) is needed, each at least 1"
    ):
        rotated(neighbours)(np.zeros((1, 1, 0, 3), np.uint8))
