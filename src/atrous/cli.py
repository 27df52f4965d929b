"""The command line: flags to verbs. Nothing heavy is imported before a command runs, so the help is instant."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from atrous import __version__, flags

app = App(
    name="atrous",
    help="Semantic segmentation from FCN to DeepLab v3+: train, evaluate and predict.",
    help_epilogue="--debug with any command shows where an error came from. Exit codes: 0 well, 1 done with findings "
    "or failures, 2 not done, 130 interrupted.",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)

_TRAINING = ("torch", "timm", "accelerate", "tensorboard")

Quiet = Annotated[bool, Parameter(help="No bars and no notes.")]
Json = Annotated[bool, Parameter(name="--json", help="One JSON document on standard output.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1 or mps; without it a GPU where there is one.")]
Classes = Annotated[str | None, Parameter(help="Names of the classes, separated by commas.")]
Ignore = Annotated[str | None, Parameter(help="What masks hold where nothing counts: a number, or a colour R,G,B.")]
Crf = Annotated[
    str | None,
    Parameter(
        help="Refine the probabilities. Alone: with the numbers that crf-tune stored in the run, else mild ones. Or "
        f"{', '.join(flags.REFINERS)}, or a JSON file of a CRF's numbers."
    ),
]
Labels = Annotated[
    Literal["indices", "colours", "instances"] | None, Parameter(help="What masks hold; found out where it can be.")
]


@app.command
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
        return _print_json({**paths, "scores": scores.as_json()})
    print(f"{scores.as_text()}\n")
    for name, path in paths.items():
        print(f"{name:<9} {path}")
    print(f"look at   {outcome.written[1]}")
    return 0


@app.command
def inspect(
    data: Annotated[Path, Parameter(help="A folder of images and masks.")],
    /,
    *,
    classes: Classes = None,
    ignore: Ignore = None,
    labels: Labels = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Say what a folder of images and masks holds, and what is wrong with it. Exit code 1 where something is."""
    from atrous import verbs
    from atrous.console import counted

    with counted("reading", quiet=quiet) as progress:
        found = verbs.inspect(data, **flags.wishes(classes, ignore, labels), progress=progress)
    if as_json:
        _print_json(found.as_json())
    else:
        print(found.as_text())
    return 1 if found.findings else 0


@app.command
def train(  # noqa: PLR0913  (the flags are the recipe's fields, each with its own help)
    data: Annotated[Path, Parameter(help="A folder of images and masks.")],
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
    augment: Annotated[Literal["none", "light"] | None, Parameter(help="How crops are varied.")] = None,
    scale: Annotated[tuple[float, float] | None, Parameter(help="Smallest and largest zoom.")] = None,
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
    device: Device = None,
    workers: Annotated[int | None, Parameter(help="Processes that read images.")] = None,
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
            listener=listener,
            **flags.wishes(classes, ignore, labels),
            **given,
        )
    if as_json:
        return _print_json({"run": str(run), "scores": verbs.scores_of(run)})
    print(f"run in {run}: best/ and last/; next: atrous evaluate {run} {data}")
    return 0


@app.command
def evaluate(
    model: Annotated[Path, Parameter(help="A run or a model folder.")],
    data: Annotated[Path, Parameter(help="A folder of images and masks.")],
    /,
    *,
    split: Annotated[str, Parameter(help="Which part of the data.")] = "val",
    crf: Crf = None,
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
        scores = verbs.evaluate(model, data, split=split, crf=refiner, device=device, progress=progress)
    if as_json:
        return _print_json(scores.as_json())
    print(scores.as_text())
    return 0


@app.command
def predict(
    model: Annotated[Path, Parameter(help="A run or a model folder.")],
    source: Annotated[str, Parameter(help="An image, a folder, or a pattern like 'photos/*.jpg'.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Where masks/, overlays/ and probabilities/ are written.")],
    save: Annotated[str, Parameter(help="masks, overlays, probabilities; separated by commas.")] = "masks,overlays",
    crf: Crf = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Label every pixel of images. One that cannot be read is reported and skipped; the exit code is 1 then."""
    from atrous import verbs
    from atrous.console import counted

    kinds = [kind.strip() for kind in save.split(",") if kind.strip()]
    with counted("predicting", quiet=quiet) as progress:
        outcome = verbs.predict(
            model, source, out=out, save=kinds, crf=flags.refiner_of(crf), device=device, progress=progress
        )
    failed = {str(path): reason for path, reason in outcome.failed.items()}
    if as_json:
        written = [str(path) for path in outcome.written]
        _print_json({"written": written, "failed": failed, "refined": outcome.refined})
    else:
        done = len(outcome.written) // max(1, len(kinds))
        where = ", ".join(str(out / kind) for kind in kinds) if done else "nothing was written"
        print(f"{done} images predicted, {len(failed)} failed: {where}")
        if outcome.refined is not None:
            print(f"refined with {outcome.refined}")
    return 1 if failed else 0


@app.command
def refine(  # noqa: PLR0913  (the numbers of the CRF have each its own help)
    image: Annotated[Path, Parameter(help="An image, or a folder of them.")],
    mask: Annotated[
        Path | None, Parameter(help="A mask of any tool, or probabilities (.npz, .npy); a folder for a folder.")
    ] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="The file, or folder, that is written, in the form of the mask.")],
    scribbles: Annotated[Path | None, Parameter(help="Coloured strokes, in place of a mask.")] = None,
    overlay: Annotated[Path | None, Parameter(help="A file, or folder, for the image under the result.")] = None,
    crf: Annotated[
        str,
        Parameter(help=f"{', '.join(flags.REFINERS)}, or a JSON file of a CRF's numbers; what suits without."),
    ] = "true",
    confidence: Annotated[
        float | None, Parameter(help="How probably a label in the mask is right; 0.7 without.")
    ] = None,
    ignore: Ignore = None,
    keep_ignored: Annotated[bool, Parameter(help="Leave such pixels as they are.")] = False,
    unknown: Annotated[str | None, Parameter(help="The colour R,G,B where there is no stroke.")] = None,
    w1: Annotated[float | None, Parameter(help="Weight of the kernel of colours.")] = None,
    sigma_alpha: Annotated[float | None, Parameter(help="How far it reaches, in pixels.")] = None,
    sigma_beta: Annotated[float | None, Parameter(help="How far colours may differ, in 0..255.")] = None,
    w2: Annotated[float | None, Parameter(help="Weight of the kernel of positions.")] = None,
    sigma_gamma: Annotated[float | None, Parameter(help="How far it reaches, in pixels.")] = None,
    iterations: Annotated[int | None, Parameter(help="Steps of the CRF.")] = None,
    mode: Annotated[Literal["full", "fast", "exact"] | None, Parameter(help="How exactly the CRF is solved.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Make a mask of any tool follow the edges of its image, or a full mask of a few coloured strokes."""
    from atrous import verbs
    from atrous.console import counted

    numbers = {
        "w1": w1,
        "sigma_alpha": sigma_alpha,
        "sigma_beta": sigma_beta,
        "w2": w2,
        "sigma_gamma": sigma_gamma,
        "iterations": iterations,
        "mode": mode,
    }
    with counted("refining", quiet=quiet) as progress:
        done = verbs.refine(
            image,
            mask,
            out=out,
            scribbles=scribbles,
            overlay=overlay,
            crf=flags.refiner_of(crf),
            confidence=confidence,
            ignore=None if ignore is None else flags.value_of(ignore),
            keep_ignored=keep_ignored,
            unknown=None if unknown is None else flags.colour_of(unknown),
            progress=progress,
            **{name: value for name, value in numbers.items() if value is not None},
        )
    failed = {str(path): reason for path, reason in done.failed.items()}
    if as_json:
        written = {str(path): changes.as_json() for path, changes in done.changes.items()}
        _print_json({"written": written, "failed": failed, "refined": done.words})
    else:
        print(done.as_text(out))
    return 1 if failed else 0


@app.command
def crf_tune(
    model: Annotated[Path, Parameter(help="A run or a model folder; the numbers are stored in it, as crf.json.")],
    data: Annotated[Path, Parameter(help="A folder of images and masks.")],
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
            device=device,
            progress=progress,
        )
    if as_json:
        return _print_json(found.as_json())
    print(f"{found.as_text()}\n")
    print(f"stored in {model}; next: atrous predict {model} IMAGES --out out/ --crf")
    return 0


@app.command(name="import")
def import_weights(
    file: Annotated[Path, Parameter(help="Weights: .pth, .pt, .safetensors, .caffemodel or .h5.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The model folder that is written.")],
    model: Annotated[
        str | None, Parameter(name="--as", help="The network, where the file does not tell (weights of a trunk).")
    ] = None,
    classes: Classes = None,
    encoder: Annotated[str | None, Parameter(help="The trunk, where the file does not tell: timm's name.")] = None,
    options: Annotated[
        list[str] | None, Parameter(name="--option", help="A keyword of the network, like output_stride=8.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Turn weights of others into a model folder. Nothing in the file is run; what does not fit is refused."""
    from atrous import verbs

    lines: list[str] = []
    names = flags.wishes(classes, None, None)["classes"]
    options_given = flags.options_of(options) or {}
    for name in {"path", "out", "model", "classes", "encoder", "listener"} & set(options_given):
        raise ValueError(f"--option {name}: is no option of a network; see --{name} in atrous import --help")
    written = verbs.import_weights(
        file, out=out, model=model, classes=names, encoder=encoder, listener=lines.append, **options_given
    )
    if as_json:
        return _print_json({"model": str(written), "recognised": lines[0].partition(": ")[2], "notes": lines[1:]})
    for line in () if quiet else lines:
        print(line)
    print(f"model in {written}; next: atrous predict {written} IMAGES --out out/")
    return 0


@app.command
def describe(
    model: Annotated[str, Parameter(help="A name (`atrous models`), a run, a model folder or an .onnx file.")],
    /,
    *,
    size: Annotated[str, Parameter(help="Of the image: 513 or 360x480 (height x width).")] = "513",
    classes: Annotated[int | None, Parameter(help="How many, of a network by name; 21 without it.")] = None,
    in_channels: Annotated[int | None, Parameter(help="The image's, of a network by name; 3 without it.")] = None,
    encoder: Annotated[str | None, Parameter(help="The trunk: any timm name.")] = None,
    output_stride: Annotated[int | None, Parameter(help="8, 16 or 32: how dense the deepest map is.")] = None,
    width: Annotated[float | None, Parameter(help="Channels, as a share of the paper's.")] = None,
    options: Annotated[
        list[str] | None, Parameter(name="--option", help="Another keyword of the network, like at_once=true.")
    ] = None,
    plot: Annotated[Path | None, Parameter(help="A file for the maps and what a logit sees.")] = None,
    image: Annotated[Path | None, Parameter(help="What it looks at there; a synthetic street without it.")] = None,
    as_json: Json = False,
) -> int:
    """Describe a network: sizes, receptive fields and cost of its stages, and what its atrous rates do."""
    from atrous import verbs

    named = {"encoder": encoder, "output_stride": output_stride, "width": width}
    further = flags.options_of(options) or {}
    for name in {"model", "size", "classes", "in_channels", "plot", "image", *named} & set(further):
        raise ValueError(f"--option {name}: has a flag of its own, --{name.replace('_', '-')}")
    if image is not None and plot is None:
        raise ValueError("--image is what the picture of --plot shows; give --plot FILE with it")
    description = verbs.describe(
        model,
        size=flags.size_of(size, "--size") or 513,
        classes=classes,
        in_channels=in_channels,
        plot=plot,
        image=image,
        **{name: value for name, value in named.items() if value is not None},
        **further,
    )
    if as_json:
        return _print_json(description.as_json())
    print(description.as_text())
    if plot is not None:
        print(f"\npicture in {plot}")
    return 0


@app.command
def models(*, as_json: Json = False) -> int:
    """List the networks: name, paper, and what it is in a sentence."""
    from atrous.models import described

    rows = described()
    if as_json:
        return _print_json(rows)
    for row in rows:
        print(f"{row['name']:<16}{row['summary']}")
    return 0


@app.command
def doctor(*, as_json: Json = False) -> int:
    """Say what is installed here and what works: versions, devices, threads, kernels, optional parts."""
    from atrous.doctor import findings

    rows = findings()
    if as_json:
        return _print_json(rows)
    for name, value in rows.items():
        print(f"{name:<32}{value}")
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 done with findings or failures, 2 not done, 130 interrupted."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = flags.with_flag_values([item for item in arguments if item != "--debug"])
    told = logging.StreamHandler(sys.stderr)
    logging.getLogger("atrous").addHandler(told)
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _failed(f"{error} (atrous --help, or atrous COMMAND --help, lists what there is)")
    except KeyboardInterrupt:
        resumable = "; a run goes on with --resume" if arguments[:1] == ["train"] else ""
        print(f"interrupted{resumable}", file=sys.stderr)
        return 130
    except Exception as error:
        # The contract is imported here, not above: it brings NumPy and pydantic, and the help needs neither.
        from atrous.contract import AtrousError

        if debug:
            raise
        if isinstance(error, AtrousError | ValueError):
            return _failed(_explained(error))
        if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING:
            return _failed(f'{error.name} is not installed, and this command needs it: pip install "atrous[train]"')
        if isinstance(error, MemoryError | RuntimeError) and "out of memory" in str(error):
            return _failed("the device is out of memory: take a smaller --batch or --crop")
        raise
    finally:
        logging.getLogger("atrous").removeHandler(told)
    return code if isinstance(code, int) else 0


def _failed(message: str) -> int:
    print(f"atrous: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _explained(error: Exception) -> str:
    from atrous.store import explained

    return explained(error)


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=1, ensure_ascii=False))
    return 0
