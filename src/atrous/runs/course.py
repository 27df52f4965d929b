"""The course of a run: its epochs, each of steps, a save, a validation and what is written of it.

    steps ... -> last/ -> validation -> best/ -> log -> steps ...

The log is what a run goes by: an epoch is done when its line is there, and the best score is the best line's.
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

from atrous.contract import Sample
from atrous.data import Pair
from atrous.evaluation import Scores
from atrous.runs.events import Epoch, Event, Note
from atrous.runs.folder import curves
from atrous.runs.interruption import interruptible
from atrous.runs.notes import never_seen, one_class, starving
from atrous.runs.pictures import chosen_samples, draw_samples
from atrous.runs.plots import draw_curves, without_curves
from atrous.runs.recording import read_log, record
from atrous.runs.saving import save_best, save_last, weights_to_score
from atrous.runs.scoring import Shown, scored
from atrous.store import Config, read_json, write_json
from atrous.training import Training, factor, mark_scored, resolved_precision, train
from atrous.training.distributed import any_asks, share_buffers, summed

_SHOWN_EVERY = 10
"""How many steps lie between two points of the loss curve."""
_SAVED_EVERY = 600.0
"""Seconds between two saves of a long epoch."""


@dataclass(kw_only=True)
class Course:
    """A run between two epochs; `first` is how many were done when this call began, `scored` the last one with scores.

    `best` is the best mean IoU so far, of `best_epoch`; both are the first process's, since others may not see its disk
    and all have to stop alike.
    """

    training: Training
    val: Sequence[Pair]
    config: Config
    out: Path
    first: int
    stop_after: int | None
    log: Callable[[dict[str, float], int], None]
    writer: Any = None
    best: float = -math.inf
    best_epoch: int = 0
    scored: int = 0
    saved: float = field(default_factory=time.perf_counter)
    warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        lines = [line for line in read_log(self.out) if line.get("mean_iou") is not None] if self.main else []
        best = max(lines, key=lambda line: (line["mean_iou"], -line["epoch"]), default={"mean_iou": -1.0, "epoch": 0})
        told = [best["mean_iou"], best["epoch"], lines[-1]["epoch"] if lines else 0]
        value, epoch, scored_epoch = summed(np.array(told if self.main else [0.0] * 3), self.training.accelerator)
        self.best = float(value) if epoch else -math.inf
        self.best_epoch, self.scored = int(epoch), int(scored_epoch)

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


def epochs(course: Course, *, pending: bool) -> Iterator[Event]:
    """Train epoch after epoch to the end, or to what ends the run before; `pending` is one that is yet to be scored.

    Raises `KeyboardInterrupt` where Ctrl-C came, with everything saved.
    """
    training = course.training
    steps = train(training)
    missing = without_curves()
    if missing:
        yield Note(text=missing)
    folder = course.out if course.main else None
    with curves(folder, step=training.step) as course.writer, interruptible() as interrupted:
        reason = None if pending or training.step % training.steps_per_epoch else _reason_to_stop(course)
        while reason is None and (pending or not course.done):
            if not pending:
                yield from _to_the_end_of_the_epoch(course, steps, interrupted)
            pending = False
            stopping = any_asks(interrupted.is_set(), training.accelerator)
            if stopping:
                yield Note(text="interrupted: this epoch is scored and saved first; Ctrl-C again stops at once")
            yield from _finished(course, stopping=stopping)
            if any_asks(interrupted.is_set(), training.accelerator):
                raise KeyboardInterrupt
            reason = _reason_to_stop(course)
        if reason is not None:
            yield Note(text=reason)


def _reason_to_stop(course: Course) -> str | None:
    recipe, epoch = course.training.recipe, course.epoch
    waited = epoch - course.best_epoch
    if course.done:
        return None
    if recipe.patience and course.val and epoch and course.scored == epoch and waited >= recipe.patience:
        return f"no better score for {waited} epoch{'s' * (waited > 1)} (--patience {recipe.patience}): stopped"
    if course.stop_after is not None and epoch - course.first >= course.stop_after:
        return f"stopped after epoch {epoch}, as asked; --resume goes on"
    return None


def _to_the_end_of_the_epoch(course: Course, steps: Iterator[Any], interrupted: Any) -> Iterator[Event]:
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
            save_course(course)
        if stop:
            raise KeyboardInterrupt


def save_course(course: Course) -> None:
    """Replace `last/` by the run as it is now."""
    with weights_to_score(course.training) as (segmenter, trained):
        save_last(course.out, course.training, course.config, segmenter=segmenter, trained=trained)
    course.saved = time.perf_counter()


def _finished(course: Course, *, stopping: bool) -> Iterator[Event]:
    """Save and score an epoch, where it is one that is scored or the last for now, and tell of it."""
    training, every = course.training, course.training.recipe.validate_every
    asked = stopping or course.epoch - course.first == course.stop_after
    due = course.done or course.epoch % every == 0 or asked
    share_buffers(training.segmenter.net, training.accelerator)
    scores, best = None, False
    if due:
        with weights_to_score(training) as (segmenter, trained):
            save_last(course.out, training, course.config, segmenter=segmenter, trained=trained)
            course.saved = time.perf_counter()
            scores, shown = _scores(course, segmenter)
            best = _is_best(course, scores)
            if best:
                save_best(course.out, training, _scored_config(course, scores), segmenter=segmenter)
        if course.main:
            draw_samples(course.out, course.epoch, training.segmenter.space, shown)
    yield from _warnings(course, scores)
    yield _recorded(course, scores, best=best, due=due)


def _is_best(course: Course, scores: Scores | None) -> bool:
    """Say whether an epoch is the best so far, and keep it in mind; without scores the latest is."""
    if scores is None:
        return True
    course.scored = course.epoch
    value = -1.0 if math.isnan(scores.mean_iou) else scores.mean_iou
    better = value > course.best
    if better:
        course.best, course.best_epoch = value, course.epoch
    return better


def _scores(course: Course, segmenter: Any) -> tuple[Scores | None, list[Shown]]:
    """Return the scores on `val`, over all processes, and some of this one's images with their predictions."""
    if not course.val:
        return None, []
    accelerator = course.training.accelerator
    mine = course.val[accelerator.process_index :: accelerator.num_processes]
    shown: list[Shown] = []
    wanted = set(chosen_samples(mine)) if course.main else set()

    def show(pair: Pair, sample: Sample, labels: Any) -> None:
        if pair in wanted and sample.labels is not None:
            shown.append((pair.name, sample.image, sample.labels, labels))

    scores = scored(segmenter.eval(), mine, course.config.space, shown=show)
    matrix, images = summed(scores.confusion, accelerator), summed(scores.images, accelerator)
    return replace(scores, confusion=matrix, images=images), shown


def _warnings(course: Course, scores: Scores | None) -> Iterator[Note]:
    """Yield what is not as it should be, each once a call."""
    training = course.training
    seen = summed(np.asarray(training.tally.seen, np.int64), training.accelerator).tolist()
    whole = training.tally.steps == training.steps_per_epoch
    found = {
        "starving": starving(training.tally),
        "seen": never_seen(seen, course.config.space) if whole else None,
        "one class": one_class(scores, training.recipe) if scores is not None else None,
    }
    for name, note in found.items():
        if note is not None and name not in course.warned:
            course.warned.add(name)
            yield note


def _recorded(course: Course, scores: Scores | None, *, best: bool, due: bool) -> Epoch:
    """Write an epoch into the log, the curves and the trackers, and return it as an event."""
    training, line = course.training, _line(course, scores)
    if course.main:
        record(course.out, line, course.writer)
        if due:
            _mark(course, scores)
            draw_curves(course.out, course.config.space)
        course.log({name: value for name, value in line.items() if isinstance(value, int | float)}, training.step)
    return Epoch(
        epoch=course.epoch,
        epochs=training.epochs,
        loss=line["loss"],
        images_per_second=line["images_per_second"],
        scores=scores,
        best=best,
        waited=line["waited"],
    )


def _line(course: Course, scores: Scores | None) -> dict[str, Any]:
    """Return what the log says of an epoch."""
    training, tally, recipe = course.training, course.training.tally, course.training.recipe
    seconds = max(tally.seconds, 1e-9)
    line: dict[str, Any] = {
        "epoch": course.epoch,
        "step": training.step,
        "loss": tally.loss / max(tally.steps, 1),
        "rate": recipe.learning_rate * factor(recipe, training.step - 1, total=training.total),
        "seconds": round(tally.seconds, 3),
        "images_per_second": round(tally.steps * recipe.batch * recipe.accumulate / seconds, 2),
        "waited": round(tally.waited / seconds, 4),
    }
    if scores is not None:
        plainly = scores.as_json()
        line |= {"mean_iou": plainly["mean_iou"], "pixel_accuracy": scores.pixel_accuracy}
        line["iou"] = [item["iou"] for item in plainly["classes"]]
    return line


def _mark(course: Course, scores: Scores | None) -> None:
    """Put the scores into `last/`, and say there that its epoch was scored."""
    last = course.out / "last"
    if scores is not None:
        write_json(
            last / "config.json",
            {**read_json(last / "config.json"), "scores": _scored_config(course, scores).scores},
        )
    mark_scored(last)


def _scored_config(course: Course, scores: Scores | None) -> Config:
    """Return the model's config with its scores, and the precision they were taken in: the training's own."""
    if scores is None:
        return course.config
    training = course.training
    precision = resolved_precision(training.recipe.precision, training.accelerator.device.type)
    return replace(course.config, scores={**scores.as_json(), "precision": precision})
