"""The two grids that a loss is taken on, by places counted by hand; what does not fit is refused."""

import pytest
import torch
from torch.nn import functional as F

from atrous.training import cross_entropy, dice
from atrous.training.losses import Targets, mean_of, on_grid, resized


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(*shape, classes=4, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def compared(logits, labels, **options):
    """Return logits and labels on one grid."""
    targets = on_grid(logits.shape[2:], Targets(labels), **options)
    return resized(logits, targets, align_corners=options["align_corners"]), targets.labels


@pytest.mark.parametrize("align", [False, True])
def test_compared_on_the_labels_grid(align):
    logits, labels = drawn(1, 4, 5, 9), labels_of(1, 17, 33)
    enlarged, same = compared(logits, labels, margin=0, align_corners=align, compare="resized")
    expected = F.interpolate(logits, (17, 33), mode="bilinear", align_corners=align)
    torch.testing.assert_close(enlarged, expected, rtol=0, atol=0)
    assert same is labels


def test_compared_on_the_nets_grid():
    logits = drawn(1, 4, 5, 9)
    labels = torch.arange(17 * 33).reshape(1, 17, 33)
    same, decimated = compared(logits, labels, margin=0, align_corners=True, compare="grid")
    assert same is logits
    torch.testing.assert_close(decimated, labels[:, ::4, ::4], rtol=0, atol=0)
    labels = torch.arange(16 * 32).reshape(1, 16, 32)
    _, decimated = compared(drawn(1, 4, 4, 8), labels, margin=0, align_corners=False, compare="grid")
    torch.testing.assert_close(decimated, labels[:, 2::4, 2::4], rtol=0, atol=0)
    _, one = compared(drawn(1, 4, 1, 1), labels, margin=0, align_corners=True, compare="grid")
    assert one.item() == 0


@pytest.mark.parametrize("compare", ["resized", "grid"])
def test_margins_are_cut_off_the_labels(compare):
    logits, labels = drawn(1, 4, 4, 6), labels_of(1, 14, 16)
    same, cut = compared(logits, labels, margin=5, align_corners=False, compare=compare)
    assert same is logits
    torch.testing.assert_close(cut, labels[:, 5:-5, 5:-5], rtol=0, atol=0)


def test_weights_follow_their_labels():
    labels = torch.arange(16 * 32).reshape(1, 16, 32)
    for compare, shape in (("grid", (3, 7)), ("resized", (3, 7)), ("grid", (14, 30))):
        targets = on_grid(shape, Targets(labels, labels.float()), margin=1, align_corners=False, compare=compare)
        assert targets.weights.dtype == torch.float32
        torch.testing.assert_close(targets.weights, targets.labels.float(), rtol=0, atol=0)
        assert targets.labels.shape[1:] == ((3, 7) if shape == (3, 7) and compare == "grid" else (14, 30))


def test_resized_logits_are_float32():
    targets = Targets(labels_of(1, 8, 8))
    assert resized(drawn(1, 4, 4, 4).half(), targets, align_corners=False).dtype == torch.float32


def test_valid_is_what_is_not_ignored():
    assert Targets(torch.tensor([[[0, 255, 254]]], dtype=torch.uint8)).valid.tolist() == [[[True, False, True]]]


def test_a_mean_over_less_than_one():
    assert mean_of(torch.tensor(0.2), torch.tensor(0.5)).item() == pytest.approx(0.4)
    assert mean_of(torch.tensor(0.0), torch.tensor(0.0)).item() == 0
    assert mean_of(torch.tensor(7.0), torch.tensor(0.0)).item() == 0


def test_what_does_not_fit_is_refused():
    logits = drawn(2, 4, 5, 6)
    with pytest.raises(ValueError, match=r"\(2, 4, 5, 6\) and labels of shape \(1, 5, 6\) came; give \(n, classes"):
        dice(logits, labels_of(1, 5, 6))
    with pytest.raises(ValueError, match=r"logits of shape \(4, 5, 6\)"):
        dice(logits[0], labels_of(5, 6))
    with pytest.raises(ValueError, match=r"pixel_weights are \(2, 5, 5\) and labels \(2, 5, 6\)"):
        cross_entropy(logits, labels_of(2, 5, 6), pixel_weights=torch.ones(2, 5, 5))
    with pytest.raises(ValueError, match=r"class_weights of shape \(3,\) came; give one for each of 4 classes"):
        dice(logits, labels_of(2, 5, 6), class_weights=torch.ones(3))
    with pytest.raises(ValueError, match="labels hold 4; with 4 classes they are 0 to 3, and 255 is ignored"):
        dice(logits, torch.full((2, 5, 6), 4))
    with pytest.raises(ValueError, match="labels hold -1"):
        cross_entropy(logits, torch.full((2, 5, 6), -1))
