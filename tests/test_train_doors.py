"""Training by the command line: the flags that scripts rely on, exit codes, and runs that are equal to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from atrous import cli
from atrous.data.scenes import write_scenes
from atrous.runs import course

TINY = ["--crop", "33", "--batch", "4", "--width", "0.125", "--workers", "0", "--warm-up", "0", "--scale", "1", "1"]
TINY += ["--device", "cpu", "--precision", "float32"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=8, val=2, size=(40, 52))


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the curves undrawn, which would take most of the time."""
    monkeypatch.setattr(course, "draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def whole(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two epochs, --deterministic."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    arguments = ["train", str(street), "--out", str(out), "--epochs", "2", "--deterministic", "--quiet", *TINY]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "draw_curves", lambda *_: None)
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
    assert stop.value.code == 0
    return out


def recipe_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "recipe.json").read_text()))


def log_of(run: Path) -> list[dict[str, Any]]:
    timed = {"seconds", "waited", "images_per_second"}
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


def assert_equal_to_the_bit(first: Path, second: Path) -> None:
    for name in ("last/model.safetensors", "last/state.safetensors", "best/model.safetensors"):
        here, there = load_file(first / name), load_file(second / name)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[key], there[key]) for key in here), name
    assert log_of(first) == log_of(second)


def test_two_deterministic_runs_are_equal_to_the_bit(run: Run, street: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert run("train", street, "--out", out, "--epochs", 2, "--deterministic", "--quiet", *TINY)[0] == 0
    assert recipe_of(out)["deterministic"] is True
    assert_equal_to_the_bit(out, whole)
    assert not torch.are_deterministic_algorithms_enabled()


def test_stopped_and_resumed_is_the_whole_run(run: Run, street: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, err = run("train", street, "--out", out, "--epochs", 2, "--stop-after", 1, "--deterministic", *TINY)
    assert code == 0
    assert err.splitlines()[-1] == "stopped after epoch 1, as asked; --resume goes on"
    assert len(log_of(out)) == 1
    code, said, err = run("train", street, "--resume", "--out", out, "--workers", 0, "--device", "cpu")
    assert code == 0
    assert "resumed at step 2 of 4" in err
    assert said == f"run in {out}: best/ and last/; next: atrous evaluate {out} {street}\n"
    assert_equal_to_the_bit(out, whole)
    code, _, err = run("train", street, "--resume", "--out", out, "--workers", 0, "--device", "cpu")
    assert code == 0
    assert err.splitlines()[-1] == "all 2 epochs are done; --epochs 4 would go on"


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--precision bfloat16", "precision", "bfloat16"),
        ("--ema", "ema", 0.999),
        ("--ema 0.9", "ema", 0.9),
        ("--loss cross_entropy+0.5*dice", "loss", "cross_entropy+0.5*dice"),
        ("--class-weights median", "class_weights", "median"),
        ("--class-weights 1,2,1,1,1,1,1,1", "class_weights", [1.0, 2.0, *[1.0] * 6]),
        ("--freeze encoder --freeze-epochs 1", "freeze", ["encoder"]),
        ("--lr 0.01", "learning_rate", 0.01),
        ("--optimizer adamw --schedule cosine --clip 1", "optimizer", "adamw"),
        ("--steps 1", "steps", 1),
    ],
)
def test_a_flag_is_in_the_recipe_and_trains(
    run: Run, street: Path, tmp_path: Path, words: str, field: str, value: Any
) -> None:
    out = tmp_path / "run"
    precise = [*TINY[:-2], *(TINY[-2:] if "--precision" not in words else [])]
    length = [] if "--steps" in words else ["--epochs", 1]
    code, _, err = run("train", street, "--out", out, *length, *precise, *words.split())
    assert code == 0, err
    assert recipe_of(out)[field] == value
    assert len(log_of(out)) == 1


def test_weights_are_averaged_at_the_decay_that_is_named(run: Run, street: Path, tmp_path: Path) -> None:
    for name, words in (("plain", []), ("alone", ["--ema"]), ("named", ["--ema", "0.5"])):
        assert run("train", street, "--out", tmp_path / name, "--epochs", 1, "--quiet", *TINY, *words)[0] == 0
    plain, alone, named = (
        load_file(tmp_path / name / "best" / "model.safetensors") for name in ("plain", "alone", "named")
    )
    assert any(not torch.equal(plain[key], alone[key]) for key in plain)
    state = load_file(tmp_path / "alone" / "last" / "state.safetensors")
    assert all(torch.equal(state[f"trained.{key}"], plain[key]) for key in plain)
    # Both decays are (1 + step) / (10 + step) at first, which is less than either.
    assert all(torch.equal(named[key], alone[key]) for key in plain)


def test_the_lists_are_what_is_trained_on_and_validated(run: Run, street: Path, tmp_path: Path) -> None:
    images = sorted((street / "images" / "train").iterdir())
    for name, some in (("train.txt", images[:4]), ("val.txt", images[4:6])):
        (tmp_path / name).write_text("".join(f"{path.relative_to(street).as_posix()}\n" for path in some))
    lists = ["--train-list", tmp_path / "train.txt", "--val-list", tmp_path / "val.txt"]
    code, _, err = run("train", street, "--out", tmp_path / "run", "--epochs", 1, *lists, *TINY)
    assert code == 0, err
    assert "4 train, 2 val images" in err
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {name: len(split[name]) for name in ("train", "val")} == {"train": 4, "val": 2}
    (tmp_path / "val.txt").write_text(f"{images[0].relative_to(street).as_posix()}\n")
    code, _, err = run("train", street, "--resume", "--out", tmp_path / "run", "--epochs", 2, *lists, "--workers", 0)
    assert code == 2
    assert len(err.splitlines()) == 1


def test_two_seeds_are_two_runs_and_a_summary(run: Run, street: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    code, said, err = run("train", street, "--out", out, "--epochs", 1, "--seeds", 2, *TINY)
    assert code == 0
    assert said == f"runs in {out}: a folder each, and seeds.json\n"
    assert [recipe_of(out / name)["seed"] for name in ("seed-0", "seed-1")] == [0, 1]
    assert "2 runs, mean and deviation of their best epochs" in err
    code, said, _ = run("runs", out)
    assert code == 0
    assert {"seed-0", "seed-1"} <= set(said.split())
    code, _, err = run("train", street, "--out", out, "--epochs", 1, "--seeds", 2, *TINY)
    assert code == 2
    assert "seed-0: holds a run already; --resume goes on with it, --overwrite throws it away" in err


def test_seeds_go_on_where_one_was_killed_before_anything_was_saved(run: Run, street: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    arguments = ["train", street, "--out", out, "--epochs", 1, "--seeds", 2, *TINY]
    assert run(*arguments, "--quiet")[0] == 0
    for name in ("best", "last", "events", "log.jsonl"):
        place = out / "seed-1" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    code, _, err = run(*arguments, "--resume")
    assert code == 0, err
    assert f"{out / 'seed-1'}: was ended before anything was trained; it begins anew" in err
    assert "the epoch is done; --epochs 2 would go on" in err
    assert len(log_of(out / "seed-1")) == 1


def test_a_papers_recipe_by_its_name(run: Run, street: Path, tmp_path: Path) -> None:
    code, said, _ = run("recipes")
    assert code == 0
    assert "unet" in said
    out = tmp_path / "run"
    small = ["--width", "0.03125", "--crop", "92", "--batch", "1", "--steps", "1", "--workers", "0", "--device", "cpu"]
    code, _, err = run("train", street, "--out", out, "--recipe", "unet_isbi", *small)
    assert code == 0, err
    assert recipe_of(out)["model"] == "unet"
    assert recipe_of(out)["steps"] == 1


def test_the_recipe_auto_is_stored_with_its_reasons(run: Run, street: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, err = run("train", street, "--out", out, "--recipe", "auto", "--epochs", 1, *TINY)
    assert code == 0, err
    assert recipe_of(out)["width"] == 0.125
    assert (out / "plan.json").is_file()


@pytest.mark.slow
def test_a_compiled_network_trains_and_resumes(run: Run, street: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, err = run("train", street, "--out", out, "--epochs", 1, "--compile", *TINY)
    assert code == 0, err
    assert recipe_of(out)["compile"] is True
    code, _, err = run("train", street, "--resume", "--out", out, "--epochs", 2, "--workers", 0, "--device", "cpu")
    assert code == 0, err
    assert len(log_of(out)) == 2


def test_data_after_a_flag_of_many_words(run: Run, street: Path) -> None:
    code, _, err = run("train", "--freeze", "encoder", street)
    assert code == 2
    assert "--freeze took all the words that follow: give DATA first." in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--loss cross_entropi", "'cross_entropi' is no loss; did you mean 'cross_entropy'? There are"),
        ("--recipe deeplab", "deeplab"),
        ("--precision float16", "precision float16 needs a GPU, and the device is cpu: take float32 or bfloat16"),
        ("--ema 1", "ema: input should be less than 1, 1.0 came"),
        ("--class-weights mean", "--class-weights mean: median, root, none, or a number per class"),
        ("--class-weights 1,2", "2"),
        ("--ema abc", "--ema abc: a decay like 0.999 is accepted"),
        ("--pretrained .", "neither a model folder (config.json is missing) nor a run"),
        ("--steps 3 --epochs 1", "both --steps 3 and --epochs 1 came; give one"),
        ("--freeze", "--freeze needs the name of a part, such as encoder"),
        ("--freeze-epochs 2", "freeze_epochs 2 came without freeze: name the parts, such as encoder"),
        ("--recipe Auto", "`atrous train DATA --recipe auto` works one out from the data"),
        ("--seeds 1", "seeds 1 came; 2 or more runs have a deviation"),
        ("--stop-after 0", "stop_after 0 came; 1 epoch or more is accepted"),
        ("--freeze encodr", "has no part 'encodr'; did you mean 'encoder'?"),
        ("--train-list none.txt", "none.txt"),
        ("--epochs 0", "epochs: input should be greater than or equal to 1, 0 came"),
        ("--pretrained nowhere", "nowhere"),
        ("--trackers tensorbord", "no tracker 'tensorbord'"),
    ],
)
def test_what_cannot_be_is_a_line_and_leaves_nothing(
    run: Run, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    precise = TINY[:-2] if "--precision" in words else TINY
    code, out, err = run("train", street, "--out", tmp_path / "run", *precise, *words.split())
    assert code == 2
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("atrous: ")
    assert said in last
    assert not (tmp_path / "run").exists()
