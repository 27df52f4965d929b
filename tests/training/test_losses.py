"""The loss against values worked out by hand and torch's own, and the two grids it is taken on."""

import math

import pytest
import torch
from torch.nn import functional as F

from atrous.training import compared, cross_entropy


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(*shape, classes=4, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_by_hand():
    logits = torch.tensor([0.0, math.log(3.0)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    labels = torch.tensor([[[1, 0]]], dtype=torch.uint8)
    torch.testing.assert_close(cross_entropy(logits, labels), torch.tensor((math.log(4 / 3) + math.log(4)) / 2))
    labels[0, 0, 1] = 255
    torch.testing.assert_close(cross_entropy(logits, labels), torch.tensor(math.log(4 / 3)))


def test_is_torchs_mean_over_pixels_that_count():
    logits, labels = drawn(2, 4, 5, 6), labels_of(2, 5, 6)
    labels[0, :2] = 255
    expected = F.cross_entropy(logits, labels.long(), ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)
    half = cross_entropy(logits.bfloat16(), labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=1e-2, atol=1e-2)


def test_ignored_pixels_have_no_gradient():
    logits, labels = drawn(1, 4, 3, 3).requires_grad_(), labels_of(1, 3, 3)
    labels[0, 1] = 255
    cross_entropy(logits, labels).backward()
    torch.testing.assert_close(logits.grad[:, :, 1], torch.zeros(1, 4, 3))
    assert (logits.grad[:, :, 0].abs() > 0).all()


def test_all_ignored_is_zero_with_a_finite_gradient():
    logits = drawn(1, 4, 3, 3).requires_grad_()
    loss = cross_entropy(logits, torch.full((1, 3, 3), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("align", [False, True])
def test_compared_on_the_labels_grid(align):
    logits, labels = drawn(1, 4, 5, 9), labels_of(1, 17, 33)
    resized, same = compared(logits, labels, margin=0, align_corners=align, compare="resized")
    expected = F.interpolate(logits, (17, 33), mode="bilinear", align_corners=align)
    torch.testing.assert_close(resized, expected, rtol=0, atol=0)
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
