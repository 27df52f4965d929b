"""The verbs: load, train, evaluate, predict, inspect, import, describe, tune. The one place where rooms meet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.contract import LabelSpace, Prediction, Recipe, Scorer
    from atrous.data.inspection import Inspection
    from atrous.describing import Description
    from atrous.evaluation import Comparison, Scores
    from atrous.models import Segmenter
    from atrous.prediction import Outcome, Refiner
    from atrous.prediction.refined_files import RefinedFiles
    from atrous.tuning import Chosen, Grid, Objective, Tuning

Listener = Callable[[Any], None]


def load(model: str | Path, *, device: str | None = None) -> Segmenter:
    """Open a model folder, or a run (its `best/`, else its `last/`): a scorer in evaluation mode.

    Nothing is downloaded and nothing unpickled. `device` None takes a GPU where there is one.

    Raises `AtrousError` where the path is neither, or a file in it is missing or damaged.

        segmenter = atrous.load("runs/street")
        labels = segmenter.labels(torch.zeros(1, 3, 360, 480, dtype=torch.uint8))  # (1, 360, 480)
    """
    from atrous.store import open_model

    segmenter, _ = open_model(model)
    return segmenter.to(_device(device))


def inspect(
    data: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Say what a folder of images and masks holds, and what is wrong with it.

    `classes`, `ignore` and `labels` ("indices", "colours" or "instances") say what the masks cannot.

    Raises `AtrousError` where the folder cannot be read at all; a broken file in it is a finding.
    """
    from atrous.data.inspection import inspect_dataset

    return inspect_dataset(data, classes=classes, ignore=ignore, labels=labels, progress=progress)


def describe(
    model: str | Path,
    *,
    size: int | tuple[int, int] = 513,
    classes: int | None = None,
    in_channels: int | None = None,
    plot: str | Path | None = None,
    image: str | Path | NDArray[Any] | None = None,
    **options: Any,
) -> Description:
    """Describe a network: its stages with size, stride, receptive field and cost, and what its atrous rates do.

    `model` is a name of the table of models, with `classes` (21), `in_channels` (3) and further keywords of its builder
    in `options`; or a run, a model folder or an exported .onnx file, which say all that themselves. `size` is that of
    the image, (height, width) or one number, and is enlarged to one that the network takes. Nothing is computed, and
    no weights are read, unless `plot` names a picture to write: the pyramid of maps, and what the middle logit sees of
    `image`, a file or an array (h, w, c), by default a synthetic street. A run's own weights look at it there, and
    random ones where there are none.

    Raises `AtrousError` for a file or folder that is no model, `ValueError` for a name, a size or an option that
    cannot be.

    >>> description = describe("unet", size=572, classes=2, in_channels=1)
    >>> description.parameters, description.stages[4].receptive_field
    (31030658, (140, 140))
    """
    size = (size, size) if isinstance(size, int) else size
    if min(size) < 1:  # before torch is imported, which takes longer than to say so
        raise ValueError(f"size {size[0]} x {size[1]} came; both sides are 1 or more")
    import torch

    from atrous.models import build

    name, count, options = _architecture(model, classes, in_channels, options)
    with torch.device("meta"):
        net = build(name, count, **options)
    from atrous.describing import described, title_of

    description = described(net, size, options["in_channels"], name=title_of(name, options))
    if plot is not None:
        _plot(Path(plot), description, model, (name, count, options), image)
    return description


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    workers: int | None = None,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    listener: Listener | None = None,
    **changes: Any,
) -> Path:
    """Train a network on a folder of images and masks, and return the run's folder.

    The layout, the classes and the split are worked out from the folder; `classes`, `ignore` and `labels` say what
    the masks cannot. `recipe` (default `recipes.standard(model)`) decides the training, and `changes` are its fields:
    `model`, `encoder`, `epochs`, `batch`, `crop`, `learning_rate`, `seed` and so on. `out` defaults to `runs/NAME`.
    `listener` is called with every note, step and epoch.

    Raises `AtrousError` for data or a run folder that cannot be used, `ValueError` for a recipe that cannot be.
    """
    from atrous import recipes, runs
    from atrous.contract import AtrousError
    from atrous.data.facts import fingerprint

    _refuse_unknown(changes)
    out = Path(out) if out is not None else Path("runs") / Path(data).resolve().name
    runs.claim(out, resume=resume, overwrite=overwrite)
    if Path(data).resolve().is_relative_to(out.resolve()):
        raise AtrousError(f"{data}: lies inside the run's folder {out}; choose another --out")
    if resume:
        given = {field.name: getattr(recipe, field.name) for field in fields(recipe)} if recipe is not None else {}
        recipe = runs.resumed_recipe(out, {**given, **changes})
        dataset = runs.resumed_data(out, data, classes=classes, ignore=ignore, labels=labels)
    else:
        if recipe is None:
            wishes = {name: changes[name] for name in ("encoder", "pretrained") if changes.get(name) is not None}
            recipe = recipes.standard(changes.get("model", "deeplab_v3plus"), **wishes)
            changes["options"] = {**recipe.options, **(changes.get("options") or {})}
        recipe = replace(recipe, **changes)
        dataset = runs.data_to_train_on(data, classes=classes, ignore=ignore, labels=labels)
    facts = fingerprint(dataset)
    for event in runs.run(dataset, out, recipe, facts=facts, resume=resume, device=device, workers=workers):
        if listener is not None:
            listener(event)
    return out


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: Literal[False] = ...,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Scores: ...


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: Literal[True] | str | Path | Refiner,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Comparison: ...


@overload
def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = ...,
    crf: bool | str | Path | Refiner,
    device: str | None = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Scores | Comparison: ...


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    crf: bool | str | Path | Refiner = False,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores | Comparison:
    """Score a model folder or a run on a labelled folder, at original resolution.

    `split` is the one stored in the run where the folder is the one it was trained on, else the folder's own. Masks
    are read with the model's classes. With `crf`, which is what `predict` takes, every image is also scored refined,
    and both come back with what changed in each class; the network runs once.

    Raises `AtrousError` where the folder has no such split, or a mask holds what the model does not know; with
    `crf`, for an image whose probabilities are not finite, or of which a refiner makes anything but finite numbers.
    """
    from atrous.data.facts import identity
    from atrous.runs import data_of, pairs_in, scored
    from atrous.store import open_model

    chosen = _chosen(crf, model)
    segmenter, config = open_model(model)
    dataset = data_of(Path(model), data, space=config.space)
    pairs, space = pairs_in(dataset, split), dataset.space
    scorer = segmenter.to(_device(device))
    if chosen is None:
        return scored(scorer, pairs, space, progress=progress)
    from atrous.tuning import cases_of, compared

    told = None if progress is None else lambda done: progress(done, len(pairs))
    note = chosen.note([pair.name for pair in pairs], data=data, sha256=identity(dataset))
    return compared(cases_of(scorer, pairs, space), chosen.refiner, space, words=chosen.words, note=note, progress=told)


def crf_tune(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    images: int | None = None,
    objective: Objective = "mean_iou",
    grid: Grid | None = None,
    plot: str | Path | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Search the numbers of the CRF that suit a run or model folder, and store them in it as `crf.json`.

    That is where `crf=True` finds them. The network runs once on each image of the split. With `images` only so many,
    evenly spaced, are searched on, and the rest says honestly what the best numbers gain; without it the scores are
    those of the images that were searched on, which flatter. `objective` is "mean_iou", "boundary_f" or
    "pixel_accuracy", `grid` what is tried, and `plot` a file for a picture of it. No CRF is one of the candidates,
    and where it wins, `crf=True` will refine nothing.

    Raises `AtrousError` for what `evaluate` refuses and for a plot without matplotlib, `ValueError` for an objective
    or a plot's suffix that is not known.
    """
    from atrous.data.facts import identity
    from atrous.data.writers import check_figure
    from atrous.runs import data_of, pairs_in
    from atrous.store import open_model, write_crf
    from atrous.tuning import tuned, write_plot

    if plot is not None:
        check_figure(plot)
    segmenter, config = open_model(model)
    dataset = data_of(Path(model), data, space=config.space)
    pairs = pairs_in(dataset, split)
    scorer = segmenter.to(_device(device))
    found = tuned(scorer, pairs, dataset.space, images=images, objective=objective, grid=grid, progress=progress)
    source = {"data": str(data), "sha256": identity(dataset), "split": split, "images": list(found.images)}
    write_crf(model, {**found.as_stored(), "tuned_on": source})
    if plot is not None:
        write_plot(plot, found)
    return found


def import_weights(
    path: str | Path,
    *,
    out: str | Path,
    model: str | None = None,
    classes: Sequence[str] | None = None,
    encoder: str | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Path:
    """Turn a file of weights of others into a model folder, and return the folder; nothing in the file is run.

    What the file holds is told from its names and shapes; `model` and `encoder` are for what does not tell, such as
    the weights of a trunk, and are refused where they contradict it. `classes` are names; without them 21 classes have
    VOC's and others are numbered. `options` are further keywords of the network's builder. `listener` is called with a
    line for what was recognised, and one for everything that was guessed or left out.

    Raises `AtrousError` for files that are damaged, want to run code, are of a network that is not here or do not fit
    it, and for an `out` that is something else than a model folder; `ValueError` for names or options that cannot be.

        atrous.import_weights("fcn8s-heavy-pascal.caffemodel", out="models/fcn8s")
    """
    from atrous.foreign import imported, space_of
    from atrous.models import Segmenter
    from atrous.store import Config, plain, save_model

    out = Path(out)
    _refuse_in_the_way(out, Path(path))
    count = None if classes is None else len(classes)
    found = imported(path, model=model, classes=count, encoder=encoder, options=options)
    space, guess = space_of(found.classes, classes)
    for line in (f"recognised: {found.source}, {found.model} here", *found.notes, *([guess] if guess else [])):
        if listener is not None:
            listener(line)
    segmenter = Segmenter(found.net, space, found.preprocessing)
    config = Config(
        model=found.model,
        options=found.options,
        space=space,
        preprocessing=found.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(out, segmenter, config)
    return out


def scores_of(run: str | Path) -> dict[str, Any] | None:
    """Return the scores stored with a run's best model, or with a model folder; None where it was never scored."""
    from atrous.store import model_folder, read_config

    return read_config(model_folder(run)).scores


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
    chosen = _chosen(crf, model)
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


def _architecture(
    model: str | Path, classes: int | None, in_channels: int | None, options: dict[str, Any]
) -> tuple[str, int, dict[str, Any]]:
    """Return the network that `model` means: its name in the table, its classes, and its builder's keywords."""
    from atrous.contract import AtrousError
    from atrous.describing.exported import settings_of
    from atrous.models import TABLE
    from atrous.store import model_folder, read_config

    path = Path(model)
    if options.get("pretrained"):
        raise ValueError("pretrained came, but weights have no part in a description: train with them, give the run")
    if str(model) in TABLE or not (path.exists() or path.suffix == ".onnx" or len(path.parts) > 1):
        return (
            str(model),
            21 if classes is None else classes,
            {**options, "in_channels": 3 if in_channels is None else in_channels},
        )
    wishes = {"classes": classes, "in_channels": in_channels, **options}
    given = [name for name, value in wishes.items() if value is not None]
    if given:
        raise ValueError(f"{model}: is a model and says itself what it is; leave {', '.join(given)} out")
    if path.suffix == ".onnx":
        name, count, options, channels = settings_of(path)
    else:
        config = read_config(model_folder(path))
        name, count, options = config.model, len(config.space), config.options
        channels = config.preprocessing.channels
    if name not in TABLE:
        raise AtrousError(f"{model}: its network {name!r} is not known here; there are {', '.join(TABLE)}")
    return name, count, {"in_channels": channels, **options}


def _plot(
    path: Path, description: Description, model: str | Path, built: tuple[str, int, dict[str, Any]], image: Any
) -> None:
    """Write the picture of a description: with the weights of a run or model folder, else with random ones."""
    import numpy as np

    from atrous.data import read_image
    from atrous.data.writers import check_figure
    from atrous.describing.figure import write_figure
    from atrous.describing.seeing import seen
    from atrous.models import TABLE, build
    from atrous.store import open_model

    check_figure(path)
    if image is not None and not isinstance(image, np.ndarray):
        image = read_image(image)
    trained = str(model) not in TABLE and Path(model).is_dir()
    if trained:
        segmenter, config = open_model(model)
        sight = seen(segmenter.net, description.size, image=image, preprocessing=config.preprocessing, trained=True)
    else:
        name, classes, options = built
        net = build(name, classes, **options)
        sight = seen(net, description.size, channels=description.in_channels, image=image)
    write_figure(path, description, sight)


def _refuse_unknown(changes: dict[str, Any]) -> None:
    """Raise `ValueError`, with the nearest name, for a keyword that is no field of the recipe."""
    from difflib import get_close_matches

    from atrous.contract import Recipe

    known = [field.name for field in fields(Recipe)]
    for name in changes:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise ValueError(f"no setting {name!r}{hint}")
    taken = {"classes", "in_channels", "encoder", "pretrained", "output_stride", "width"}
    for name in taken.intersection(changes.get("options") or {}):
        told = "is told by the data" if name in ("classes", "in_channels") else f"has a flag of its own, --{name}"
        raise ValueError(f"option {name!r} {told.replace('_', '-')}; leave it out of the options")


def _refuse_dataset(out: Path) -> None:
    """Raise `AtrousError` where `out` is a folder of images and masks: predictions would replace its masks."""
    from atrous.contract import AtrousError
    from atrous.data.layouts import recognise

    try:
        layout = recognise(out).layout
    except AtrousError:
        return
    raise AtrousError(f"{out}: is a dataset ({layout}), whose masks predictions would replace; choose another --out")


def _refuse_in_the_way(out: Path, path: Path) -> None:
    """Raise `AtrousError` where `out` is there and no model folder, or holds the file that is imported."""
    from atrous.contract import AtrousError
    from atrous.store import CARD, CONFIG, CRF, WEIGHTS, read_config

    if out.exists() and not ((out / CONFIG).is_file() and (out / WEIGHTS).is_file()):
        raise AtrousError(f"{out}: is there already and is no model folder; choose another --out")
    own = {CONFIG, WEIGHTS, CARD, CRF}
    if out.exists() and ({each.name for each in out.iterdir()} - own or read_config(out).recipe):
        raise AtrousError(f"{out}: holds more than imported weights, a trained model; choose another --out")
    if path.resolve().is_relative_to(out.resolve()):
        raise AtrousError(f"{path}: lies inside {out}, which would be replaced; choose another --out")


def _scorer(model: Any, space: LabelSpace | None, device: str | None) -> tuple[Scorer, LabelSpace]:
    if isinstance(model, str | Path):
        model = load(model, device=device)
    space = space or getattr(model, "space", None)
    if space is None:
        raise ValueError("a scorer without classes came; give space=LabelSpace(names=(...)) with it")
    return model, space


def _chosen(crf: Any, model: Any) -> Chosen | None:
    """Return what `crf` means for a model, and log what is taken, as a warning where it is not what was tuned for it.

    None where nothing is refined.
    """
    if crf is None or crf is False:
        return None
    import logging

    from atrous.tuning import chosen

    found = chosen(crf, model if isinstance(model, str | Path) else None)
    level = logging.WARNING if found.makeshift else logging.INFO
    logging.getLogger("atrous").log(level, "refining with %s", found.words)
    return found


def _device(name: str | None) -> str:
    import torch

    from atrous.contract import AtrousError

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise AtrousError(f"device {name!r} is not here: {str(error).splitlines()[0]}") from error
    return name
