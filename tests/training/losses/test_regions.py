"""The losses of regions against values worked out by hand, and segmentation_models_pytorch's, crop by crop."""

import math

import pytest
import torch
from segmentation_models_pytorch import losses as peers

from atrous.training import dice, jaccard, lovasz, tversky


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(*shape, classes=4, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def by_crop(peer, logits, labels):
    """Return the mean over crops of a peer's loss, whose mean over classes counts those that are absent as 0."""
    values = []
    for crop, plane in zip(logits, labels, strict=True):
        present = plane[plane != 255].unique()
        if len(present):
            values.append(peer(crop[None], plane[None].long()) * crop.shape[0] / len(present))
    return torch.stack(values).mean()


def probable(*rows):
    """Return logits (1, classes, 1, pixels) whose softmax is the rows, one per class."""
    return torch.tensor(rows).log().reshape(1, len(rows), 1, -1)


def test_overlaps_by_hand():
    logits = probable((0.9, 0.6, 0.4, 0.5), (0.1, 0.4, 0.6, 0.5))
    labels = torch.tensor([[[1, 1, 0, 255]]], dtype=torch.uint8)
    hits, predicted, truth = (0.4, 0.5), (1.9, 1.1), (1, 2)
    for alpha, beta in ((0.3, 0.7), (0.5, 0.5), (1, 1), (0, 1), (1, 0)):
        each = [
            1 - hit / (hit + alpha * (all_of - hit) + beta * (held - hit))
            for hit, all_of, held in zip(hits, predicted, truth, strict=True)
        ]
        given = tversky(logits, labels, alpha=alpha, beta=beta)
        torch.testing.assert_close(given, torch.tensor(sum(each) / 2))
    torch.testing.assert_close(dice(logits, labels), torch.tensor(1 - (0.8 / 2.9 + 1 / 3.1) / 2))
    torch.testing.assert_close(jaccard(logits, labels), torch.tensor(1 - (0.4 / 2.5 + 0.5 / 2.6) / 2))


def test_lovasz_by_hand():
    # Class 1 has errors 0.1, 0.4 and, on a pixel of class 0, 0.6: each adds a third to its Jaccard loss. Of class 0
    # the largest error is on its only pixel, and the loss is then 1 already.
    logits = probable((0.1, 0.4, 0.4, 0.5), (0.9, 0.6, 0.6, 0.5))
    labels = torch.tensor([[[1, 1, 0, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(lovasz(logits, labels), torch.tensor(((0.6 + 0.4 + 0.1) / 3 + 0.6) / 2))


@pytest.mark.parametrize("labels_seed", [0, 1])
def test_are_the_peers_crop_by_crop(labels_seed):
    logits, labels = drawn(3, 4, 9, 11), labels_of(3, 9, 11, seed=labels_seed)
    jaccard_peer = peers.JaccardLoss("multiclass", from_logits=True, smooth=0)
    torch.testing.assert_close(jaccard(logits, labels), by_crop(jaccard_peer, logits, labels))
    labels[0, :4] = 255
    labels[1][labels[1] > 1] = 0
    words = {"from_logits": True, "smooth": 0, "ignore_index": 255}
    torch.testing.assert_close(dice(logits, labels), by_crop(peers.DiceLoss("multiclass", **words), logits, labels))
    peer = peers.TverskyLoss("multiclass", alpha=0.2, beta=0.9, **words)
    torch.testing.assert_close(tversky(logits, labels, alpha=0.2, beta=0.9), by_crop(peer, logits, labels))


def test_lovasz_and_its_gradient_are_the_peers():
    logits, labels = drawn(3, 4, 9, 11).requires_grad_(), labels_of(3, 9, 11)
    labels[0, :4] = 255
    labels[1][labels[1] > 1] = 0
    peer = peers.LovaszLoss("multiclass", per_image=True, ignore_index=255, from_logits=True)
    expected, given = peer(logits, labels.long()), lovasz(logits, labels)
    torch.testing.assert_close(given, expected)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (given, expected)]
    torch.testing.assert_close(*gradients)


def test_lovasz_of_decisions_is_the_jaccard_loss():
    labels, decided = labels_of(2, 9, 11), labels_of(2, 9, 11, seed=1)
    logits = torch.nn.functional.one_hot(decided.long(), 4).movedim(3, 1) * 1000.0
    torch.testing.assert_close(lovasz(logits, labels), jaccard(logits, labels))


@pytest.mark.parametrize("loss", [dice, jaccard, lovasz, tversky])
def test_class_weights_weight_the_mean_over_classes(loss):
    logits = drawn(2, 3, 5, 6)
    labels = labels_of(2, 5, 6, classes=2)
    labels[1] = 1
    alone = [loss(logits[:1], labels[:1], class_weights=torch.eye(3)[index]) for index in (0, 1)]
    other = loss(logits[1:], labels[1:])
    weights = torch.tensor([3.0, 1.0, 100.0])
    expected = ((3 * alone[0] + alone[1]) / 4 + other) / 2
    torch.testing.assert_close(loss(logits, labels, class_weights=weights), expected)
    without = loss(logits, labels, class_weights=torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(without, alone[0], msg="a crop of classes that do not count is not counted")


def test_a_class_found_nowhere_is_wholly_missed():
    logits = torch.tensor([1e4, -1e4]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2).clone().requires_grad_()
    loss = tversky(logits, torch.ones(1, 2, 2, dtype=torch.uint8), alpha=1, beta=0)
    loss.backward()
    assert loss.item() == 1
    assert logits.grad.isfinite().all()


def test_weights_that_cannot_be_are_refused():
    for alpha, beta in ((0, 0), (-1, 2), (1, math.nan)):
        with pytest.raises(ValueError, match="they are 0 or more, and not both 0"):
            tversky(drawn(1, 4, 3, 3), labels_of(1, 3, 3), alpha=alpha, beta=beta)
