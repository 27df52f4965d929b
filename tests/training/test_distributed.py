"""Several processes train as one does: two with gloo on the CPU, started once for everything that is compared."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn

import atrous
from atrous.data.scenes import write_scenes
from atrous.layers.checkerboard import NORMS
from atrous.models import build
from atrous.training.distributed import (
    any_asks,
    full_state,
    gathered,
    load_full_state,
    load_optimizer_state,
    optimizer_state,
    rewrapped,
    seeded,
    sharded,
    sharding_asked,
    summed,
    synchronised,
    together,
    with_synchronised_norms,
)
from atrous.training.optimizers import parameter_groups

PROGRAM = Path(__file__).parents[1] / "distributed_programs.py"
CASES = ("group", "frozen norm", "accumulated", "two outputs", "clipped", "thawed", "sharded")


def started(*command, launcher=("torch.distributed.run", "--standalone", "--nproc-per-node", "2")):
    """Run a Python command line in two processes, and return what became of it; it ends within a minute or two."""
    return subprocess.run(
        [sys.executable, "-m", *launcher, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def programs():
    """Return the programs, to be run in this process."""
    return runpy.run_path(str(PROGRAM))


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Return the folder that two processes wrote into, and how they ended."""
    folder = tmp_path_factory.mktemp("two")
    done = started(PROGRAM, folder)
    assert (folder / "done").exists(), done.stderr
    return folder, done


@pytest.fixture(scope="module")
def two(ended):
    """Return the folder that two processes wrote into."""
    return ended[0]


@pytest.fixture(scope="module")
def one(programs, tmp_path_factory):
    """Return the folder that this process wrote into."""
    folder = tmp_path_factory.mktemp("one")
    programs["main"](folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(two, one, case):
    got, wanted = (load_file(folder / f"{case}.safetensors") for folder in (two, one))
    assert got["losses"][-1] < got["losses"][0]
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            got[name], value, rtol=1e-5, atol=1e-6, msg=lambda words, name=name: f"{name} {words}"
        )


def test_two_processes_resume_to_the_bit_and_end_with_one_network(two):
    at_once, *others = (
        load_file(two / f"{name}, {rank}.safetensors") for name in ("at once", "resumed") for rank in (0, 1)
    )
    assert {"encoder.1.running_mean", "optimizer.encoder.0.weight/momentum_buffer"} <= at_once.keys()
    for other in others:
        torch.testing.assert_close(other, at_once, rtol=0, atol=0)


@pytest.mark.parametrize("by", ["two", "one"])
def test_a_checkpoint_of_shares_is_resumed_by_one_process(request, programs, two, by):
    training = programs["begun"](programs["Twofold"](programs["group"]), **programs["SHARDED"])
    programs["put_back"](training, request.getfixturevalue(by) / "shares")
    assert training.step == 2
    losses = [step.loss for step in programs["train"](training)]
    wanted = load_file(two / "sharded.safetensors")
    assert losses == pytest.approx(wanted["losses"][2:].tolist(), rel=1e-5)
    for name, value in training.segmenter.net.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)


def test_what_processes_tell_each_other(two):
    told = torch.load(two / "told.pt")
    assert told["array"] == [2**54 + 1]  # which is no float64
    assert told["integer"] == 2**54 + 1
    assert told["number"] == 0.2
    assert told["tensor"] == [2, 4]
    assert told["gathered"] == [0, 10, 1, 11]
    assert told["second asks"]
    assert not told["nobody asks"]


def test_an_error_in_one_process_ends_all(ended):
    assert ended[1].returncode != 0
    assert "AtrousError: only this process found something wrong" in ended[1].stderr


def test_a_run_by_accelerate_launch(tmp_path):
    data, out = write_scenes(tmp_path / "street 거리", train=4, val=3, size=(40, 52)), tmp_path / "run"
    launcher = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    settings = ("--mixed_precision", "no", "--dynamo_backend", "no", "-m", "atrous", "train", data, "--out", out)
    tiny = ("--epochs", "1", "--encoder", "resnet18", "--width", "0.125", "--crop", "33", "--batch", "2")
    done = started(*settings, *tiny, "--device", "cpu", "--precision", "float32", launcher=launcher)
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).splitlines()
    assert len([line for line in said if line.startswith("epoch 1/1")]) == 1
    assert len([line for line in said if line.startswith("run in")]) == 1
    assert "2 processes" in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run", data.name}
    assert len((out / "log.jsonl").read_text().splitlines()) == 1
    alone = atrous.evaluate(out / "best", data, device="cpu").scores
    stored = json.loads((out / "best" / "config.json").read_text())["scores"]
    assert stored["images"] == 3
    scores = alone.as_json()
    assert {name: stored[name] for name in ("mean_iou", "confusion", "images")} == {
        name: scores[name] for name in ("mean_iou", "confusion", "images")
    }


@pytest.fixture
def alone():
    """Return an accelerator of one process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True)


def test_one_process_shares_nothing(alone, monkeypatch):
    value, net = torch.ones(2), nn.BatchNorm2d(2)
    assert summed(value, alone) is value
    assert gathered(value, alone) is value
    assert any_asks(True, alone)
    assert not any_asks(False, alone)
    for function in (with_synchronised_norms, sharded):
        assert function(net, alone) is net
    assert rewrapped(net) is net
    segmenter = type("Segmenter", (), {"net": net})()
    assert together(segmenter, None, alone) is segmenter


def test_batch_norms_are_synchronised_on_cuda():
    several = type("Several", (), {"num_processes": 2, "device": torch.device("cuda")})()
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    names, weight = list(net.state_dict()), net[1].weight
    converted = with_synchronised_norms(net, several)
    assert isinstance(converted[1], nn.SyncBatchNorm)
    assert list(converted.state_dict()) == names
    assert converted[1].weight is weight
    several.device = torch.device("cpu")
    assert isinstance(with_synchronised_norms(nn.BatchNorm2d(2), several), nn.BatchNorm2d)


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet_b0"])
def test_synchronised_norms_keep_their_activations(encoder):
    torch.manual_seed(0)
    net = build("deeplab_v3plus", 2, encoder=encoder, **({"width": 1 / 8} if encoder == "resnet18" else {})).eval()
    x, names = torch.randn(1, 3, 65, 65), list(net.state_dict())
    with torch.no_grad():
        before = net(x)
        converted = synchronised(net)
        torch.testing.assert_close(converted(x), before, rtol=0, atol=0)
    assert list(converted.state_dict()) == names
    norms = [each for each in converted.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(each, nn.SyncBatchNorm) and isinstance(each, NORMS) for each in norms)
    groups = parameter_groups(converted, rate=1.0, weight_decay=0.1)
    plain = {id(each) for group in groups if group["weight_decay"] == 0 for each in group["params"]}
    assert all({id(each.weight), id(each.bias)} <= plain for each in norms)


@pytest.mark.parametrize(("value", "asked"), [("true", True), ("True", True), ("false", False), (None, False)])
def test_the_wish_to_shard_is_kept_from_accelerate(monkeypatch, value, asked):
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    if value is not None:
        monkeypatch.setenv("ACCELERATE_USE_FSDP", value)
    with sharding_asked() as wish:
        assert wish is asked
        assert "ACCELERATE_USE_FSDP" not in os.environ
    assert os.environ.get("ACCELERATE_USE_FSDP") == value


def stepped(*sizes):
    """Return a network and its optimiser after a step."""
    net = nn.Sequential(*(nn.Linear(*size) for size in sizes))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, sizes[0][0])).sum().backward()
    optimizer.step()
    return net, optimizer


def test_the_optimisers_state_goes_by_names():
    net, optimizer = stepped((1, 2), (2, 1))
    state = optimizer_state(optimizer, net)
    assert {"0.weight/exp_avg", "1.bias/exp_avg_sq", "0.bias/step"} <= state.keys()
    other, _ = stepped((1, 2), (2, 1))
    turned = torch.optim.AdamW(reversed(list(other.parameters())))
    load_optimizer_state(turned, other, state)
    torch.testing.assert_close(optimizer_state(turned, other), state, rtol=0, atol=0)


def test_the_state_of_another_network_is_refused_and_changes_nothing():
    net, optimizer = stepped((1, 2), (2, 1))
    before = {name: torch.as_tensor(value).clone() for name, value in optimizer_state(optimizer, net).items()}
    weights = {name: value.clone() for name, value in full_state(net).items()}
    deeper, wider = stepped((1, 2), (2, 1), (1, 1)), stepped((1, 3), (3, 1))
    with pytest.raises(ValueError, match=r"state of another network: '2.weight' is not a parameter that learns here"):
        load_optimizer_state(optimizer, net, optimizer_state(deeper[1], deeper[0]))
    with pytest.raises(ValueError, match=r"state of another network: '0.weight' is \(3, 1\), here it is \(2, 1\)"):
        load_optimizer_state(optimizer, net, optimizer_state(wider[1], wider[0]))
    with pytest.raises(ValueError, match=r"the state of another network: '2.bias' is unknown here"):
        load_full_state(net, full_state(deeper[0]))
    with pytest.raises(ValueError, match=r"the state of another network: '2.bias' is missing"):
        load_full_state(deeper[0], full_state(net))
    with pytest.raises(ValueError, match=r"the state of another network: '0.weight' is \(3, 1\), here it is \(2, 1\)"):
        load_full_state(net, full_state(wider[0]))
    torch.testing.assert_close(dict(optimizer_state(optimizer, net)), before, rtol=0, atol=0)
    torch.testing.assert_close(full_state(net), weights, rtol=0, atol=0)


def test_random_numbers_hang_on_seed_step_and_process(alone):
    drawn = []
    for seed, step in ((1, 1), (1, 1), (1, 2), (2, 1)):
        seeded(seed, step, alone)
        drawn.append(torch.rand(1).item())
    second = type("Second", (), {"process_index": 1})()
    seeded(1, 1, second)
    drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4
