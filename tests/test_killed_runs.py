"""Runs that are killed by SIGKILL, wherever that hurts: each goes on, and ends to the bit as one left alone.

Run as a program, this file trains in a child of its own for each point that is named, and lets it kill itself there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atrous import verbs
from atrous.contract import AtrousError, Recipe
from atrous.runs.folder import clear
from atrous.runs.summaries import summary

RECIPE = Recipe(
    encoder="resnet18", width=1 / 8, crop=33, batch=2, epochs=2, learning_rate=0.02, warm_up=0, ema=0.5, measure_norm=2
)
STEPS = 4  # of an epoch
OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 0}
TIMES = {"seconds", "waited", "images_per_second"}


def kill(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def halved(path: Path) -> None:
    """Leave a file as a write that was cut in two would, and die."""
    os.truncate(path, path.stat().st_size // 2)
    kill()


if not hasattr(os, "fork"):
    pytest.skip("no process can be killed by SIGKILL here", allow_module_level=True)


class At:
    """Where to die: around the nth call of a function that is called through `holder`, which `matters` may narrow."""

    def __init__(
        self,
        holder: str,
        name: str,
        *,
        nth: int = 1,
        before: Callable[..., None] | None = None,
        after: Callable[..., None] | None = None,
        matters: Callable[..., bool] = lambda *arguments: True,
    ) -> None:
        self.holder, self.name, self.nth, self.before, self.after = holder, name, nth, before, after
        self.matters = matters

    def set_up(self) -> None:
        """Put a function in the place of the one that is called."""
        module, _, inner = self.holder.partition(":")
        holder: Any = __import__(module, fromlist=["_"])
        holder = getattr(holder, inner) if inner else holder
        real, left = getattr(holder, self.name), [self.nth]

        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= self.matters(*arguments)
            now = left[0] == 0 and self.matters(*arguments)
            if now and self.before is not None:
                self.before(*arguments)
            result = real(*arguments, **options)
            if now and self.after is not None:
                self.after(*arguments)
            return result

        setattr(holder, self.name, call)


def goes_to(name: str) -> Callable[..., bool]:
    return lambda source, target, *rest: Path(target).name == name


def is_there(name: str) -> Callable[..., bool]:
    return lambda path, *rest: Path(path).name == name and Path(path).is_dir()


def of(folder: str) -> Callable[..., bool]:
    return lambda tensors, path, *rest: Path(path).parent.name == f"{folder}.new"


def one_file_less(path: Path, *_: Any) -> None:
    """Begin to remove a folder, and die."""
    min(Path(path).iterdir()).unlink()
    kill()


def cut_log(file: int) -> None:
    """Leave the second half of the last line unwritten, and die."""
    os.ftruncate(file, os.fstat(file).st_size - 40)
    kill()


STATE, MODEL = ("atrous.training.checkpoints", "save_file"), ("safetensors.torch", "save_file")
BY_LISTENER = At("os", "getpid", nth=0)
RENAME, COURSE = ("pathlib:Path", "rename"), "atrous.runs.course"
POINTS = {
    "the first step": BY_LISTENER,
    "the middle of the first epoch": BY_LISTENER,
    "the middle of the second epoch": BY_LISTENER,
    "the weights of last": At(*MODEL, nth=2, after=lambda tensors, path: halved(path), matters=of("last")),
    "the state of last": At(*STATE, nth=2, after=lambda tensors, path: halved(path)),
    "the settings of last": At("atrous.store.folders", "write_json", nth=2, before=kill),
    "between the moves of last": At(*RENAME, after=kill, matters=goes_to("last.old")),
    "between the moves of the last last": At(*RENAME, nth=2, after=kill, matters=goes_to("last.old")),
    "the old last half removed": At("shutil", "rmtree", before=one_file_less, matters=is_there("last.old")),
    "the first validation": At("atrous.runs.scoring", "predicted", nth=2, before=kill),
    "the second validation": At("atrous.runs.scoring", "predicted", nth=4, before=kill),
    "the weights of best": At(*MODEL, after=lambda tensors, path: halved(path), matters=of("best")),
    "between the moves of best": At(*RENAME, after=kill, matters=goes_to("best.old")),
    "the old best half removed": At("shutil", "rmtree", before=one_file_less, matters=is_there("best.old")),
    "between best and the log": At(COURSE, "record", before=kill),
    "between the second best and the log": At(COURSE, "record", nth=2, before=kill),
    "the line of the log": At("os", "fsync", before=cut_log),
    "the second line of the log": At("os", "fsync", nth=2, before=cut_log),
    "between the log and the mark": At(COURSE, "_mark", before=kill),
    "between the scores and the mark": At(COURSE, "mark_scored", nth=2, before=kill),
    "the mark": At("pathlib:Path", "replace", before=kill, matters=goes_to("state.json")),
    "the second mark": At("pathlib:Path", "replace", nth=2, before=kill, matters=goes_to("state.json")),
    "after the mark": At("pathlib:Path", "replace", after=kill, matters=goes_to("state.json")),
    "the curves": At(COURSE, "draw_curves", before=kill),
}
"""Where a run is killed, and how; the steps are those at which its listener kills it."""
KILLED_AT = {"the first step": 1, "the middle of the first epoch": 2, "the middle of the second epoch": STEPS + 2}


def halves(root: Path) -> Path:
    """Write pictures of two halves each: eight to train on, two to score."""
    for index in range(10):
        random = np.random.default_rng(index)
        labels = np.zeros((36, 40), np.uint8)
        labels[:, random.integers(12, 28) :] = 1
        image = (labels[..., None] * 150 + random.integers(0, 60, (36, 40, 3))).astype(np.uint8)
        for kind, array in (("images", image), ("masks", labels)):
            folder = root / kind / ("train" if index < 2 * STEPS else "val")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"{index}.png")
    return root


def plainly() -> None:
    """Leave the curves undrawn, which takes most of the time, and let each epoch be better than the one before."""
    from atrous.runs import course

    real = course._scores

    def better(run: Any, segmenter: Any) -> Any:
        scores, shown = real(run, segmenter)
        return replace(scores, confusion=np.diag([run.epoch, run.epoch]) + 1), shown

    course._scores = better
    course.draw_curves = lambda *_: None


def killed(data: Path, out: Path, point: str) -> int:
    """Train in a child that dies at a point; return what it died of, which is minus the signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    POINTS[point].set_up()
    stop = KILLED_AT.get(point)
    verbs.train(
        data,
        out=out,
        recipe=RECIPE,
        listener=lambda event: kill() if getattr(event, "step", 0) == stop else 0,
        **OPTIONS,
    )
    os._exit(3)


def files_below(run: Path) -> set[str]:
    return {
        path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file() and "events" not in path.parts
    }


def untimed(run: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the log and the saved state without what the clock said."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    state = json.loads((run / "last" / "state.json").read_text())
    state["tally"] = {key: value for key, value in state["tally"].items() if key not in TIMES}
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines], state


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halves(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True, scope="module")
def _plainly() -> Iterator[None]:
    from atrous.runs import course

    before = course._scores, course.draw_curves, torch.get_num_threads()
    plainly()
    torch.set_num_threads(1)  # as in the program, since sums hang on it
    yield
    course._scores, course.draw_curves = before[:2]
    torch.set_num_threads(before[2])


@pytest.fixture(scope="module")
def dying(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, int]]:
    """Return a folder with a run left alone and one killed at each point that was chosen, and what each died of."""
    items = [item for item in request.session.items if item.path == Path(__file__) and hasattr(item, "callspec")]
    points = [item.callspec.params["point"] for item in items]
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, __file__, str(data), str(root), *points]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads would not survive a fork
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert done.returncode == 0, done.stderr
    words = (line.split("\t") for line in done.stdout.splitlines())
    return root, {point: int(code) for point, code in words}


@pytest.fixture(scope="module")
def whole(dying: tuple[Path, dict[str, int]]) -> Path:
    """Return a run that was left alone."""
    return dying[0] / "whole"


QUICK = {
    "the middle of the second epoch",
    "the state of last",
    "between the moves of last",
    "the second validation",
    "between the moves of best",
    "the old best half removed",
    "the line of the log",
    "between the second best and the log",
    "the second mark",
}


@pytest.mark.parametrize(
    "point", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in POINTS]
)
def test_a_killed_run_ends_as_one_left_alone(
    point: str, data: Path, whole: Path, dying: tuple[Path, dict[str, int]]
) -> None:
    root, codes = dying
    assert codes[point] == -signal.SIGKILL
    out = root / point
    assert summary(out, "run").problem is None
    verbs.train(data, out=out, resume=True, **OPTIONS)
    assert files_below(out) | {"curves.png"} == files_below(whole) | {"curves.png"}
    assert untimed(out) == untimed(whole)
    for name in ("last/model.safetensors", "last/state.safetensors", "best/model.safetensors"):
        there, here = load_file(whole / name), load_file(out / name)
        assert there.keys() == here.keys()
        assert all(torch.equal(there[key], here[key]) for key in there), name
    for name in ("split.json", "recipe.json", "best/config.json", "last/config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_killed_before_anything_was_saved_begins_anew(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in ("recipe.json", "split.json"):
        shutil.copy(whole / name, out / name)
    told: list[Any] = []
    verbs.train(data, out=out, resume=True, listener=told.append, **OPTIONS)
    assert told[0].text == f"{out}: was ended before anything was trained; it begins anew"
    assert untimed(out) == untimed(whole)
    for name in ("best", "last"):
        shutil.rmtree(out / name)
    (out / "log.jsonl").unlink()
    verbs.train(data, out=out, recipe=RECIPE, **OPTIONS)
    assert untimed(out) == untimed(whole)


def test_resuming_without_last_leaves_the_best_alone(data: Path, whole: Path, tmp_path: Path) -> None:
    out = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(out / "last")
    before = files_below(out)
    with pytest.raises(AtrousError, match=r"no run to resume \(last/ is missing\); --overwrite begins it anew"):
        verbs.train(data, out=out, resume=True, **OPTIONS)
    assert files_below(out) == before


def test_overwriting_that_was_killed_can_be_done_again(data: Path, whole: Path, tmp_path: Path) -> None:
    """What says that a folder is a run goes last."""

    class Killed(BaseException):
        pass

    def unlink(path: Path, **options: Any) -> None:
        if path.name == "recipe.json":
            raise Killed
        real(path, **options)

    out, real = tmp_path / "run", Path.unlink
    shutil.copytree(whole, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            clear(out)
    assert files_below(out) == {"recipe.json"}
    verbs.train(data, out=out, overwrite=True, recipe=RECIPE, **OPTIONS)
    assert untimed(out) == untimed(whole)


if __name__ == "__main__":
    plainly()
    given, root = map(Path, sys.argv[1:3])
    verbs.train(given, out=root / "whole", recipe=RECIPE, **OPTIONS)  # here, so that no child has to load its libraries
    for each in sys.argv[3:]:
        print(each, killed(given, root / each, each), sep="\t", flush=True)
