"""The verbs that say how good a network is: evaluate, crf_tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atrous.contract import LabelSpace, Sample, Scorer
    from atrous.data import Pair
    from atrous.evaluation import Comparison, Scores, ScoresWithObjects
    from atrous.prediction import Refiner
    from atrous.tuning import Grid, Objective, Tuning

from atrous.verbs.choices import chosen_refiner, device_of


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: Literal[False] = ...,
    objects: Literal[False] = ...,
    layout: str | None = ...,
    masks: str | None = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Scores: ...


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: Literal[False] = ...,
    objects: Literal[True],
    layout: str | None = ...,
    masks: str | None = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> ScoresWithObjects: ...


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: Literal[True] | str | Path | Refiner,
    objects: Literal[False] = ...,
    layout: str | None = ...,
    masks: str | None = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Comparison: ...


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: bool | str | Path | Refiner,
    objects: bool = ...,
    layout: str | None = ...,
    masks: str | None = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Scores | ScoresWithObjects | Comparison: ...


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    crf: bool | str | Path | Refiner = False,
    objects: bool = False,
    layout: str | None = None,
    masks: str | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores | ScoresWithObjects | Comparison:
    """Score a model folder or a run on a labelled folder, at original resolution.

    `split` is the one stored in the run where the folder is the one it was trained on, else the folder's own. Masks
    are read with the model's classes; `layout` and `masks` are `inspect`'s. With `crf`, which is what `predict` takes,
    every image is also scored refined, and both come back with what changed in each class; the network runs once.
    With `objects` those are scored too: see `ScoresWithObjects`, which comes back then.

    Raises `ValueError` for `crf` and `objects` at once; `AtrousError` where the folder has no such split, or a mask
    holds what the model does not know; with `crf`, for an image whose probabilities are not finite, or of which a
    refiner makes anything but finite numbers.
    """
    from atrous.data.facts import identity
    from atrous.runs import data_of, pairs_in, scored
    from atrous.store import open_model

    if objects and crf is not False:
        raise ValueError("objects came with crf; objects are scored as the network finds them: leave one out")
    chosen = chosen_refiner(crf, model)
    segmenter, config = open_model(model)
    dataset = data_of(Path(model), data, space=config.space, layout=layout, masks=masks)
    pairs, space = pairs_in(dataset, split), dataset.space
    scorer = segmenter.to(device_of(device))
    if chosen is None:
        return (_with_objects if objects else scored)(scorer, pairs, space, progress=progress)
    from atrous.tuning import cases_of, compared

    told = None if progress is None else lambda done: progress(done, len(pairs))
    note = chosen.note([pair.name for pair in pairs], data=data, sha256=identity(dataset))
    return compared(cases_of(scorer, pairs, space), chosen.refiner, space, words=chosen.words, note=note, progress=told)


def _with_objects(
    scorer: Scorer, pairs: Sequence[Pair], space: LabelSpace, *, progress: Callable[[int, int], None] | None
) -> ScoresWithObjects:
    from atrous.evaluation import ScoresWithObjects
    from atrous.runs import scored

    total: ScoresWithObjects | None = None

    def count(_: Pair, sample: Sample, labels: NDArray[np.uint8]) -> None:
        nonlocal total
        if sample.labels is not None:
            each = ScoresWithObjects.of(sample.labels, labels, space, instances=sample.instances)
            total = each if total is None else total + each

    scored(scorer, pairs, space, progress=progress, shown=count)
    if total is None:
        raise ValueError("no pairs came; scores need at least one")
    return total


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
    from atrous.store import open_model, write_crf
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
