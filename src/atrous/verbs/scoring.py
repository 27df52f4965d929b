"""The verbs that say how good a network is: evaluate, crf_tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

if TYPE_CHECKING:
    from atrous.contract import Colour
    from atrous.evaluation import Comparison
    from atrous.evaluation.report import Report
    from atrous.prediction import Refiner
    from atrous.tuning import Grid, Objective, Tuning


Progress = Callable[[int, int], None]


class Settings(TypedDict, total=False):
    """What `evaluate` takes besides `crf`, which decides what comes back."""

    split: str | None
    measures: str | Sequence[str]
    objects: bool
    sequence: bool
    tta: bool
    scales: Sequence[float] | None
    window: int | tuple[int, int] | None
    overlap: float | None
    ignore: int | Colour | None
    void: bool
    foreground: bool | None
    resamples: int
    block: int
    html: str | Path | None
    layout: str | None
    masks: str | None
    device: str | None
    progress: Progress | None


@overload
def evaluate(model: Any, data: str | Path, *, crf: Literal[False] = ..., **settings: Unpack[Settings]) -> Report: ...


@overload
def evaluate(
    model: Any, data: str | Path, *, crf: Literal[True] | str | Path | Refiner, **settings: Unpack[Settings]
) -> Comparison: ...


@overload
def evaluate(
    model: Any, data: str | Path, *, crf: bool | str | Path | Refiner, **settings: Unpack[Settings]
) -> Report | Comparison: ...


def evaluate(  # noqa: PLR0913  (a door: what decides the result has a name each)
    model: str | Path | Sequence[str | Path],
    data: str | Path,
    *,
    split: str | None = None,
    measures: str | Sequence[str] = (),
    objects: bool = False,
    sequence: bool = False,
    crf: bool | str | Path | Refiner = False,
    tta: bool = False,
    scales: Sequence[float] | None = None,
    window: int | tuple[int, int] | None = None,
    overlap: float | None = None,
    ignore: int | Colour | None = None,
    void: bool = False,
    foreground: bool | None = None,
    resamples: int = 1000,
    block: int = 1,
    html: str | Path | None = None,
    layout: str | None = None,
    masks: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Report | Comparison:
    """Score a run, a model folder or an exported file on a labelled folder, at original resolution.

    `model` may also be several, whose probabilities are averaged. `split`, "val" without it, is the one stored in the
    run or carried by the exported file where the folder is the one it was trained on, else the folder's own. Masks are
    read with the model's classes; `layout` and `masks` are `inspect`'s, and `ignore` is what they hold where nothing
    counts. `tta`, `scales`, `window` and `overlap` are `predict`'s.

    `measures` are some of `evaluation.MEASURES`, or "all": those that the data allow. `objects` adds them. "flicker" is
    of frames: images whose names are numbered in even steps, or with `sequence`, which adds it, all of a folder in the
    order of their names. "distances" are in mm or metres where all images say where they lie, and of a volume's slices
    together. `void` prints the means with ignored pixels as false positives too; `foreground` says whether the first
    class is the background, which its name says otherwise. `resamples` is how many bootstrap samples the intervals are
    of, 0 for none, and `block` how many neighbouring images are drawn together: 1 takes them as independent. `html` is
    a file for a page with all of it; all measures are taken then, unless some were named.

    With `crf`, which is what `predict` takes, every image is also scored refined, and both come back as a `Comparison`
    with what changed in each class; the network runs once.

    Raises `ValueError` for settings that cannot be; `AtrousError` where the folder has no such split, an image has no
    mask, or a mask holds what the model does not know; where no split is named and nobody knows which images of the
    folder the model was trained with; with `crf`, for an image whose probabilities are not finite, or of which a
    refiner makes anything but finite numbers.
    """
    from atrous.verbs.asked import Asked
    from atrous.verbs.reporting import refined_pair, reported

    asked = Asked(
        measures=measures,
        objects=objects,
        sequence=sequence,
        void=void,
        foreground=foreground,
        resamples=resamples,
        block=block,
        html=None if html is None else Path(html),
    )
    asked.check(crf=crf)
    around = {"tta": tta, "scales": scales, "window": window, "overlap": overlap, "device": device}
    reading = {"split": split, "ignore": ignore, "layout": layout, "masks": masks}
    if crf is False or crf is None:
        return reported(model, data, asked, around=around, reading=reading, progress=progress)
    return refined_pair(model, data, asked, crf=crf, around=around, reading=reading, progress=progress)


def crf_tune(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    images: int | None = None,
    objective: Objective = "mean_iou",
    grid: Grid | None = None,
    plot: str | Path | None = None,
    layout: str | None = None,
    masks: str | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Search the numbers of the CRF that suit a run or model folder, and store them in it as `crf.json`.

    That is where `crf=True` finds them. The network runs once on each image of the split. With `images` only so many,
    evenly spaced, are searched on, and the rest says honestly what the best numbers gain; without it the scores are
    those of the images that were searched on, which flatter. `objective` is "mean_iou", "boundary_f" or
    "pixel_accuracy", `grid` what is tried, and `plot` a file for a picture of it; `layout` and `masks` are `inspect`'s.
    No CRF is one of the candidates,
    and where it wins, `crf=True` will refine nothing.

    Raises `AtrousError` for what `evaluate` refuses and for a plot without matplotlib, `ValueError` for an objective
    or a plot's suffix that is not known.
    """
    from atrous.data.facts import identity
    from atrous.data.writers import check_figure
    from atrous.runs import data_of, pairs_in
    from atrous.store import device_of, open_model, write_crf
    from atrous.tuning import tuned, write_plot

    if plot is not None:
        check_figure(plot)
    segmenter, config = open_model(model)
    dataset = data_of(Path(model), data, space=config.space, layout=layout, masks=masks)
    pairs = pairs_in(dataset, split)
    scorer = segmenter.to(device_of(device))
    found = tuned(scorer, pairs, dataset.space, images=images, objective=objective, grid=grid, progress=progress)
    source = {"data": str(data), "sha256": identity(dataset), "split": split, "images": list(found.images)}
    write_crf(model, {**found.as_stored(), "tuned_on": source})
    if plot is not None:
        write_plot(plot, found)
    return found


def scores_of(run: str | Path) -> dict[str, Any] | None:
    """Return the scores stored with a run's best model, or with a model folder; None where it was never scored.

    Of a folder of runs of several seeds it is their mean and deviation.
    """
    from atrous.store import model_folder, read_config, read_json

    if (Path(run) / "seeds.json").is_file():
        return dict(read_json(Path(run) / "seeds.json"))
    return read_config(model_folder(run)).scores
