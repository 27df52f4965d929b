"""The command for masks of any tool: refine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import Ignore, Json, Quiet, print_json


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
        print_json({"written": written, "failed": failed, "refined": done.words})
    else:
        print(done.as_text(out))
    return 1 if failed else 0
