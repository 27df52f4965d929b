"""The commands for networks and the installation: import, describe, models, recipes, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import Classes, Json, Quiet, print_json


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
    names = flags.names_of(classes)
    options_given = flags.options_of(options) or {}
    for name in {"path", "out", "model", "classes", "encoder", "listener"} & set(options_given):
        raise ValueError(f"--option {name}: is no option of a network; see --{name} in atrous import --help")
    written = verbs.import_weights(
        file, out=out, model=model, classes=names, encoder=encoder, listener=lines.append, **options_given
    )
    if as_json:
        return print_json({"model": str(written), "recognised": lines[0].partition(": ")[2], "notes": lines[1:]})
    for line in () if quiet else lines:
        print(line)
    print(f"model in {written}; next: atrous predict {written} IMAGES --out out/")
    return 0


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
        return print_json(description.as_json())
    print(description.as_text())
    if plot is not None:
        print(f"\npicture in {plot}")
    return 0


def models(*, as_json: Json = False) -> int:
    """List the networks: name, paper, and what it is in a sentence."""
    from atrous.models import described

    rows = described()
    if as_json:
        return print_json(rows)
    for row in rows:
        print(f"{row['name']:<16}{row['summary']}")
    return 0


def recipes(
    name: Annotated[str | None, Parameter(help="One of them, whose every number is shown with its source.")] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """List the papers' recipes, for `train --recipe NAME`; with a name, what it sets, and where each number is from."""
    from atrous.recipes import naming

    if as_json:
        return print_json(naming.described() if name is None else naming.cited(name))
    print(naming.listed() if name is None else naming.as_text(name))
    return 0


def doctor(*, as_json: Json = False) -> int:
    """Say what is installed here and what works: versions, devices, threads, kernels, optional parts."""
    from atrous.doctor import findings

    rows = findings()
    if as_json:
        return print_json(rows)
    for name, value in rows.items():
        print(f"{name:<32}{value}")
    return 0
