"""What a person sees while things run: bars, notes and tables on standard error; results go to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def is_main_process() -> bool:
    """Return whether this is the process that speaks and writes, of those that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


_WAITED = 0.3
"""The share of the time spent on waiting for images that is worth a word."""


def error_console() -> Console:
    """Return a console on standard error that wraps nothing a pipe would want whole."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


@contextmanager
def counted(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield `progress(done, total)`, drawn as a bar with the time left; quiet, or off a terminal, it draws nothing."""
    console = error_console()
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def watched(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Yield a listener for `train`: a bar with loss, rate, images per second and time left, a line per epoch.

    Off a terminal there is no bar; quiet, nothing at all.
    """
    if quiet:
        yield lambda event: None
        return
    console = error_console()
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Watch(console, bar)


class _Watch:
    """Draws the events of a run."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self.console, self.bar = console, bar
        self.task = bar.add_task("train", total=None, epoch=1, state="starting")

    def __call__(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "Note":
            _tell(self.console, event)
        elif kind == "Step":
            speed = (self.bar.tasks[0].speed or 0.0) * event.images
            state = f"loss {event.loss:.3f}  rate {event.rate:.4f}  {speed:.1f} images/s"
            self.bar.update(self.task, completed=event.step, total=event.total, epoch=event.epoch + 1, state=state)
        else:
            self.console.print(epoch_line(event), markup=False)


def _tell(console: Console, note: Any) -> None:
    """Print a note; a warning stands out by its first word, and on a terminal by its colour."""
    if note.warning:
        console.print(f"warning: {note.text}", markup=False, style="bold yellow")
    else:
        console.print(note.text, markup=False)


def epoch_line(event: Any) -> str:
    """Return one line on an epoch: loss, speed, and the scores on `val` where there are any.

    It says how much of the time went by in waiting for images where that was more than 30 %.
    """
    line = f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.3f}  {event.images_per_second:.1f} images/s"
    if event.waited > _WAITED:
        line += f" (waited for images {100 * event.waited:.0f} % of the time)"
    if event.scores is not None:
        line += f"  mean IoU {100 * event.scores.mean_iou:.2f}  pixel accuracy {100 * event.scores.pixel_accuracy:.2f}"
    return line + ("  (best)" if event.best else "")
