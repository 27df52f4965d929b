"""A training run, from a dataset to a folder: the loop, validation at original resolution, and what is written when.

    dataset -> recipe -> net -> steps ... -> validation -> last/ (and best/) -> steps ...

A run is a generator of what happens: notes, steps and epochs. The caller shows them, or stops.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atrous.contract import Recipe, Sample
from atrous.data import Dataset, Pair
from atrous.evaluation import Scores
from atrous.layers.rates import degenerate
from atrous.models import Segmenter, build
from atrous.runs.choices import network_options, preprocessing
from atrous.runs.crops import crops_of
from atrous.runs.folder import best_so_far, clear, curves, versions, write_head
from atrous.runs.interruption import interruptible
from atrous.runs.scoring import scored
from atrous.store import Config, load_weights, plain, save_model, settled, start_from
from atrous.training import Step, Training, load_state, prepared, resolved_precision, save_state, train

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
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
) -> Iterator[Event]:
    """Train `recipe` on `dataset` into `out`, yielding what happens; `facts` is the dataset's fingerprint.

    `read` is what reads a training pair, such as a cache, and `transform` what is done to a sample before its crop.

    After every epoch the network is scored on `val` at original resolution and `last/` is replaced, and `best/` where
    the mean IoU rose. Ctrl-C is taken between two steps: `last/` is saved, then `KeyboardInterrupt` is raised.

    Raises `AtrousError` where the run cannot go on; whatever was saved stays.
    """
    torch.manual_seed(recipe.seed)
    options = network_options(recipe, facts)
    start = Path(recipe.pretrained) if isinstance(recipe.pretrained, str) and Path(recipe.pretrained).is_dir() else None
    if resume or start is not None:
        options["pretrained"] = False  # the weights are the run's own, or another model's
    net = build(recipe.model, len(dataset.space), **options)
    if start is not None and not resume:
        yield Note(text=start_from(net, start))
    segmenter = Segmenter(net, dataset.space, preprocessing(net, facts))
    crops = crops_of(dataset.splits["train"], segmenter, recipe, read=read, transform=transform)
    training = prepared(segmenter, crops, device=device, workers=workers)
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
        versions=versions(),
        fingerprint=facts,
    )
    if training.accelerator.is_main_process:
        if not resume:
            clear(out)  # not before all else is known to be well
        write_head(out, dataset, recipe)
    training.accelerator.wait_for_everyone()
    yield from _notes(training, dataset, recipe)
    if training.step >= training.total:
        yield Note(text=f"all {recipe.epochs} epochs are done; --epochs {2 * recipe.epochs} would go on")
        return
    yield from _epochs(training, dataset.splits.get("val", ()), config, out)


def _epochs(training: Training, val: Sequence[Pair], config: Config, out: Path) -> Iterator[Event]:
    best = best_so_far(out)
    steps = train(training)
    with curves(out if training.accelerator.is_main_process else None) as writer, interruptible() as interrupted:
        while training.step < training.total:
            done, losses, began = training.step, [], time.perf_counter()
            left = training.steps_per_epoch - done % training.steps_per_epoch
            for step in islice(steps, left):
                losses.append(step.loss)
                if step.step % _SHOWN_EVERY == 0:
                    writer.add_scalar("train/loss", step.loss, step.step)
                    writer.add_scalar("train/rate", step.rate, step.step)
                yield step
                if interrupted.is_set() and step.step % training.steps_per_epoch:
                    _save(out / "last", training, config)
                    raise KeyboardInterrupt
            speed = len(losses) * training.recipe.batch / (time.perf_counter() - began)
            if interrupted.is_set():
                _save(out / "last", training, config)
                yield Note(text="interrupted: this epoch is scored and saved first; Ctrl-C again stops at once")
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
            _record(training, finished, replace(config, scores=_stored(scores, training)), writer, out)
            yield finished
            if interrupted.is_set():
                raise KeyboardInterrupt


def _record(training: Training, finished: Epoch, config: Config, writer: Any, out: Path) -> None:
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
    if finished.scores is not None and config.scores is not None:
        line |= {"mean_iou": config.scores["mean_iou"], "pixel_accuracy": finished.scores.pixel_accuracy}
        line["iou"] = [item["iou"] for item in config.scores["classes"]]
        writer.add_scalar("val/mean IoU", finished.scores.mean_iou, training.step)
        writer.add_scalar("val/pixel accuracy", finished.scores.pixel_accuracy, training.step)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _stored(scores: Scores | None, training: Training) -> dict[str, Any] | None:
    """Return the scores for `config.json`, with the precision they were taken in: the training's own."""
    if scores is None:
        return None
    precision = resolved_precision(training.recipe.precision, training.accelerator.device.type)
    return {**scores.as_json(), "precision": precision}


def _save(folder: Path, training: Training, config: Config) -> None:
    if training.accelerator.is_main_process:
        save_model(folder, training.segmenter, config, also=partial(save_state, training=training))


def _has_published(recipe: Recipe) -> bool:
    """Return whether there are weights of the network's encoder to fetch."""
    encoder = recipe.encoder or {"unet": "its own", "deeplab_v2": "resnet101_caffe"}.get(recipe.model, "")
    return encoder != "its own" and not encoder.endswith(("_beta", "_caffe", "_paper"))


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
    if not recipe.pretrained and not training.step and _has_published(recipe):
        yield Note(
            text="random weights; --pretrained would start the encoder from its published ImageNet weights (a download)"
        )
    size = training.crops.size
    if size != recipe.crop:
        yield Note(text=f"crop {recipe.crop[0]}x{recipe.crop[1]} became {size[0]}x{size[1]}, a size this network takes")
    lost = degenerate(training.segmenter.net, *size)
    if lost:
        rates = ", ".join(
            f"{rate} on a map of {side}" for rate, side in sorted({(each.rate, each.side) for each in lost})
        )
        yield Note(text=f"atrous rates as large as the map see its centre only ({rates}); a larger --crop helps")
    if training.step:
        yield Note(text=f"resumed at step {training.step} of {training.total}")
