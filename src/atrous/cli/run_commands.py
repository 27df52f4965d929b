"""The commands for training runs: demo, train, evaluate, crf-tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import (
    Cache,
    CacheLimit,
    Classes,
    Crf,
    Data,
    Device,
    Ignore,
    Json,
    Labels,
    Layout,
    Masks,
    Quiet,
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


def train(  # noqa: PLR0913  (the flags are the recipe's fields, each with its own help)
    data: Data,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The run's folder; runs/NAME-of-DATA without it.")] = None,
    resume: Annotated[bool, Parameter(help="Go on with the run in --out; --epochs may grow.")] = False,
    overwrite: Annotated[bool, Parameter(help="Throw the run in --out away.")] = False,
    model: Annotated[str | None, Parameter(help="The network (`atrous models`); deeplab_v3plus without it.")] = None,
    encoder: Annotated[str | None, Parameter(help="The trunk: any timm name; resnet18 for deeplab_v3plus.")] = None,
    pretrained: Annotated[str | None, Parameter(help="Start from published weights, a FILE of them, or a RUN.")] = None,
    output_stride: Annotated[int | None, Parameter(help="8, 16 or 32: how dense the deepest map is.")] = None,
    width: Annotated[float | None, Parameter(help="Channels, as a share of the paper's.")] = None,
    options: Annotated[
        list[str] | None, Parameter(name="--option", help="Another keyword of the network, like at_once=true.")
    ] = None,
    epochs: Annotated[int | None, Parameter(help="Passes over the training images.")] = None,
    batch: Annotated[int | None, Parameter(help="Crops per step.")] = None,
    crop: Annotated[str | None, Parameter(help="Size of a crop: 256 or 256x336 (height x width).")] = None,
    learning_rate: Annotated[float | None, Parameter(alias="--lr", help="Rate at the peak.")] = None,
    momentum: Annotated[float | None, Parameter(help="Momentum of SGD.")] = None,
    weight_decay: Annotated[float | None, Parameter(help="Not applied to norms and biases.")] = None,
    power: Annotated[float | None, Parameter(help="Of the poly schedule.")] = None,
    warm_up: Annotated[int | None, Parameter(help="Steps until the rate has its peak.")] = None,
    encoder_rate: Annotated[float | None, Parameter(help="The trunk's rate, as a share.")] = None,
    augment: Annotated[Literal["none", "light", "strong"] | None, Parameter(help="How crops are varied.")] = None,
    scale: Annotated[tuple[float, float] | None, Parameter(help="Smallest and largest zoom.")] = None,
    crops: Annotated[
        Literal["anywhere", "balanced", "foreground"] | None, Parameter(help="Where crops are taken.")
    ] = None,
    elastic: Annotated[float | None, Parameter(help="Elastic displacements, in pixels; U-Net's are 10.")] = None,
    mosaic: Annotated[float | None, Parameter(help="Chance of a crop made of four images.")] = None,
    copy_paste: Annotated[float | None, Parameter(help="Chance of objects put in from another image.")] = None,
    compare: Annotated[Literal["resized", "grid"] | None, Parameter(help="Where the loss is taken.")] = None,
    loss_weights: Annotated[
        list[float] | None, Parameter(consume_multiple=True, help="One per output of a network with several losses.")
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None, Parameter(help="Of the network's arithmetic.")
    ] = None,
    seed: Annotated[int | None, Parameter(help="Same seed, same run.")] = None,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    layout: Layout = None,
    masks: Masks = None,
    device: Device = None,
    workers: Annotated[int | None, Parameter(help="Processes that read images.")] = None,
    cache: Cache = None,
    cache_limit: CacheLimit = "16GB",
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train a network on a folder of images and masks. Ctrl-C leaves a run that --resume goes on with."""
    from atrous import verbs
    from atrous.console import watched

    changes: dict[str, Any] = {
        "model": model,
        "encoder": encoder,
        "pretrained": {None: None, "true": True}.get(pretrained, pretrained),
        "output_stride": output_stride,
        "width": width,
        "options": flags.options_of(options),
        "epochs": epochs,
        "batch": batch,
        "crop": flags.size_of(crop),
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "power": power,
        "warm_up": warm_up,
        "encoder_rate": encoder_rate,
        "augment": augment,
        "scale": scale,
        "crops": crops,
        "elastic": elastic,
        "mosaic": mosaic,
        "copy_paste": copy_paste,
        "compare": compare,
        "loss_weights": None if loss_weights is None else tuple(loss_weights),
        "precision": precision,
        "seed": seed,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    with watched(quiet=quiet) as listener:
        run = verbs.train(
            data,
            out=out,
            resume=resume,
            overwrite=overwrite,
            device=device,
            workers=workers,
            cache=cache,
            cache_limit=flags.bytes_of(cache_limit),
            listener=listener,
            **flags.wishes(classes, ignore, labels, layout, masks),
            **given,
        )
    if as_json:
        return print_json({"run": str(run), "scores": verbs.scores_of(run)})
    held_out = verbs.scores_of(run) is not None
    following = f"evaluate {run} {data}" if held_out else f"evaluate {run} {data} --split train (none were held out)"
    print(f"run in {run}: best/ and last/; next: atrous {following}")
    return 0


def evaluate(
    model: Annotated[Path, Parameter(help="A run or a model folder.")],
    data: Data,
    /,
    *,
    split: Annotated[str, Parameter(help="Which part of the data.")] = "val",
    crf: Crf = None,
    layout: Layout = None,
    masks: Masks = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Score a run on labelled images at their original resolution; each score is printed with its definition.

    With --crf both are printed, before and after refining, and what it changes in each class.
    """
    from atrous import verbs
    from atrous.console import counted

    refiner = flags.refiner_of(crf)
    with counted("scoring", quiet=quiet) as progress:
        scores = verbs.evaluate(
            model, data, split=split, crf=refiner, layout=layout, masks=masks, device=device, progress=progress
        )
    if as_json:
        return print_json(scores.as_json())
    print(scores.as_text())
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
