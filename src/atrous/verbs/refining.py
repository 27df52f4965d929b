"""The verb that makes masks follow the edges of their images: refine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.prediction import Refiner
    from atrous.prediction.refined_files import RefinedFiles


def refine(
    image: str | Path,
    mask: str | Path | None = None,
    *,
    out: str | Path,
    scribbles: str | Path | None = None,
    overlay: str | Path | None = None,
    crf: bool | str | Path | Refiner = True,
    confidence: float | None = None,
    ignore: Any = None,
    keep_ignored: bool = False,
    unknown: tuple[int, int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **numbers: Any,
) -> RefinedFiles:
    """Make a mask of any tool follow the edges of its image, or a full mask of a few coloured strokes.

    `mask` has indices, a palette, grey levels or colours, and the result keeps its form; or it holds probabilities
    (.npz, .npy). `scribbles`, in its place, is a picture with a stroke or more in each class's colour. `image`, either
    of them and `out` are files; or folders with matching names, of which a file that cannot be used is reported and the
    rest goes on. `overlay` is a file, or then a folder, for the image under the result.

    A pixel's label in a mask is taken to be right with the probability `confidence`, 0.7 without it. `ignore` is the
    number or colour in masks that is no class; such pixels, and transparent ones, get one, unless `keep_ignored`.
    `unknown` is the colour of pictures of strokes where there is none, and is found out without it. What the kind of
    file has no use for is refused.

    `crf` is what `predict` takes, and `numbers` replace some of a `DenseCRF`: w1, sigma_alpha, sigma_beta, w2,
    sigma_gamma, iterations, mode. True is DeepLab v2's for masks and strokes, strokes after the random walk of
    `crf.Scribbles`, and mild for probabilities: those know where they are unsure, and stronger numbers wear thin
    classes away. Masks are sure of themselves to their very borders and wrong there, so that more is needed to move
    them; PyDenseCRF's example, made for coarse annotations with much left open, moves them too far.

    Raises `AtrousError` for files that cannot be used, `ValueError` for settings that cannot be.

        atrous.refine("photo.jpg", "mask.png", out="refined.png")
        atrous.refine("photo.jpg", scribbles="strokes.png", out="mask.png", overlay="look.jpg")
    """
    from atrous.prediction import refined_files as files
    from atrous.prediction.refine_jobs import jobs_of
    from atrous.tuning.refining import refining_function

    given = mask if scribbles is None else scribbles
    if given is None or (mask is not None and scribbles is not None):
        raise ValueError("give a mask to refine, or scribbles in its place: one of them")
    jobs, alone, single = jobs_of(image, given, out, overlay=overlay)
    kind = files.kind_of(jobs[0].given, strokes=scribbles is not None)
    files.check_settings(kind, confidence=confidence, ignore=ignore, keep_ignored=keep_ignored, unknown=unknown)
    function, words = refining_function(kind, crf, numbers, 0.7 if confidence is None else confidence)
    refining = files.Refining(kind=kind, function=function, ignore=ignore, keep_ignored=keep_ignored, unknown=unknown)
    if single:
        changed = {jobs[0].out: files.refine_file(jobs[0], refining)}
        return files.RefinedFiles(changes=changed, failed={}, words=words)
    changes, failed = files.refine_files(jobs, refining, progress=progress)
    return files.RefinedFiles(changes=changes, failed={**alone, **failed}, words=words)
