"""A network with several losses: their sum by hand, their weights, and that training them works as with one."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional

from atrous.contract import LabelSpace, Preprocessing, Recipe, Sample
from atrous.models import Segmenter, deeplab_v3plus
from atrous.models.deeplab_v2 import deeplab_v2
from atrous.models.multiscale import MultiScale
from atrous.training import Crops, load_state, prepared, save_state, train
from atrous.training.losses import check_weights
from atrous.training.preparing import Supervised

RECIPE = Recipe(
    precision="float32",
    model="deeplab_v2",
    crop=65,
    batch=2,
    epochs=8,
    learning_rate=0.02,
    warm_up=0,
    augment="none",
    seed=1,
)
FOUR = {"compare": "grid", "loss_weights": (1.0, 0.5, 0.25, 2.0)}


def halves(index):
    """Return a noisy picture whose left part is dark, class 0, and whose right part is bright, class 1."""
    random = np.random.default_rng(index)
    labels = np.zeros((65, 65), np.uint8)
    labels[:, random.integers(20, 45) :] = 1
    image = (labels * 150)[..., None] + random.integers(0, 60, (65, 65, 3))
    return Sample(image=image.astype(np.uint8), labels=labels)


def begun(recipe=RECIPE, *, net=None):
    torch.manual_seed(recipe.seed)
    net = deeplab_v2(2, encoder="resnet18", norm="batch", width=1 / 16, multiscale=True) if net is None else net
    segmenter = Segmenter(net, LabelSpace(names=("dark", "bright")), Preprocessing())
    crops = Crops(pairs=range(6), read=halves, size=recipe.crop, channels=3, fill=(0.0,) * 3, recipe=recipe)
    return prepared(segmenter, crops, device="cpu", workers=0)


def loss_by_hand(training, images, labels):
    """Return the weighted sum of four cross-entropies, on labels decimated by 8, 8, 8 and 16."""
    outputs = training.segmenter.net.supervised(training.segmenter.normalised(images))
    kept = (labels[:, ::8, ::8], labels[:, ::8, ::8], labels[:, ::8, ::8], labels[:, ::16, ::16])
    each = [
        functional.cross_entropy(logits, target.long(), ignore_index=255)
        for logits, target in zip(outputs, kept, strict=True)
    ]
    return each[0] + 0.5 * each[1] + 0.25 * each[2] + 2 * each[3]


def test_the_loss_is_the_sum_by_hand():
    training = begun(replace(RECIPE, **FOUR))
    training.segmenter.train()
    training.order.epoch = 0
    images, labels, *_ = next(iter(training.batches))
    expected = loss_by_hand(training, images, labels)
    again = begun(replace(RECIPE, **FOUR))
    assert next(train(again)).loss == pytest.approx(expected.item(), rel=1e-5)


def test_without_weights_all_losses_count_alike():
    alike, ones, main = (
        next(train(begun(replace(RECIPE, loss_weights=weights)))).loss for weights in ((), (1, 1, 1, 1), (1, 0, 0, 0))
    )
    assert alike == ones
    assert main < 0.5 * alike


@pytest.mark.parametrize("compare", ["resized", "grid"])
def test_learns(compare):
    losses = [step.loss for step in train(begun(replace(RECIPE, compare=compare)))]
    assert len(losses) == 24
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:2])


def test_every_parameter_is_updated_through_the_prepared_module():
    training = begun(replace(RECIPE, weight_decay=0.0))
    assert isinstance(training.net, Supervised)
    before = {name: weight.detach().clone() for name, weight in training.segmenter.net.named_parameters()}
    list(islice(train(training), 2))
    still = [name for name, weight in training.segmenter.net.named_parameters() if torch.equal(weight, before[name])]
    assert still == []


def test_a_net_with_one_loss_is_prepared_as_it_is():
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    assert begun(net=net).net is net


def test_evaluation_takes_the_trainings_precision():
    training = begun(replace(RECIPE, precision="bfloat16"))
    assert next(train(training)).loss > 0
    x = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    net = training.segmenter.net.eval()
    with torch.no_grad():
        came = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            expected = net.supervised(x)[0]
        plain = net.supervised(x)[0]
    assert came.dtype == torch.float32
    torch.testing.assert_close(came, expected.float())
    assert not torch.equal(came, plain)


def test_resumes_to_the_bit(tmp_path):
    short = replace(RECIPE, epochs=2)
    losses = [step.loss for step in train(begun(short))]
    first = begun(short)
    early = [step.loss for step in islice(train(first), 4)]
    state = {name: value.clone() for name, value in first.segmenter.net.state_dict().items()}
    save_state(tmp_path, first)
    second = begun(short)
    second.segmenter.net.load_state_dict(state)
    load_state(tmp_path, second)
    assert early + [step.loss for step in train(second)] == losses


# Weights --------------------------------------------------------------------------------------------------------------


def test_other_numbers_of_weights_are_refused_before_the_first_step():
    words = r"3 loss_weights came, and the network is trained on 4 outputs; give 4, the main one's first, or none"
    with pytest.raises(ValueError, match=words):
        begun(replace(RECIPE, loss_weights=(1, 1, 1)))
    net = MultiScale(deeplab_v2(2, encoder="vgg16", width=1 / 64))
    with pytest.raises(ValueError, match="2 loss_weights came"):
        begun(replace(RECIPE, loss_weights=(1, 1)), net=net)
    assert net.training  # looking at its outputs leaves it as it was
    with pytest.raises(ValueError, match="2 loss_weights came, and the network is trained on 1 output; give 1,"):
        begun(replace(RECIPE, loss_weights=(1, 1)), net=deeplab_v3plus(2, encoder="resnet18", width=1 / 8))


@pytest.mark.parametrize(
    ("weights", "words"), [((0.0, 0.0), r"loss_weights \(0.0, 0.0\) are all 0: nothing"), ((1, -1), "greater than or")]
)
def test_weights_that_cannot_be(weights, words):
    with pytest.raises(ValueError, match=words):
        Recipe(loss_weights=weights)


def test_weights_are_as_many_as_outputs():
    check_weights(3, ())
    check_weights(3, (1, 1, 1))
    with pytest.raises(ValueError, match="2 loss_weights came, and the network is trained on 3 outputs"):
        check_weights(3, (1, 1))
