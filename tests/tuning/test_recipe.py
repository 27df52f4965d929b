"""The search of a recipe, with trainings that take no time: trials, early stops, failures, going on, and the report."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atrous.contract import AtrousError, Recipe
from atrous.tuning import Search, check_search, search_recipe, space_of
from atrous.tuning.recipe_page import flags_of
from atrous.tuning.recipe_study import shown, sqlite_url

Events = Iterator[tuple[int, int, float]]
RECIPE = Recipe(encoder="resnet18", learning_rate=0.01, epochs=3)


@pytest.fixture
def figure() -> str:
    """Return the name of the figure, for the tests that look at it."""
    return "curves.png"


@pytest.fixture(autouse=True)
def _no_figure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a figure, which takes longest, only where a test looks at it."""
    if "figure" not in request.fixturenames:
        monkeypatch.setattr("atrous.tuning.recipe_page._write_curves", lambda found: None)


def searching(out: Path, *searches: str, **changes: Any) -> Search:
    space = space_of(searches or ("learning_rate=0.001..0.1", "augment=flip,light"), RECIPE)
    return replace(Search(out=out, recipe=RECIPE, space=space, name="street", data="abc", trials=3), **changes)


def trained(recipe: Recipe, out: Path, score: Callable[[Recipe, int], float] | None = None) -> Events:
    """Write what a run leaves, and score 1 at a learning rate of 0.01."""
    for folder in ("best", "last"):
        (out / folder).mkdir(parents=True)
        (out / folder / "config.json").write_text(json.dumps({"rate": recipe.learning_rate}))
    (out / "recipe.json").write_text("{}")
    for epoch in range(1, recipe.epochs + 1):
        best = 1 / (1 + abs(math.log10(recipe.learning_rate) + 2))
        yield epoch, recipe.epochs, best * epoch / recipe.epochs if score is None else score(recipe, epoch)


def silent(text: str) -> None:
    """Hear nothing."""


def test_trials_are_runs_and_the_best_is_kept(tmp_path: Path, figure: str) -> None:
    told: list[str] = []
    found = search_recipe(searching(tmp_path / "out"), trained, told=told.append, command="atrous train street")
    out = tmp_path / "out"
    assert [row.number for row in found.rows] == [0, 1, 2]
    assert found.rows[0].settings == {"learning_rate": 0.01, "augment": "light"}  # the recipe itself
    assert found.best is found.rows[0]
    assert found.best_recipe == RECIPE
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["0000", "0001", "0002"]
    assert not list((out / "trials").glob("*/last"))
    assert {path.name for path in (out / "best").iterdir()} == {"best", "last", "recipe.json", "trial.json"}
    assert json.loads((out / "best" / "trial.json").read_text()) == {"trial": 0, "mean_iou": 1.0}
    assert told[0] == "trial 0 of 3: mean IoU 100.00  (learning_rate 0.01, augment light)"
    assert {path.name for path in out.iterdir()} >= {"study.db", "study.json", "trials.csv", "report.md", figure}


def test_the_score_is_the_best_of_the_epochs(tmp_path: Path) -> None:
    scores = {1: 0.2, 2: 0.6, 3: 0.4}
    found = search_recipe(
        searching(tmp_path / "out", trials=1), lambda r, o: trained(r, o, lambda _, epoch: scores[epoch]), told=silent
    )
    assert found.rows[0].value == 0.6
    assert found.rows[0].epochs == scores


def test_the_best_run_changes_when_a_better_one_comes(tmp_path: Path) -> None:
    search = searching(tmp_path / "out", "learning_rate=0.02..0.2", trials=6)
    found = search_recipe(search, trained, told=silent)
    assert found.best is not None
    assert found.best.number != 0
    kept = json.loads((tmp_path / "out" / "best" / "trial.json").read_text())
    assert kept["trial"] == found.best.number
    config = json.loads((tmp_path / "out" / "best" / "best" / "config.json").read_text())
    assert config["rate"] == found.best.settings["learning_rate"]


def test_a_search_goes_on_until_its_trials_are_finished(tmp_path: Path) -> None:
    first = search_recipe(searching(tmp_path / "out", trials=2), trained, told=silent)
    again = search_recipe(searching(tmp_path / "out", trials=4), trained, told=silent)
    whole = search_recipe(searching(tmp_path / "whole", trials=4), trained, told=silent)
    assert (len(first.rows), len(again.rows)) == (2, 4)
    assert [row.settings for row in again.rows] == [row.settings for row in whole.rows]
    assert len({row.settings["learning_rate"] for row in again.rows}) == 4


def test_the_seed_decides_what_is_tried(tmp_path: Path) -> None:
    one, two, other = (
        search_recipe(
            searching(tmp_path / name, recipe=replace(RECIPE, seed=seed), trials=2), trained, told=silent
        ).rows[1].settings
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )  # fmt: skip
    assert one == two != other


def test_a_trial_below_the_median_is_stopped(tmp_path: Path) -> None:
    closed = []

    def train(recipe: Recipe, out: Path) -> Events:
        number = int(out.name)
        try:
            yield from trained(recipe, out, lambda _, epoch: 0.5 + 0.01 * number if number < 4 else 0.1)
        finally:
            closed.append(number)

    told: list[str] = []
    found = search_recipe(searching(tmp_path / "out", trials=5), train, told=told.append)
    assert [row.state for row in found.rows] == ["finished"] * 4 + ["stopped"]
    assert list(found.rows[4].epochs) == [1]  # of 3
    assert closed == [0, 1, 2, 3, 4]
    assert told[4].startswith("trial 4 of 5: stopped early at mean IoU 10.00")
    assert (tmp_path / "out" / "trials" / "0004" / "best").is_dir()


def test_a_trial_that_fails_is_noted_with_its_words(tmp_path: Path) -> None:
    def train(recipe: Recipe, out: Path) -> Events:
        if out.name == "0001":
            raise AtrousError("the loss became nan at step 3")
        if out.name == "0002":
            raise RuntimeError("CUDA out of memory\nTried to allocate")
        yield from trained(recipe, out, (lambda r, e: math.nan) if out.name == "0003" else None)

    told: list[str] = []
    found = search_recipe(searching(tmp_path / "out", trials=5), train, told=told.append)
    assert [row.state for row in found.rows] == ["finished", "failed", "failed", "failed", "finished"]
    assert [row.error for row in found.rows[1:4]] == [
        "the loss became nan at step 3",
        "RuntimeError: CUDA out of memory Tried to allocate",
        "no epoch had a mean IoU on val",
    ]
    assert "trial 1 of 5: failed: the loss became nan at step 3" in told[1]
    assert "2 finished, 3 failed" in found.as_text()


def test_trials_that_all_fail_end_the_search(tmp_path: Path) -> None:
    def train(recipe: Recipe, out: Path) -> Events:
        raise AtrousError(f"no memory for {out.name}")
        yield

    with pytest.raises(AtrousError, match="the first 3 trials all failed, the last one with: no memory for 0002"):
        search_recipe(searching(tmp_path / "out", trials=9), train, told=silent)
    assert "no trial finished" in (tmp_path / "out" / "report.md").read_text().lower()


def test_ctrl_c_leaves_a_search_that_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    tried = []

    def train(recipe: Recipe, out: Path) -> Events:
        tried.append((recipe.learning_rate, recipe.augment))
        for event in trained(recipe, out):
            if len(tried) == 2 and event[0] == 2:
                raise KeyboardInterrupt
            yield event

    with pytest.raises(KeyboardInterrupt):
        search_recipe(searching(tmp_path / "out"), train, told=silent)
    assert not (tmp_path / "out" / "trials" / "0001").exists()
    found = search_recipe(searching(tmp_path / "out"), train, told=silent)
    assert tried[1] == tried[2]
    assert [row.number for row in found.rows] == [0, 2, 3]
    assert found.left == 1
    assert "3 finished; 1 cut off;" in found.as_text()


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_recipe import searching, trained
from atrous.tuning import search_recipe
def train(recipe, out):
    for event in trained(recipe, out):
        if out.name == "0001": os._exit(9)
        yield event
search_recipe(searching(Path({out!r})), train, told=print)
"""


@pytest.mark.slow
def test_a_trial_of_a_killed_process_is_tried_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    told: list[str] = []
    found = search_recipe(searching(out), trained, told=told.append)
    assert told[0] == "1 trial of a process that ended will be tried again"
    assert [row.number for row in found.rows] == [0, 2, 3]
    assert not (out / "trials" / "0001").exists()


def test_a_running_trial_of_this_process_number_is_an_earlier_ones(tmp_path: Path) -> None:
    from atrous.tuning import recipe_study

    out = tmp_path / "out"
    search_recipe(searching(out, trials=1), trained, told=silent)
    with recipe_study.quiet():
        study = recipe_study.opened(sqlite_url(out / "study.db"), "street", epochs=3)
        with pytest.warns(UserWarning, match="Heartbeat"):
            trial = study.ask()
        recipe_study.mark(trial)
        trial.suggest_float("learning_rate", 0.001, 0.1, log=True)
    told: list[str] = []
    found = search_recipe(searching(out, trials=2), trained, told=told.append)
    assert "1 trial of a process that ended" in told[0]
    assert [row.number for row in found.rows] == [0, 2]
    assert found.rows[1].settings["learning_rate"] == pytest.approx(trial.params["learning_rate"], rel=0.01)


def test_settings_that_always_kill_their_process_are_given_up(tmp_path: Path) -> None:
    tried = []

    def train(recipe: Recipe, out: Path) -> Events:
        tried.append(recipe.learning_rate)
        if recipe.learning_rate == 0.01:
            raise SystemExit  # the trial is left as by a process that is killed
        yield from trained(recipe, out)

    for _ in range(3):
        with pytest.raises(SystemExit):
            search_recipe(searching(tmp_path / "out", trials=1), train, told=silent)
    search_recipe(searching(tmp_path / "out", trials=1), train, told=silent)
    assert tried[:3] == [0.01] * 3
    assert tried[3] != 0.01


TOGETHER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_recipe import searching, trained
from atrous.tuning import search_recipe
import time
def train(recipe, out):
    for event in trained(recipe, out):
        time.sleep(0.1)
        yield event
search_recipe(searching(Path({out!r}), trials=8), train, told=print)
"""


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = TOGETHER.format(tests=str(Path(__file__).parent), out=str(out))
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate()[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert min(map(len, lines)) >= 1
    found = search_recipe(searching(out, trials=8), trained, told=silent)
    assert len(found.rows) == 8
    assert {row.state for row in found.rows} <= {"finished", "stopped"}
    assert len({row.settings["learning_rate"] for row in found.rows}) == 8


def test_no_trial_starts_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import atrous.tuning.recipe as module

    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    found = search_recipe(searching(tmp_path / "out", trials=50, minutes=1.0), trained, told=silent)
    assert len(found.rows) == 2


def test_the_table_and_the_page_say_what_must_be_known(tmp_path: Path) -> None:
    found = search_recipe(searching(tmp_path / "out"), trained, told=silent, command="atrous train 'my street'")
    text, page = found.as_text(), (tmp_path / "out" / "report.md").read_text("utf-8")
    assert text.splitlines()[0] == "trial  state     mean IoU  epochs  settings"
    assert "    0  finished    100.00       3  learning_rate 0.01, augment light" in text
    assert "3 finished; best mean IoU on val of a trial's epochs, at original resolution" in text
    assert "the best of 3 scored trials on val flatters: it was chosen by that score" in text
    assert "atrous train 'my street' --model deeplab_v3plus --epochs 3 --lr 0.01\n" in page
    assert "The recipe itself is trial 0: mean IoU 100.00, finished." in page
    assert "Fewer than 10 trials finished: too few to tell which settings decide." in page
    with (tmp_path / "out" / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "trial": "0", "state": "finished", "mean_iou": "1.0", "epochs": "3",
        "learning_rate": "0.01", "augment": "light", "error": "",
    }  # fmt: skip
    json.dumps(found.as_json(), allow_nan=False)


def test_what_decides_is_told_from_ten_trials_on(tmp_path: Path) -> None:
    search = searching(tmp_path / "out", "learning_rate=0.0001..0.1", "momentum=0.1..0.9", trials=14)
    found = search_recipe(replace(search, recipe=replace(RECIPE, epochs=1)), trained, told=silent)
    assert set(found.weights) == {"learning_rate", "momentum"}
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.weights["learning_rate"] > found.weights["momentum"]
    assert "PED-ANOVA" in (tmp_path / "out" / "report.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"trials": 0}, ValueError, "trials 0: at least 1 is accepted"),
        ({"minutes": 0.0}, ValueError, "timeout 0: minutes above 0 are accepted"),
        ({"minutes": math.nan}, ValueError, "timeout nan: minutes above 0 are accepted"),
        ({"name": " "}, ValueError, "study '': a name is accepted"),
        ({"storage": "nowhere"}, AtrousError, "nowhere: the study cannot be kept there"),
        ({"storage": "postgresql://me:secret@localhost:1/x"}, AtrousError, r"postgresql://me:\*\*\*@localhost:1/x"),
        ({"storage": "sqlite:////no/such/folder/x.db"}, AtrousError, "unable to open database file"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        search_recipe(searching(tmp_path / "out", **changes), trained, told=silent)


def test_damaged_files_of_a_search_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    search_recipe(searching(out, trials=1), trained, told=silent)
    (out / "best" / "trial.json").write_text("[]")
    assert search_recipe(searching(out, trials=1), trained, told=silent).best is not None
    assert json.loads((out / "best" / "trial.json").read_text())["trial"] == 0
    (out / "study.json").write_text("[]")
    with pytest.raises(AtrousError, match="holds the trials of the study None"):
        check_search(searching(out))
    (out / "study.json").write_text("{")
    with pytest.raises(AtrousError, match=r"study\.json: not readable JSON"):
        check_search(searching(out))
    (out / "study.json").unlink()  # a process that was killed before it was written
    assert len(search_recipe(searching(out, trials=2), trained, told=silent).rows) == 2


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    (tmp_path / "file").write_text("")
    for name in ("run", "file"):
        with pytest.raises(AtrousError, match=f"{name}: is in the way and is not a search; choose another --out"):
            check_search(searching(tmp_path / name))


def test_another_study_another_recipe_or_other_data_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    search_recipe(searching(out, trials=1), trained, told=silent)
    for changes, words in (
        ({"name": "other"}, "holds the trials of the study 'street', not 'other'; choose another --out"),
        ({"data": "def"}, "was started with another data, abc and not def"),
        ({"recipe": replace(RECIPE, batch=3)}, "was started with another batch, 8 and not 3; the same command goes on"),
        ({"space": space_of(["batch=2..4"], RECIPE)}, "was started with another space batch, nothing and not 2..4"),
    ):
        with pytest.raises(AtrousError, match=words):
            search_recipe(searching(out, **changes), trained, told=silent)


def test_trials_without_their_study_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    search_recipe(searching(out, trials=1), trained, told=silent)
    (out / "study.db").unlink()
    with pytest.raises(AtrousError, match=r"trials: holds trials of a study that is not in .*study\.db"):
        search_recipe(searching(out), trained, told=silent)


def test_a_study_of_another_program_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    import optuna

    url = sqlite_url(tmp_path / "theirs.db")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=url, study_name="street")
    study.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(AtrousError, match="the study 'street' is of another program; give another --study"):
        search_recipe(searching(tmp_path / "out", storage=url), trained, told=silent)
    (tmp_path / "damaged.db").write_bytes(b"no database" * 500)
    with pytest.raises(AtrousError, match="not a database"):
        search_recipe(searching(tmp_path / "other", storage=sqlite_url(tmp_path / "damaged.db")), trained, told=silent)


def test_names_of_any_kind(tmp_path: Path) -> None:
    out = tmp_path / "거리 {1} 🌳 100%"
    found = search_recipe(searching(out, name="거리 | 🌳", trials=1), trained, told=silent)
    assert found.best is not None
    assert (out / "study.db").is_file()
    with pytest.raises(ValueError, match="a folder with \\? in its name cannot hold the study"):
        sqlite_url(tmp_path / "what?" / "study.db")
    assert shown("mysql://me:a b@host/x") == "mysql://me:***@host/x"


def test_a_missing_optuna_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(AtrousError, match=r'needs optuna, which is not installed: pip install "atrous\[train\]"'):
        search_recipe(searching(tmp_path / "out"), trained, told=silent)


def test_without_matplotlib_there_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    search_recipe(searching(tmp_path / "out", trials=1), trained, told=silent)
    assert not (tmp_path / "out" / figure).exists()
    assert (tmp_path / "out" / "report.md").is_file()


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        Recipe(encoder="resnet50", crop=(256, 336), scale=(0.75, 1.5), class_weights=(1.0, 2.5), freeze_norm=True),
        Recipe(encoder="resnet18", options={"separable": True}, ema=0.999, tversky=(0.4, 0.6), pretrained=True),
        Recipe(model="unet", learning_rate=0.0123456789, loss="cross_entropy+0.5*dice", loss_weights=(1.0, 0.4)),
        Recipe(encoder="resnet18", freeze=("encoder", "decoder"), freeze_epochs=2, multi_scale=(0.5, 1.0)),
    ],
)
def test_the_flags_make_the_recipe(recipe: Recipe) -> None:
    from atrous import flags
    from atrous.cli import app
    from atrous.cli.recipe_flags import changes_of
    from atrous.verbs.learning import _recipe

    words = flags.with_flag_values(["train", "street", *flags_of(recipe)])
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert _recipe(None, changes_of(bound.arguments["settings"])) == recipe


def test_the_lock_of_a_dead_process_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    search_recipe(searching(out, trials=1), trained, told=silent)
    (out / ".copying").touch()
    os.utime(out / ".copying", (0, 0))
    assert len(search_recipe(searching(out, trials=2), trained, told=silent).rows) == 2
    assert not (out / ".copying").exists()
