"""A training run, from a dataset to a folder: the loop, validation at original resolution, and what is written when.

    dataset -> recipe -> net -> steps ... -> last/ -> validation -> best/ -> steps ...

A run is a generator of what happens: notes, steps and epochs. The caller shows them, or stops.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from atrous.contract import Recipe, Sample
from atrous.data import Dataset, Pair
from atrous.evaluation import Scores
from atrous.runs.building import begun
from atrous.runs.environment import environment, write_environment
from atrous.runs.events import Epoch, Event, Note
from atrous.runs.folder import best_so_far, clear, curves, write_head
from atrous.runs.interruption import interruptible
from atrous.runs.notes import never_seen, notes, one_class, starving
from atrous.runs.pictures import chosen_samples, draw_samples
from atrous.runs.plots import draw_curves, without_curves
from atrous.runs.recording import read_log, record, settle_log
from atrous.runs.saving import save_best, save_last, weights_to_score
from atrous.runs.scoring import Shown, scored
from atrous.runs.trackers import check_trackers, tracked
from atrous.store import Config, load_weights, plain, settled, write_json
from atrous.training import Training, load_state, mark_scored, reproducible, resolved_precision, train
from atrous.training.distributed import any_asks, load_full_state, share_buffers, summed

_SHOWN_EVERY = 10
"""How many steps lie between two points of the loss curve."""
_SAVED_EVERY = 600.0
"""Seconds between two saves of a long epoch."""


@dataclass(kw_only=True)
class _Course:
    """A run between two epochs."""

    training: Training
    val: Sequence[Pair]
    config: Config
    out: Path
    first: int
    stop_after: int | None
    log: Callable[[dict[str, float], int], None]
    writer: Any = None
    best: float = -1.0
    best_epoch: int = 0
    saved: float = field(default_factory=time.perf_counter)
    warned: set[str] = field(default_factory=set)

    @property
    def epoch(self) -> int:
        """How many epochs are done, the last one perhaps in part."""
        return math.ceil(self.training.step / self.training.steps_per_epoch)

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.training.step >= self.training.total

    @property
    def main(self) -> bool:
        """Whether this process writes the run's files."""
        return bool(self.training.accelerator.is_main_process)


def run(
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    plan: dict[str, Any] | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    read: Callable[[Pair], Sample] | None = None,
    transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
    trackers: Sequence[str] = (),
) -> Iterator[Event]:
    """Train `recipe` on `dataset` into `out`, yielding what happens; `facts` is the dataset's fingerprint.

    `read` is what reads a training pair, such as a cache, and `transform` what is done to a sample before its crop.
    `plan` is stored beside the recipe; `stop_after` ends this call after so many epochs; `trackers` are Accelerate's.

    After every epoch, or every few, `last/` is replaced and the network scored on `val` at original resolution, and
    `best/` is replaced where the mean IoU rose. Ctrl-C is taken between two steps: `last/` is saved, then
    `KeyboardInterrupt` is raised.

    Raises `AtrousError` where the run cannot go on; whatever was saved stays.
    """
    check_trackers(trackers)
    last = settled(out / "last") if resume else None
    with reproducible(recipe.deterministic):
        options: dict[str, Any] = {"device": device, "workers": workers, "read": read, "transform": transform}
        training, config, line = begun(dataset, recipe, facts=facts, resumed=last, **options)
        pending = last is not None and _load(training, last)
        if line is not None:
            yield Note(text=line)
        yield from notes(training, dataset, recipe)
        if training.step >= training.total and not pending:
            yield Note(text=f"all {training.epochs} epochs are done; --epochs {2 * training.epochs} would go on")
            return
        _write_head(training, dataset, out, recipe, facts=facts, plan=plan, anew=not resume)
        main = training.accelerator.is_main_process
        try:
            course = _Course(
                training=training,
                val=dataset.splits.get("val", ()),
                config=config,
                out=out,
                first=training.step // training.steps_per_epoch,
                stop_after=stop_after,
                log=tracked(training.accelerator, trackers, out, plain(recipe)),
                # The first process's: others may not see its disk, and all have to stop alike.
                best=summed(best_so_far(out) if main else 0.0, training.accelerator),
                best_epoch=summed(_best_epoch(out) if main else 0, training.accelerator),
            )
            if not training.step:
                _save(course)  # so that a run killed in its first epoch can be resumed like any other
            yield from _epochs(course, pending=pending)
        finally:
            training.accelerator.end_training()


def _write_head(training: Training, dataset: Dataset, out: Path, recipe: Recipe, *, anew: bool, **more: Any) -> None:
    """Write what a run is made of, in place of an earlier run where it begins anew; not before all else is well."""
    accelerator = training.accelerator
    if accelerator.is_main_process:
        if anew:
            clear(out)
        write_head(out, dataset, recipe, **more)
        made_with = environment(accelerator.device, processes=accelerator.num_processes)
        write_environment(out, made_with, step=training.step)
    accelerator.wait_for_everyone()


def _load(training: Training, last: Path) -> bool:
    """Put the saved state of a run back; return whether its last epoch still has to be scored."""
    net = (training.copy or training.segmenter).net
    load_weights(net, last / "model.safetensors")
    load_full_state(training.segmenter.net, net.state_dict())
    done = load_state(last, training)
    whole = training.step % training.steps_per_epoch == 0 or training.step >= training.total
    if training.accelerator.is_main_process:
        settle_log(last.parent, training.step if done or not whole else training.step - 1)
    return whole and not done and training.step > 0


def _best_epoch(out: Path) -> int:
    scores = [(line["mean_iou"], line["epoch"]) for line in read_log(out) if line.get("mean_iou") is not None]
    return max(scores, default=(0.0, 0))[1]


def _epochs(course: _Course, *, pending: bool) -> Iterator[Event]:
    training = course.training
    steps = train(training)
    missing = without_curves()
    if missing:
        yield Note(text=missing)
    folder = course.out if course.main else None
    with curves(folder, step=training.step) as course.writer, interruptible() as interrupted:
        while pending or not course.done:
            if not pending:
                yield from _to_the_end_of_the_epoch(course, steps, interrupted)
            pending = False
            stopping = any_asks(interrupted.is_set(), training.accelerator)
            if stopping:
                yield Note(text="interrupted: this epoch is scored and saved first; Ctrl-C again stops at once")
            yield from _finished(course)
            if stopping:
                raise KeyboardInterrupt
            reason = _reason_to_stop(course)
            if reason is not None:
                yield Note(text=reason)
                return


def _reason_to_stop(course: _Course) -> str | None:
    recipe, epoch = course.training.recipe, course.epoch
    if course.done:
        return None
    if recipe.patience and course.val and epoch - course.best_epoch >= recipe.patience:
        return f"no better score for {epoch - course.best_epoch} epochs (--patience {recipe.patience}): stopped"
    if course.stop_after is not None and epoch - course.first >= course.stop_after:
        return f"stopped after epoch {epoch}, as asked; --resume goes on"
    return None


def _to_the_end_of_the_epoch(course: _Course, steps: Iterator[Any], interrupted: Any) -> Iterator[Event]:
    training = course.training
    left = training.steps_per_epoch - training.step % training.steps_per_epoch
    for step in islice(steps, left):
        if step.step % _SHOWN_EVERY == 0:
            course.writer.add_scalar("train/loss", step.loss, step.step)
            course.writer.add_scalar("train/rate", step.rate, step.step)
        yield step
        if step.step % training.steps_per_epoch == 0 or step.step == training.total:
            return
        asked = np.array([interrupted.is_set(), time.perf_counter() - course.saved > _SAVED_EVERY], np.int64)
        stop, save = summed(asked, training.accelerator)
        if stop or save:
            _save(course)
        if stop:
            raise KeyboardInterrupt


def _save(course: _Course, scores: Scores | None = None) -> None:
    with weights_to_score(course.training) as (segmenter, trained):
        config = _scored_config(course, scores)
        save_last(course.out, course.training, config, segmenter=segmenter, trained=trained)
    course.saved = time.perf_counter()


def _finished(course: _Course) -> Iterator[Event]:
    """Score and save an epoch, where it is one that is scored, and tell of it."""
    training, every = course.training, course.training.recipe.validate_every
    due = course.done or course.epoch % every == 0 or course.epoch - course.first == course.stop_after
    share_buffers(training.segmenter.net, training.accelerator)
    scores, best = None, False
    if due:
        with weights_to_score(training) as (segmenter, trained):
            save_last(course.out, training, _scored_config(course, None), segmenter=segmenter, trained=trained)
            course.saved = time.perf_counter()
            scores, shown = _scores(course, segmenter)
            value = scores.mean_iou if scores is not None and not math.isnan(scores.mean_iou) else -1.0
            best = value >= course.best
            if best:
                course.best, course.best_epoch = value, course.epoch
                save_best(course.out, training, _scored_config(course, scores), segmenter=segmenter)
        if course.main:
            draw_samples(course.out, course.epoch, training.segmenter.space, shown)
    yield from _warnings(course, scores)
    yield _recorded(course, scores, best=best, due=due)


def _scores(course: _Course, segmenter: Any) -> tuple[Scores | None, list[Shown]]:
    """Return the scores on `val`, over all processes, and some of this one's images with their predictions."""
    if not course.val:
        return None, []
    accelerator = course.training.accelerator
    mine = course.val[accelerator.process_index :: accelerator.num_processes]
    shown: list[Shown] = []
    wanted = set(chosen_samples(mine)) if course.main else set()
    scores = scored(
        segmenter.eval(),
        mine,
        course.config.space,
        shown=lambda pair, sample, labels: _show(shown, pair, sample, labels) if pair in wanted else None,
    )
    return (
        replace(scores, confusion=summed(scores.confusion, accelerator), images=summed(scores.images, accelerator)),
        shown,
    )


def _show(shown: list[Shown], pair: Pair, sample: Sample, labels: Any) -> None:
    if sample.labels is not None:
        shown.append((pair.name, sample.image, sample.labels, labels))


def _warnings(course: _Course, scores: Scores | None) -> Iterator[Note]:
    """Yield what is not as it should be, each once a run."""
    training = course.training
    seen = summed(np.asarray(training.tally.seen, np.int64), training.accelerator).tolist()
    found = {
        "starving": starving(training.tally),
        "seen": never_seen(seen, course.config.space),
        "one class": one_class(scores) if scores is not None else None,
    }
    for name, note in found.items():
        if note is not None and name not in course.warned:
            course.warned.add(name)
            yield note


def _recorded(course: _Course, scores: Scores | None, *, best: bool, due: bool) -> Epoch:
    """Write an epoch into the log, the curves and the trackers, and return it as an event."""
    training, tally = course.training, course.training.tally
    rates = training.optimizer.param_groups
    line: dict[str, Any] = {
        "epoch": course.epoch,
        "step": training.step,
        "loss": tally.loss / max(tally.steps, 1),
        "rate": max(group["lr"] for group in rates),
        "seconds": round(tally.seconds, 3),
        "images_per_second": round(
            tally.steps * training.recipe.batch * training.recipe.accumulate / max(tally.seconds, 1e-9), 2
        ),
        "waited": round(tally.waited / max(tally.seconds, 1e-9), 4),
    }
    if scores is not None:
        plainly = scores.as_json()
        line |= {"mean_iou": plainly["mean_iou"], "pixel_accuracy": scores.pixel_accuracy}
        line["iou"] = [item["iou"] for item in plainly["classes"]]
    if course.main:
        record(course.out, line, course.writer)
        if due:
            _mark(course, scores)
            draw_curves(course.out, course.config.space)
        numbers = {name: value for name, value in line.items() if isinstance(value, int | float)}
        course.log(numbers, training.step)
    return Epoch(
        epoch=course.epoch,
        epochs=training.epochs,
        loss=line["loss"],
        images_per_second=line["images_per_second"],
        scores=scores,
        best=best,
        waited=line["waited"],
    )


def _mark(course: _Course, scores: Scores | None) -> None:
    """Put the scores into `last/`, and say there that its epoch was scored."""
    config = course.out / "last" / "config.json"
    stored = _scored_config(course, scores).scores
    if stored is not None:
        from atrous.store import read_json

        write_json(config, {**read_json(config), "scores": stored})
    mark_scored(course.out / "last")


def _scored_config(course: _Course, scores: Scores | None) -> Config:
    """Return the model's config with its scores, and the precision they were taken in: the training's own."""
    if scores is None:
        return course.config
    training = course.training
    precision = resolved_precision(training.recipe.precision, training.accelerator.device.type)
    return replace(course.config, scores={**scores.as_json(), "precision": precision})
