"""The statistics of batch norm against sums made by hand."""

import pytest
import torch
from torch import nn

from atrous.layers.norm import BatchNorm, FrozenBatchNorm
from atrous.models import build
from atrous.models.multiscale import MultiScale
from atrous.training.freezing import set_modes
from atrous.training.statistics import check_measurable, measured_statistics


def batches(count=5, size=(4, 3, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) * (k + 1) + k for k in range(count)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), BatchNorm(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2)
    )


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_one_layer_by_hand():
    layer, given = BatchNorm(3, momentum=0.3), batches()
    layer.running_mean.fill_(100)
    assert measured_statistics(layer, given) == 5
    means = torch.stack([batch.mean((0, 2, 3)) for batch in given])
    squares = [
        ((batch - mean.reshape(1, 3, 1, 1)) ** 2).sum((0, 2, 3)) for batch, mean in zip(given, means, strict=True)
    ]
    unbiased = torch.stack(squares) / (4 * 6 * 5 - 1)
    torch.testing.assert_close(layer.running_mean, means.mean(0))
    torch.testing.assert_close(layer.running_var, unbiased.mean(0))
    assert layer.momentum == 0.3
    assert layer.num_batches_tracked == 5


def test_a_deeper_layer_sees_what_the_batch_statistics_make_without_dropout():
    module, given = net().train(), batches()
    means = []
    for batch in given:
        features = module[0](batch)
        mean, variance = features.mean((0, 2, 3), keepdim=True), features.var((0, 2, 3), keepdim=True, correction=0)
        features = module[4](torch.relu((features - mean) / (variance + module[1].eps).sqrt()))
        means.append(features.mean((0, 2, 3)))
    measured_statistics(module, iter(given))
    torch.testing.assert_close(module[5].running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_all_else_is_as_before(training):
    module = net().train(training)
    module[5].eval()
    module[2].register_forward_hook(lambda _module, _inputs, _output: None)
    before = state(module)
    measured_statistics(module, batches())
    after = state(module)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"{layer}.{part}" for layer in (1, 5) for part in parts}
    assert [part.training for part in module] == [training] * 5 + [False]
    assert [module[1].momentum, module[5].momentum] == [0.1, 0.1]
    assert not module[1]._forward_pre_hooks
    assert all(weight.grad is None for weight in module.parameters())


def test_what_is_not_reached_or_frozen_stays():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.frozen = BatchNorm(3), BatchNorm(3), FrozenBatchNorm(3)

        def forward(self, x):
            return self.frozen(self.used(x))

    module = Partly()
    for part in module.children():
        part.running_mean.fill_(7)
    measured_statistics(module, batches())
    assert module.unused.running_mean.tolist() == module.frozen.running_mean.tolist() == [7, 7, 7]
    assert module.used.running_mean[0] != 7


def test_a_norm_of_single_values_keeps_its_statistics():
    module, given = net(), batches(3, size=(1, 3, 5, 5))
    module[5].running_mean.fill_(7)
    before = state(module)
    assert measured_statistics(module, given) == 3
    after = state(module)
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"1"}
    assert module[5].training


def test_image_pooling_of_one_crop_is_left_out():
    module = build("deeplab_v3", 2, encoder="resnet18", width=1 / 16)
    before, batch = state(module), torch.randn(1, 3, 64, 64)
    measured = check_measurable(module, batch)
    measured_statistics(module, [batch])
    after = state(module)
    left = [name for name in check_measurable(module) if name not in measured]
    assert left
    assert len(measured) > 10
    for name in check_measurable(module):
        same = torch.equal(before[f"{name}.running_mean"], after[f"{name}.running_mean"])
        assert same == (name in left), name


def test_where_all_are_left_a_single_value_it_is_said_before():
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).train()
    assert list(check_measurable(module, torch.zeros(2, 3, 4, 4))) == ["1"]
    with pytest.raises(ValueError, match="a batch of 1 leaves every batch norm of Sequential a single value per chann"):
        check_measurable(module, torch.zeros(1, 3, 4, 4))
    assert module.training
    assert not module[1]._forward_pre_hooks


def test_what_cannot_be_measured_changes_nothing():
    module, words = net(), "no batch came; give some of normalised training crops"
    before = state(module)
    with pytest.raises(ValueError, match=words):
        measured_statistics(module, [])
    torch.testing.assert_close(state(module), before, rtol=0, atol=0)
    assert module.training
    assert module[1].momentum == 0.1
    assert not module[5]._forward_pre_hooks


def test_a_norm_whose_scale_does_not_learn_stays():
    module = net()
    module[1].requires_grad_(False)
    before = state(module)
    measured_statistics(module, batches())
    after = state(module)
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"5"}


def test_all_frozen():
    module = net()
    set_modes(module, freeze_norm=True)
    with pytest.raises(ValueError, match="Sequential has only frozen batch norms: there is nothing to measure"):
        measured_statistics(module, batches())


def test_synchronised_norms_are_measured():
    module = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))
    assert list(check_measurable(module)) == ["0"]


def test_passes_at_several_scales_all_count():
    module = MultiScale(build("deeplab_v2", 2, encoder="resnet50_caffe", norm="batch", width=1 / 32), (1, 0.5))
    given = [torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    first = module.net.encoder
    norm = next(each for each in first.modules() if isinstance(each, nn.BatchNorm2d))
    seen = []
    norm.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].mean((0, 2, 3))))
    assert measured_statistics(module, given) == 2
    assert len(seen) == 4
    torch.testing.assert_close(norm.running_mean, torch.stack(seen).mean(0))


def test_what_only_training_looks_at_is_not_reached():
    module = build("deeplab_v3", 2, encoder="resnet18", width=1 / 16, auxiliary=True)
    before = state(module)
    measured_statistics(module, [torch.randn(2, 3, 64, 64)])
    after = state(module)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("auxiliary.") for name in changed)


@pytest.mark.parametrize(
    "module", [nn.Conv2d(3, 2, 1), FrozenBatchNorm(3), nn.BatchNorm2d(3, track_running_stats=False)]
)
def test_nothing_to_measure(module):
    with pytest.raises(ValueError, match="has no batch norm that keeps statistics: there is nothing to measure"):
        measured_statistics(module, batches())
