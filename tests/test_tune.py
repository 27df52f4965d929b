"""`atrous tune` as a user meets it: trials that are real runs, words, exit codes, and a search that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.contract import AtrousError
from atrous.data.scenes import write_scenes

TINY = ["--crop", "33", "--batch", "4", "--width", "0.0625", "--workers", "0", "--warm-up", "0", "--scale", "1", "1"]
TINY += ["--device", "cpu", "--epochs", "1", "--precision", "float32"]
SMALL: dict[str, Any] = {"crop": 33, "batch": 4, "width": 1 / 16, "workers": 0, "epochs": 1, "device": "cpu"}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six small street scenes."""
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=4, val=2, size=(33, 33))


@pytest.fixture(scope="module")
def searched(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search of two trials."""
    out = tmp_path_factory.mktemp("runs") / "search"
    atrous.tune(street, out=out, trials=2, search=["learning_rate=0.001..0.1", "augment=flip,light"], **SMALL)
    return out


def test_a_trial_is_a_run_that_predicts(searched: Path, street: Path, run: Run, tmp_path: Path) -> None:
    for folder in (searched / "trials" / "0001", searched / "best"):
        code, _, _ = run("predict", folder, street / "images" / "val", "--out", tmp_path / folder.name, "--quiet")
        assert code == 0
    recipe = json.loads((searched / "trials" / "0001" / "recipe.json").read_text())
    assert recipe["augment"] in ("flip", "light")
    assert (searched / "best" / "last" / "state.json").is_file()


def test_the_command_goes_on_and_prints_what_was_found(run: Run, street: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["tune", street, "--out", out, "--search", "learning_rate=0.01..0.02", "--search", "ema=0,0.9", *TINY]
    code, text, err = run(*words, "--trials", 1)
    assert code == 0
    assert text.splitlines()[0] == "trial  state     mean IoU  epochs  settings"
    assert text.splitlines()[-1] == (
        f"report in {out / 'report.md'}; next: atrous predict {out / 'best'} IMAGES --out out/"
    )
    assert "trial 0 of 1: mean IoU" in err
    assert "epoch 1/1" in err
    code, text, err = run(*words, "--trials", 2, "--json", "--quiet")
    found = json.loads(text)
    assert (code, err) == (0, "")
    assert [trial["trial"] for trial in found["trials"]] == [0, 1]
    assert found["best"]["mean_iou"] == max(trial["mean_iou"] for trial in found["trials"])
    assert f"atrous train {street} --model deeplab_v3plus" in (out / "report.md").read_text()


@pytest.mark.slow
def test_a_trial_whose_loss_is_no_number_is_a_failed_one(street: Path, tmp_path: Path) -> None:
    found = atrous.tune(
        street, out=tmp_path / "out", trials=2, search=["momentum=0.1,0.9"], recipe=None,
        **{**SMALL, "learning_rate": 1e30, "epochs": 3},
    )  # fmt: skip
    assert found.best is None
    assert {row.state for row in found.rows} == {"failed"}
    assert "learning rate" in found.rows[0].error.replace("-", " ")


def test_what_is_searched_without_a_word(street: Path, tmp_path: Path) -> None:
    found = atrous.tune(street, out=tmp_path / "out", trials=1, **SMALL)
    assert set(found.rows[0].settings) >= {"learning_rate", "weight_decay", "augment", "loss", "ema"}
    assert found.best_recipe is not None
    assert found.best_recipe.crop == (33, 33)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--search", "learning_rat=1..2"], "no field 'learning_rat'; did you mean 'learning_rate'?"),
        (["--search", "batch=0..4"], "search 'batch=0..4': batch: input should be greater than or equal to 1, 0 came"),
        (["--search", "batch=2..4"], "batch 4 came, and a search of it; leave one out"),
        (["--trials", "0"], "trials 0: at least 1 is accepted"),
        (["--timeout", "-1"], "timeout -1: minutes above 0 are accepted"),
        (["--recipe", "nothing-of-the-kind"], "nothing-of-the-kind"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    run: Run, street: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    code, _, err = run("tune", street, "--out", tmp_path / "out", *words, *TINY)
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


def test_a_search_without_a_split_to_score_on_is_refused(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind / "train").mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.full((33, 33, 3), 9, np.uint8)).save(tmp_path / f"data/images/train/{number}.png")
        labels = np.zeros((33, 33), np.uint8)
        labels[:, 9:] = 1
        Image.fromarray(labels).save(tmp_path / f"data/masks/train/{number}.png")
    (tmp_path / "train.txt").write_text("0\n1\n")
    with pytest.raises(AtrousError, match="val"):
        atrous.tune(tmp_path / "data", out=tmp_path / "out", train_list=tmp_path / "train.txt", **SMALL)


def test_one_of_several_processes_is_refused(street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="start the command itself once per device, with the same --out"):
        atrous.tune(street, out=tmp_path / "out", **SMALL)


def test_data_inside_the_folder_of_the_search_is_refused(street: Path) -> None:
    with pytest.raises(AtrousError, match="choose another --out"):
        atrous.tune(street / "images", out=street, **SMALL)
