"""Predictions as files, by the processes of a Ray cluster, with sources and results here or in a store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrous.verbs.files import folders_of, join, options_of, refuse_dataset
from atrous.verbs.opening import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atrous.contract import LabelSpace, Scorer
    from atrous.prediction import Outcome
    from atrous.prediction.journal import Journal
    from atrous.prediction.wanted import Progress, Wanted


def predict_on(
    opening: Callable[[], Opened],
    source: str,
    out: str,
    wanted: Wanted,
    *,
    address: str | None = None,
    workers: int | None = None,
    redo: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Predict `source` into `out` on the cluster at `address`, or on one of this machine's processes.

    Both are folders that every worker sees, or addresses of stores, such as s3://bucket/folder. Every worker calls
    `opening`; so does this process, which tells a model that is not there before any worker starts.
    """
    from atrous.prediction import find
    from atrous.prediction.cluster import Task, predict_on_cluster
    from atrous.prediction.remote import Store, is_remote

    opened = opening()
    target: Path | Store = Store(out) if is_remote(out) else Path(os.path.abspath(out))  # noqa: PTH100
    come_from = Store(source) if is_remote(source) else None
    if isinstance(target, Path):
        refuse_dataset(target)
    apart = folders_of(target) if isinstance(target, Path) else ()
    sources = find(source, apart_from=apart) if come_from is None else come_from.sources()
    if come_from is None:  # a worker may stand in another folder
        sources = [
            replace(each, path=each.path.absolute(), files=tuple(file.absolute() for file in each.files))
            for each in sources
        ]
    task = Task(opened=partial(_scorer_of, opening), wanted=wanted, out=target, come_from=come_from)
    with _journal(target, come_from, opened, wanted) as journal:
        if redo:
            journal.forget()
        outcome = predict_on_cluster(
            task, sources, address=address, workers=workers, journal=journal, progress=progress
        )
    joined = join(target, wanted) if isinstance(target, Path) and outcome.predicted else []
    written = [*outcome.written, *joined]
    if isinstance(target, Path):
        written = [Path(out, file.relative_to(target)) for file in written]
    return replace(outcome, written=written, refined=opened.refined)


def _scorer_of(opening: Callable[[], Opened]) -> tuple[Scorer, LabelSpace]:
    opened = opening()
    return opened.scorer, opened.space


@contextmanager
def _journal(target: Any, come_from: Any, opened: Opened, wanted: Wanted) -> Iterator[Journal]:
    """Yield the journal of the output folder; that of a store is kept here and copied there at the end."""
    from atrous.prediction.journal import JOURNAL, Places, kept

    here = isinstance(target, Path)
    results = Places.of(target) if here else target
    origins = Places.of(Path()) if come_from is None else come_from
    places = Places(called=origins.called, state=origins.state, there=results.there, remove=results.remove)
    with tempfile.TemporaryDirectory() as temporary:
        folder = target if here else Path(temporary)
        if not here and target.there(JOURNAL):
            target.fetched(Path(JOURNAL), folder / JOURNAL)
        try:
            with kept(folder, model=opened.model, options=options_of(opened, wanted), places=places) as journal:
                yield journal
        finally:
            if not here:
                target.put([folder / JOURNAL], folder)
