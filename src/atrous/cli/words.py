"""What the flags of several commands are called and say, and how an answer is printed as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from atrous import flags

Quiet = Annotated[bool, Parameter(help="No bars and no notes.")]
Json = Annotated[bool, Parameter(name="--json", help="One JSON document on standard output.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1 or mps; without it a GPU where there is one.")]
Data = Annotated[Path, Parameter(help="A folder of images and masks.")]
Classes = Annotated[str | None, Parameter(help="Names of the classes, separated by commas.")]
Ignore = Annotated[str | None, Parameter(help="What masks hold where nothing counts: a number, or a colour R,G,B.")]
Labels = Annotated[
    Literal["indices", "colours", "instances"] | None, Parameter(help="What masks hold; found out where it can be.")
]
Layout = Annotated[str | None, Parameter(help="How the folder is laid out, such as voc; found out without it.")]
Masks = Annotated[
    str | None,
    Parameter(help="Where an image's mask is, in a layout of your own: '{parent}/../masks/{stem}_mask.png'."),
]
TrainList = Annotated[Path | None, Parameter(help="A file of the images to train on, one per line.")]
ValList = Annotated[Path | None, Parameter(help="A file of the images to validate on, one per line.")]
Workers = Annotated[int | None, Parameter(help="Processes that read images.")]
Cache = Annotated[Path | None, Parameter(help="A folder for decoded images: each is decoded once.")]
CacheLimit = Annotated[str, Parameter(help="How large it may become, such as 500MB or 16GB.")]
Crf = Annotated[
    str | None,
    Parameter(
        help="Refine the probabilities. Alone: with the numbers that crf-tune stored in the run, else mild ones. Or "
        f"{', '.join(flags.REFINERS)}, or a JSON file of a CRF's numbers."
    ),
]

Tta = Annotated[bool, Parameter(help="Average over the mirror image and three scales: six runs of the network.")]
Scales = Annotated[str | None, Parameter(help="Average over these scales, such as 0.75,1,1.25.")]
Window = Annotated[
    str | None, Parameter(help="Cut images into windows of so many pixels, such as 512 or 512x768 (height x width).")
]
Overlap = Annotated[float | None, Parameter(help="Which share of a window its neighbour has too; 0.25 without.")]


def print_json(value: Any) -> int:
    """Print a value as one JSON document, and return the exit code of a command that went well."""
    print(json.dumps(value, indent=1, ensure_ascii=False))
    return 0
