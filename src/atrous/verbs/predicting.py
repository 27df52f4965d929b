"""The verbs that label images: predict, refine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.contract import LabelSpace, Prediction, Scorer
    from atrous.prediction import Outcome, Refiner
    from atrous.prediction.refined_files import RefinedFiles

from atrous.verbs.choices import chosen_refiner


@overload
def predict(
    model: str | Path | Scorer,
    source: str | Path | NDArray[Any],
    *,
    out: str | Path,
    save: Collection[str] = ...,
    space: LabelSpace | None = ...,
    crf: bool | str | Path | Refiner = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Outcome: ...


@overload
def predict(
    model: str | Path | Scorer,
    source: str | Path | NDArray[Any],
    *,
    space: LabelSpace | None = ...,
    probabilities: bool = ...,
    crf: bool | str | Path | Refiner = ...,
    device: str | None = ...,
) -> Prediction | Iterator[Prediction]: ...


def predict(
    model: str | Path | Scorer,
    source: str | Path | NDArray[Any],
    *,
    out: str | Path | None = None,
    save: Collection[str] = ("masks", "overlays"),
    space: LabelSpace | None = None,
    probabilities: bool = False,
    crf: bool | str | Path | Refiner = False,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction | Iterator[Prediction] | Outcome:
    """Label every pixel of images of any size.

    `model` is a model folder, a run, or any scorer with `space` given. `source` is an image file, a folder, a glob, or
    an array (h, w) or (h, w, c). Without `out`: one `Prediction` for a file or an array, an iterator for the rest.
    With `out`: files `OUT/masks/NAME.png`, `OUT/overlays/NAME.jpg` and, where `save` names them,
    `OUT/probabilities/NAME.npz`, and an `Outcome`. An image that cannot be read is reported and the rest goes on.

    `crf` refines the probabilities: True with the numbers that `crf_tune` stored in the run, or else with mild ones,
    which is logged as a warning; other choices are logged as info, and `Outcome.refined` names each. "mild",
    "deeplab_v1", "deeplab_v2", "crf_as_rnn", "pydensecrf_example", "superpixels" and "guided" are ready-made; a JSON
    file has the keywords of `crf.DenseCRF`; a function takes an image (h, w, c) in 0..255 and its probabilities
    (classes, h, w), and returns refined ones. Images that are not uint8 are brought there from the range the model was
    trained on; those for a scorer without `preprocessing` are taken to be there.

    Raises `AtrousError` for a model or a source that is not there, `ValueError` for an unknown kind in `save` or an
    unknown `crf`.

    >>> import atrous, numpy as np
    >>> from atrous.contract import LabelSpace
    >>> bright = lambda images: np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255
    >>> photo = np.array([[0, 250]], np.uint8)
    >>> atrous.predict(bright, photo, space=LabelSpace(names=("dark", "light"))).labels.tolist()
    [[0, 1]]
    """
    import numpy as np

    from atrous.contract import Sample
    from atrous.data import read_image
    from atrous.prediction import KINDS, each_predicted, find, predict_into, predicted, refined

    save = (save,) if isinstance(save, str) else save
    unknown = sorted(set(save) - set(KINDS))
    if unknown:
        raise ValueError(f"save {unknown[0]!r} is not known; there are {', '.join(KINDS)}")
    chosen = chosen_refiner(crf, model)
    scorer, space = _scorer(model, space, device)
    if chosen is not None and chosen.refiner is not None:
        scorer = refined(scorer, chosen.refiner)
    if isinstance(source, np.ndarray):
        if source.ndim not in (2, 3) or not source.size:
            raise ValueError(f"an array of shape {source.shape} came; one image is (h, w) or (h, w, c)")
        image = source[..., None] if source.ndim == 2 else source
        return predicted(scorer, Sample(image=image), space, probabilities=probabilities)
    if out is None and Path(source).is_file():
        sample = Sample(image=read_image(source), path=Path(source))
        return predicted(scorer, sample, space, probabilities=probabilities)
    if out is None:
        return each_predicted(scorer, find(source), space, probabilities=probabilities)
    _refuse_dataset(Path(out))
    sources = find(source, apart_from=[Path(out) / kind for kind in KINDS])
    outcome = predict_into(Path(out), scorer, sources, space, save=save, progress=progress)
    return replace(outcome, refined=None if chosen is None else chosen.words)


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


def _refuse_dataset(out: Path) -> None:
    """Raise `AtrousError` where `out` is a folder of images and masks: predictions would replace its masks.

    Images with `masks/` and what else only predictions write beside it are a folder that was predicted into.
    """
    from atrous.contract import AtrousError
    from atrous.data.layouts import recognise

    try:
        found = recognise(out)
    except AtrousError:
        return
    if found.root == out and not any((out / kind).is_dir() for kind in ("overlays", "probabilities")):
        told = f"is a dataset ({found.layout}), whose masks predictions would replace"
        raise AtrousError(f"{out}: {told}; choose another --out")


def _scorer(model: Any, space: LabelSpace | None, device: str | None) -> tuple[Scorer, LabelSpace]:
    if isinstance(model, str | Path):
        from atrous.verbs.looking import load

        model = load(model, device=device)
    space = space or getattr(model, "space", None)
    if space is None:
        raise ValueError("a scorer without classes came; give space=LabelSpace(names=(...)) with it")
    return model, space
