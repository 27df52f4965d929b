"""The verb that searches a recipe: tune."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrous.verbs.learning import _cached, _recipe, _refuse_unknown, _started

if TYPE_CHECKING:
    from atrous.contract import Recipe
    from atrous.data import Dataset
    from atrous.tuning import Searched

Listener = Callable[[Any], None]


def tune(  # noqa: PLR0913  (what a search hangs on beside its recipe)
    data: str | Path,
    *,
    out: str | Path | None = None,
    trials: int = 20,
    timeout: float | None = None,
    search: Sequence[str] = (),
    storage: str | None = None,
    study: str | None = None,
    recipe: Recipe | str | None = None,
    device: str | None = None,
    workers: int | None = None,
    cache: str | Path | None = None,
    cache_limit: int = 16_000_000_000,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    train_list: str | Path | None = None,
    val_list: str | Path | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> Searched:
    """Search the settings of a recipe that suit a folder of images and masks, and return what was found.

    Each trial is a run in `out/trials`, the best one is kept in `out/best`, and `out` also gets a report. `out`
    defaults to `runs/NAME-tune`. The search ends once `trials` are finished in all, or when `timeout` minutes are over:
    then no trial starts. `search` says what is searched, as `"learning_rate=0.001..0.1"` or `"crop=128,256"`; without
    it `tuning.space_around` does. `storage` is the URL of a database that Optuna writes, an SQLite file in `out`
    without it, and `study` a name in it, by default that of the folder. The same call goes on with a study, and several
    processes, also of several machines, may work on one at once. The other arguments are those of `train`; `listener`
    is called with a note for each trial, and with the steps and epochs of all.

    Raises `AtrousError` for data that cannot be trained on or scored, a study or a folder of something else, and where
    the first trials all fail; `ValueError` for a recipe or a search that cannot be.
    """
    from atrous import runs
    from atrous.tuning import Search, check_search, search_recipe, space_around, space_of

    _refuse_unknown(changes)
    _refuse_launched()
    out = Path(out) if out is not None else Path("runs") / f"{Path(data).resolve().name}-tune"
    name = study if study is not None else Path(data).resolve().name

    def planned(start: Recipe, identity: str) -> Search:
        space = space_of(search, start) if search else space_around(start)
        plan = Search(
            out=out,
            recipe=start,
            space=space,
            name=name,
            data=identity,
            trials=trials,
            minutes=timeout,
            storage=storage,
        )
        check_search(plan)
        return plan

    if recipe != "auto":
        planned(_recipe(recipe, changes), "")  # before the images are looked at, which takes its time
    _refuse_both(changes, search)
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    wishes |= {"train_list": train_list, "val_list": val_list}
    dataset, start, facts, _ = _started(data, out, recipe, changes, wishes, device)
    runs.pairs_in(dataset, "val")
    options = {"device": device, "workers": workers, "read": _cached(dataset, start, cache, cache_limit)}
    trainer = _Trainer(dataset=dataset, facts=facts, options=options, listener=listener)
    return search_recipe(planned(start, facts["sha256"]), trainer, told=trainer.note, command=_command(data, wishes))


@dataclass(kw_only=True)
class _Trainer:
    """Trains one recipe after another on the same dataset, and tells the listener."""

    dataset: Dataset
    facts: dict[str, Any]
    options: dict[str, Any]
    listener: Listener | None
    began: bool = False

    def __call__(self, recipe: Recipe, out: Path) -> Iterator[tuple[int, int, float]]:
        from atrous import runs

        events = runs.run(self.dataset, out, recipe, facts=self.facts, **self.options)
        try:
            for event in events:
                if self.listener is not None and not (self.began and isinstance(event, runs.Note)):
                    self.listener(event)
                if isinstance(event, runs.Epoch) and event.scores is not None:
                    yield event.epoch, event.epochs, event.scores.mean_iou
        finally:
            self.began = True  # its notes are those of every trial
            events.close()  # type: ignore[attr-defined]
            _free()

    def note(self, text: str) -> None:
        from atrous import runs

        if self.listener is not None:
            self.listener(runs.Note(text=text))


def _free() -> None:
    """Give the memory of a trial back, also that of one which had too little."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _command(data: str | Path, wishes: dict[str, Any]) -> str:
    """Return the command that trains on the same data."""
    words = ["atrous", "train", str(data)]
    for name, value in wishes.items():
        if value is not None:
            many = isinstance(value, list | tuple)
            words += [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if many else str(value)]
    return shlex.join(words)


def _refuse_both(changes: dict[str, Any], search: Sequence[str]) -> None:
    """Raise `ValueError` for a setting that is given and searched at once."""
    for name in (text.partition("=")[0].strip() for text in search):
        if name in changes:
            raise ValueError(
                f"{name} {changes[name]} came, and a search of it; leave one out: the search tries the recipe's first"
            )


def _refuse_launched() -> None:
    """Raise `ValueError` in one of several processes that train together."""
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise ValueError(
            "tune trains each trial in one process; start the command itself once per device, with the same --out"
        )
