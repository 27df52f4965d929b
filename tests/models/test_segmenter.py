"""The Segmenter against the same steps written out by hand in NumPy."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.models import Segmenter, segmenter

NAMES = LabelSpace(names=("a", "b", "c"))
ALIGNED = Geometry(multiple=4, offset=1, minimum=5, stride=4, align_corners=True)
CELLS = Geometry(multiple=4, minimum=8, stride=4)
MARGIN = Geometry(multiple=4, offset=2, minimum=14, margin=5)
WHOLE = Geometry()
PLAIN = {"low": 0, "high": 1, "std": (1, 1, 1), "mean": (0, 0, 0)}


class Strided(nn.Module):
    """A convolution on whatever grid the geometry has."""

    def __init__(self, geometry, channels=3):
        super().__init__()
        self.geometry = geometry
        size = 2 * geometry.margin + 1 if geometry.margin else geometry.stride + geometry.align_corners
        padding = 0 if geometry.margin else size // 2 if geometry.align_corners else 0
        self.score = nn.Conv2d(channels, 3, size, geometry.stride, padding)

    def forward(self, x):
        return self.score(x)


class Same(nn.Module):
    """The input itself as logits, remembering nothing."""

    def __init__(self, geometry=WHOLE):
        super().__init__()
        self.geometry = geometry

    def forward(self, x):
        margin = self.geometry.margin
        return x[:, :, margin : x.shape[2] - margin, margin : x.shape[3] - margin]


def stored(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def wrapped(net, **preprocessing):
    return Segmenter(net, NAMES, Preprocessing(**preprocessing)).eval()


def by_hand(net, images, preprocessing):
    """Normalise, pad, run, enlarge and crop, with numpy.pad and one interpolation."""
    geometry = net.geometry
    x = images[:, ::-1] if preprocessing.order == "BGR" else images
    mean, std = (np.array(each).reshape(1, 3, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    x = ((x - preprocessing.low) / (preprocessing.high - preprocessing.low) - mean) / std
    pads = [geometry.padding(side) for side in images.shape[2:]]
    mode = "reflect" if preprocessing.padding == "mirror" else "constant"
    x = torch.from_numpy(np.pad(x, [(0, 0), (0, 0), *pads], mode=mode).astype(np.float32))
    size = [side - 2 * geometry.margin for side in x.shape[2:]]
    logits = functional.interpolate(net(x), size, mode="bilinear", align_corners=geometry.align_corners)
    return logits[:, :, : images.shape[2], : images.shape[3]]


@pytest.mark.parametrize("geometry", [ALIGNED, CELLS, MARGIN, WHOLE], ids=["aligned", "cells", "margin", "whole"])
@pytest.mark.parametrize("padding", ["mirror", "mean"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (13, 16), (30, 21)])
@torch.no_grad()
def test_logits_are_those_by_hand(geometry, padding, order, size):
    net = Strided(geometry)
    preprocessing = Preprocessing(order=order, padding=padding, low=10, high=200)
    images = stored(2, 3, *size)
    scorer = Segmenter(net, NAMES, preprocessing).eval()
    expected = by_hand(net, images, preprocessing)
    found = scorer.logits(torch.from_numpy(images))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scorer(torch.from_numpy(images)), expected.softmax(1), atol=1e-4, rtol=1e-4)
    assert found.shape == (2, 3, *size)


@pytest.mark.parametrize("size", [(7, 9), (2, 3), (1, 4), (1, 1)])
def test_mirror_padding_is_that_of_numpy(size):
    images = stored(1, 3, *size, dtype=np.float32)
    scorer = wrapped(Same(Geometry(margin=6)), padding="mirror", **PLAIN)
    seen = []
    scorer.net.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    scorer(torch.from_numpy(images))
    expected = np.pad(images, [(0, 0), (0, 0), (6, 6), (6, 6)], mode="reflect")
    torch.testing.assert_close(seen[0], torch.from_numpy(expected))


@torch.no_grad()
def test_mean_padding_is_zero_once_normalised():
    scorer = wrapped(Same(CELLS), mean=(0.5, 0.5, 0.5), padding="mean")
    seen = []
    scorer.net.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    scorer.logits(torch.from_numpy(stored(1, 3, 3, 5)))
    assert seen[0].shape == (1, 3, 8, 8)
    assert not seen[0][:, :, 3:].any()
    assert not seen[0][:, :, :, 5:].any()
    assert seen[0][:, :, :3, :5].all()


def test_channels_are_turned_to_bgr():
    images = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    assert wrapped(Same(), order="BGR", **PLAIN).normalised(images).flatten().tolist() == [3, 2, 1]
    assert wrapped(Same(), order="RGB", **PLAIN).normalised(images).flatten().tolist() == [1, 2, 3]


def test_grey_is_repeated():
    grey = torch.from_numpy(stored(2, 1, 4, 5))
    scorer = wrapped(Same())
    torch.testing.assert_close(scorer.normalised(grey), scorer.normalised(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=rf"images of {channels} channels came; this network takes 3 or 1 \(grey\)"):
        wrapped(Same())(torch.zeros(1, channels, 4, 4))


def test_colours_are_refused_where_one_channel_is_taken():
    scorer = wrapped(Strided(WHOLE, 1), mean=(0.5,), std=(1.0,))
    with pytest.raises(ValueError, match=r"images of 3 channels came; this network takes 1$"):
        scorer(torch.zeros(1, 3, 4, 4))


# Surroundings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["mirror", "mean"])
@pytest.mark.parametrize("context", [(5, 5, 5, 5), (0, 5, 5, 0), (2, 0, 0, 3), (0, 0, 0, 0)])
@torch.no_grad()
def test_only_what_the_context_lacks_is_padded(padding, context):
    top, bottom, left, right = context
    images = stored(2, 3, 20 + top + bottom, 13 + left + right, dtype=np.float32)
    scorer = wrapped(Same(MARGIN), padding=padding, **PLAIN)
    seen = []
    scorer.net.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    found = scorer.surrounded(context)(torch.from_numpy(images))
    # 20 and 13 pixels with margins of 5 are 30, which is valid, and 23, which lacks 3.
    missing = [(0, 0), (0, 0), (5 - top, 5 - bottom), (5 - left, 5 - right + 3)]
    expected = np.pad(images, missing, mode="reflect" if padding == "mirror" else "constant")
    torch.testing.assert_close(seen[0], torch.from_numpy(expected))
    inside = torch.from_numpy(images[:, :, top : top + 20, left : left + 13])
    torch.testing.assert_close(found, inside.softmax(1))
    labels = scorer.surrounded(context).labels(torch.from_numpy(images))
    assert (labels.dtype, labels.tolist()) == (torch.uint8, inside.argmax(1).tolist())


@pytest.mark.parametrize("geometry", [ALIGNED, MARGIN, WHOLE], ids=["aligned", "margin", "whole"])
@torch.no_grad()
def test_no_context_is_the_scorer_itself(geometry):
    scorer, images = wrapped(Strided(geometry)), torch.from_numpy(stored(1, 3, 11, 17))
    told = scorer.surrounded((0, 0, 0, 0))
    assert torch.equal(told(images), scorer(images))
    assert torch.equal(told.labels(images), scorer.labels(images))
    assert torch.equal(told.from_numpy(images.numpy()), images)


@pytest.mark.parametrize(
    "context", [(6, 0, 0, 0), (0, 0, 0, -1), (1, 1), 3, None, (1.5, 0, 0, 0), "1234", (0, 0, 0, 0, 0)]
)
def test_contexts_that_are_none(context):
    with pytest.raises(ValueError, match=r"context .* came; \(top, bottom, left, right\) is needed, .* margin .*, 5"):
        wrapped(Strided(MARGIN)).surrounded(context)


def test_a_context_that_leaves_nothing_is_refused():
    told = wrapped(Strided(MARGIN)).surrounded((5, 5, 0, 0))
    for run in (told, told.labels):
        with pytest.raises(
            ValueError, match=r"images of 10 x 40 came with a context of \(5, 5, 0, 0\); nothing is inside"
        ):
            run(torch.zeros(1, 3, 10, 40))


# Arrays ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float64, np.float32])
def test_other_depths_become_float32_of_the_same_values(dtype):
    images = np.array([0, 255, 32_767], dtype).reshape(1, 3, 1, 1)
    high = 65_535.0 if np.dtype(dtype).kind in "iu" else 255.0
    tensor = wrapped(Same(), high=high).from_numpy(images)
    assert tensor.dtype == torch.float32
    assert tensor.flatten().tolist() == [0, 255, 32_767]


def test_bytes_stay_bytes_and_views_and_locked_arrays_are_taken():
    images = stored(1, 3, 4, 5)
    locked = images.copy()
    locked.flags.writeable = False
    scorer = wrapped(Same())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (images, locked, images[..., ::-1][..., ::-1]):
            assert scorer.from_numpy(given).dtype == torch.uint8
            np.testing.assert_array_equal(scorer.from_numpy(given).numpy(), images)
    assert not locked.flags.writeable


# Labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", [ALIGNED, CELLS, MARGIN, WHOLE], ids=["aligned", "cells", "margin", "whole"])
@pytest.mark.parametrize("size", [(1, 1), (5, 40), (67, 30)])
@torch.no_grad()
def test_labels_are_the_most_probable(geometry, size):
    scorer = wrapped(Strided(geometry))
    images = torch.from_numpy(stored(2, 3, *size))
    labels, probabilities = scorer.labels(images), scorer(images)
    best = probabilities.topk(2, 1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    assert (labels.dtype, labels.shape) == (torch.uint8, (2, *size))
    assert clear.float().mean() > 0.9
    torch.testing.assert_close(labels[clear].long(), probabilities.argmax(1)[clear])


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(("grid", "size", "crop"), [((5, 7), (17, 25), (15, 20)), ((1, 1), (4, 4), (1, 3)),
                                                    ((9, 4), (9, 16), (9, 16))])  # fmt: skip
@pytest.mark.parametrize("band", [1, 100, 1 << 24])
def test_labels_in_bands_are_those_of_the_host(monkeypatch, align, grid, size, crop, band):
    monkeypatch.setattr(segmenter, "_BAND", band)
    logits = torch.randn(4, *grid, generator=torch.Generator().manual_seed(0))
    in_bands = segmenter._labels_in_bands(logits, size, crop, align)
    on_host = segmenter._labels_on_host(logits, size, crop, align)
    enlarged = functional.interpolate(logits[None], size, mode="bilinear", align_corners=align)[
        0, :, : crop[0], : crop[1]
    ]
    best = enlarged.topk(2, 0).values
    clear = best[0] - best[1] > 1e-5
    for labels in (in_bands, on_host):
        assert (labels.dtype, labels.shape) == (torch.uint8, crop)
        torch.testing.assert_close(labels[clear].long(), enlarged.argmax(0)[clear])


@pytest.mark.parametrize("geometry", [WHOLE, CELLS])
def test_the_lowest_class_wins_a_tie(geometry):
    net = Strided(geometry)
    for weight in net.parameters():
        nn.init.zeros_(weight)
    assert not wrapped(net).labels(torch.zeros(1, 3, 5, 6)).any()


def test_training_through_probabilities_is_possible():
    scorer = wrapped(Strided(ALIGNED)).train()
    scorer(torch.zeros(1, 3, 6, 6)).square().sum().backward()
    assert scorer.net.score.weight.grad is not None


def test_the_state_is_that_of_the_network():
    assert set(wrapped(Strided(WHOLE)).state_dict()) == {"net.score.weight", "net.score.bias"}
