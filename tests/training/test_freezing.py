"""What does not learn: by name, for a while, and the norms."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from atrous.models import build
from atrous.models.multiscale import MultiScale
from atrous.training.freezing import freeze, set_modes


def v3plus():
    return build("deeplab_v3plus", 3, encoder="resnet18", width=1 / 16)


def learning(net):
    return {name for name, value in net.named_parameters() if value.requires_grad}


def in_training(net):
    return {name for name, module in net.named_modules() if module.training}


def test_a_part_and_all_below_it():
    net = v3plus()
    every = learning(net)
    freeze(net, ["encoder"])
    assert every - learning(net) == {name for name in every if name.startswith("encoder.")}


def test_a_part_within_a_part_and_a_single_weight():
    net = v3plus()
    every = learning(net)
    part = next(name for name, module in net.encoder.named_modules() if name.endswith("layer1"))
    freeze(net, [f"encoder.{part}", "classify.bias"])
    frozen = every - learning(net)
    assert "classify.bias" in frozen
    assert len(frozen) > 5
    assert all(name == "classify.bias" or name.startswith(f"encoder.{part}.") for name in frozen)


@pytest.mark.parametrize("name", ["encoder", "net.encoder"])
def test_a_network_within_a_network(name):
    net = MultiScale(build("deeplab_v2", 3, encoder="vgg16", width=1 / 64))
    freeze(net, [name])
    assert learning(net)
    assert not any(each.startswith("net.encoder.") for each in learning(net))
    freeze(net, [part for part, _ in net.net.named_children()])
    assert not learning(net)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encodr", r"DeepLabV3Plus has no part 'encodr'; did you mean 'encoder'\? \(its parts are encoder, "),
        ("encoder.nothing", r"no part 'encoder.nothing' \(encoder has "),
        ("classify.bias.x", r"no part 'classify.bias.x' \(classify.bias has no parts\)"),
        ("geometry", "no part 'geometry'"),
        ("training", "no part 'training'"),
        ("", "no part ''"),
        ("encoder.", "no part 'encoder.'"),
        ("전체", "no part '전체'"),
    ],
)
def test_a_name_that_no_part_has(name, words):
    net = v3plus()
    every = learning(net)
    for attempt in (
        lambda: freeze(net, ["classify", name]),
        lambda: set_modes(net.eval(), frozen=["classify", name]),
    ):
        with pytest.raises(ValueError, match=words):
            attempt()
    assert learning(net) == every
    assert not net.training


def test_a_part_without_parameters():
    with pytest.raises(ValueError, match="'1' of Sequential has no parameters, so nothing of it could be frozen"):
        freeze(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), ["1"])
    with pytest.raises(ValueError, match=r"these have: 0$"):
        freeze(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), ["1"])
    with pytest.raises(ValueError, match=r"no part '7' \(its parts are 0\)"):
        freeze(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), ["7"])


def test_what_is_returned_learns_again_and_what_never_learnt_does_not():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    net[0].bias.requires_grad_(False)
    every = learning(net)
    held = freeze(net, ["0", "0.weight"])
    assert len(held) == 1
    assert learning(net) == {"1.weight", "1.bias"}
    assert freeze(net, ["0"]) == ()
    for parameter in held:
        parameter.requires_grad_(True)
    assert learning(net) == every


def test_modes_of_frozen_parts():
    net = v3plus().eval()
    set_modes(net, frozen=["encoder"])
    assert "" in in_training(net)
    assert not any(name.split(".")[0] == "encoder" for name in in_training(net))
    set_modes(net)
    assert len(in_training(net)) == len(list(net.modules()))


def test_frozen_norms_keep_statistics_scale_and_shift():
    torch.manual_seed(0)
    net = v3plus()
    set_modes(net, freeze_norm=True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([value for value in net.parameters() if value.requires_grad], lr=0.1)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    norms = {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert changed
    assert norms
    assert not {name.rpartition(".")[0] for name in changed} & norms


def test_a_norms_own_dropout_still_drops():
    net = nn.Sequential(BatchNormAct2d(2, drop_layer=nn.Dropout), nn.GroupNorm(1, 2))
    set_modes(net, freeze_norm=True)
    assert not net[0].training
    assert net[0].drop.training
    assert not learning(net)
