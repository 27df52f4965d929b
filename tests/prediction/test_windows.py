"""Windows: exact where theory says so, blended elsewhere, the same on NumPy and torch, in bands."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atrous.conformance import awaken
from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.models import Segmenter, deeplab_v3plus, fcn8s, fcn32s, unet
from atrous.prediction import averaged, bands, shares, windowed
from atrous.prediction.window_plan import windows

SPACE = LabelSpace(names=("a", "b", "c"))
GREY = Preprocessing(mean=(0.5,), std=(0.2,), padding="mirror")
LIBRARIES = (np.asarray, torch.from_numpy)


def bright(images):
    """Score each pixel by its own value, in the library of the images."""
    arrays = array_namespace(images)
    values = arrays.astype(images[:, :1], arrays.float32) / 255
    return arrays.concat([values * 0.5, values * 0.25 + 0.1, 0.9 - values * 0.75], axis=1)


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Net(nn.Module):
    """Three convolutions whose receptive field is 15, with a stride inside where it is asked for."""

    def __init__(self, stride=1):
        super().__init__()
        torch.manual_seed(3)
        convolutions = [nn.Conv2d(1, 4, 5, padding=2), nn.Conv2d(4, 4, 5, padding=2), nn.Conv2d(4, 3, 7, padding=3)]
        self.layers = nn.Sequential(*convolutions[:2], nn.MaxPool2d(stride), convolutions[2])
        self.geometry = Geometry(multiple=stride, stride=stride)

    def forward(self, x):
        return self.layers(x)


def small_unet(preprocessing=GREY, depth=4):
    torch.manual_seed(1)
    return Segmenter(unet(3, in_channels=1, width=1 / 16, depth=depth), SPACE, preprocessing).eval()


@pytest.fixture(scope="module")
def tiled():
    return small_unet()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(301, 453, 260), (400, 213, (220, 236)), (208, 209, 220), (333, 20, 225), (1, 300, 220), (419, 419, (300, 1000)),
     (37, 385, 220), (90, 1, 220), (389, 33, 572)],
)  # fmt: skip
def test_unet_tiles_are_the_whole_image(tiled, height, width, size):
    images = torch.from_numpy(picture(1, 1, height, width))
    with torch.no_grad():
        whole = tiled(images)
    assert whole.std((0, 2, 3)).min() > 0.01
    scorer = windowed(tiled, size)
    assert len(scorer.plan(images)) > 1
    torch.testing.assert_close(scorer(images), whole, atol=2e-5, rtol=0)
    assert (scorer.labels(images) == whole.argmax(1)).float().mean() > 0.9999


SHALLOW = small_unet(depth=2)


@given(st.integers(1, 150), st.integers(1, 150), st.integers(64, 120), st.integers(64, 120), st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_tiles_of_a_shallower_unet_are_the_whole_image(height, width, rows, columns, seed):
    images = torch.from_numpy(picture(1, 1, height, width, seed=seed))
    with torch.no_grad():
        whole = SHALLOW(images)
    torch.testing.assert_close(windowed(SHALLOW, (rows, columns))(images), whole, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 308), (308, 308), (299, 13)])
def test_an_image_smaller_than_a_window_is_scored_as_it_is(tiled, height, width):
    images = torch.from_numpy(picture(2, 1, height, width))
    with torch.no_grad():
        whole = tiled(images)
    assert torch.equal(windowed(tiled, 492)(images), whole)
    assert torch.equal(windowed(tiled, 492).labels(images), tiled.labels(images))


@pytest.mark.parametrize("builder", [fcn32s, fcn8s])
def test_fcns_that_pad_by_themselves_are_whole_where_windows_overlap_enough(builder):
    torch.manual_seed(0)
    scorer = Segmenter(awaken(builder(3, in_channels=1, width=1 / 64)), SPACE, GREY).eval()
    images = torch.from_numpy(picture(1, 1, 1101, 40))
    with torch.no_grad():
        whole = scorer(images)
    assert whole.std((0, 2, 3)).min() > 1e-3
    seen = windowed(scorer, 731, overlap=460 / 731, weights="nearest")
    assert len(seen.plan(images)) == 3
    torch.testing.assert_close(seen(images), whole, atol=2e-5, rtol=0)
    # Windows off the network's grid of 32 are another result everywhere.
    with torch.no_grad():
        assert (scorer(images[:, :, 271:]) - whole[:, :, 271:])[:, :, 400:500].abs().amax() > 1e-3


def sides_run(scorer, run):
    """Return the (height, width) of all that the network of a scorer is given while it runs."""
    found = []
    hook = scorer.net.register_forward_pre_hook(lambda _net, given: found.append(tuple(given[0].shape[2:])))
    try:
        run()
    finally:
        hook.remove()
    return found


@pytest.mark.parametrize("size", [572, 576, 587])
def test_unet_runs_at_572_of_which_384_are_kept(tiled, size):
    images = torch.from_numpy(picture(1, 1, 389, 1000))
    scorer = windowed(tiled, size)
    widths = [columns.stop - columns.start for _, columns in (window.own for window in scorer.plan(images))]
    assert widths == [384, 384, 232] * 2
    # The last row's own part is not 5 but 21 high, so that all that is mirrored below it is read.
    expected = [(572, 572), (572, 572), (572, 428), (220, 572), (220, 572), (220, 428)]
    assert sides_run(tiled, lambda: scorer(images)) == expected
    assert sides_run(tiled, lambda: scorer.labels(images)) == expected


def test_other_scorers_are_told_nothing_of_what_surrounds_a_window(tiled):
    class Plain:
        """What an exported file offers."""

        geometry = tiled.geometry

        def __call__(self, images):
            return tiled(images)

    images = torch.from_numpy(picture(1, 1, 389, 300))
    scorer = windowed(Plain(), 300)
    torch.testing.assert_close(scorer(images), tiled(images).detach(), atol=2e-5, rtol=0)
    assert max(sides_run(tiled, lambda: scorer(images))) > (300, 300)
    for wrapper in (scorer, averaged(tiled, tiled), windowed(tiled, 300)):
        assert not hasattr(wrapper, "surrounded")
    with pytest.raises(ValueError, match="planned with surrounded=True came with a scorer that does not offer"):
        next(bands(Plain(), lambda rows, columns: images[:, :, rows, columns], windowed(tiled, 300).plan(images)))


def test_unet_tiles_of_another_padding():
    other = small_unet(Preprocessing(mean=(0.5,), std=(0.2,), padding="mean"))
    images = torch.from_numpy(picture(1, 1, 300, 250))
    torch.testing.assert_close(windowed(other, 224)(images), other(images).detach(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_small_network_is_whole_where_the_overlap_is_its_receptive_field(stride):
    scorer = Segmenter(Net(stride), SPACE, GREY).eval()
    # Of three convolutions, the last four pixels apart: 9 + 4 + 7 * 4 + 4 of the bilinear enlargement, rounded up.
    field = 15 if stride == 1 else 48
    images = torch.from_numpy(picture(1, 1, 203, 161))
    with torch.no_grad():
        whole = scorer(images)
    near = windowed(scorer, 96, overlap=field / 96, weights="nearest")
    torch.testing.assert_close(near(images), whole, atol=1e-6, rtol=0)
    assert torch.equal(near.labels(images), whole.argmax(1).to(torch.uint8))
    # It is the context that does it: with too little of it the seams show.
    assert (windowed(scorer, 96, overlap=0, weights="nearest")(images) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("weights", ["gaussian", "flat"])
def test_blended_windows_are_whole_away_from_their_borders(weights):
    scorer = Segmenter(Net(), SPACE, GREY).eval()
    images = torch.from_numpy(picture(1, 1, 90, 200))
    seen = windowed(scorer, 100, overlap=0.25, weights=weights)
    with torch.no_grad():
        difference = (seen(images) - scorer(images)).abs().amax((0, 1, 2))
    borders = [edge for window in seen.plan(images) for edge in (window.columns.start, window.columns.stop)]
    far = np.min([np.abs(np.arange(200) - edge + 0.5) for edge in borders if 0 < edge < 200], axis=0) > 7
    assert far.sum() > 100
    assert difference[far].max() < 1e-6
    assert difference[~far].max() > 1e-3


def test_deeplab_in_windows_agrees_mostly():
    torch.manual_seed(0)
    scorer = Segmenter(deeplab_v3plus(3, encoder="resnet18", width=1 / 8), SPACE, Preprocessing()).eval()
    images = torch.from_numpy(picture(1, 3, 130, 180))
    found = windowed(scorer, 97)(images)
    assert found.shape == (1, 3, 130, 180)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 130, 180))
    assert torch.equal(windowed(scorer, 97).labels(images), found.argmax(1).to(torch.uint8))


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0, 0.9),
    st.sampled_from(["gaussian", "flat", "nearest"]),
    st.sampled_from(LIBRARIES),
)
@settings(max_examples=60, deadline=None)
def test_what_looks_at_one_pixel_is_the_same_through_any_window(shape, size, overlap, weights, library):
    images = picture(shape[0], 2, *shape[1:])
    before = images.copy()
    scorer = windowed(bright, size, overlap=overlap, weights=weights)
    found = scorer(library(images))
    assert type(found) is type(library(images))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), bright(images), atol=1e-6)
    labels = scorer.labels(library(images))
    assert str(labels.dtype).endswith("uint8")
    np.testing.assert_array_equal(np.asarray(labels), np.asarray(found).argmax(1))
    np.testing.assert_array_equal(images, before)


def test_numpy_and_torch_agree():
    images = picture(2, 1, 70, 50)

    def edges(values):
        arrays = array_namespace(values)
        grey = arrays.astype(values, arrays.float32) / 255
        smeared = grey * 0.5
        smeared[:, :, 1:, :] += 0.5 * grey[:, :, :-1, :]
        return arrays.concat([smeared, 1 - smeared], axis=1)

    scorer = windowed(edges, (20, 30), overlap=0.4)
    np.testing.assert_allclose(scorer(images), scorer(torch.from_numpy(images)).numpy(), atol=1e-6)


def test_labels_are_those_of_the_blend():
    def alternating(images):
        """Disagree with itself from window to window: by the first pixel that it sees."""
        share = np.float32(images[0, 0, 0, 0] / 255)
        return np.full((1, 1, *images.shape[2:]), 1) * np.array([share, 1 - share], np.float32).reshape(1, 2, 1, 1)

    images = picture(1, 1, 60, 60)
    for weights in ("gaussian", "flat", "nearest"):
        scorer = windowed(alternating, 20, overlap=0.5, weights=weights)
        found = scorer(images)
        assert 0 < scorer.labels(images).mean() < 1
        np.testing.assert_array_equal(scorer.labels(images), found.argmax(1))
    assert len(np.unique(windowed(alternating, 20, overlap=0.5)(images)[0, 0])) > 500
    assert len(np.unique(windowed(alternating, 20, overlap=0.5, weights="nearest")(images)[0, 0])) <= 25


def test_labels_hold_one_row_of_windows():
    most = 0

    class Counting:
        def __call__(self, images):
            nonlocal most
            most = max(most, images.shape[2])
            return bright(images)

    images = picture(1, 1, 500, 30)
    found = []
    plan = windows(500, 30, size=40)
    for rows, band in bands(Counting(), lambda rows, columns: images[:, :, rows, columns], plan):
        assert band.shape[2] == rows.stop - rows.start <= 40
        found.append(rows)
    assert most <= 40
    assert found[0].start == 0
    assert found[-1].stop == 500
    assert all(one.stop == other.start for one, other in pairwise(found))


def test_labels_never_take_the_memory_of_all_probabilities():
    def ten(images):
        return np.broadcast_to(images[:, :1] / np.float32(255), (1, 10, *images.shape[2:]))

    images = picture(1, 1, 3000, 100)
    scorer = windowed(ten, 64)
    tracemalloc.start()
    try:
        assert scorer.labels(images).shape == (1, 3000, 100)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3000 * 100 * 10 * 4 / 6


def test_labels_of_windows_that_abut_are_the_scorers_own():
    class Labelling:
        geometry = Geometry(margin=3)

        def __call__(self, images):
            raise AssertionError("full-size maps came to be")

        def labels(self, images):
            return images[:, 0] // 100

    images = picture(2, 1, 40, 33)
    np.testing.assert_array_equal(windowed(Labelling(), 15).labels(images), images[:, 0] // 100)


def test_shares_sum_to_one():
    for weights in ("gaussian", "flat"):
        spans = [window.columns for window in windows(1, 1000, size=120, overlap=0.6)]
        total = np.zeros(1000)
        for span, share in zip(spans, shares(spans, weights=weights), strict=True):
            assert share.min() > 0
            total[span.kept_start : span.kept_stop] += share
        np.testing.assert_allclose(total, 1, atol=1e-6)
    middle = shares(spans)[2]
    assert middle.argmax() in (59, 60)


def test_what_is_passed_on(tiled):
    scorer = windowed(tiled, 300)
    assert (scorer.geometry, scorer.space, scorer.preprocessing) == (tiled.geometry, SPACE, GREY)
    assert isinstance(scorer.from_numpy(picture(1, 1, 2, 2)), torch.Tensor)
    assert not scorer(torch.from_numpy(picture(1, 1, 310, 20))).requires_grad
    plain = windowed(bright, 3)
    assert (plain.geometry, plain.space, plain.preprocessing) == (Geometry(), None, None)
    assert plain.from_numpy(picture(1, 1, 2, 2)).dtype == np.uint8
    assert scorer.words == "windows of 300 x 300, of which the margin of 92 is thrown away"
    assert (
        windowed(bright, 9, weights="nearest").words
        == "windows of 9 x 9 that overlap by 25 %, each pixel of the nearest"
    )


def test_ensembles_say_what_windows_need(tiled):
    torch.manual_seed(0)
    other = Segmenter(Net(4), SPACE, GREY).eval()
    both = averaged(tiled, other)
    assert both.geometry == Geometry(multiple=16, minimum=188, margin=96)
    images = torch.from_numpy(picture(1, 1, 317, 301))
    torch.testing.assert_close(windowed(both, 256)(images), both(images), atol=2e-5, rtol=0)
    assert averaged(tiled, tiled).geometry == tiled.geometry
    assert (both.space, both.preprocessing) == (SPACE, GREY)


def test_what_is_refused(tiled):
    with pytest.raises(ValueError, match="windows of 100 pixels came; this network needs 220 or more"):
        windowed(tiled, 100)
    with pytest.raises(ValueError, match=r"overlap 1 came; a share of a window from 0 to 0\.9"):
        windowed(bright, 5, overlap=1)
    with pytest.raises(ValueError, match="weights 'cosine' is not known; there are gaussian, flat, nearest"):
        windowed(bright, 5, weights="cosine")
    with pytest.raises(ValueError, match=r"images of shape \(3, 4, 4\) came; \(n, c, h, w\) is needed"):
        windowed(bright, 5)(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"images of shape \(1, 3, 0, 4\) came"):
        windowed(bright, 5).labels(np.zeros((1, 3, 0, 4), np.uint8))
    with pytest.raises(ValueError, match=r"the scorer returned \(1, 3, 3, 3\) for images of \(1, 1, 5, 5\)"):
        windowed(lambda images: bright(images)[:, :, ::2, ::2], (5, 5))(picture(1, 1, 5, 9))
