"""The losses of pixels against values worked out by hand, and torch's and torchvision's own."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from atrous.training import cross_entropy, focal, hard_pixels
from atrous.training.losses.pixels import _rows


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(*shape, classes=4, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_cross_entropy_by_hand():
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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_is_torchs_with_class_weights_and_smoothing(smoothing, weighted):
    logits, labels = drawn(2, 4, 5, 6), labels_of(2, 5, 6)
    labels[1, :3] = 255
    weights = torch.tensor([0.1, 2.0, 0.0, 0.7]) if weighted else None
    expected = F.cross_entropy(logits, labels.long(), weight=weights, label_smoothing=smoothing, ignore_index=255)
    given = cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(given, expected)


def test_pixel_weights_count_in_the_divisor():
    logits, labels = drawn(2, 4, 5, 6), labels_of(2, 5, 6)
    labels[0, 1] = 255
    own, classes = drawn(2, 5, 6, seed=1).abs(), torch.tensor([0.1, 2.0, 0.5, 0.7])
    each = F.cross_entropy(logits, labels.long(), ignore_index=255, reduction="none")
    weights = own * classes[labels.long().clamp(max=3)] * (labels != 255)
    expected = (weights * each).sum() / weights.sum()
    torch.testing.assert_close(cross_entropy(logits, labels, class_weights=classes, pixel_weights=own), expected)
    doubled = cross_entropy(logits, labels, class_weights=classes, pixel_weights=2 * own)
    torch.testing.assert_close(doubled, expected)
    focused = focal(logits, labels, class_weights=classes, pixel_weights=own)
    expected = (weights * (1 - (-each).exp()) ** 2 * each).sum() / weights.sum()
    torch.testing.assert_close(focused, expected)


def test_pixels_that_weigh_nothing_are_not_smoothed_alone():
    logits, labels = drawn(1, 4, 3, 3).requires_grad_(), torch.zeros(1, 3, 3, dtype=torch.uint8)
    loss = cross_entropy(logits, labels, class_weights=torch.tensor([0.0, 1, 1, 1]), label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_rows_give_what_planes_give():
    logits, labels = drawn(2, 4, 5, 6), labels_of(2, 5, 6).long()
    labels[0, 1] = 255
    rows = F.cross_entropy(*_rows(logits, labels), ignore_index=255, reduction="none").view(2, 5, 6)
    torch.testing.assert_close(rows, F.cross_entropy(logits, labels, ignore_index=255, reduction="none"))


def test_focal_by_hand():
    logits = torch.tensor([0.0, math.log(3.0)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    labels = torch.tensor([[[1, 0, 255]]], dtype=torch.uint8)
    right, wrong = math.log(4 / 3), math.log(4)
    for focusing in (0, 0.5, 2, 3):
        expected = (0.25**focusing * right + 0.75**focusing * wrong) / 2
        torch.testing.assert_close(focal(logits, labels, focusing=focusing), torch.tensor(expected))


def test_focal_of_two_classes_is_torchvisions():
    logits, labels = drawn(2, 2, 5, 6), labels_of(2, 5, 6, classes=2)
    for focusing in (0.0, 1.0, 2.0):
        expected = sigmoid_focal_loss(
            logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=focusing, reduction="mean"
        )
        torch.testing.assert_close(focal(logits, labels, focusing=focusing), expected)


@pytest.mark.parametrize("focusing", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_slope_where_it_is_sure(focusing):
    logits = torch.tensor([[[[300.0, -300.0]], [[0.0, 0.0]]]], requires_grad=True)
    focal(logits, torch.zeros(1, 1, 2, dtype=torch.uint8), focusing=focusing).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 0, 0] == 0


def test_hard_pixels_by_hand():
    logits = torch.stack([torch.arange(8.0), torch.zeros(8)]).reshape(1, 2, 1, 8)
    labels = torch.ones(1, 1, 8, dtype=torch.uint8)
    each = torch.arange(8.0).exp().log1p()
    for share, kept in ((0.25, 2), (0.26, 3), (1e-9, 1), (1, 8)):
        torch.testing.assert_close(hard_pixels(logits, labels, share=share), each[-kept:].mean())
    labels[0, 0, 4:] = 255
    torch.testing.assert_close(hard_pixels(logits, labels, share=0.25), each[3])


def test_a_share_of_thirty_is_rounded_as_whole_numbers_are():
    logits = torch.stack([torch.arange(30.0), torch.zeros(30)]).reshape(1, 2, 5, 6)
    given = hard_pixels(logits, torch.ones(1, 5, 6, dtype=torch.uint8), share=0.1)
    torch.testing.assert_close(given, torch.arange(27.0, 30).exp().log1p().mean())


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_hard_pixels_are_each_crops_own(share):
    logits, labels = drawn(3, 4, 7, 9) * torch.tensor([1.0, 5.0, 0.2])[:, None, None, None], labels_of(3, 7, 9)
    labels[0, :4] = 255
    labels[1] = 255
    classes, own = torch.tensor([0.1, 2.0, 0.0, 0.7]), drawn(3, 7, 9, seed=2).abs()
    each = own * F.cross_entropy(logits, labels.long(), weight=classes, ignore_index=255, reduction="none")
    total, count = 0.0, 0
    for losses, plane in zip(each.numpy(), labels.numpy(), strict=True):
        ranked = np.sort(losses[plane != 255])[::-1]
        kept = math.ceil(share * len(ranked) - 1e-9)
        total, count = total + ranked[:kept].sum(), count + kept
    given = hard_pixels(logits, labels, class_weights=classes, pixel_weights=own, share=share)
    torch.testing.assert_close(given, torch.tensor(total / count, dtype=torch.float32))


def test_all_pixels_kept_is_the_cross_entropy():
    logits, labels = drawn(2, 4, 5, 6), labels_of(2, 5, 6)
    labels[0, 0] = 255
    given = hard_pixels(logits, labels, share=1, label_smoothing=0.2)
    torch.testing.assert_close(given, cross_entropy(logits, labels, label_smoothing=0.2))


def test_easy_pixels_have_no_gradient():
    logits = torch.stack([torch.arange(8.0), torch.zeros(8)]).reshape(1, 2, 1, 8).requires_grad_()
    hard_pixels(logits, torch.ones(1, 1, 8, dtype=torch.uint8)).backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [False] * 6 + [True] * 2


def test_settings_that_cannot_be_are_refused():
    logits, labels = drawn(1, 4, 3, 3), labels_of(1, 3, 3)
    with pytest.raises(ValueError, match="focusing -1 came; it is an exponent of 0 or more"):
        focal(logits, labels, focusing=-1)
    for share in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="came; it is above 0 and at most 1"):
            hard_pixels(logits, labels, share=share)
