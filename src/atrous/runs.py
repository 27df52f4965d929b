"""A training run, from a dataset to a folder: the loop, validation at original resolution, and what is written when.

    dataset -> recipe -> net -> steps ... -> validation -> last/ (and best/) -> steps ...

A run is a generator of what happens: notes, steps and epochs. The caller shows them, or stops.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atrous._core import confusion
from atrous.contract import AtrousError, LabelSpace, Preprocessing, Recipe
from atrous.data import Dataset, Pair, read_sample
from atrous.evaluation import Scores
from atrous.models import Segmenter, build
from atrous.prediction import ahead, predicted
from atrous.store import Config, load_weights, plain, read_json, read_recipe, save_model, settled, write_json
from atrous.training import Crops, Step, Training, load_state, prepared, resolved_precision, save_state, train

_SHOWN_EVERY = 10
"""How many steps lie between two points of the loss curve."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line worth telling the user."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch that is done and saved: its number from 1, mean loss, images per second, and scores on `val`."""

    epoch: int
    epochs: int
    loss: float
    images_per_second: float
    scores: Scores | None
    best: bool


Event = Note | Step | Epoch


def run(
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    resume: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> Iterator[Event]:
    """Train `recipe` on `dataset` into `out`, yielding what happens; `facts` is the dataset's fingerprint.

    After every epoch the network is scored on `val` at original resolution and `last/` is replaced, and `best/` where
    the mean IoU rose. Ctrl-C is taken between two steps: `last/` is saved, then `KeyboardInterrupt` is raised.

    Raises `AtrousError` where the run cannot go on; whatever was saved stays.
    """
    torch.manual_seed(recipe.seed)
    options = _options(recipe, facts)
    net = build(recipe.model, len(dataset.space), **options)
    segmenter = Segmenter(net, dataset.space, preprocessing(net, facts))
    training = prepared(segmenter, _crops(dataset.splits["train"], segmenter, recipe), device=device, workers=workers)
    if resume:
        load_weights(segmenter.net, settled(out / "last") / "model.safetensors")
        load_state(out / "last", training)
    config = Config(
        model=recipe.model,
        options={**options, "pretrained": False},
        space=dataset.space,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
        recipe=plain(recipe),
        versions=_versions(),
        fingerprint=facts,
    )
    if not resume and (out / "recipe.json").is_file():
        shutil.rmtree(out)  # not before all else is known to be well
    _write_head(out, dataset, recipe)
    yield from _notes(training, dataset, recipe)
    if training.step >= training.total:
        yield Note(text=f"all {recipe.epochs} epochs are done; --epochs {2 * recipe.epochs} would go on")
        return
    yield from _epochs(training, dataset.splits.get("val", ()), config, out)


def _epochs(training: Training, val: Sequence[Pair], config: Config, out: Path) -> Iterator[Event]:
    best = _best_so_far(out)
    steps = train(training)
    with _curves(out) as curves, interruptible() as interrupted:
        while training.step < training.total:
            done, losses, began = training.step, [], time.perf_counter()
            left = training.steps_per_epoch - done % training.steps_per_epoch
            for step in islice(steps, left):
                losses.append(step.loss)
                if step.step % _SHOWN_EVERY == 0:
                    curves.add_scalar("train/loss", step.loss, step.step)
                    curves.add_scalar("train/rate", step.rate, step.step)
                yield step
                if interrupted.is_set() and step.step % training.steps_per_epoch:
                    _save(out / "last", training, config)
                    raise KeyboardInterrupt
            speed = len(losses) * training.recipe.batch / (time.perf_counter() - began)
            scores = scored(training.segmenter.eval(), val, config.space) if val else None
            value = scores.mean_iou if scores is not None and not math.isnan(scores.mean_iou) else -1.0
            finished = Epoch(
                epoch=training.step // training.steps_per_epoch,
                epochs=training.recipe.epochs,
                loss=float(np.mean(losses)),
                images_per_second=speed,
                scores=scores,
                best=value >= best,
            )
            best = max(best, value)
            _record(training, finished, replace(config, scores=scores.as_json() if scores else None), curves, out)
            yield finished
            if interrupted.is_set():
                raise KeyboardInterrupt


def _record(training: Training, finished: Epoch, config: Config, curves: Any, out: Path) -> None:
    if not training.accelerator.is_main_process:
        return
    _save(out / "last", training, config)
    if finished.best:
        save_model(out / "best", training.segmenter, config)
    line: dict[str, Any] = {
        "epoch": finished.epoch,
        "step": training.step,
        "loss": finished.loss,
        "images_per_second": round(finished.images_per_second, 2),
    }
    if finished.scores is not None:
        line |= {"mean_iou": finished.scores.as_json()["mean_iou"], "pixel_accuracy": finished.scores.pixel_accuracy}
        line["iou"] = [item["iou"] for item in finished.scores.as_json()["classes"]]
        curves.add_scalar("val/mean IoU", finished.scores.mean_iou, training.step)
        curves.add_scalar("val/pixel accuracy", finished.scores.pixel_accuracy, training.step)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _save(folder: Path, training: Training, config: Config) -> None:
    if training.accelerator.is_main_process:
        save_model(folder, training.segmenter, config, also=partial(save_state, training=training))


def scored(
    scorer: Any, pairs: Sequence[Pair], space: LabelSpace, *, progress: Callable[[int, int], None] | None = None
) -> Scores:
    """Return the scores of `scorer` over labelled pairs, each at its original resolution.

    Raises `AtrousError` for a pair that cannot be read or has no mask: a score over part of a set is no score.
    """
    matrix = np.zeros((len(space), len(space)), np.int64)
    for done, (pair, sample) in enumerate(ahead(pairs, partial(read_sample, space=space)), 1):
        if isinstance(sample, AtrousError):
            raise sample
        if sample.labels is None:
            raise AtrousError(f"{pair.image}: has no mask, and a score needs one")
        matrix += confusion(sample.labels, predicted(scorer, sample, space).labels, len(space))
        if progress is not None:
            progress(done, len(pairs))
    return Scores(space=space, confusion=matrix, images=len(pairs))


def preprocessing(net: Any, facts: dict[str, Any]) -> Preprocessing:
    """Return how the dataset's values become the network's input.

    8-bit colour takes ImageNet's mean and deviation, which published weights expect; everything else takes the
    range, mean and deviation of the data itself, 16 bits from their 0.5 to their 99.5 percentile.
    """
    padding = net.preprocessing_padding
    if facts["dtypes"] == ["uint8"] and _channels(facts) == 3:
        return Preprocessing(padding=padding)
    low, high = facts["low"], max(facts["high"], facts["low"] + 1e-6)
    mean = tuple((value - low) / (high - low) for value in facts["mean"])
    std = tuple(max(value / (high - low), 1e-3) for value in facts["std"])
    return Preprocessing(low=low, high=high, mean=mean, std=std, padding=padding)


def _channels(facts: dict[str, Any]) -> int:
    """Return how many channels a network for these images takes: grey among colour is repeated to three."""
    channels, dtypes = set(facts["channels"]), facts["dtypes"]
    if len(dtypes) > 1:
        raise AtrousError(f"images of {' and '.join(dtypes)} are mixed; store them all with one depth")
    if len(channels) > 1 and channels != {1, 3}:
        raise AtrousError(f"images of {', '.join(map(str, sorted(channels)))} channels are mixed; store them all alike")
    return max(channels)


def _options(recipe: Recipe, facts: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "in_channels": _channels(facts),
        "encoder": recipe.encoder,
        "output_stride": recipe.output_stride,
        "width": recipe.width,
        "pretrained": recipe.pretrained,
    }
    return {key: value for key, value in options.items() if value is not None}


def _crops(pairs: Sequence[Pair], segmenter: Segmenter, recipe: Recipe) -> Crops:
    geometry, pre = segmenter.geometry, segmenter.preprocessing
    fill = tuple(mean * (pre.high - pre.low) + pre.low for mean in pre.mean)
    return Crops(
        pairs=pairs,
        read=partial(read_sample, space=segmenter.space),
        size=(geometry.valid(recipe.crop[0]), geometry.valid(recipe.crop[1])),
        channels=pre.channels,
        fill=fill if pre.order == "RGB" else fill[::-1],
        recipe=recipe,
    )


def _notes(training: Training, dataset: Dataset, recipe: Recipe) -> Iterator[Note]:
    parameters = sum(p.numel() for p in training.segmenter.net.parameters())
    device = training.accelerator.device
    precision = resolved_precision(recipe.precision, device.type)
    encoder = f" {recipe.encoder}" if recipe.encoder else ""
    counts = ", ".join(f"{len(pairs)} {name}" for name, pairs in dataset.splits.items())
    yield Note(
        text=f"{recipe.model}{encoder}, {parameters / 1e6:.1f} M parameters; {len(dataset.space)} classes; "
        f"{counts} images; {precision} on {device}"
    )
    if not recipe.pretrained:
        yield Note(
            text="random weights; --pretrained would start the encoder from its published ImageNet weights (a download)"
        )
    size = training.crops.size
    if size != recipe.crop:
        yield Note(text=f"crop {recipe.crop[0]}x{recipe.crop[1]} became {size[0]}x{size[1]}, a size this network takes")
    if training.step:
        yield Note(text=f"resumed at step {training.step} of {training.total}")


def _write_head(out: Path, dataset: Dataset, recipe: Recipe) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "recipe.json", plain(recipe))
    write_json(out / "split.json", {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()})


def _best_so_far(out: Path) -> float:
    path = settled(out / "best") / "config.json"
    if not path.is_file():
        return -1.0
    scores = read_json(path).get("scores") or {}
    return -1.0 if scores.get("mean_iou") is None else float(scores["mean_iou"])


@contextmanager
def _curves(out: Path) -> Iterator[Any]:
    """Yield TensorBoard's writer of the run's `events/`."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(out / "events"), flush_secs=30)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, so that a step is never cut in two; the second one interrupts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("atrous", "torch", "timm", "numpy", "accelerate", "opencv-contrib-python-headless"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure `out` may be written: a run there is kept unless it is to be resumed or overwritten.

    Raises `AtrousError` for a run that is in the way, one that is not there to resume, or a folder of other things.
    """
    is_run = (out / "recipe.json").is_file()
    if resume and overwrite:
        raise ValueError("both resume and overwrite came; one goes on with the run, the other throws it away")
    if resume:
        if not (settled(out / "last") / "config.json").is_file():
            raise AtrousError(f"{out}: no run to resume ({'last/ is missing' if is_run else 'no recipe.json'})")
    elif is_run and not overwrite:
        raise AtrousError(f"{out}: holds a run already; --resume goes on with it, --overwrite throws it away")
    elif not is_run and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AtrousError(f"{out}: is in the way and is not a run; choose another --out")


def resumed_recipe(out: Path, given: dict[str, Any]) -> Recipe:
    """Return the recipe of the run in `out`, with `epochs` grown where that was asked for.

    Raises `AtrousError` for any other value in `given` that contradicts it.
    """
    recipe = read_recipe(out)
    wanted = replace(recipe, **given)
    for name in given:
        was, value = getattr(recipe, name), getattr(wanted, name)
        if value == was or (name == "epochs" and value > was):
            continue
        flag = f"--{name.replace('_', '-')}"
        extra = " (epochs may only grow)" if name == "epochs" else ""
        raise AtrousError(
            f"{out}: the run was started with {flag} {was}, not {value}{extra}; leave {flag} out to resume"
        )
    return wanted
