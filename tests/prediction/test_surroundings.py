"""What a scorer is told of the image around a window, and the size of what it answers."""

import numpy as np
import pytest
import torch

from atrous.contract import Geometry
from atrous.prediction.surroundings import takes_surroundings, told
from atrous.prediction.window_plan import windows

GEOMETRY = Geometry(multiple=4, offset=2, minimum=14, margin=5)


class Offering:
    """Scores what is inside by its values, in the library of the images."""

    geometry = GEOMETRY

    def __init__(self, context=None):
        self.context = context

    def surrounded(self, context):
        return Offering(context)

    def inside(self, images):
        top, bottom, left, right = self.context
        return images[:, :, top : images.shape[2] - bottom, left : images.shape[3] - right]

    def __call__(self, images):
        return self.inside(images) * 1.0

    def labels(self, images):
        return self.inside(images)[:, 0]


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_results_are_as_large_as_what_is_read(library):
    window = windows(20, 40, size=30, geometry=GEOMETRY, surrounded=True)[1]
    assert window.context == (0, 0, 5, 0)
    rows, columns = (part.stop - part.start for part in window.read)
    images = np.random.default_rng(0).integers(1, 200, (2, 1, rows, columns), dtype=np.uint8)
    scorer = told(Offering(), window)
    found, labels = scorer(library(images)), scorer.labels(library(images))
    assert type(found) is type(labels) is type(library(images))
    assert str(labels.dtype).endswith("uint8")
    np.testing.assert_array_equal(found[:, :, :, 5:], images[:, :, :, 5:])
    assert not np.asarray(found[:, :, :, :5]).any()
    np.testing.assert_array_equal(labels, np.pad(images[:, 0, :, 5:], ((0, 0), (0, 0), (5, 0)), "edge"))
    assert scorer.from_numpy(images.astype(np.uint16)).dtype == np.float32


def test_who_takes_surroundings():
    scorer = Offering()
    assert takes_surroundings(scorer)
    scorer.geometry = Geometry(multiple=4, stride=4, margin=4)
    assert not takes_surroundings(scorer)
    scorer.geometry = Geometry()
    assert not takes_surroundings(scorer)


def test_a_window_without_context_changes_nothing():
    scorer = Offering()
    assert told(scorer, windows(20, 40, size=30, geometry=GEOMETRY)[0]) is scorer
    with pytest.raises(ValueError, match="planned with surrounded=True came with a scorer that does not offer"):
        told(lambda images: images, windows(20, 40, size=30, geometry=GEOMETRY, surrounded=True)[0])
