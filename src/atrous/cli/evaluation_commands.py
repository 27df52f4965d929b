"""The commands that say how good predictions are: evaluate and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import (
    Classes,
    Crf,
    Device,
    Ignore,
    Json,
    Layout,
    Masks,
    Overlap,
    Quiet,
    Scales,
    Tta,
    Window,
    print_json,
)

Measures = Annotated[
    str | None,
    Parameter(
        help="What else to measure: all, or of boundary, trimap, boundary_iou, distances, objects, rand, warping, "
        "calibration and flicker some, with commas."
    ),
]
Html = Annotated[Path | None, Parameter(help="A file for a page with all of it, pictures and charts in it.")]
Bootstrap = Annotated[int, Parameter(help="Bootstrap samples that intervals are of; 0 for none.")]
Labels = Annotated[
    Path | None, Parameter(help="With --predictions: the folder of the true masks, or a dataset with them.")
]
Split = Annotated[str | None, Parameter(help="Which part of the data; val without it.")]
Block = Annotated[
    int, Parameter(help="Neighbouring images that are drawn together for intervals: for frames of a clip, a second's.")
]
Sequence = Annotated[
    bool, Parameter(help="The images of a folder are frames, in the order of their names: flicker is measured too.")
]


def evaluate(  # noqa: PLR0913  (each flag has its own help)
    model: Annotated[
        str | None, Parameter(help="A run, a model folder or an exported file; several with commas are averaged.")
    ] = None,
    data: Annotated[Path | None, Parameter(help="A folder of images and masks.")] = None,
    /,
    *,
    predictions: Annotated[
        Path | None, Parameter(help="In place of MODEL and DATA: a folder of masks that any program made.")
    ] = None,
    labels: Labels = None,
    split: Split = None,
    measures: Measures = None,
    objects: Annotated[
        bool, Parameter(help="Count objects too: F1, and the Rand error of cells that membranes part.")
    ] = False,
    sequence: Sequence = False,
    crf: Crf = None,
    tta: Tta = False,
    scales: Scales = None,
    window: Window = None,
    overlap: Overlap = None,
    void_as_error: Annotated[
        bool, Parameter(help="Also the mean IoU in which ignored pixels are false positives.")
    ] = False,
    foreground: Annotated[
        bool, Parameter(help="The first class is the background: also the means without it.")
    ] = False,
    bootstrap: Bootstrap = 1000,
    block: Block = 1,
    html: Html = None,
    classes: Classes = None,
    ignore: Ignore = None,
    layout: Layout = None,
    masks: Masks = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Score a run on labelled images at their original resolution; each score is printed with its definition.

    With --crf both are printed, before and after refining, and what it changes in each class. With --predictions DIR
    and --labels DIR in place of MODEL and DATA, masks of any program are scored: they are paired by their names, with
    or without endings such as _pred or _mask, and hold numbers or colours.
    """
    from atrous import verbs
    from atrous.console import counted

    shared: dict[str, Any] = {
        "split": split,
        "measures": measures or (),
        "objects": objects,
        "sequence": sequence,
        "void": void_as_error,
        "foreground": True if foreground else None,
        "resamples": bootstrap,
        "block": block,
        "html": html,
        "ignore": None if ignore is None else flags.value_of(ignore),
    }
    around = {"crf": crf, "tta": tta, "scales": scales, "window": window, "overlap": overlap, "layout": layout,
              "masks": masks, "device": device}  # fmt: skip
    _refuse_mixed(model, data, predictions, labels, classes, around)
    with counted("scoring", quiet=quiet) as progress:
        if predictions is not None and labels is not None:
            names = flags.names_of(classes)
            report: Any = verbs.evaluate_masks(predictions, labels, classes=names, progress=progress, **shared)
        else:
            chosen = {"scales": flags.scales_of(scales), "window": flags.size_of(window, "--window")}
            settings: dict[str, Any] = {**around, **chosen, "crf": flags.refiner_of(crf)}
            report = verbs.evaluate(model or "", data or "", progress=progress, **shared, **settings)
    return _printed(report, html, as_json=as_json)


def _refuse_mixed(
    model: str | None,
    data: Path | None,
    predictions: Path | None,
    labels: Path | None,
    classes: str | None,
    around: dict[str, Any],
) -> None:
    """Raise `ValueError` where it is not clear what is to be scored."""
    if predictions is None and labels is None:
        if model is None or data is None:
            missing = "MODEL and DATA" if model is None else "DATA"
            raise ValueError(
                f"{missing} missing; atrous evaluate MODEL DATA scores a run, and atrous evaluate --predictions DIR "
                "--labels DIR masks of any program"
            )
        if classes is not None:
            raise ValueError("--classes came with a model, which knows its classes; it is for --predictions")
        if Path(model).is_dir() and not any((Path(model) / name).exists() for name in ("config.json", "best", "last")):
            raise ValueError(
                f"{model}: no model is in this folder; where it holds masks of any program: atrous evaluate "
                f"--predictions {model} --labels {data}"
            )
        return
    if predictions is None or labels is None:
        missing = "--predictions" if predictions is None else "--labels"
        raise ValueError(f"{missing} missing; --predictions DIR and --labels DIR come together")
    if model is not None:
        raise ValueError(f"{model!r} came with --predictions; give MODEL and DATA, or --predictions and --labels")
    given = [name for name, value in around.items() if value not in (None, False)]
    if given:
        raise ValueError(f"--{given[0]} came with --predictions; it is for a model, and masks are scored as they are")


def _printed(report: Any, html: Path | None, *, as_json: bool) -> int:
    if as_json:
        return print_json(report.as_json())
    print(report.as_text())
    if html is not None:
        print(f"\npage in {html}")
    return 0


def compare(  # noqa: PLR0913  (each flag has its own help)
    first: Annotated[
        Path, Parameter(help="A run, a model folder, an exported file, a folder of masks, or a JSON file of evaluate.")
    ],
    second: Annotated[Path, Parameter(help="Another of the same kind.")],
    data: Annotated[Path | None, Parameter(help="A folder of images and masks, for runs.")] = None,
    /,
    *,
    labels: Labels = None,
    split: Split = None,
    measures: Measures = None,
    sequence: Sequence = False,
    crf: Crf = None,
    tta: Tta = False,
    scales: Scales = None,
    window: Window = None,
    overlap: Overlap = None,
    bootstrap: Annotated[int, Parameter(help="Bootstrap samples that intervals are of.")] = 1000,
    block: Block = 1,
    html: Html = None,
    classes: Classes = None,
    ignore: Ignore = None,
    layout: Layout = None,
    masks: Masks = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Set two evaluations side by side: what changes in each class, and whether the difference is significant.

    Two runs are scored on DATA, both with the same --crf, --tta, --scales and --window; two folders of masks against
    --labels DIR; two files that `atrous evaluate --json` printed are read.
    """
    from atrous import verbs
    from atrous.console import counted

    with counted("scoring", quiet=quiet) as progress:
        found = verbs.compare(
            first,
            second,
            data,
            labels=labels,
            split=split,
            measures=measures or (),
            sequence=sequence,
            crf=flags.refiner_of(crf),
            tta=tta,
            scales=flags.scales_of(scales),
            window=flags.size_of(window, "--window"),
            overlap=overlap,
            resamples=bootstrap,
            block=block,
            html=html,
            classes=flags.names_of(classes),
            ignore=None if ignore is None else flags.value_of(ignore),
            layout=layout,
            masks=masks,
            device=device,
            progress=progress,
        )
    return _printed(found, html, as_json=as_json)
