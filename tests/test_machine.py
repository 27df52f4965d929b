"""What a machine has, read from its files, and what a step takes, against arithmetic and against itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atrous.contract import AtrousError, Recipe
from atrous.runs import machine as room
from atrous.runs.machine import free_memory, machine, training_bytes

FACTS = {"channels": [3], "dtypes": ["uint8"], "classes": [{}] * 5}
SMALL = Recipe(encoder="resnet18", width=0.125, crop=(65, 65), batch=2, precision="float32")
LIBRARIES = 250_000_000


def tensors(recipe: Recipe, facts=FACTS) -> int:
    return training_bytes(recipe, facts) - LIBRARIES


def test_this_machine_is_described():
    found = machine("cpu")
    assert (found.kind, found.processes) == ("cpu", 1)
    assert found.cores >= 1
    assert found.memory > 0


def test_processes_share_a_host(monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 10_000)
    assert (machine("cpu").memory, machine("cpu", processes=4).memory) == (8_000, 2_000)


def test_what_is_not_here_is_refused():
    with pytest.raises(AtrousError, match="device 'tpu' is not here; this machine has cpu"):
        machine("tpu")
    with pytest.raises(ValueError, match="processes 0 came"):
        machine("cpu", processes=0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A host of 8 GB, 6 of them available, in a control group of the second version."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n")
    monkeypatch.setattr(room, "_MEMINFO", meminfo)
    monkeypatch.setattr(room, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(room, "_group", lambda: "outer/inner")
    (tmp_path / "cgroup" / "outer" / "inner").mkdir(parents=True)
    return tmp_path


def limit(folder, largest, used, cached=0):
    (folder / "memory.max").write_text(f"{largest}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def test_memory_is_what_is_available(files):
    assert free_memory() == 6_144_000_000


def test_a_control_group_bounds_it_and_its_file_cache_is_free(files):
    limit(files / "cgroup" / "outer" / "inner", "max", 5)
    assert free_memory() == 6_144_000_000
    limit(files / "cgroup" / "outer", 3_000_000_000, 2_500_000_000, cached=1_000_000_000)
    assert free_memory() == 1_500_000_000


def test_the_first_version_of_control_groups_is_read(files):
    old = files / "cgroup" / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("2000000000")
    (old / "memory.usage_in_bytes").write_text("500000000")
    assert free_memory() == 1_500_000_000


def test_a_group_that_is_full_has_nothing_left(files):
    limit(files / "cgroup" / "outer" / "inner", 10, 20)
    assert free_memory() == 0
    assert machine("cpu").memory == 1


def test_a_host_without_such_files_is_asked_for_its_pages(files, monkeypatch):
    (files / "meminfo").unlink()
    assert free_memory() > 0
    monkeypatch.delattr("os.sysconf", raising=False)
    assert free_memory() == 4 << 30


def test_bytes_grow_with_the_batch_evenly():
    one, two, four = (tensors(replace(SMALL, batch=batch)) for batch in (4, 8, 16))
    assert four - two == pytest.approx(2 * (two - one), rel=0.05)


def test_half_precision_keeps_less():
    wide = replace(SMALL, batch=16)
    assert tensors(replace(wide, precision="bfloat16")) < 0.8 * tensors(wide)


@pytest.mark.slow
def test_weights_gradients_and_momentum_are_counted():
    from atrous.models import build

    tiny = replace(SMALL, crop=(17, 17), batch=1)
    net = build("deeplab_v3plus", 5, encoder="resnet18", width=0.125)
    weights = sum(each.numel() * 4 for each in net.parameters())
    assert tensors(tiny) > 3 * weights
    plain = tensors(replace(tiny, momentum=0.0))
    assert tensors(tiny) - plain == pytest.approx(1.1 * weights, rel=0.05)
    assert tensors(replace(tiny, optimizer="adamw")) - tensors(tiny) >= 0.9 * weights
    assert tensors(replace(tiny, ema=0.9)) - tensors(tiny) == pytest.approx(1.1 * weights, rel=0.05)


@pytest.mark.slow
def test_losses_of_regions_and_larger_crops_take_more():
    many = {**FACTS, "classes": [{}] * 60}
    plain = tensors(SMALL, many)
    assert tensors(replace(SMALL, loss="cross_entropy+dice"), many) > plain
    assert tensors(replace(SMALL, multi_scale=(0.5, 1.5)), many) > plain
    assert tensors(replace(SMALL, accumulate=4), many) == plain
    assert training_bytes(SMALL, FACTS, 60) == training_bytes(SMALL, many)


@pytest.mark.parametrize("model", ["unet", "fcn8s", "deeplab_v2"])
def test_networks_with_margins_and_several_outputs(model):
    options = {"options": {"multiscale": True}, "encoder": "resnet18"} if model == "deeplab_v2" else {}
    compare = "grid" if model == "deeplab_v2" else "resized"
    recipe = Recipe(model=model, width=1 / 16, crop=(65, 65), batch=1, compare=compare, **options)
    assert tensors(recipe) > 0


def test_nothing_is_computed_and_nothing_drawn():
    before = torch.get_rng_state()
    training_bytes(SMALL, FACTS)
    assert torch.equal(before, torch.get_rng_state())


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="'deeplab_v9' is not known"):
        training_bytes(replace(SMALL, model="deeplab_v9"), FACTS)
