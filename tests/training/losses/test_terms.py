"""Every loss as a term: parts of a batch give what the whole gives, whatever is ignored, however large the logits."""

import pytest
import torch

from atrous import training
from atrous.contract import LOSSES, Recipe
from atrous.training.losses import Targets, terms_of

WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def targets_of(*shape, classes=4, seed=0, weighted=True):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, shape, generator=generator, dtype=torch.uint8)
    labels[torch.rand(shape, generator=generator) < 0.2] = 255
    return Targets(labels, torch.rand(shape, generator=generator) if weighted else None)


def term_of(name, *, classes=4, class_weights=None, **settings):
    (term,) = terms_of(Recipe(loss=name, **settings), classes=classes, class_weights=class_weights)
    return term


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("seed", range(3))
def test_parts_give_the_whole(name, class_weights, seed):
    logits, targets = drawn(5, 4, 7, 9, seed=seed).requires_grad_(), targets_of(5, 7, 9, seed=seed)
    targets.labels[3] = 255
    targets.labels[4] = 2
    term = term_of(name, class_weights=class_weights, label_smoothing=0.1)
    whole = term.total(logits, targets) / term.count(targets)
    cuts = [slice(0, 1), slice(1, 1 + seed), slice(1 + seed, 5)] if seed else [slice(0, 3), slice(3, 4), slice(4, 5)]
    parts = [(logits[cut], Targets(targets.labels[cut], targets.weights[cut])) for cut in cuts]
    counts = torch.stack([term.count(part) for _, part in parts])
    assert counts.dtype == torch.float32
    assert counts.shape == (3,)
    together = torch.stack([term.total(*part) for part in parts]).sum() / counts.sum()
    torch.testing.assert_close(together, whole)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (together, whole)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_term_is_the_public_mean(name):
    logits, targets = drawn(3, 4, 7, 9), targets_of(3, 7, 9, weighted=False)
    settings = {"label_smoothing": 0.1, "focusing": 1.5, "hard_pixels": 0.4, "tversky": (0.2, 0.9)}
    term = term_of(name, class_weights=WEIGHTS, **settings)
    words = {
        "cross_entropy": {"label_smoothing": 0.1},
        "focal": {"focusing": 1.5},
        "hard_pixels": {"label_smoothing": 0.1, "share": 0.4},
        "tversky": {"alpha": 0.2, "beta": 0.9},
    }.get(name, {})
    mean = getattr(training, name)(logits, targets.labels, class_weights=WEIGHTS, **words)
    torch.testing.assert_close(term.total(logits, targets) / term.count(targets), mean)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
def test_all_ignored_is_zero_with_a_gradient_of_zeros(name, class_weights):
    logits, labels = drawn(2, 4, 3, 5).requires_grad_(), torch.full((2, 3, 5), 255, dtype=torch.uint8)
    loss = getattr(training, name)(logits, labels, class_weights=class_weights)
    loss.backward()
    assert loss.item() == 0
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=0)
    assert term_of(name, class_weights=class_weights).count(Targets(labels)).item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_do_not_matter(name):
    logits, targets = drawn(3, 4, 7, 9), targets_of(3, 7, 9)
    term = term_of(name)
    changed = torch.where(targets.valid[:, None], logits, 50 * drawn(3, 4, 7, 9, seed=5)).requires_grad_()
    loss = term.total(changed, targets)
    torch.testing.assert_close(loss.detach(), term.total(logits, targets))
    loss.backward()
    assert changed.grad[(~targets.valid)[:, None].expand_as(changed)].abs().max() == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits(name, dtype):
    logits, targets = drawn(2, 4, 7, 9), targets_of(2, 7, 9)
    half = logits.to(dtype).requires_grad_()
    loss = term_of(name).total(half, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), term_of(name).total(half.detach().float(), targets), rtol=0, atol=0)
    loss.backward()
    assert half.grad.dtype == dtype
    assert half.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name):
    logits, targets = drawn(2, 4, 7, 9), targets_of(2, 7, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = term_of(name).total(logits, targets)
    torch.testing.assert_close(lowered, term_of(name).total(logits, targets), rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_huge_logits(name):
    logits, targets = (1e4 * drawn(2, 4, 7, 9)).requires_grad_(), targets_of(2, 7, 9)
    loss = term_of(name, class_weights=WEIGHTS, focusing=0.5, tversky=(1, 0)).total(logits, targets)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_one_class_is_always_right(name):
    logits, targets = drawn(2, 1, 7, 9).requires_grad_(), targets_of(2, 7, 9, classes=1)
    term = term_of(name, classes=1)
    loss = term.total(logits, targets) / term.count(targets)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_one_pixel_and_layouts(name):
    logits, targets = drawn(1, 4, 1, 1), Targets(torch.tensor([[[3]]]))
    assert term_of(name).total(logits, targets) > 0
    logits, targets = drawn(2, 4, 7, 9), targets_of(2, 7, 9)
    expected = term_of(name).total(logits, targets)
    last = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(term_of(name).total(last, targets), expected)
    wide = Targets(targets.labels.long(), targets.weights)
    torch.testing.assert_close(term_of(name).total(logits, wide), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_unchanged(name):
    logits, targets = drawn(2, 4, 7, 9), targets_of(2, 7, 9)
    copies = logits.clone(), targets.labels.clone(), targets.weights.clone()
    term_of(name).total(logits, targets)
    term_of(name).count(targets)
    for now, before in zip((logits, targets.labels, targets.weights), copies, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_steps_down_the_slope_lower_it(name):
    logits, targets = drawn(2, 4, 7, 9).requires_grad_(), targets_of(2, 7, 9, weighted=False)
    term = term_of(name)
    loss = term.total(logits, targets) / term.count(targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    lower = term.total(logits - gradient, targets) / term.count(targets)
    assert lower < loss


def test_a_sum_has_a_term_each():
    terms = terms_of(Recipe(loss="cross_entropy+0.5*dice+2*lovasz"), classes=3)
    assert [(term.name, term.weight) for term in terms] == [("cross_entropy", 1.0), ("dice", 0.5), ("lovasz", 2.0)]


def test_every_loss_has_a_mean_for_users():
    assert set(LOSSES) <= set(training.__all__)


def test_class_weights_are_one_per_class():
    with pytest.raises(ValueError, match=r"class_weights of shape \(4,\) came; give one for each of 3 classes"):
        terms_of(Recipe(), classes=3, class_weights=WEIGHTS)


def test_with_a_separation_only_regions_are_given_the_weights_of_classes():
    labels = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    logits = torch.tensor([3.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    targets, weights = Targets(labels, torch.ones(1, 1, 4)), torch.tensor([0.0, 1.0])
    options = {"classes": 2, "class_weights": weights}
    for loss, same in (("dice", True), ("lovasz", True), ("cross_entropy", False), ("focal", False)):
        (apart,), (within,) = (terms_of(Recipe(loss=loss, separation=each), **options) for each in (0, 10))
        assert torch.equal(apart.total(logits, targets), within.total(logits, targets)) is same, loss
