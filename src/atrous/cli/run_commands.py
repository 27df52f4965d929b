"""The commands for training runs: demo, train, lr-find, crf-tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from atrous import flags
from atrous.cli.recipe_flags import RecipeFlags, changes_of
from atrous.cli.words import (
    Cache,
    CacheLimit,
    Classes,
    Data,
    Device,
    Ignore,
    Json,
    Labels,
    Layout,
    Masks,
    Quiet,
    TrainList,
    ValList,
    Workers,
    print_json,
)


def demo(
    *,
    out: Annotated[Path, Parameter(help="Where everything is written.")] = Path("runs/demo"),
    epochs: Annotated[int, Parameter(help="Passes over the scenes.")] = 30,
    train: Annotated[int, Parameter(help="Scenes to train on.")] = 500,
    val: Annotated[int, Parameter(help="Scenes held out.")] = 60,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Make synthetic street scenes, train a network on them, score it and draw its predictions."""
    from atrous.console import watched
    from atrous.demo import demo as run_demo

    with watched(quiet=quiet) as listener:
        scores, outcome = run_demo(out, epochs=epochs, train=train, val=val, listener=listener)
    paths = {
        "run": str(out / "run"),
        "masks": str(out / "predictions" / "masks"),
        "overlays": str(out / "predictions" / "overlays"),
    }
    if as_json:
        return print_json({**paths, "scores": scores.as_json()})
    print(f"{scores.as_text()}\n")
    for name, path in paths.items():
        print(f"{name:<9} {path}")
    print(f"look at   {outcome.written[1]}")
    return 0


def train(  # noqa: PLR0913  (the recipe's flags are one argument; these are what a run hangs on beside it)
    data: Data,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The run's folder; runs/NAME-of-DATA without it.")] = None,
    recipe: Annotated[
        str | None, Parameter(help="auto, which looks at the data, or a paper's (`atrous recipes`).")
    ] = None,
    resume: Annotated[bool, Parameter(help="Go on with the run in --out; --epochs may grow.")] = False,
    overwrite: Annotated[bool, Parameter(help="Throw the run in --out away.")] = False,
    stop_after: Annotated[int | None, Parameter(help="End after so many epochs; --resume goes on.")] = None,
    seeds: Annotated[int | None, Parameter(help="Train so many runs, of --seed and the seeds after it.")] = None,
    settings: RecipeFlags | None = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    train_list: TrainList = None,
    val_list: ValList = None,
    device: Device = None,
    workers: Workers = None,
    cache: Cache = None,
    cache_limit: CacheLimit = "16GB",
    trackers: Annotated[
        str | None, Parameter(help="Also log to these of Accelerate's, such as mlflow or wandb,mlflow.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train a network on a folder of images and masks. Ctrl-C leaves a run that --resume goes on with."""
    from atrous import verbs
    from atrous.console import is_main_process, watched

    with watched(quiet=quiet or not is_main_process()) as listener:
        run = verbs.train(
            data,
            out=out,
            recipe=recipe,
            resume=resume,
            overwrite=overwrite,
            stop_after=stop_after,
            seeds=seeds,
            device=device,
            workers=workers,
            cache=cache,
            cache_limit=flags.bytes_of(cache_limit),
            trackers=tuple(flags.names_of(trackers) or ()),
            train_list=train_list,
            val_list=val_list,
            listener=listener,
            **flags.wishes(classes, ignore, labels, layout, masks),
            **changes_of(settings),
        )
    if not is_main_process():
        return 0
    if as_json:
        return print_json({"run": str(run), "scores": verbs.scores_of(run)})
    if seeds is not None:
        print(f"runs in {run}: a folder each, and seeds.json")
        return 0
    held_out = verbs.scores_of(run) is not None
    following = f"evaluate {run} {data}" if held_out else f"evaluate {run} {data} --split train (none were held out)"
    print(f"run in {run}: best/ and last/; next: atrous {following}")
    return 0


def lr_find(  # noqa: PLR0913  (what `train` takes that decides the loss)
    data: Data,
    /,
    *,
    recipe: Annotated[
        str | None, Parameter(help="auto, which looks at the data, or a paper's (`atrous recipes`).")
    ] = None,
    smallest: Annotated[float | None, Parameter(help="The first rate; 1e-6 for SGD.")] = None,
    largest: Annotated[float | None, Parameter(help="The last rate; 1 for SGD.")] = None,
    plot: Annotated[Path | None, Parameter(help="A file for the loss over the rate.")] = None,
    settings: RecipeFlags | None = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    train_list: TrainList = None,
    val_list: ValList = None,
    device: Device = None,
    workers: Workers = None,
    cache: Cache = None,
    cache_limit: CacheLimit = "16GB",
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Search the learning rate: --steps steps (100) at ever larger ones, until the loss grows. Nothing is stored."""
    from atrous import verbs
    from atrous.console import counted, is_main_process

    changes = changes_of(settings)
    with counted("searching", quiet=quiet or not is_main_process()) as progress:
        found = verbs.lr_find(
            data,
            recipe=recipe,
            steps=changes.pop("steps", 100),
            smallest=smallest,
            largest=largest,
            plot=plot,
            device=device,
            workers=workers,
            cache=cache,
            cache_limit=flags.bytes_of(cache_limit),
            train_list=train_list,
            val_list=val_list,
            progress=progress,
            **flags.wishes(classes, ignore, labels, layout, masks),
            **changes,
        )
    if not is_main_process():
        return 0
    if as_json:
        return print_json(found.as_json())
    print(found.as_text())
    if found.suggested is not None:
        print(f"\nnext: atrous train {data} --lr {found.suggested:.2g}, and the flags given here")
    return 0


def crf_tune(
    model: Annotated[Path, Parameter(help="A run or a model folder; the numbers are stored in it, as crf.json.")],
    data: Data,
    /,
    *,
    split: Annotated[str, Parameter(help="Which part of the data.")] = "val",
    images: Annotated[
        int | None, Parameter(help="Search on so many, evenly spaced, and score the others with the best; all without.")
    ] = None,
    objective: Annotated[
        Literal["mean_iou", "boundary_f", "pixel_accuracy"], Parameter(help="What is made as high as can be.")
    ] = "mean_iou",
    plot: Annotated[Path | None, Parameter(help="A file for the surface of the search.")] = None,
    layout: Layout = None,
    masks: Masks = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Search the CRF's numbers that suit a run, from coarse to fine, for --crf to take."""
    from atrous import verbs
    from atrous.console import counted

    with counted("tuning", quiet=quiet) as progress:
        found = verbs.crf_tune(
            model,
            data,
            split=split,
            images=images,
            objective=objective,
            plot=plot,
            layout=layout,
            masks=masks,
            device=device,
            progress=progress,
        )
    if as_json:
        return print_json(found.as_json())
    print(f"{found.as_text()}\n")
    print(f"stored in {model}; next: atrous predict {model} IMAGES --out out/ --crf")
    return 0
