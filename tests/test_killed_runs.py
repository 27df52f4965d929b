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
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from atrous import verbs
from atrous.contract import AtrousError, Recipe
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
RENAME, RUNNING = ("pathlib:Path", "rename"), "atrous.runs.running"
POINTS = {
    "the first step": At(RUNNING, "_reason_to_stop", nth=99),  # by the listener
    "the middle of the first epoch": At(RUNNING, "_reason_to_stop", nth=99),
    "the middle of the second epoch": At(RUNNING, "_reason_to_stop", nth=99),
    "the weights of last": At(*MODEL, nth=2, after=lambda tensors, path: halved(path), matters=of("last")),
    "the state of last": At(*STATE, nth=2, after=lambda tensors, path: halved(path)),
    "the settings of last": At("atrous.store", "write_json", nth=9, before=kill),
    "between the moves of last": At(*RENAME, after=kill, matters=goes_to("last.old")),
    "between the moves of the last last": At(*RENAME, nth=2, after=kill, matters=goes_to("last.old")),
    "the old last half removed": At("shutil", "rmtree", before=one_file_less, matters=is_there("last.old")),
    "the first validation": At("atrous.runs.scoring", "predicted", nth=2, before=kill),
    "the second validation": At("atrous.runs.scoring", "predicted", nth=4, before=kill),
    "the weights of best": At(*MODEL, after=lambda tensors, path: halved(path), matters=of("best")),
    "between the moves of best": At(*RENAME, after=kill, matters=goes_to("best.old")),
    "the old best half removed": At("shutil", "rmtree", before=one_file_less, matters=is_there("best.old")),
    "between best and the log": At(RUNNING, "record", before=kill),
    "between the second best and the log": At(RUNNING, "record", nth=2, before=kill),
    "the line of the log": At("os", "fsync", before=cut_log),
    "the second line of the log": At("os", "fsync", nth=2, before=cut_log),
    "between the log and the mark": At(RUNNING, "_mark", before=kill),
    "between the scores and the mark": At(RUNNING, "mark_scored", nth=2, before=kill),
    "the mark": At("pathlib:Path", "replace", before=kill, matters=goes_to("state.json")),
    "the second mark": At("pathlib:Path", "replace", nth=2, before=kill, matters=goes_to("state.json")),
    "after the mark": At("pathlib:Path", "replace", after=kill, matters=goes_to("state.json")),
    "the curves": At(RUNNING, "draw_curves", before=kill),
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


def killed(data: Path, out: Path, point: str) -> int:
    """Train in a child that dies at a point; return what it died of, which is minus the signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    POINTS[point].set_up()
    stop = KILLED_AT.get(point)
    verbs.train(
        data, out=out, recipe=RECIPE, listener=lambda event: kill() if getattr(event, "step", 0) == stop else 0, **OPTIONS
    )
    os._exit(3)


if __name__ == "__main__":
    for each in sys.argv[3:]:
        print(each, killed(Path(sys.argv[1]), Path(sys.argv[2]) / each, each), sep="\t", flush=True)
