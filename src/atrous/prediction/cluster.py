"""Prediction of many sources by many processes, on this machine or on many: Ray Data moves them, we predict.

Every worker opens the model once, reads a source, and writes its results into a folder that all of them see, or copies
them into a store. What comes back is the names of the files; no pixel travels through the cluster.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, LabelSpace, Scorer
from atrous.prediction.folders import BAD, Outcome, predict_source, refusal
from atrous.prediction.journal import Journal
from atrous.prediction.remote import Store
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Progress, Wanted

_TRIES = 3
"""How often a source is begun before it is given up: what kills one worker may kill them all."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every worker does: which scorer it opens, where sources come from and results go."""

    opened: Callable[[], tuple[Scorer, LabelSpace]]
    wanted: Wanted
    out: Path | Store
    come_from: Store | None = None

    def done(self, source: Source, scorer: Scorer, space: LabelSpace) -> list[str]:
        """Predict one source, and return its files below the output folder."""
        if isinstance(self.out, Path) and self.come_from is None:
            files = predict_source(source, scorer, space, self.out, self.wanted)
            return [file.relative_to(self.out).as_posix() for file in files]
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            local = source if self.come_from is None else self._fetched(source, here / "in")
            out = self.out if isinstance(self.out, Path) else here / "out"
            files = predict_source(local, scorer, space, out, self.wanted)
            if isinstance(self.out, Store):
                self.out.put(files, out)
            return [file.relative_to(out).as_posix() for file in files]

    def _fetched(self, source: Source, folder: Path) -> Source:
        store = self.come_from
        return source if store is None else replace(source, path=store.fetched(source.path, folder / source.path))


class Worker:
    """An actor of Ray Data: it opens the model when it starts, and predicts the sources that come.

    `tries` counts, in a process of its own, how often each source was begun.
    """

    def __init__(self, task: Task, tries: Any) -> None:
        self.task, self.tries = task, tries
        self.scorer, self.space = task.opened()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return which files a source came to, or why to none."""
        import ray

        source = _source_of(row["source"])
        if ray.get(self.tries.begun.remote(row["number"])) > _TRIES:
            answer: dict[str, Any] = {"failed": f"{source.path}: its worker died, {_TRIES} times"}
        else:
            try:
                answer = {"files": self.task.done(source, self.scorer, self.space)}
            except BAD as error:
                answer = _refused(source, error)
        return {"number": row["number"], "answer": json.dumps(answer)}


def _refused(source: Source, error: Exception) -> dict[str, str]:
    """Return why a source came to no files, or why none will: what a worker raises would hide the words."""
    try:
        return {"failed": refusal(source, error)}
    except AtrousError as hopeless:
        return {"ended": str(hopeless)}


class Tries:
    """How often each source was begun."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def begun(self, number: int) -> int:
        """Count a beginning, and return how many there were."""
        self.counts[number] += 1
        return self.counts[number]


def predict_on_cluster(
    task: Task,
    sources: Sequence[Source],
    *,
    address: str | None = None,
    workers: int | None = None,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write what is wanted of every source, on the Ray cluster at `address`, or on one of this machine's processes.

    `workers` is how many processes predict at most, by default one for each GPU, or for each processor where the
    cluster has none. A source whose worker dies is begun again by another, three times in all. The journal is kept by
    this process; what it knows as finished is skipped.

    Raises `AtrousError` where Ray is not installed, no cluster answers, or the disk is full.
    """
    left = [source for source in sources if journal is None or not journal.finished(source)]
    skipped = len(sources) - len(left)
    written: list[Path] = []
    failed: dict[Path, str] = {}
    root = task.out if isinstance(task.out, Path) else Path(task.out.address)
    for done, (source, answer) in enumerate(_answers(task, left, address, workers), skipped + 1):
        if "ended" in answer:
            raise AtrousError(answer["ended"])
        if "failed" in answer:
            failed[source.path] = answer["failed"]
        else:
            written += [root / file for file in answer["files"]]
            if journal is not None:
                journal.note(source, answer["files"])
        if progress is not None:
            progress(done, len(sources))
    return Outcome(
        written=written,
        failed=failed,
        predicted=len(left) - len(failed),
        skipped=skipped,
        redone=0 if journal is None else journal.redone,
    )


def _answers(
    task: Task, sources: Sequence[Source], address: str | None, workers: int | None
) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Yield what came of every source, as it comes, in any order; nothing of one whose workers died."""
    if not sources:
        return
    with _joined(address) as ray:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = False
        context.enable_progress_bars = False
        rows = [{"number": number, "source": _row_of(source)} for number, source in enumerate(sources)]
        gpus = int(ray.cluster_resources().get("GPU", 0))
        most = workers or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
        # A block for a source: what one worker's death costs is one source, and the next free worker takes the next.
        answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker,
            fn_constructor_args=(task, ray.remote(num_cpus=0)(Tries).remote()),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(rows))),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
        )
        for row in answers.iter_rows():
            yield sources[row["number"]], json.loads(row["answer"])


def _row_of(source: Source) -> str:
    files = [str(file) for file in source.files]
    return json.dumps({"path": str(source.path), "name": source.name, "kind": source.kind, "files": files})


def _source_of(text: str) -> Source:
    values = json.loads(text)
    files = tuple(Path(file) for file in values["files"])
    return Source(Path(values["path"]), values["name"], values["kind"], files)


@contextmanager
def _joined(address: str | None) -> Iterator[Any]:
    """Yield Ray, connected to a cluster, or to one of this machine that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise AtrousError('ray is not installed, and --cluster needs it: pip install "atrous[cluster]"') from error
    logging.getLogger("ray").setLevel(logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    before = ray.is_initialized()
    try:
        if not before:
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise AtrousError(f"--cluster {address}: no Ray cluster answers there ({error})") from error
    try:
        yield ray
    finally:
        if not before:
            ray.shutdown()
