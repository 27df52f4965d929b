"""The loop: it learns, it says where it is, it stops at a loss that is no number, and it resumes to the bit."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from atrous.contract import AtrousError, LabelSpace, Preprocessing, Recipe, Sample
from atrous.models import Segmenter, build
from atrous.training import (
    Crops,
    load_state,
    mark_scored,
    prepared,
    resolved_precision,
    save_state,
    seen_by_all,
    train,
)

RECIPE = Recipe(encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=4, learning_rate=0.02, warm_up=0, seed=1)


def halves(index):
    """Return a noisy picture whose left part is dark, class 0, and whose right part is bright, class 1."""
    random = np.random.default_rng(index)
    labels = np.zeros((40, 40), np.uint8)
    labels[:, random.integers(12, 28) :] = 1
    image = (labels * 150)[..., None] + random.integers(0, 60, (40, 40, 3))
    return Sample(image=image.astype(np.uint8), labels=labels)


def begun(recipe=RECIPE, *, count=6, **options):
    torch.manual_seed(recipe.seed)
    net = build(recipe.model, 2, encoder=recipe.encoder, width=recipe.width)
    segmenter = Segmenter(net, LabelSpace(names=("dark", "bright")), Preprocessing())
    crops = Crops(pairs=range(count), read=halves, size=recipe.crop, channels=3, fill=(0.0,) * 3, recipe=recipe)
    return prepared(segmenter, crops, **{"device": "cpu", "workers": 0, **options})


def test_yields_every_step_and_learns():
    training = begun(replace(RECIPE, epochs=8, augment="none"))
    steps = list(train(training))
    assert [step.step for step in steps] == list(range(1, 25))
    assert {step.total for step in steps} == {training.total} == {24}
    assert [step.epoch for step in steps] == [epoch for epoch in range(8) for _ in range(3)]
    assert {step.images for step in steps} == {2}
    rates = [0.02 * (1 - done / 24) ** 0.9 for done in range(24)]
    assert [step.rate for step in steps] == pytest.approx(rates)
    assert np.mean([step.loss for step in steps[-4:]]) < 0.5 * np.mean([step.loss for step in steps[:2]])
    assert list(train(training)) == []


def test_the_encoder_learns_at_its_own_rate():
    training = begun(replace(RECIPE, encoder_rate=0.0, weight_decay=0.0))
    before = {name: value.clone() for name, value in training.net.named_parameters()}
    next(train(training))
    changed = {name for name, value in training.net.named_parameters() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("encoder.") for name in changed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("compare", ["resized", "grid"])
def test_every_precision_and_grid_runs(precision, compare):
    training = begun(replace(RECIPE, precision=precision, compare=compare))
    step = next(train(training))
    assert 0.1 < step.loss < 3
    assert {parameter.dtype for parameter in training.net.parameters()} == {torch.float32}


def test_evaluation_between_two_steps_does_not_stick():
    training = begun()
    steps = train(training)
    next(steps)
    training.segmenter.eval()
    next(steps)
    assert training.net.training


def test_precisions(monkeypatch):
    assert resolved_precision("float16", "cuda") == "float16"
    for units, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda units=units: units)
        assert resolved_precision("auto", "cpu") == expected
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda units=units: units)
        assert resolved_precision("auto", "cuda") == expected
    assert resolved_precision("auto", "mps") == "float32"


def test_devices_that_are_not_here():
    with pytest.raises(AtrousError, match=r"device 'tpu' is not here; this machine has cpu"):
        begun(device="tpu")
    with pytest.raises(AtrousError, match="precision float16 needs a GPU, and the device is cpu: take float32 or bf"):
        begun(replace(RECIPE, precision="float16"))
    before = dict(os.environ)
    begun(device="cpu:0")
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ
    assert {key: os.environ[key] for key in before} == before


def test_a_loss_that_is_no_number_touches_nothing():
    training = begun(replace(RECIPE, precision="bfloat16"))
    next(train(training))
    with torch.no_grad():
        training.segmenter.net.classify.bias.fill_(float("nan"))
    before = {name: value.clone() for name, value in training.net.named_parameters()}
    words = r"the loss became nan at step 2: start again with a lower --learning-rate \(now 0.02\) or with --precision"
    with pytest.raises(AtrousError, match=words):
        next(train(training))
    assert training.step == 1
    for name, value in training.net.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def stored(training, folder):
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in training.segmenter.net.state_dict().items()}, folder / "net")
    save_state(folder, training)
    return folder


def momenta(training):
    state = training.optimizer.state_dict()["state"]
    return [state[index]["momentum_buffer"] for index in sorted(state)]


@pytest.mark.parametrize("cut", [2, 6])
def test_resumes_to_the_bit(tmp_path, cut):
    whole = begun()
    losses = [step.loss for step in train(whole)]
    first = begun()
    early = [step.loss for step in itertools.islice(train(first), cut)]
    folder = stored(first, tmp_path / "last")
    torch.manual_seed(99)  # a fresh process is in another state, and must not stay there
    second = begun()
    torch.manual_seed(77)
    second.segmenter.net.load_state_dict(load_file(folder / "net"))
    load_state(folder, second)
    assert second.step == cut
    assert early + [step.loss for step in train(second)] == losses
    for name, value in whole.segmenter.net.state_dict().items():
        torch.testing.assert_close(second.segmenter.net.state_dict()[name], value, rtol=0, atol=0)
    torch.testing.assert_close(momenta(second), momenta(whole), rtol=0, atol=0)


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    training = begun()
    next(train(training))
    return stored(training, tmp_path_factory.mktemp("run") / "last")


@pytest.fixture
def copy(last, tmp_path):
    for path in last.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_gradient_that_is_no_number_is_not_stepped():
    """A finite loss can have one, such as that of a root at 0."""
    training = begun(replace(RECIPE, mosaic=0.5))
    weight = training.segmenter.net.classify.bias
    weight.register_hook(lambda gradient: gradient * float("nan"))
    before = {name: value.clone() for name, value in training.net.named_parameters()}
    words = r"gradients became nan at step 1: .* A run's last/ is as it was saved; the step's crops were of .*pasted in"
    with pytest.raises(AtrousError, match=words):
        next(train(training))
    assert training.step == 0
    assert all(torch.equal(value, before[name]) for name, value in training.net.named_parameters())


def test_the_environment_does_not_change_the_training(monkeypatch):
    plain = begun()
    next(train(plain))
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    training = begun()
    next(train(training))
    assert training.accelerator.gradient_accumulation_steps == 1
    assert training.accelerator.state.dynamo_plugin.backend.value == "NO"
    for name, value in plain.segmenter.net.state_dict().items():
        torch.testing.assert_close(training.segmenter.net.state_dict()[name], value, rtol=0, atol=0)


def test_a_compiled_network_of_several_processes_is_not_thawed(monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(ValueError, match=r"--compile and --freeze-epochs 1 came for 2 processes: .* take one process"):
        begun(replace(RECIPE, compile=True, freeze=("encoder",), freeze_epochs=1))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("step", "3", r"step: input should be a valid integer, '3' came"),
        ("step", -1, r"step: input should be greater than or equal to 0, -1 came"),
        ("step", True, r"step: input should be a valid integer, True came"),
        ("optimizer", [], r"optimizer: input should be .*, \[\] came"),
        ("scored", "no", r"scored: input should be a valid boolean, 'no' came"),
        ("tally", {"seen": [1]}, r"tally.*: .* came"),
    ],
)
def test_a_state_of_other_types(copy, key, value, words):
    facts = json.loads((copy / "state.json").read_text())
    (copy / "state.json").write_text(json.dumps({**facts, key: value}))
    training = begun()
    with pytest.raises(AtrousError, match=rf"state.json: the training state cannot be read \({words}\); start again"):
        load_state(copy, training)
    assert training.step == 0


def test_labels_that_were_seen_are_the_first_processs(copy, monkeypatch):
    from accelerate import Accelerator

    first = begun()
    load_state(copy, first)
    assert sum(first.tally.seen) > 0
    monkeypatch.setattr(Accelerator, "is_main_process", False)
    second = begun()
    load_state(copy, second)
    assert second.tally.seen == [0] * 256


def test_what_all_saw_is_stored(tmp_path):
    training = begun()
    next(train(training))
    assert seen_by_all(training) == training.tally.seen
    save_state(tmp_path, training, seen=[7] * 256)
    assert json.loads((tmp_path / "state.json").read_text())["tally"]["seen"] == [7] * 256


def test_a_full_disk_leaves_the_state_as_it_was(copy, monkeypatch):
    before = (copy / "state.json").read_bytes()

    def full(*_values, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(AtrousError, match=r"state.json: could not be written \(No space left on device\)"):
            mark_scored(copy)
    assert (copy / "state.json").read_bytes() == before
    assert not load_state(copy, begun())
    mark_scored(copy)
    assert load_state(copy, begun())


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_state_files_that_are_missing_or_damaged(copy, name):
    content = (copy / name).read_bytes()
    for damage in (content[: len(content) // 2], b"", b"[1, 2]"):
        (copy / name).write_bytes(damage)
        with pytest.raises(AtrousError, match=r"the training state cannot be read \(.*; start again from `best/`"):
            load_state(copy, begun())
    (copy / name).unlink()
    with pytest.raises(AtrousError, match=rf"{name}: missing; only `last/` of a run can be resumed"):
        load_state(copy, begun())


def test_a_state_of_another_version(copy):
    facts = json.loads((copy / "state.json").read_text())
    (copy / "state.json").write_text(json.dumps({key: value for key, value in facts.items() if key != "format"}))
    with pytest.raises(
        AtrousError, match=r"written by another version \(format 1, here 2\); train a new run that starts"
    ):
        load_state(copy, begun())


def test_what_a_step_draws_is_a_function_of_seed_and_step():
    """Dropout hangs on nothing that was drawn before: not on the weights' beginning, nor on what a caller drew."""
    nets = []
    for drawn in (1, 2):
        training = begun(replace(RECIPE, epochs=1))
        torch.manual_seed(drawn)
        list(train(training))
        nets.append(training.segmenter.net.state_dict())
    torch.testing.assert_close(*nets, rtol=0, atol=0)


def test_the_state_of_another_run_is_refused_and_changes_nothing(copy):
    other = begun(count=9)
    with pytest.raises(AtrousError, match=r"3 steps an epoch; with the data given it would be 5. A run goes on with"):
        load_state(copy, other)
    with pytest.raises(
        AtrousError, match=r"state.safetensors: the optimiser's state of another network: .* Start again from"
    ):
        load_state(copy, begun(replace(RECIPE, width=1 / 16)))
    assert other.step == 0
    assert other.optimizer.state_dict()["state"] == {}


def test_the_state_is_json_and_safetensors(last):
    assert sorted(path.name for path in last.iterdir()) == ["net", "state.json", "state.safetensors"]
    names = set(load_file(last / "state.safetensors"))
    parameters = dict(begun().segmenter.net.named_parameters())
    assert names == {f"optimizer.{name}/momentum_buffer" for name in parameters}
