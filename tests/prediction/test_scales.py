"""Several sizes of an image: the plain scorer where size does not matter, by hand where it does."""

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.models import Segmenter, deeplab_v3plus
from atrous.prediction import scaled, windowed
from atrous.prediction.arrays import resized
from atrous.prediction.scales import SCALES

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


def bright(images):
    """Score each pixel by its own value."""
    first = images[:, :1] / 255.0
    return np.concatenate([first, 1 - first], 1) if isinstance(images, np.ndarray) else torch.cat([first, 1 - first], 1)


def by_width(images):
    """Score by how wide the image is."""
    share = min(images.shape[3] / 100, 1)
    values = np.array([share, 1 - share], np.float32).reshape(1, 2, 1, 1)
    maps = np.ascontiguousarray(np.broadcast_to(values, (images.shape[0], 2, *images.shape[2:])))
    return maps if isinstance(images, np.ndarray) else torch.from_numpy(maps)


shapes = st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 20))
several = st.lists(st.floats(0.1, 4), min_size=1, max_size=4)


@given(shapes, several, st.integers(0, 255), st.sampled_from(["mean", "max"]), st.sampled_from(LIBRARIES))
@settings(max_examples=60, deadline=None)
def test_what_looks_at_one_pixel_of_an_even_image_is_as_it_was(shape, scales, value, combine, library):
    images = np.full((shape[0], 3, *shape[1:]), value, np.uint8)
    found = scaled(bright, scales, combine)(library(images))
    assert type(found) is type(library(images))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), bright(images), atol=1e-5)


@given(shapes, several, st.sampled_from(["mean", "max"]))
@settings(max_examples=60, deadline=None)
def test_probabilities_stay_probabilities_and_libraries_agree(shape, scales, combine):
    images = picture(shape[0], 3, *shape[1:])
    before = images.copy()
    found = scaled(neighbours, scales, combine)(images)
    assert found.shape == (shape[0], 2, *shape[1:])
    assert found.min() >= -1e-6
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(scaled(neighbours, scales, combine)(torch.from_numpy(images)).numpy(), found, atol=1e-4)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("size", [(4, 1), (9, 1), (1, 1), (1, 7), (3, 4)])
@pytest.mark.parametrize("before", [(5, 1), (5, 3), (1, 6), (1, 1)])
def test_sides_of_one_pixel(before, size):
    images = picture(2, 3, *before)
    found = resized(torch.from_numpy(images), size)
    assert found.shape == (2, 3, *size)
    np.testing.assert_allclose(found.numpy(), resized(images, size), atol=1e-3)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_scale_1_alone_is_the_scorer(library):
    images = library(picture(2, 3, 17, 30))
    for combine in ("mean", "max"):
        np.testing.assert_array_equal(
            np.asarray(scaled(neighbours, (1,), combine)(images)), np.asarray(neighbours(images))
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_by_hand(library):
    images = library(picture(1, 1, 10, 40))
    mean = np.asarray(scaled(by_width, (0.5, 1, 2))(images))
    np.testing.assert_allclose(mean[0, :, 3, 7], [(0.2 + 0.4 + 0.8) / 3, (0.8 + 0.6 + 0.2) / 3], atol=1e-6)
    most = np.asarray(scaled(by_width, (0.5, 1, 2), "max")(images))
    np.testing.assert_allclose(most[0, :, 3, 7], [0.5, 0.5], atol=1e-6)
    most = np.asarray(scaled(by_width, (1, 2), "max")(images))
    np.testing.assert_allclose(most[0, :, 3, 7], [0.8 / 1.4, 0.6 / 1.4], atol=1e-6)


def test_sizes_that_are_looked_at():
    seen = []

    def looking(images):
        seen.append((images.shape[2:], images.dtype.name))
        return by_width(images)

    scaled(looking)(picture(1, 1, 100, 33))
    assert [size for size, _ in seen] == [(50, 16), (75, 25), (100, 33), (125, 41), (150, 50), (175, 58)]
    assert [name for _, name in seen] == ["float32", "float32", "uint8", "float32", "float32", "float32"]
    seen.clear()
    scaled(looking, (0.1,))(picture(1, 1, 1, 3))
    assert seen[0][0] == (1, 1)


def test_a_network_at_two_sizes():
    torch.manual_seed(0)
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    scorer = Segmenter(net, LabelSpace(names=("a", "b")), Preprocessing()).eval()
    images = torch.from_numpy(picture(1, 3, 20, 34))
    found = scaled(scorer, (1, 1.5))(images)
    with torch.no_grad():
        other = resized(scorer(resized(images, (30, 51))), (20, 34))
        torch.testing.assert_close(found, (scorer(images) + other) / 2)
    assert not found.requires_grad
    assert (scaled(scorer).space, scaled(scorer).preprocessing) == (scorer.space, scorer.preprocessing)
    assert isinstance(scaled(scorer).from_numpy(picture(1, 3, 2, 2)), torch.Tensor)
    assert not hasattr(scaled(scorer), "labels")


def test_the_margin_is_that_of_the_smallest_size():
    class Margined:
        geometry = Geometry(multiple=16, offset=12, minimum=188, margin=92)

        def __call__(self, images):
            return bright(images)

    assert scaled(Margined(), (0.5, 1)).geometry == Geometry(margin=216)
    assert scaled(Margined(), (1,)).geometry == Margined.geometry
    assert scaled(Margined(), (1.5, 2)).geometry == Geometry(margin=72)
    assert scaled(bright).geometry == Geometry()
    images = picture(1, 1, 600, 10)
    np.testing.assert_allclose(
        windowed(scaled(Margined(), (1, 2)), 300)(images), scaled(bright, (1, 2))(images), atol=1e-3
    )


@pytest.mark.parametrize("scale", [0, -1, 0.09, 4.1, float("nan"), float("inf"), "1", None, True, 1j])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match=r"scale .* came; a number from 0\.1 to 4 is accepted"):
        scaled(bright, (1, scale))


def test_what_else_is_refused():
    with pytest.raises(ValueError, match=r"no scales came; give one or more from 0\.1 to 4"):
        scaled(bright, ())
    with pytest.raises(ValueError, match="combine 'product' is not known; there are mean, max"):
        scaled(bright, (1,), "product")
    with pytest.raises(ValueError, match=r"images of shape \(3, 4, 4\) came"):
        scaled(bright)(np.zeros((3, 4, 4), np.uint8))
    assert SCALES == (0.5, 0.75, 1, 1.25, 1.5, 1.75)
