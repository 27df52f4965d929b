"""Many runs in a table: how far each came, how well it does, what they differ in, and what is wrong with them."""

import json
import os
import time
from dataclasses import replace

import pytest

import atrous
from atrous.contract import AtrousError, Recipe
from atrous.runs.listing import _duration
from atrous.store import plain, write_json

RECIPE = Recipe(encoder="resnet18", epochs=4, batch=2)
LONG_AGO = time.time() - 9999


def line(epoch, score, **more):
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        "mean_iou": score,
        "pixel_accuracy": 0.9,
        "images_per_second": 4.0,
    } | more


def run_in(folder, scores=(0.2, 0.5, 0.4, 0.3), *, recipe=RECIPE, sha="abcdef" * 9, val=("a", "b"), seconds=30.0):
    """Write the folder of a run that was stopped, or is done where it has as many scores as epochs."""
    for name in ("best", "last"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(b"")
        write_json(folder / name / "config.json", {"classes": ["x", "y"]})
    write_json(folder / "recipe.json", plain(recipe))
    write_json(folder / "split.json", {"train": ["c"], "val": list(val)})
    write_json(folder / "fingerprint.json", {"layout": "camvid", "count": 12, "sha256": sha})
    lines = [line(at, score, seconds=seconds) for at, score in enumerate(scores, 1)]
    (folder / "log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    aged(folder)
    return folder


def aged(folder):
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (LONG_AGO, LONG_AGO))


def only(folder):
    (found,) = atrous.list_runs(folder).runs
    return found


def test_a_run_in_numbers(tmp_path):
    found = only(run_in(tmp_path / "first"))
    assert (found.name, found.state, found.epochs_done, found.epochs) == ("first", "finished", 4, 4)
    assert (found.best_mean_iou, found.best_epoch, found.last_mean_iou, found.pixel_accuracy) == (0.5, 2, 0.3, 0.9)
    assert (found.seconds, found.seconds_guessed, found.images_per_second) == (120.0, False, 4.0)
    assert (found.layout, found.images, found.data) == ("camvid", 12, "abcdef" * 9)
    assert found.recipe == RECIPE
    assert found.problem is None


def test_runs_are_found_at_any_depth_and_the_best_is_first(tmp_path):
    run_in(tmp_path / "b" / "two", (0.1,))
    run_in(tmp_path / "a b" / "눈" / "one", (0.9,))
    run_in(tmp_path / "none", ())
    run_in(tmp_path / "zero", (0.0,))
    run_in(tmp_path / ".hidden" / "run")
    run_in(tmp_path / "none" / "inside a run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "b", target_is_directory=True)
    assert [run.name for run in atrous.list_runs(tmp_path).runs] == ["a b/눈/one", "b/two", "zero", "none"]


def test_where_there_are_none(tmp_path):
    with pytest.raises(AtrousError, match="gone: no such folder; name one that holds runs"):
        atrous.list_runs(tmp_path / "gone")
    with pytest.raises(AtrousError, match=r"no runs in it; atrous train DATA --out .*NAME makes one"):
        atrous.list_runs(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "scores", "state", "epochs"),
    [
        (RECIPE, (0.5, 0.6), "stopped", 4),
        (RECIPE, (), "stopped", 4),
        (replace(RECIPE, epochs=9, patience=2), (0.5, 0.6, 0.6, 0.5), "stopped", 9),
        (replace(RECIPE, epochs=9, patience=2), (0.5, 0.6, 0.5, 0.5), "finished", 9),
        (replace(RECIPE, steps=35), (0.1, 0.2, 0.3, 0.4), "finished", 4),
        (replace(RECIPE, steps=35), (0.1, 0.2, 0.3), "stopped", 4),
        (replace(RECIPE, steps=35), (), "stopped", None),
    ],
)
def test_how_far_a_run_is(tmp_path, recipe, scores, state, epochs):
    found = only(run_in(tmp_path / "run", scores, recipe=recipe))
    assert (found.state, found.epochs) == (state, epochs)


def test_a_run_that_has_just_written_may_be_running(tmp_path):
    run = run_in(tmp_path / "run", (0.5,))
    os.utime(run / "log.jsonl")
    assert only(run).state == "running?"
    aged(run)
    (run / "events").mkdir()
    (run / "events" / "e").write_text("")
    assert only(run).state == "running?"
    aged(run)
    slow = run_in(tmp_path / "slow", (0.5,), seconds=9000.0)
    assert only(slow).state == "running?"


def test_an_old_run_is_read(tmp_path):
    run = run_in(tmp_path / "old")
    (run / "fingerprint.json").unlink()
    write_json(run / "recipe.json", {"model": "unet", "epochs": 4, "batch": 2, "crop": [64, 96]})
    write_json(
        run / "best" / "config.json",
        {"classes": [], "fingerprint": {"sha256": "12345678", "splits": {"train": 5, "val": 2}}},
    )
    (run / "log.jsonl").write_text("".join(json.dumps(line(at, 0.1 * at)) + "\n" for at in (1, 2, 3, 4)))
    found = only(run)
    assert (found.state, found.data, found.images, found.recipe.model) == ("finished", "12345678", 7, "unet")
    assert (found.seconds, found.seconds_guessed) == (20.0, True)
    assert "~20 s" in atrous.list_runs(run).as_text()


def damage(name, text):
    return lambda run: (run / name).write_text(text)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda run: (run / "recipe.json").unlink(), "recipe.json: missing"),
        (damage("recipe.json", "[]"), "recipe.json: no settings are in it; is it the recipe.json of another program?"),
        (damage("recipe.json", '{"epochs": 0}'), "recipe.json: epochs: input should be greater"),
        (damage("recipe.json", '{"future": 0}'), "recipe.json: future: "),
        (damage("split.json", "{"), "split.json: not readable JSON"),
        (damage("fingerprint.json", "{"), "fingerprint.json: not readable JSON"),
        (
            damage("log.jsonl", '{"epoch": 1, "step": 1}\noops\n{"epoch": 2, "step": 2}\n'),
            "log.jsonl: line 2 is damaged",
        ),
        (damage("best/config.json", "3"), "best/config.json: no settings are in it"),
        (lambda run: (run / "best" / "config.json").unlink(), "best/config.json: missing"),
        (lambda run: (run / "best" / "model.safetensors").unlink(), "best/model.safetensors: missing"),
        (lambda run: [(run / each).rename(run.parent / each) for each in ("best", "last")], "its weights are gone"),
    ],
)
def test_a_damaged_run_is_listed_with_what_is_wrong(tmp_path, harm, words):
    run_in(tmp_path / "well", (0.1, 0.2, 0.3, 0.4))
    harm(run_in(tmp_path / "hurt"))
    found = atrous.list_runs(tmp_path)
    hurt = next(run for run in found.runs if run.name == "hurt")
    assert hurt.state == "damaged"
    assert words in hurt.problem
    assert f"warning: hurt: damaged: {hurt.problem}" in found.as_text()
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["fingerprint.json", "split.json"])
@pytest.mark.parametrize("text", ["[]", "null", '"a"', '{"val": 3, "sha256": 3, "count": "x", "layout": []}'])
def test_other_types_are_passed_over(tmp_path, name, text):
    run = run_in(tmp_path / "run")
    (run / name).write_text(text)
    assert only(run).best_mean_iou == 0.5
    assert only(run).scored_on is None
    atrous.list_runs(run).as_text()


def test_numbers_that_are_none(tmp_path):
    run = run_in(tmp_path / "run")
    odd = {"mean_iou": "x", "images_per_second": -1, "seconds": [], "pixel_accuracy": {}}
    (run / "log.jsonl").write_text(
        json.dumps({"epoch": 1, "step": 1} | odd) + "\n" + '{"epoch": 2, "step": 2, "mean_iou": NaN}'
    )
    found = only(run)
    assert (found.best_mean_iou, found.epochs_done, found.problem) == (None, 2, None)
    json.dumps(atrous.list_runs(run).as_json(), allow_nan=False)


def test_the_settings_in_which_runs_differ(tmp_path):
    run_in(tmp_path / "a", (0.4,))
    run_in(
        tmp_path / "b", (0.3,), recipe=replace(RECIPE, learning_rate=0.01, seed=3, crop=(64, 96), freeze=("encoder",))
    )
    run_in(tmp_path / "c", (0.2,), recipe=replace(RECIPE, model="unet", learning_rate=0.01))
    found = atrous.list_runs(tmp_path)
    assert found.differing == {
        "crop": ([256, 256], [64, 96], [256, 256]),
        "learning_rate": (0.05, 0.01, 0.01),
        "freeze": ([], ["encoder"], []),
    }
    table = found.as_text().split("\n\n")[1].splitlines()
    assert [row.split() for row in table] == [
        ["differ", "in", "crop", "learning_rate", "freeze"],
        ["a", "256x256", "0.05", "-"],
        ["b", "64x96", "0.01", "encoder"],
        ["c", "256x256", "0.01", "-"],
    ]
    assert found.warnings == ()


def test_few_runs_that_differ_in_much_stand_side_by_side(tmp_path):
    run_in(tmp_path / "a", (0.4,))
    run_in(tmp_path / "b", (0.3,), recipe=replace(RECIPE, epochs=9, batch=4, augment="none"))
    rows = [row.split() for row in atrous.list_runs(tmp_path).as_text().split("\n\n")[1].splitlines()]
    assert rows == [["differ", "in", "a", "b"], ["batch", "2", "4"], ["epochs", "4", "9"], ["augment", "light", "none"]]


def test_one_run_differs_in_nothing(tmp_path):
    assert len(atrous.list_runs(run_in(tmp_path / "a")).as_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"sha": "9" * 40}, "a on camvid 12 images abcdef; b on camvid 12 images 999999"),
        ({"val": ("a", "z")}, "a on camvid 12 images abcdef; b on camvid 12 images abcdef"),
    ],
)
def test_scores_of_other_data_do_not_compare(tmp_path, other, words):
    run_in(tmp_path / "a", (0.4,))
    run_in(tmp_path / "b", (0.3,), **other)
    (warning,) = atrous.list_runs(tmp_path).warnings
    assert warning == f"scored on different images or classes, so that their scores do not compare: {words}"


def test_the_order_of_val_does_not_matter_and_other_classes_do(tmp_path):
    run_in(tmp_path / "a", (0.4,))
    other = run_in(tmp_path / "b", (0.3,), val=("b", "a"))
    assert atrous.list_runs(tmp_path).warnings == ()
    write_json(other / "best" / "config.json", {"classes": ["x", "z"]})
    assert "do not compare" in atrous.list_runs(tmp_path).warnings[0]


def test_a_seed_that_was_run_twice_counts_once(tmp_path):
    for name, seed, score in (("a", 0, 0.5), ("b", 0, 0.4), ("c", 1, 0.6)):
        run_in(tmp_path / name, (0.1, 0.2, 0.3, score), recipe=replace(RECIPE, seed=seed))
    (told,) = atrous.list_runs(tmp_path).repeated
    assert told.startswith("best mean IoU 55.00 +- 7.07 over 2 runs that differ in their seed only: c, a")


def test_the_spread_over_seeds(tmp_path):
    for seed, score in enumerate((0.50, 0.54, 0.52)):
        run_in(tmp_path / f"seed{seed}", (0.1, 0.2, 0.3, score), recipe=replace(RECIPE, seed=seed))
    run_in(tmp_path / "stopped", (0.9,), recipe=replace(RECIPE, seed=7))
    run_in(tmp_path / "other", (0.1, 0.2, 0.3, 0.9), recipe=replace(RECIPE, seed=7, batch=4))
    assert atrous.list_runs(tmp_path).repeated == (
        "best mean IoU 52.00 +- 2.00 over 3 runs that differ in their seed only: seed1, seed2, seed0",
    )


def test_the_command(tmp_path, run):
    run_in(tmp_path / "first")
    code, out, _ = run("runs", tmp_path)
    assert code == 0
    assert out.splitlines()[0].split()[:3] == ["run", "network", "epochs"]
    assert "first  deeplab_v3plus resnet18  4/4     50.00     epoch 2  30.00  90.00         2 min" in out
    (tmp_path / "first" / "recipe.json").unlink()
    code, out, _ = run("runs", tmp_path, "--json")
    answer = json.loads(out)
    assert code == 1
    assert answer["runs"][0]["state"] == "damaged"
    assert answer["warnings"] == [f"first: damaged: {answer['runs'][0]['problem']}"]
    code, _, err = run("runs", tmp_path / "gone")
    assert (code, "gone: no such folder" in err) == (2, True)


def test_wide_letters_keep_the_columns(tmp_path):
    run_in(tmp_path / "눈송이", (0.4,))
    run_in(tmp_path / "abcdef", (0.3,))
    rows = atrous.list_runs(tmp_path).as_text().splitlines()
    assert rows[1].index("deeplab") + 3 == rows[2].index("deeplab")


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (99.4, "99 s"), (101, "2 min"), (7170, "2 h 00 min")])
def test_times_are_words(seconds, words):
    assert _duration(seconds) == words
