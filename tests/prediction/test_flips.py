"""The mean over mirror images: the plain scorer where that is symmetric, and by hand where it is not."""

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.models import Segmenter, deeplab_v3plus
from atrous.prediction import flipped

LIBRARIES = (np.asarray, torch.from_numpy)
AXES = (("horizontal",), ("vertical",), ("vertical", "horizontal"), "horizontal")


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


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(AXES),
    st.sampled_from(LIBRARIES),
)
@settings(deadline=None)
def test_a_symmetric_scorer_is_as_it_was(shape, axes, library):
    images = picture(shape[0], 3, *shape[1:])
    before = images.copy()
    found = flipped(neighbours, axes)(library(images))
    assert type(found) is type(library(images))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), neighbours(images), atol=1e-6)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("library", LIBRARIES)
def test_by_hand(library):
    images = library(np.array([[[[0, 51, 255], [255, 0, 51]]]], np.uint8))
    horizontal = np.asarray(flipped(leftmost)(images))[0, 0]
    np.testing.assert_allclose(horizontal, [[0.5] * 3, [0.6] * 3], atol=1e-6)
    vertical = np.asarray(flipped(leftmost, ("vertical",))(images))[0, 0]
    np.testing.assert_allclose(vertical, [[0] * 3, [1] * 3], atol=1e-6)
    both = np.asarray(flipped(leftmost, ("horizontal", "vertical"))(images))[0, 0]
    np.testing.assert_allclose(both, horizontal, atol=1e-6)


def test_what_comes_back_is_a_mirror_image_of_what_a_mirror_image_gives():
    torch.manual_seed(0)
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    scorer = Segmenter(net, LabelSpace(names=("a", "b")), Preprocessing()).eval()
    images = torch.from_numpy(picture(2, 3, 20, 33))
    both = flipped(scorer)
    torch.testing.assert_close(both(images.flip(3)), both(images).flip(3), atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(both(images), (scorer(images) + scorer(images.flip(3)).flip(3)) / 2)
    assert (both(images) - scorer(images)).abs().max() > 1e-5
    assert not both(images).requires_grad
    assert not hasattr(both, "labels")
    assert (both.geometry, both.space, both.preprocessing) == (net.geometry, scorer.space, scorer.preprocessing)
    assert isinstance(both.from_numpy(picture(1, 3, 2, 2)), torch.Tensor)


def test_a_scorer_gets_images_in_their_own_order_in_memory():
    def ordered(images):
        assert images.flags.c_contiguous
        return neighbours(images)

    flipped(ordered, ("horizontal", "vertical"))(picture(1, 1, 4, 5))


def test_a_plain_scorer_says_nothing_of_itself():
    plain = flipped(neighbours)
    assert (plain.geometry, plain.space, plain.preprocessing) == (Geometry(), None, None)


@pytest.mark.parametrize("axes", [(), ("diagonal",), ("horizontal", "horizontal"), (3,), "left"])
def test_what_is_refused(axes):
    with pytest.raises(ValueError, match=r"axes .* came; horizontal, vertical or both are accepted, each once"):
        flipped(neighbours, axes)


def test_images_and_answers_that_are_refused():
    with pytest.raises(ValueError, match=r"images of shape \(3, 4\) came; \(n, c, h, w\) is needed"):
        flipped(neighbours)(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"the scorer returned \(1, 2, 2\) for images of \(1, 1, 2, 2\)"):
        flipped(lambda images: np.zeros((1, 2, 2), np.float32))(picture(1, 1, 2, 2))
