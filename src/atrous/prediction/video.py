"""Videos: a mask, and whatever else is wanted, of every frame, and one overlay video."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.draw import legend_of, overlay
from atrous.prediction.films import Frame, Frames, missing_bytes, opened_film, written_film
from atrous.prediction.images import check_probabilities, predicted
from atrous.prediction.outputs import SCORED, write_prediction
from atrous.prediction.pipes import behind, buffered
from atrous.prediction.rasters import predicted_in_blocks
from atrous.prediction.smoothing import smoothing
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Progress, Wanted

_LARGEST_LEGEND = 1 / 3  # of the frame's height: a legend of 150 classes would be larger than the picture
_TOLERATED = 0.1  # of the frames announced, where the format only estimates their number


def predict_video(
    source: Source,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    *,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what is wanted of a video below `out`, and return the files; `progress` counts frames.

    `overlays/NAME.mp4` has the video's frame rate and all of its frames at their own size, above one legend of all
    classes. Every other kind is a folder of a file per frame, such as `masks/NAME/000000.png`. With `wanted.smoothing`
    the probabilities are smoothed over time, afresh after each cut.

    Raises `AtrousError` for a video that cannot be opened or has no frames. One that breaks off is predicted as far as
    it goes and its files stay; then `AtrousError` says which frame is missing first.
    """
    with opened_film(source.path, max_pixels=wanted.max_pixels) as film:
        paths, count = predict_frames(film, source.name, scorer, space, out, wanted, progress=progress)
    if not count:
        raise AtrousError(f"{source.path}: no frame of this video can be decoded. Copy it again from its source.")
    _check_whole(source.path, film.count or count, count, out)
    return paths


def _check_whole(path: Path, announced: int, count: int, out: Path) -> None:
    """Raise `AtrousError` where fewer frames came than a video has; say it where that may be as it should.

    MP4 and MOV announce also the frames that an edit list hides; other formats only estimate their number.
    """
    if count >= announced:
        return
    short = missing_bytes(path)
    hidden = path.suffix.lower() in (".mp4", ".mov", ".m4v") or announced - count <= max(2, _TOLERATED * announced)
    if short or not hidden:
        early = f"; the file ends {short:,} bytes early" if short else ""
        raise AtrousError(
            f"{path}: the video breaks off: frame {count} and those after it, of {announced:,}, cannot be "
            f"decoded{early}. What comes before is predicted, and those files stay below {out}."
        )
    logging.getLogger("atrous").warning(
        "%s: %d frames came and %d were announced; an edit list may hide the others, or their number is an estimate",
        path, count, announced,
    )  # fmt: skip


def predict_frames(
    film: Frames,
    name: str,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    *,
    progress: Progress | None = None,
) -> tuple[list[Path], int]:
    """Write what is wanted of a film's frames below `out`, and return the files and how many frames there were.

    A thread decodes ahead, one draws and encodes the overlay, and two write the other files. Without frames nothing is
    written; files of frames that an earlier and longer video of this name had are removed.

    Raises `AtrousError` where the disk refuses.
    """
    pictures = iter(film.pictures)
    first = next(pictures, None)
    if first is None:
        return [], 0
    save = tuple(kind for kind in wanted.save if kind != "overlays")
    overlays = out / "overlays" / f"{name}.mp4" if "overlays" in wanted.save else None
    written, count = [] if overlays is None else [overlays], 0
    with _overlay_film(overlays, film.rate, space, first.shape) as show, _files(written, wanted) as later:
        for frame, prediction in _each(scorer, chain([first], pictures), space, wanted):
            if save:
                later(write_prediction, out, f"{name}/{count:06d}", prediction, Sample(image=frame), save=save)
            show(frame, prediction)
            count += 1
            if progress is not None:
                progress(count, max(film.count or 0, count))
    _remove_stale([out / kind / name for kind in save], count)
    return written, count


def _each(
    scorer: Scorer, pictures: Iterator[Frame], space: LabelSpace, wanted: Wanted
) -> Iterator[tuple[Frame, Prediction]]:
    """Yield every frame with its prediction, smoothed where that is wanted."""
    scored = bool(wanted.smoothing) or not SCORED.isdisjoint(wanted.save)
    steady = smoothing(wanted.smoothing)
    for frame in buffered(pictures, count=4 if wanted.max_memory is None else 1):
        if wanted.max_memory is not None and not scored:
            yield frame, predicted_in_blocks(scorer, Sample(image=frame), space, wanted)
            continue
        check_probabilities(frame.shape[:2], space, wanted, of="a frame")
        prediction = predicted(scorer, Sample(image=frame), space, probabilities=scored)
        if wanted.smoothing and prediction.probabilities is not None:
            probabilities = steady(frame, prediction.probabilities)
            labels = probabilities.argmax(0).astype(np.uint8)
            prediction = replace(prediction, probabilities=probabilities, labels=labels)
        yield frame, prediction


def _files(written: list[Path], wanted: Wanted) -> AbstractContextManager[Callable[..., None]]:
    """Return threads that write files behind; with a limit of memory one, so that no frames wait."""
    free = wanted.max_memory is None
    return behind(written.extend, threads=2 if free else 1, count=8 if free else 0)


@contextmanager
def _overlay_film(
    path: Path | None, rate: float, space: LabelSpace, shape: tuple[int, ...]
) -> Iterator[Callable[[Frame, Prediction], None]]:
    """Yield a function that adds a frame under its prediction to the film at `path`; without a path it does nothing."""
    if path is None:
        yield lambda frame, prediction: None
        return
    legend = legend_of(space, shape[1])
    if len(legend) > _LARGEST_LEGEND * shape[0]:
        legend = legend[:0]

    with written_film(path, rate) as put, behind() as later:

        def draw(frame: Frame, prediction: Prediction) -> None:
            picture = overlay(frame, prediction.labels, space, legend=False)
            put(np.vstack([picture, legend]) if picture.shape[1] == legend.shape[1] else picture)

        yield lambda frame, prediction: later(draw, frame, prediction)


def _remove_stale(folders: Sequence[Path], count: int) -> None:
    """Remove the files of frames from `count` on, which a longer video of the same name left in its own folders."""
    for folder in folders:
        for path in folder.glob("[0-9]*.*"):
            if re.fullmatch(r"\d{6,}\.[a-z]+", path.name) and int(path.stem) >= count:
                path.unlink(missing_ok=True)
