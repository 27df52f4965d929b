"""The run folder: whether it may be written, what stands at its head, and how well the run has done so far."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from atrous.contract import AtrousError, Recipe
from atrous.data import Dataset
from atrous.store import CRF, plain, read_recipe, settled, write_json

_FILES = (
    "recipe.json", "split.json", "plan.json", "fingerprint.json", "environment.json", "log.jsonl", "curves.png", CRF,
)  # fmt: skip
_FOLDERS = ("events", "samples", "best", "last")


def claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure `out` may be written: a run there is kept unless it is to be resumed or overwritten.

    A run that was killed before anything was saved has nothing to lose, and is not in the way.

    Raises `AtrousError` for a run that is in the way, one that is not there to resume, or a folder of other things.
    """
    is_run = (out / "recipe.json").is_file()
    if resume and overwrite:
        raise ValueError("both resume and overwrite came; one goes on with the run, the other throws it away")
    if resume:
        if not (settled(out / "last") / "config.json").is_file():
            missing = "(last/ is missing); --overwrite begins it anew" if is_run else "(no recipe.json)"
            raise AtrousError(f"{out}: no run to resume {missing}")
    elif is_run and saved_in(out) and not overwrite:
        raise AtrousError(f"{out}: holds a run already; --resume goes on with it, --overwrite throws it away")
    elif not is_run and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AtrousError(f"{out}: is in the way and is not a run; choose another --out")


def saved_in(out: Path) -> bool:
    """Return whether anything that a run has learnt is in `out`, if only in part."""
    return any((out / name).exists() for name in ("last", "last.old", "best", "best.old", "log.jsonl"))


def resumed_recipe(out: Path, given: dict[str, Any]) -> Recipe:
    """Return the recipe of the run in `out`, with `epochs` or `steps` grown where that was asked for.

    Raises `AtrousError` for any other value in `given` that contradicts it.
    """
    recipe = read_recipe(out)
    wanted = replace(recipe, **given)
    for name in given:
        was, value = getattr(recipe, name), getattr(wanted, name)
        grows = name == "epochs" or (name == "steps" and was is not None and value is not None)
        if value == was or (grows and value > was):
            continue
        flag = f"--{name.replace('_', '-')}"
        before = f"without {flag}, not with" if was is None else f"with {flag} {was}, not"
        extra = f" ({name} may only grow)" if grows else ""
        raise AtrousError(f"{out}: the run was started {before} {value}{extra}; leave {flag} out to resume")
    return wanted


def write_head(
    out: Path,
    dataset: Dataset,
    recipe: Recipe,
    *,
    facts: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
) -> None:
    """Write the recipe, and the split by the images' names: what a resumed run takes everything from.

    `facts` is the dataset's fingerprint, and `plan` how the recipe was worked out from it, ready for JSON; where one
    is None, what an earlier call wrote stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "recipe.json", plain(recipe))
    write_json(out / "split.json", {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()})
    for file, values in (("fingerprint.json", facts), ("plan.json", plan)):
        if values is not None:
            write_json(out / file, values)


def clear(out: Path) -> None:
    """Remove an earlier run from `out`, and nothing that is not a run's; what says that it is one goes last."""
    for name in _FOLDERS:
        for ending in ("", ".new", ".old"):
            shutil.rmtree(out / f"{name}{ending}", ignore_errors=True)
    for name in reversed(_FILES):
        (out / name).unlink(missing_ok=True)


@contextmanager
def curves(out: Path | None, *, step: int = 0) -> Iterator[Any]:
    """Yield TensorBoard's writer of the run's `events/`; without a folder, one that writes nothing.

    `step` is the last one that is done: TensorBoard leaves out what a killed run wrote of later ones.
    """
    if out is None:
        yield SimpleNamespace(add_scalar=lambda *values: None)
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(out / "events"), flush_secs=30, purge_step=step + 1)
    try:
        yield writer
    finally:
        writer.close()
