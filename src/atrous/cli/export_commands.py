"""The commands for exported networks: export and bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import Json, Layout, Masks, Quiet, print_json


def export(
    model: Annotated[Path, Parameter(help="A run or a model folder.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The file that is written: .onnx, .xml or .pt2, as --to says.")],
    to: Annotated[
        Literal["onnx", "openvino", "program"],
        Parameter(help="onnx runs everywhere and without torch, openvino fast on Intel, program in torch."),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        Parameter(help="int8 is fitted to --data, and what it loses is measured there."),
    ] = "fp32",
    data: Annotated[Path | None, Parameter(help="For int8: a folder of images and masks.")] = None,
    split: Annotated[str, Parameter(help="What of it the loss is measured on.")] = "val",
    images: Annotated[int, Parameter(help="How many images of it tell the ranges of the layers.")] = 32,
    limit: Annotated[float, Parameter(help="Points of mean IoU that int8 may lose; else nothing is written.")] = 1.0,
    layout: Layout = None,
    masks: Masks = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Write a network as one file that predicts like the run; it is there only where both agree."""
    from atrous import verbs
    from atrous.console import counted

    with counted("scoring", quiet=quiet) as progress:
        done = verbs.export(
            model,
            out=out,
            to=to,
            precision=precision,
            data=data,
            split=split,
            images=images,
            limit=limit,
            layout=layout,
            masks=masks,
            progress=progress,
        )
    if as_json:
        facts = {"file": str(done.path), "precision": done.precision, "bytes": done.bytes, "seconds": done.seconds}
        return print_json({**facts, "export": done.metadata["export"]})
    print(f"{done.path}: {done.precision}, {done.bytes / 1e6:.1f} MB, {_found(done.metadata['export'])}")
    print(f"next: atrous predict {done.path} IMAGES --out out/")
    return 0


def _found(export: dict[str, Any]) -> str:
    """Return what a comparison found, in words."""
    scores = export.get("mean_iou")
    if scores is not None:
        return (
            f"mean IoU {100 * scores['fp32']:.2f} in fp32 and {100 * scores['int8']:.2f} in int8, "
            f"ranges from {export['calibrated_on']} images"
        )
    far = export["differences"]
    return (
        f"like torch at {len(far['sizes'])} sizes: logits {far['logits']:.1e}, probabilities "
        f"{far['probabilities']:.1e} away at most, {far['labels']} of {far['pixels']} labels differ"
    )


def bench(
    model: Annotated[Path, Parameter(help="A run or a model folder.")],
    /,
    *,
    size: Annotated[str, Parameter(help="Of the image: 512 or 360x480 (height x width).")] = "512",
    runtimes: Annotated[
        str | None,
        Parameter(
            help="torch, torch-bf16, onnx, onnx-int8, openvino, openvino-bf16; separated by commas. All without it."
        ),
    ] = None,
    rounds: Annotated[int, Parameter(help="How often each is timed; they take turns.")] = 10,
    batch: Annotated[int, Parameter(help="Images at a time, for images per second.")] = 4,
    threads: Annotated[int | None, Parameter(help="The same for all; as many as torch takes without it.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Time a network here, per runtime and precision, beside the least that it could take."""
    from atrous import verbs
    from atrous.console import counted

    with counted("timing", quiet=quiet) as progress:
        found = verbs.bench(
            model,
            size=flags.size_of(size, "--size") or 512,
            runtimes=flags.names_of(runtimes),
            rounds=rounds,
            batch=batch,
            threads=threads,
            progress=progress,
        )
    if as_json:
        return print_json(found.as_json())
    print(found.as_text())
    return 0
