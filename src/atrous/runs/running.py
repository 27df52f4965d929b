"""A training run, from a dataset to a folder.

    dataset -> recipe -> net -> epochs ... -> folder

A run is a generator of what happens: notes, steps and epochs. The caller shows them, or stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atrous.contract import Recipe, Sample
from atrous.data import Dataset, Pair
from atrous.runs.building import begun
from atrous.runs.course import Course, epochs, save_course
from atrous.runs.environment import environment, write_environment
from atrous.runs.events import Event, Note
from atrous.runs.folder import clear, write_head
from atrous.runs.notes import notes
from atrous.runs.recording import settle_log
from atrous.runs.trackers import check_trackers, tracked
from atrous.store import load_weights, plain, settled
from atrous.training import Training, load_state, reproducible
from atrous.training.distributed import load_full_state


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
            yield Note(text=_done(training))
            return
        _write_head(training, dataset, out, recipe, facts=facts, plan=plan, anew=not resume)
        try:
            course = Course(
                training=training,
                val=dataset.splits.get("val", ()),
                config=config,
                out=out,
                first=training.step // training.steps_per_epoch,
                stop_after=stop_after,
                log=tracked(training.accelerator, trackers, out, plain(recipe)),
            )
            if not training.step:
                save_course(course)  # so that a run killed in its first epoch can be resumed like any other
            yield from epochs(course, pending=pending)
        finally:
            training.accelerator.end_training()


def _done(training: Training) -> str:
    """Return the words for a run that has nothing left to do."""
    steps = training.recipe.steps
    if steps:
        return f"all {steps} steps are done; --steps {2 * steps} would go on"
    done = training.epochs
    return f"all {done} epochs are done; --epochs {2 * done} would go on".replace("all 1 epochs are", "the epoch is")


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
        settled(last.parent / "best")
        settle_log(last.parent, training.step if done or not whole else training.step - 1)
    return whole and not done and training.step > 0
