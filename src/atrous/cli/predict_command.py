"""The command that labels pixels: predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from atrous import flags
from atrous.cli.words import Crf, Device, Json, Overlap, Quiet, Scales, Tta, Window, print_json


def predict(  # noqa: PLR0913  (what decides the result has a flag each)
    model: Annotated[
        str, Parameter(help="A run, a model folder or an exported file; several with commas: their mean.")
    ],
    source: Annotated[
        str,
        Parameter(
            help="A file, a folder, a pattern like 'photos/*.jpg', a list (.txt, .csv), - for standard input, webcam.",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    out: Annotated[str, Parameter(help="The folder where a folder of each kind is written.")],
    save: Annotated[
        str,
        Parameter(
            help="masks, overlays, probabilities, polygons, coco, cutouts, statistics; separated by commas.",
        ),
    ] = "masks,overlays",
    tta: Tta = False,
    scales: Scales = None,
    window: Window = None,
    overlap: Overlap = None,
    crf: Crf = None,
    max_memory: Annotated[
        str | None, Parameter(help="The most memory that this process may take, such as 1GB, libraries included.")
    ] = None,
    max_pixels: Annotated[
        int | None, Parameter(help="The most pixels of an image that is decoded whole; 200 million without.")
    ] = None,
    block: Annotated[
        int | None,
        Parameter(help="The side of the parts that large images are cut into; what the memory holds without."),
    ] = None,
    smoothing: Annotated[
        float, Parameter(help="Of videos: the share of the frame before in each frame, 0 to below 1.")
    ] = 0.0,
    frames: Annotated[int | None, Parameter(help="Of a webcam: so many frames, then the end.")] = None,
    redo: Annotated[bool, Parameter(help="Do again what is finished.")] = False,
    watch: Annotated[bool, Parameter(help="Go on with new files in the folder as they come, until Ctrl-C.")] = False,
    cluster: Annotated[
        str | None, Parameter(help="Predict by the processes of Ray: alone on this machine, or at an address.")
    ] = None,
    workers: Annotated[int | None, Parameter(help="Of a cluster: so many processes at most.")] = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Label every pixel of images, rasters, volumes and videos. What is finished in the folder is skipped.

    A source that cannot be read is reported and skipped; the exit code is 1 then.
    """
    from atrous import verbs
    from atrous.console import counted

    with counted("predicting", quiet=quiet) as progress:
        outcome = verbs.predict(
            model,
            source,
            out=out,
            save=[kind.strip() for kind in save.split(",") if kind.strip()],
            tta=tta,
            scales=flags.scales_of(scales),
            window=flags.size_of(window, "--window"),
            overlap=overlap,
            crf=flags.refiner_of(crf),
            max_memory=None if max_memory is None else flags.bytes_of(max_memory, "--max-memory"),
            max_pixels=max_pixels,
            block=block,
            smoothing=smoothing,
            frames=frames,
            redo=redo,
            watch=watch,
            cluster=False if cluster is None else cluster == "true" or cluster,
            workers=workers,
            device=device,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "written": [_place(path, out) for path in outcome.written],
                "failed": {str(path): reason for path, reason in outcome.failed.items()},
                "predicted": outcome.predicted,
                "skipped": outcome.skipped,
                "redone": outcome.redone,
                "refined": outcome.refined,
            }
        )
    else:
        print(_told(outcome, out))
    return 1 if outcome.failed else 0


def _place(path: Path, out: str) -> str:
    """Return where a result is: its path, or its address below that of a store, of which a path has lost a slash."""
    return f"{out.rstrip('/')}/{path.relative_to(Path(out)).as_posix()}" if "://" in out else str(path)


def _told(outcome: Any, out: str) -> str:
    """Return in a line or a few what a prediction came to."""
    root = Path(out)
    folders = sorted({path.relative_to(root).parts[0] for path in outcome.written if path.is_relative_to(root)})
    where = ", ".join(_place(root / folder, out) for folder in folders) or "nothing was written"
    lines = [f"{outcome.predicted} predicted, {len(outcome.failed)} failed: {where}"]
    if outcome.redone:
        lines.append(f"{outcome.redone} had been finished by another model, with other options, or have changed since")
    if outcome.skipped:
        lines.append(f"{outcome.skipped} skipped, which the same model had finished (--redo does them again)")
    if outcome.refined is not None:
        lines.append(f"refined with {outcome.refined}")
    return "\n".join(lines)
