"""A run from start to end: its folder, Ctrl-C, resuming, and the words for what cannot go on."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atrous import verbs
from atrous.contract import AtrousError, Recipe
from atrous.data import write_image
from atrous.runs import Epoch, Note, claim, interruptible, preprocessing, resumed_recipe
from atrous.training import Step

RECIPE = Recipe(encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=2, learning_rate=0.02, warm_up=0)
OPTIONS = {"device": "cpu", "workers": 0}


def halves(root, names=("a", "b", "c", "d", "e", "f"), *, channels=3, dtype=np.uint8, classes=2):
    for index, name in enumerate(names):
        random = np.random.default_rng(index)
        labels = np.zeros((36, 40), np.uint8)
        labels[:, random.integers(12, 28) :] = classes - 1
        image = (labels > 0)[..., None] * 150 + random.integers(0, 60, (36, 40, channels))
        image = (image * (1 if dtype == np.uint8 else 200)).astype(dtype)
        for kind, array in (("images", image), ("masks", labels)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array[..., 0] if array.ndim == 3 and channels == 1 else array).save(
                root / kind / f"{name}.png"
            )
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return halves(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def run(data, told, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    return verbs.train(data, out=out, recipe=RECIPE, listener=told.append, **OPTIONS)


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def files_below(folder):
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("events/")}


def test_what_a_run_holds(run):
    model = {"model.safetensors", "config.json", "README.md"}
    assert files_below(run) == {
        "recipe.json",
        "split.json",
        "log.jsonl",
        "fingerprint.json",
        "environment.json",
        "curves.png",
        "samples/0001.jpg",
        "samples/0002.jpg",
        *(f"best/{name}" for name in model),
        *(f"last/{name}" for name in {*model, "state.safetensors", "state.json"}),
    }
    assert json.loads((run / "recipe.json").read_text())["epochs"] == 2
    split = json.loads((run / "split.json").read_text())
    assert sorted(name for names in split.values() for name in names) == [f"images/{name}" for name in "abcdef"]
    assert set(split) == {"train", "val"}
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert set(log[0]) == {
        *("epoch", "step", "loss", "rate", "seconds", "waited", "images_per_second"),
        *("mean_iou", "pixel_accuracy", "iou"),
    }
    config = json.loads((run / "best" / "config.json").read_text())
    assert config["scores"]["mean_iou"] == max(line["mean_iou"] for line in log)
    assert config["versions"].keys() >= {"atrous", "torch", "python"}
    assert config["options"]["pretrained"] is False


def test_what_is_told(run, told):
    steps = len(json.loads((run / "split.json").read_text())["train"]) + 1
    quiet = [event for event in told if not isinstance(event, Note) or not event.warning]
    assert [type(event) for event in quiet] == [Note, Note, Note, *([*[Step] * (steps // 2), Epoch] * 2)]
    assert told[0].text.startswith("deeplab_v3plus resnet18, 0.3 M parameters; 2 classes; ")
    assert "random weights; --pretrained would start the encoder from its published" in told[1].text
    assert told[2].text == (
        "atrous rates as large as the map see its centre only (6 on a map of 3, 12 on a map of 3, 18 on a map of 3); "
        "a larger --crop helps"
    )
    last = [event for event in told if isinstance(event, Epoch)][-1]
    assert (last.epoch, last.epochs) == (2, 2)
    assert last.scores.images == len(json.loads((run / "split.json").read_text())["val"])


def test_a_crop_the_network_does_not_take_is_rounded_up(data, tmp_path):
    told = []
    verbs.train(
        data, out=tmp_path / "run", recipe=replace(RECIPE, crop=(20, 33), epochs=1), listener=told.append, **OPTIONS
    )
    notes = [event.text for event in told if isinstance(event, Note)]
    assert "crop 20x33 became 33x33, a size this network takes" in notes


def test_a_run_in_the_way(run, data, tmp_path):
    before = files_below(run)
    with pytest.raises(
        AtrousError, match=r"first: holds a run already; --resume goes on with it, --overwrite throws it"
    ):
        verbs.train(data, out=run, recipe=RECIPE)
    with pytest.raises(ValueError, match="both resume and overwrite came; one goes on with the run, the other throws"):
        verbs.train(data, out=run, resume=True, overwrite=True)
    with pytest.raises(AtrousError, match="is in the way and is not a run; choose another --out"):
        verbs.train(data, out=data)
    with pytest.raises(AtrousError, match=r"none: no run to resume \(no recipe.json\)"):
        verbs.train(data, out=tmp_path / "none", resume=True)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(AtrousError, match=r"no run to resume \(last/ is missing\)"):
        claim(tmp_path, resume=True, overwrite=False)
    assert files_below(run) == before


def test_overwriting_waits_until_all_else_is_well(copy, data, tmp_path):
    for folder, changes, error, words in (
        (tmp_path / "gone", {}, AtrousError, "gone: no such folder"),
        (data, {"model": "deplab"}, ValueError, "model 'deplab' is not known"),
        (data, {"batch": 0}, ValueError, "greater than or equal to 1"),
    ):
        with pytest.raises(error, match=words):
            verbs.train(folder, out=copy, overwrite=True, **OPTIONS, **changes)
        assert (copy / "best" / "model.safetensors").is_file()
    verbs.train(data, out=copy, recipe=replace(RECIPE, epochs=1, seed=5), overwrite=True, **OPTIONS)
    assert len((copy / "log.jsonl").read_text().splitlines()) == 1
    assert json.loads((copy / "recipe.json").read_text())["seed"] == 5


def test_a_finished_run_says_so_and_epochs_may_grow(copy, data):
    told = []
    verbs.train(data, out=copy, resume=True, listener=told.append, **OPTIONS)
    assert told[-1].text == "all 2 epochs are done; --epochs 4 would go on"
    told.clear()
    verbs.train(data, out=copy, resume=True, epochs=3, crop=33, listener=told.append, **OPTIONS)
    assert [event.epoch for event in told if isinstance(event, Epoch)] == [3]
    assert any("resumed at step" in event.text for event in told if isinstance(event, Note))
    assert not any("random weights" in event.text for event in told if isinstance(event, Note))
    assert [json.loads(line)["epoch"] for line in (copy / "log.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert resumed_recipe(copy, {}).epochs == 3


def test_what_contradicts_a_run(copy, data, tmp_path):
    for changes, words in (
        ({"steps": 9}, "the run was started without --steps, not with 9; leave --steps out to resume"),
        ({"batch": 3}, "the run was started with --batch 2, not 3; leave --batch out to resume"),
        ({"learning_rate": 0.5}, "--learning-rate 0.02, not 0.5; leave --learning-rate out"),
        ({"epochs": 1}, r"--epochs 2, not 1 \(epochs may only grow\); leave --epochs out"),
        ({"crop": 65}, r"--crop \(33, 33\), not \(65, 65\)"),
        ({"classes": ["x", "y"]}, r"--classes \('class 0', 'class 1'\), not \('x', 'y'\)"),
        ({"ignore": 7}, "--ignore 255, not 7; leave --ignore out to resume"),
        ({"labels": "colours"}, "--labels indices, not colours"),
        ({"recipe": replace(RECIPE, seed=9)}, "--seed 0, not 9"),
    ):
        with pytest.raises(AtrousError, match=words):
            verbs.train(data, out=copy, resume=True, **changes, **OPTIONS)
    other = halves(tmp_path / "other", tuple("uvwxyz"))
    with pytest.raises(
        AtrousError, match=r"other: holds none of the images that .*run was trained with; a run goes on"
    ):
        verbs.train(other, out=copy, resume=True, epochs=3, **OPTIONS)
    part = halves(tmp_path / "part", tuple("abc"))
    with pytest.raises(
        AtrousError, match=r"part: 3 of the 6 images that .* was trained with are missing, first 'images/d'"
    ):
        verbs.train(part, out=copy, resume=True, epochs=3, **OPTIONS)


def test_a_damaged_best_does_not_keep_a_run_from_going_on(copy, data):
    (copy / "best" / "config.json").write_text("{")
    verbs.train(data, out=copy, resume=True, epochs=3, **OPTIONS)
    assert len((copy / "log.jsonl").read_text().splitlines()) == 3


def test_stop_after_ends_cleanly_and_goes_on_to_the_bit(data, run, tmp_path):
    out, told = tmp_path / "run", []
    verbs.train(data, out=out, recipe=RECIPE, stop_after=1, listener=told.append, **OPTIONS)
    assert told[-1].text == "stopped after epoch 1, as asked; --resume goes on"
    assert len((out / "log.jsonl").read_text().splitlines()) == 1
    verbs.train(data, out=out, resume=True, **OPTIONS)
    for name in ("model.safetensors", "state.safetensors"):
        torch.testing.assert_close(load_file(out / "last" / name), load_file(run / "last" / name), rtol=0, atol=0)
    with pytest.raises(ValueError, match="stop_after 0 came; 1 epoch or more is accepted"):
        verbs.train(data, out=tmp_path / "other", recipe=RECIPE, stop_after=0, **OPTIONS)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.9, "measure_norm": 3, "optimizer": "adamw", "learning_rate": 0.001},
        {"freeze": ("encoder",), "freeze_epochs": 1, "accumulate": 2, "clip": 1.0, "loss": "cross_entropy+dice"},
        {"multi_scale": (0.5, 1.0), "crop": 65, "schedule": "cosine", "class_weights": "median", "freeze_norm": True},
        {"model": "deeplab_v1", "encoder": "vgg16", "width": 1 / 32, "crop": 41, "steps": 5, "validate_every": 2},
    ],
)
def test_everything_that_changes_resumes_to_the_bit(data, tmp_path, changes):
    """A run that is killed in the middle of its second epoch ends as one that was left alone."""

    class Killed(BaseException):
        pass

    def kill(event):
        if isinstance(event, Step) and event.step == stop:
            raise Killed

    recipe, whole, out = replace(RECIPE, **changes), tmp_path / "whole", tmp_path / "killed"
    steps = []
    verbs.train(data, out=whole, recipe=recipe, listener=steps.append, **OPTIONS)
    stop = max(event.step for event in steps if isinstance(event, Step)) // 2 + 1
    with pytest.raises(Killed):
        verbs.train(data, out=out, recipe=recipe, listener=kill, **OPTIONS)
    verbs.train(data, out=out, resume=True, **OPTIONS)
    for name in ("last/model.safetensors", "last/state.safetensors", "best/model.safetensors"):
        torch.testing.assert_close(load_file(out / name), load_file(whole / name), rtol=0, atol=0)
    logs = [[json.loads(line) for line in (each / "log.jsonl").read_text().splitlines()] for each in (out, whole)]
    timed = {"seconds", "waited", "images_per_second"}
    told = [[{key: value for key, value in line.items() if key not in timed} for line in log] for log in logs]
    assert told[0] == told[1]


def test_several_seeds_are_not_put_among_other_things(data, run, tmp_path):
    for folder in (data, run):
        with pytest.raises(AtrousError, match="is in the way and holds more than runs of several seeds, such as"):
            verbs.train(data, out=folder, recipe=RECIPE, seeds=2, **OPTIONS)


def test_a_run_ended_before_its_beginning_begins_anew_with_its_recipe(run, data, tmp_path):
    out, told = tmp_path / "run", []
    out.mkdir()
    for name in ("recipe.json", "split.json"):
        (out / name).write_bytes((run / name).read_bytes())
    verbs.train(data, out=out, resume=True, listener=told.append, **OPTIONS)
    assert told[0].text.endswith("run: was ended before anything was trained; it begins anew")
    for name in ("last/model.safetensors", "best/model.safetensors"):
        torch.testing.assert_close(load_file(out / name), load_file(run / name), rtol=0, atol=0)


def test_the_network_of_a_run_is_taken_with_its_weights(run, data, tmp_path):
    told = []
    changes = {"crop": 33, "batch": 2, "epochs": 1, "warm_up": 0}
    verbs.train(data, out=tmp_path / "more", pretrained=str(run), listener=told.append, **changes, **OPTIONS)
    assert "starting from" in told[0].text
    assert "; new are" not in told[0].text
    assert json.loads((tmp_path / "more" / "recipe.json").read_text())["width"] == RECIPE.width


def test_a_named_recipe_that_is_not_the_runs_is_refused_on_resuming(copy, data):
    with pytest.raises(AtrousError, match="the run was started with --model deeplab_v3plus, not unet"):
        verbs.train(data, out=copy, resume=True, recipe="unet_isbi", **OPTIONS)
    with pytest.raises(ValueError, match="'unet_isbiX' is not known; did you mean"):
        verbs.train(data, out=copy, resume=True, recipe="unet_isbiX", **OPTIONS)


def test_a_run_that_was_ended_by_patience_stays_so(data, tmp_path):
    out, told = tmp_path / "run", []
    recipe = replace(RECIPE, epochs=6, learning_rate=1e-30, patience=1, freeze_norm=True, augment="none")
    verbs.train(data, out=out, recipe=recipe, **OPTIONS)
    lines = (out / "log.jsonl").read_text()
    assert len(lines.splitlines()) == 2  # an equal score is no better one
    verbs.train(data, out=out, resume=True, listener=told.append, **OPTIONS)
    assert told[-1].text == "no better score for 1 epoch (--patience 1): stopped"
    assert (out / "log.jsonl").read_text() == lines


def test_patience_counts_at_validations_only(data, tmp_path):
    recipe = replace(RECIPE, epochs=6, learning_rate=1e-30, patience=1, validate_every=2, freeze_norm=True)
    out = verbs.train(data, out=tmp_path / "run", recipe=recipe, **OPTIONS)
    scored = [json.loads(line).get("mean_iou") for line in (out / "log.jsonl").read_text().splitlines()]
    assert [score is None for score in scored] == [True, False, True, False]


def test_ctrl_c_between_validations_saves(data, tmp_path):
    out = tmp_path / "run"

    def interrupt(event):
        if isinstance(event, Step) and event.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        verbs.train(data, out=out, recipe=replace(RECIPE, validate_every=2), listener=interrupt, **OPTIONS)
    assert json.loads((out / "last" / "state.json").read_text())["step"] == 3


def test_patience_ends_a_run_and_stays_ended(data, tmp_path):
    told, out = [], tmp_path / "run"
    recipe = replace(RECIPE, epochs=40, learning_rate=1e-9, patience=2)
    verbs.train(data, out=out, recipe=recipe, listener=told.append, **OPTIONS)
    done = [event.epoch for event in told if isinstance(event, Epoch)]
    assert len(done) < 40
    assert told[-1].text == "no better score for 2 epochs (--patience 2): stopped"


def test_several_seeds_have_a_mean_and_a_deviation(data, tmp_path):
    told, out = [], tmp_path / "runs"
    recipe = replace(RECIPE, epochs=1, seed=3)
    verbs.train(data, out=out, recipe=recipe, seeds=2, seed=3, listener=told.append, **OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == ["seed-3", "seed-4", "seeds.json"]
    found = json.loads((out / "seeds.json").read_text())
    values = [verbs.scores_of(out / name)["mean_iou"] for name in ("seed-3", "seed-4")]
    assert found["scores"]["mean_iou"] == values
    assert found["mean"]["mean_iou"] == pytest.approx(np.mean(values))
    assert found["deviation"]["mean_iou"] == pytest.approx(np.std(values, ddof=1))
    assert verbs.scores_of(out) == found
    assert told[-1].text.startswith("2 runs, mean and deviation of their best epochs\nmean IoU ")
    verbs.train(data, out=out, recipe=recipe, seeds=2, seed=3, resume=True, **OPTIONS)
    with pytest.raises(ValueError, match="seeds 1 came; 2 or more runs have a deviation, and --seed chooses one"):
        verbs.train(data, out=tmp_path / "one", recipe=recipe, seeds=1, **OPTIONS)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_ctrl_c_leaves_a_run_that_goes_on_to_the_bit(data, run, tmp_path, stop):
    """Stopping in the middle of an epoch saves at once, at its end after the scores; both end as the whole run did."""
    out = tmp_path / "run"
    per_epoch = -(-len(json.loads((run / "split.json").read_text())["train"]) // 2)

    def interrupt(event):
        if isinstance(event, Step) and event.step == min(stop, 2 * per_epoch):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        verbs.train(data, out=out, recipe=RECIPE, listener=interrupt, **OPTIONS)
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((out / "last" / "state.json").read_text())["step"] == min(stop, 2 * per_epoch)
    verbs.train(data, out=out, resume=True, **OPTIONS)
    for name in ("model.safetensors", "state.safetensors"):
        torch.testing.assert_close(load_file(out / "last" / name), load_file(run / "last" / name), rtol=0, atol=0)
    logs = [[json.loads(line) for line in (each / "log.jsonl").read_text().splitlines()] for each in (out, run)]
    assert [line["iou"] for line in logs[0]] == [line["iou"] for line in logs[1]]
    assert (out / "best" / "config.json").is_file()


def test_the_second_ctrl_c_interrupts_at_once():
    with interruptible() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)  # a launcher's echo of the first
        time.sleep(0.6)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_class_is_refused(tmp_path):
    root = halves(tmp_path / "data", classes=1)
    with pytest.raises(AtrousError, match=r"data: the masks hold 1 class; training needs at least 2"):
        verbs.train(root, out=tmp_path / "run", recipe=RECIPE, **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_broken_mask_stops_before_anything_is_written(tmp_path):
    root = halves(tmp_path / "data")
    (root / "masks" / "b.png").write_bytes(b"broken")
    with pytest.raises(AtrousError, match=r"masks/b.png: this is not an image"):
        verbs.train(root, out=tmp_path / "run", recipe=RECIPE, **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("channels", "dtype", "grey"), [(1, np.uint8, False), (1, np.uint16, False), (3, np.uint8, True)]
)
def test_grey_deep_and_mixed_images(tmp_path, channels, dtype, grey):
    root = halves(tmp_path / "data", channels=channels, dtype=dtype)
    if grey:
        for name in ("a", "b"):
            with Image.open(root / "images" / f"{name}.png") as image:
                image.convert("L").save(root / "images" / f"{name}.png")
    out = verbs.train(root, out=tmp_path / "run", recipe=replace(RECIPE, epochs=1), **OPTIONS)
    config = json.loads((out / "best" / "config.json").read_text())
    assert len(config["preprocessing"]["mean"]) == channels
    assert (config["preprocessing"]["high"] > 255) == (dtype == np.uint16)
    outcome = verbs.predict(out, root / "images", out=tmp_path / "out", device="cpu")
    assert (len(outcome.written), outcome.failed) == (12, {})


def facts(**changes):
    return {"dtypes": ["uint8"], "channels": [3], "low": 0.0, "high": 255.0, "mean": [1.0], "std": [1.0], **changes}


def test_preprocessing_comes_from_the_data():
    class Net:
        preprocessing_padding = "mirror"

    found = preprocessing(
        Net, facts(dtypes=["uint16"], channels=[1], low=100.0, high=1100.0, mean=[600.0], std=[200.0])
    )
    assert (found.low, found.high, found.mean, found.std, found.padding) == (100, 1100, (0.5,), (0.2,), "mirror")
    assert preprocessing(Net, facts(channels=[1, 3])).channels == 3
    flat = preprocessing(Net, facts(dtypes=["uint16"], channels=[1], low=7.0, high=7.0, mean=[7.0], std=[0.0]))
    assert min(flat.std) > 0


def test_images_that_cannot_be_learnt_together(tmp_path):
    root = halves(tmp_path / "data")
    for array, words in (
        (np.zeros((36, 40, 5), np.uint8), "images of 3, 5 channels are mixed; store them all alike"),
        (np.zeros((36, 40, 3), np.uint16), "images of uint16 and uint8 are mixed; store them all with one depth"),
    ):
        (root / "images" / "a.png").unlink(missing_ok=True)
        write_image(root / "images" / "a.tif", array)
        with pytest.raises(AtrousError, match=words):
            verbs.train(root, out=tmp_path / "run", recipe=RECIPE, **OPTIONS)
        assert not (tmp_path / "run").exists()
