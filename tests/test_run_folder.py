"""What a run leaves in its folder: the log, the curves, the sheets of images, where it was made, and its trackers."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atrous import verbs
from atrous.contract import AtrousError, LabelSpace, Recipe
from atrous.data import Pair
from atrous.runs import environment as environments
from atrous.runs import pictures, plots, trackers
from atrous.runs.environment import environment, write_environment
from atrous.runs.folder import clear, curves
from atrous.runs.pictures import chosen_samples, draw_samples
from atrous.runs.plots import draw_curves, without_curves
from atrous.runs.recording import read_log, record, settle_log
from atrous.runs.trackers import check_trackers, tracked

SPACE = LabelSpace(names=("road", "_car", "하늘", "$x$"), colours=((255, 255, 255), (0, 0, 0), (9, 9, 9), (1, 2, 3)))
RECIPE = Recipe(encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=2, learning_rate=0.02, warm_up=0)
OPTIONS = {"device": "cpu", "workers": 0}


def line(epoch, **more):
    numbers = {"loss": 1 / epoch, "rate": 0.1, "images_per_second": 9.5, "waited": 0.25, "seconds": 3.5}
    scores = {"mean_iou": 0.1 * epoch, "pixel_accuracy": 0.5, "iou": [0.2, None, 0.0, 0.1 * epoch]}
    return {"epoch": epoch, "step": 10 * epoch, **numbers, **scores, **more}


class Written(list):
    def add_scalar(self, name, value, step):
        self.append((name, value, step))


@pytest.fixture
def out(tmp_path):
    for epoch in (1, 2, 3):
        record(tmp_path, line(epoch), Written())
    return tmp_path


def epochs_in(out):
    return [each["epoch"] for each in read_log(out)]


def test_an_epoch_is_a_line_and_its_numbers_are_points(tmp_path):
    writer = Written()
    record(tmp_path, line(1, loss=float("nan"), pixel_accuracy=None, iou=[0.5, float("nan")]), writer)
    written = json.loads((tmp_path / "log.jsonl").read_text())
    assert (written["loss"], written["iou"]) == (None, [0.5, None])
    assert ("val/mean IoU", 0.1, 10) in writer
    assert ("train/share waited for images", 0.25, 10) in writer
    assert "val/pixel accuracy" not in [name for name, *_ in writer]


def test_a_last_line_that_was_cut_off_is_left_out(out):
    path = out / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert epochs_in(out) == [1, 2]
    path.write_bytes(b"")
    assert read_log(out) == []
    path.unlink()
    assert read_log(out) == []


@pytest.mark.parametrize("damage", [b"{oops", b"[1]", b'{"epoch": true, "step": 1}', b'{"epoch": 2}', b"\xff\xfe"])
def test_a_damaged_line_before_the_last_is_named(out, damage):
    lines = (out / "log.jsonl").read_bytes().splitlines()
    (out / "log.jsonl").write_bytes(b"\n".join([lines[0], damage, lines[2]]))
    with pytest.raises(AtrousError, match=r"log.jsonl: line 2 is damaged; --resume goes on and leaves it out"):
        read_log(out)
    settle_log(out, 30)
    assert epochs_in(out) == [1, 3]


def test_a_log_is_cut_back_to_what_last_has_done(out):
    path = out / "log.jsonl"
    before = path.read_bytes()
    settle_log(out, 30)
    assert path.read_bytes() == before
    path.write_bytes(before + json.dumps(line(4)).encode()[:30])
    settle_log(out, 25)
    record(out, line(3, loss=7.0), Written())
    assert epochs_in(out) == [1, 2, 3]
    assert read_log(out)[-1]["loss"] == 7.0
    record(out, line(3, loss=8.0), Written())
    settle_log(out, 30)
    assert [each["loss"] for each in read_log(out)] == [1.0, 0.5, 8.0]
    settle_log(out / "none", 30)
    assert not (out / "none").exists()


def test_curves_are_drawn_from_the_log(out):
    draw_curves(out, SPACE)
    with Image.open(out / "curves.png") as picture:
        first = np.asarray(picture.convert("RGB"))
    assert first.shape[1] > 1000
    record(out, line(4), Written())
    draw_curves(out)  # no class is known
    assert not np.array_equal(first, np.asarray(Image.open(out / "curves.png").convert("RGB")))
    assert sorted(path.name for path in out.iterdir()) == ["curves.png", "log.jsonl"]


@pytest.mark.parametrize(
    "changes",
    [
        {"mean_iou": None, "pixel_accuracy": None, "iou": None},
        {"loss": None, "rate": None},
        {"iou": [0.5] * 150},
        {"iou": ["a", None]},
        {"loss": "much", "mean_iou": True},
    ],
)
def test_curves_of_an_odd_log(out, changes):
    record(out, line(4, **changes), Written())
    draw_curves(out, SPACE)
    assert (out / "curves.png").is_file()


def test_curves_of_old_and_unscored_logs(tmp_path):
    draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "step": 3}\n')
    draw_curves(tmp_path)
    assert (tmp_path / "curves.png").is_file()


def test_there_is_room_above_the_first_loss():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plots._draw_number(axes, [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.99}], "loss", "loss")
    assert axes.get_ylim() == (0, pytest.approx(1.08))


def test_what_cannot_be_drawn_on_white_paper(out):
    assert plots._looks(0, 4, SPACE) == ("road", pytest.approx((0.7, 0.7, 0.7)))
    assert [plots._looks(index, 4, SPACE)[0] for index in (1, 2, 3)] == [" _car", "class 2", r"\$x\$"]
    assert plots._looks(2, 3, SPACE) == ("class 2", None)


def test_without_matplotlib_a_run_goes_on(out, monkeypatch):
    assert without_curves() is None
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    assert without_curves() == (
        'no curves.png without matplotlib: pip install "atrous[plots]"; events/ and log.jsonl hold the numbers'
    )
    draw_curves(out)
    assert not (out / "curves.png").exists()


def shown(height=60, width=80, name="images/a"):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (height, width)).astype(np.uint8)
    labels[0] = 255
    return name, random.integers(0, 9999, (height, width, 1)).astype(np.uint16), labels, labels * 0


def sheets(out):
    return [int(path.stem) for path in sorted((out / "samples").iterdir())]


def test_a_sheet_shows_image_labels_and_prediction(tmp_path):
    draw_samples(tmp_path, 1, SPACE, [shown(300, 400), shown(1, 1), shown(2000, 3, name="하늘/" + "x" * 99)])
    with Image.open(tmp_path / "samples" / "0001.jpg") as sheet:
        assert sheet.width == 3 * 360 + 4 * pictures._GAP
        assert sheet.height > 270 + 240 + 480
    draw_samples(tmp_path / "none", 1, SPACE, [])
    assert not (tmp_path / "none").exists()


def test_all_ignored_is_shown_as_it_is(tmp_path):
    name, image, labels, _ = shown()
    draw_samples(tmp_path, 1, SPACE, [(name, image, labels * 0 + 255, labels * 0 + 255)])
    assert sheets(tmp_path) == [1]


@pytest.mark.parametrize(
    ("epochs", "left"),
    [
        (range(1, 21), [1, 2, 4, 8, 16, 20]),
        (range(5, 41, 5), [5, 10, 20, 40]),
        ([1, 2, 3, 2], [1, 2]),
        ([10**6], [10**6]),
    ],
)
def test_old_sheets_are_thinned_out(tmp_path, epochs, left):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "of mine.jpg").write_text("")
    for epoch in epochs:
        draw_samples(tmp_path, epoch, SPACE, [shown(4, 4)])
    (tmp_path / "samples" / "of mine.jpg").unlink()
    assert sheets(tmp_path) == left


def test_the_same_few_images_are_shown(tmp_path):
    pairs = [Pair(str(index), tmp_path / f"{index}.png", tmp_path / "m.png" if index else None) for index in range(12)]
    assert [pair.name for pair in chosen_samples(pairs)] == ["1", "4", "8", "11"]
    assert [pair.name for pair in chosen_samples(pairs[:3])] == ["1", "2"]
    assert chosen_samples([]) == []


def test_where_a_run_was_made(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environments.sys, "argv", ["/home/me/bin/atrous", "train", "my data"])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = environment("cpu", processes=2)
    assert found["command"] == ["atrous", "train", "my data"]
    assert found["git"] is None
    assert found["processes"] == 2
    assert found["device"]["kind"] == "cpu"
    assert found["device"]["name"]
    assert "numpy" in found["versions"]
    assert found["date"].endswith("+00:00")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        (tmp_path / "code.py").write_text("1")
        subprocess.run([*git, *words], check=True, capture_output=True)
    first = environment("cpu")["git"]
    assert len(first["commit"]) == 40
    (tmp_path / "new.py").write_text("the run's own folder is new, too")
    assert environment("cpu")["git"] == {**first, "changed": False}
    (tmp_path / "code.py").write_text("2")
    assert environment("cpu")["git"] == {**first, "changed": True}


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 2)])
def test_git_that_is_missing_or_slow_is_no_error(monkeypatch, error):
    def refuse(*words, **options):
        raise error

    monkeypatch.setattr(environments.subprocess, "run", refuse)
    assert environment("cpu")["git"] is None


def test_the_command_line_is_kept_only_where_it_is_ours(monkeypatch):
    for arguments, command in (
        (["/lib/atrous/__main__.py", "train"], ["atrous", "train"]),
        (["C:/Scripts/atrous.exe", "train"], ["atrous", "train"]),
        (["/home/me/notebook.py", "--key", "secret"], None),
        ([], None),
    ):
        monkeypatch.setattr(environments.sys, "argv", arguments)
        assert environment("cpu")["command"] == command


def test_every_call_that_trains_a_run_is_told(tmp_path):
    write_environment(tmp_path, {"date": "1"})
    write_environment(tmp_path, {"date": "2"}, step=5)
    assert json.loads((tmp_path / "environment.json").read_text()) == [
        {"step": 0, "date": "1"},
        {"step": 5, "date": "2"},
    ]
    (tmp_path / "environment.json").write_text("{oops")
    write_environment(tmp_path, {"date": "3"}, step=7)
    write_environment(tmp_path, {"date": "4"}, step=9)
    assert [each["step"] for each in json.loads((tmp_path / "environment.json").read_text())] == [7, 9]
    write_environment(tmp_path, {"date": "5"})
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 1


def test_tensorboard_forgets_what_a_killed_run_wrote_beyond_the_step(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps, step in (((1, 2, 3), 0), ((3, 4), 2)):
        with curves(tmp_path, step=step) as writer:
            for each in steps:
                writer.add_scalar("train/loss", step + each, each)
    told = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(point.step, point.value) for point in told.Scalars("train/loss")] == [(1, 1), (2, 2), (3, 5), (4, 6)]


def test_overwriting_removes_all_that_is_a_runs_and_nothing_else(out):
    draw_curves(out)
    draw_samples(out, 1, SPACE, [shown()])
    write_environment(out, {})
    for name in ("recipe.json", "split.json", "plan.json", "fingerprint.json", "crf.json", "notes of mine.txt"):
        (out / name).write_text("{}")
    clear(out)
    assert [path.name for path in out.iterdir()] == ["notes of mine.txt"]


def halves(root):
    for index in range(6):
        random = np.random.default_rng(index)
        labels = np.zeros((36, 40), np.uint8)
        labels[:, random.integers(12, 28) :] = 1
        image = (labels[..., None] * 150 + random.integers(0, 60, (36, 40, 3))).astype(np.uint8)
        for kind, array in (("images", image), ("masks", labels)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return halves(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return verbs.train(data, out=tmp_path_factory.mktemp("here") / "run", recipe=RECIPE, **OPTIONS)


def test_a_run_has_it_all_and_no_place_of_this_machine(trained, data):
    there = {path.name for path in trained.iterdir()}
    assert there >= {"recipe.json", "split.json", "fingerprint.json", "environment.json", "curves.png", "samples"}
    assert sheets(trained) == [1, 2]
    for path in trained.rglob("*"):
        if path.is_file():
            assert str(trained.parent).encode() not in path.read_bytes(), path
            assert str(data).encode() not in path.read_bytes(), path


def test_a_run_that_was_moved_works_as_before(trained, data, tmp_path):
    moved = tmp_path / "다른 곳" / "my run"
    shutil.copytree(trained, moved)
    other = tmp_path / "other data"
    shutil.copytree(data, other)
    there, here = (verbs.evaluate(*each, device="cpu").scores for each in ((moved, other), (trained, data)))
    assert there.as_json() == here.as_json()
    verbs.predict(moved, other / "images", out=tmp_path / "masks", device="cpu")
    verbs.train(other, out=moved, resume=True, epochs=3, **OPTIONS)
    assert epochs_in(moved) == [1, 2, 3]
    assert [each["step"] for each in json.loads((moved / "environment.json").read_text())] == [
        0,
        read_log(moved)[1]["step"],
    ]


class Told:
    """A tracker like those of Accelerate, which keeps what it is told."""

    name, requires_logging_directory, main_process_only = "told", True, True
    lines: list[object] = []  # noqa: RUF012  (one for all, as a server would be)

    def __init__(self, run_name, logging_dir, **options):
        self.run_name, self.logging_dir, self.options = run_name, logging_dir, options

    def start(self):
        self.lines.append(("start", self.run_name, self.logging_dir))

    def store_init_configuration(self, values):
        self.lines.append(("settings", values))

    def log(self, values, step, **options):
        self.lines.append((step, values))

    def finish(self):
        self.lines.append("end")


@pytest.fixture
def told(monkeypatch):
    Told.lines.clear()
    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "told", Told)
    monkeypatch.setattr(trackers, "find_spec", lambda name: SimpleNamespace(origin="told.py"))
    return Told.lines


@pytest.fixture
def accelerator():
    from accelerate import Accelerator

    return Accelerator(cpu=True)


def test_a_tracker_is_told_the_settings_and_every_epoch(told, accelerator, tmp_path):
    log = tracked(accelerator, ["told"], tmp_path / "my run", {"epochs": 3, "crop": (1, 2), "encoder": None})
    log({"loss": 0.5}, 7)
    accelerator.end_training()
    assert told == [
        ("start", "my run", str(tmp_path / "my run")),
        ("settings", {"epochs": 3, "crop": "(1, 2)", "encoder": "None"}),
        (7, {"loss": 0.5}),
        "end",
    ]


def test_without_trackers_nothing_is_done(accelerator, tmp_path):
    tracked(accelerator, (), tmp_path / "run", {})({"loss": 0.5}, 7)
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_cannot_be(told, accelerator, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"no tracker 'mlfow'; did you mean 'mlflow'\? There are aim, clearml, comet_ml"
    ):
        check_trackers(["told", "mlfow"])
    with pytest.raises(ValueError, match="no tracker 'all'; there are aim"):
        check_trackers(["all"])
    with pytest.raises(ValueError, match="tensorboard is no tracker to ask for: every run has its curves, in events/"):
        check_trackers(["tensorboard"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(
        AtrousError, match="comet_ml is not installed, and it was asked to log to: pip install comet-ml"
    ):
        tracked(accelerator, ["comet_ml"], tmp_path, {})
    monkeypatch.setattr(trackers, "find_spec", lambda name: SimpleNamespace(origin=None))  # a folder it wrote
    with pytest.raises(AtrousError, match="wandb is not installed"):
        check_trackers(["wandb"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: SimpleNamespace(origin="told.py"))
    monkeypatch.setattr(Told, "start", lambda self: 1 / 0)
    with pytest.raises(AtrousError, match=r"told: could not begin to log \(division by zero\)"):
        tracked(accelerator, ["told"], tmp_path, {})


def test_trackers_are_looked_at_before_there_is_an_accelerator():
    code = "from atrous.runs.trackers import check_trackers; check_trackers(['swanlab', 'foo'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError: no tracker 'foo'; there are aim" in done.stderr
    code = code.replace(", 'foo'", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.stderr or "AtrousError: swanlab is not installed" in done.stderr


@pytest.mark.parametrize("database", [True, False])
def test_mlflow_writes_into_the_run(tmp_path, monkeypatch, database):
    uris = []
    monkeypatch.setitem(importlib.import_module("sys").modules, "mlflow", SimpleNamespace(set_tracking_uri=uris.append))
    monkeypatch.setattr(trackers, "find_spec", lambda name: database or None)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    places = trackers._places(["mlflow", "wandb"], tmp_path)
    folder = tmp_path / "mlruns"
    assert places["mlflow"] == {"logging_dir": (folder / "artifacts").as_uri()}
    assert places["wandb"] == {"dir": str(tmp_path)}
    assert uris == [f"sqlite:///{folder.as_posix()}/mlflow.db" if database else folder.as_uri()]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    assert trackers._places(["mlflow", "wandb"], tmp_path) == {}
    assert len(uris) == 1


def test_a_tracker_that_cannot_be_costs_no_run(trained, data):
    with pytest.raises(ValueError, match="no tracker 'mlfow'"):
        verbs.train(data, out=trained, overwrite=True, recipe=RECIPE, trackers=("mlfow",), **OPTIONS)
    assert (trained / "best" / "model.safetensors").is_file()


def test_a_run_tells_its_trackers(told, data, tmp_path):
    verbs.train(data, out=tmp_path / "run", recipe=replace(RECIPE, epochs=1), trackers=("told",), **OPTIONS)
    assert [each[0] if isinstance(each, tuple) else each for each in told] == ["start", "settings", 3, "end"]
    assert {"loss", "mean_iou"} <= told[2][1].keys()
