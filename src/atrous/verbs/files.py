"""Predictions as files, by this process: what is finished is skipped, and new files are waited for where asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrous.verbs.opening import Opened

if TYPE_CHECKING:
    from atrous.prediction import Outcome
    from atrous.prediction.wanted import Progress, Wanted


def predict_files(
    opened: Opened,
    source: str | Path,
    out: Path,
    wanted: Wanted,
    *,
    redo: bool = False,
    watch: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Predict `source` into `out`; with `watch`, what comes into the folder too, until Ctrl-C."""
    from dataclasses import replace

    from atrous.prediction import find, predict_into
    from atrous.prediction.journal import kept
    from atrous.prediction.streams import STANDARD_INPUT, camera_index

    refuse_dataset(out)
    if str(source) == STANDARD_INPUT or camera_index(str(source)) is not None:
        return _of_stream(opened, str(source), out, wanted, progress)
    if watch and not Path(source).is_dir():
        raise ValueError(f"watch came with {source}, and only a folder can be watched; give one")
    sources = [] if watch else find(source, apart_from=folders_of(out))
    with kept(out, model=opened.model, options=options_of(opened, wanted)) as journal:
        if redo:
            journal.forget()
        if watch:
            outcome = _watched(opened, Path(source), out, wanted, journal, progress)
        else:
            outcome = predict_into(
                out, opened.scorer, sources, opened.space, wanted=wanted, journal=journal, progress=progress
            )
    joined = join(out, wanted) if outcome.predicted else []
    return replace(outcome, written=[*outcome.written, *joined], refined=opened.refined)


def options_of(opened: Opened, wanted: Wanted) -> dict[str, Any]:
    """Return all that decides the files beside the model and the source, as plain JSON values.

    Limits that only refuse a source, or end a stream, are left out: who raises them wants nothing done again.
    """
    limits = {name: value for name, value in wanted.as_json().items() if name not in ("max_pixels", "frames")}
    classes = {"classes": list(opened.space.names), "colours": [list(colour) for colour in opened.space.colours]}
    return {**limits, **opened.choices, **classes}


def folders_of(out: Path) -> list[Path]:
    """Return the folders that hold results, which are no sources."""
    from atrous.prediction import KINDS

    return [out / kind for kind in KINDS]


def join(out: Path, wanted: Wanted) -> list[Path]:
    """Write the files that tell of all images, `coco.json` and `statistics.csv`, where those kinds are wanted.

    One of which no image has the kind any more, since another model came, is removed.
    """
    from atrous.prediction.coco_files import joined_coco
    from atrous.prediction.statistics import joined_statistics

    found = []
    for kind, name, joined in (("coco", "coco.json", joined_coco), ("statistics", "statistics.csv", joined_statistics)):
        if kind in wanted.save or (out / name).exists():
            path = joined(out)
            if path is None:
                (out / name).unlink(missing_ok=True)
            elif kind in wanted.save:
                found.append(path)
    return found


def refuse_dataset(out: Path) -> None:
    """Raise `AtrousError` where `out` is a folder of images and masks: predictions would replace its masks.

    Images with `masks/` and what else only predictions write beside it are a folder that was predicted into.
    """
    from atrous.contract import AtrousError
    from atrous.data.layouts import recognise
    from atrous.prediction.journal import JOURNAL

    try:
        found = recognise(out)
    except AtrousError:
        return
    if found.root == out and not any((out / name).exists() for name in (JOURNAL, "overlays", "probabilities")):
        told = f"is a dataset ({found.layout}), whose masks predictions would replace"
        raise AtrousError(f"{out}: {told}; choose another --out")


def _of_stream(opened: Opened, source: str, out: Path, wanted: Wanted, progress: Progress | None) -> Outcome:
    """Predict what comes through a pipe or from a camera; there is nothing that could be finished before."""
    from atrous.prediction import Outcome
    from atrous.prediction.streams import camera_index, predict_camera, predict_stream

    index = camera_index(source)
    if index is None:
        files = predict_stream(None, opened.scorer, opened.space, out, wanted)
    else:
        files = predict_camera(index, opened.scorer, opened.space, out, wanted, frames=wanted.frames, progress=progress)
    return Outcome(written=[*files, *join(out, wanted)], failed={}, predicted=1, refined=opened.refined)


def _watched(
    opened: Opened, folder: Path, out: Path, wanted: Wanted, journal: Any, progress: Progress | None
) -> Outcome:
    """Predict what is in the folder and what comes, until Ctrl-C, and return what it came to."""
    import logging
    from dataclasses import replace

    from atrous.prediction import Outcome, predict_into
    from atrous.prediction.watching import watched

    total = Outcome(written=[], failed={})
    try:
        for sources in watched(folder, apart_from=folders_of(out)):
            came = predict_into(
                out, opened.scorer, sources, opened.space, wanted=wanted, journal=journal, progress=progress
            )
            again = {source.path for source in sources}  # what was copied slowly fails until it is whole
            failed = {path: reason for path, reason in total.failed.items() if path not in again}
            total = replace(total, failed=failed) + came
    except KeyboardInterrupt:
        logging.getLogger("atrous").info("%s: no longer watched", folder)
    return total
