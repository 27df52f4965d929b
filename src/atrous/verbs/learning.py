"""The verbs that make networks: train, bench_data, import_weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import Recipe
    from atrous.data import Dataset
    from atrous.data.cache import Cache
    from atrous.runs import Feeding


Listener = Callable[[Any], None]
_LOOKED_AT = 64  # images of each split that are looked at where no more than their kind matters


def train(  # noqa: PLR0913  (what a run hangs on beside its recipe)
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    workers: int | None = None,
    cache: str | Path | None = None,
    cache_limit: int = 16_000_000_000,
    transform: Callable[[Any, Any], Any] | None = None,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> Path:
    """Train a network on a folder of images and masks, and return the run's folder.

    The layout, the classes and the split are worked out from the folder; `classes`, `ignore` and `labels` say what
    the masks cannot, `layout` and `masks` how the folder is laid out. `recipe` (default `recipes.standard(model)`)
    decides the training, and `changes` are its fields: `model`, `encoder`, `epochs`, `batch`, `crop`, `learning_rate`,
    `seed` and so on. `out` defaults to `runs/NAME`. `cache` is a folder for decoded images, of up to `cache_limit`
    bytes, and `transform` an augmentation of your own, (sample, generator) to sample. `listener` is called with every
    note, step and epoch.

    Raises `AtrousError` for data or a run folder that cannot be used, `ValueError` for a recipe that cannot be.
    """
    from atrous import runs
    from atrous.contract import AtrousError
    from atrous.data.facts import fingerprint

    _refuse_unknown(changes)
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    out = Path(out) if out is not None else Path("runs") / Path(data).resolve().name
    runs.claim(out, resume=resume, overwrite=overwrite)
    if Path(data).resolve().is_relative_to(out.resolve()):
        raise AtrousError(f"{data}: lies inside the run's folder {out}; choose another --out")
    if resume:
        given = {field.name: getattr(recipe, field.name) for field in fields(recipe)} if recipe is not None else {}
        recipe = runs.resumed_recipe(out, {**given, **changes})
        dataset = runs.resumed_data(out, data, **wishes)
    else:
        recipe = _recipe(recipe, changes)
        dataset = runs.data_to_train_on(data, **wishes)
    read = _cached(dataset, cache, cache_limit)
    facts = fingerprint(dataset)
    events = runs.run(
        dataset,
        out,
        recipe,
        facts=facts,
        resume=resume,
        device=device,
        workers=workers,
        read=read,
        transform=transform,
    )
    for event in events:
        if listener is not None:
            listener(event)
    return out


def _recipe(recipe: Recipe | None, changes: dict[str, Any]) -> Recipe:
    """Return a recipe, that of the model without one, with changes; the options of its network are completed."""
    from atrous import recipes

    if recipe is None:
        wishes = {name: changes[name] for name in ("encoder", "pretrained") if changes.get(name) is not None}
        recipe = recipes.standard(changes.get("model", "deeplab_v3plus"), **wishes)
        changes = {**changes, "options": {**recipe.options, **(changes.get("options") or {})}}
    return replace(recipe, **changes)


def _cached(dataset: Dataset, cache: str | Path | None, limit: int) -> Cache | None:
    from atrous.data.cache import cached

    return None if cache is None else cached(cache, dataset.splits["train"], dataset.space, limit=limit)


def bench_data(
    data: str | Path,
    *,
    recipe: Recipe | None = None,
    device: str | None = None,
    workers: int | None = None,
    cache: str | Path | None = None,
    cache_limit: int = 16_000_000_000,
    seconds: float = 5.0,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    **changes: Any,
) -> Feeding:
    """Time how fast a folder is read and augmented, and how fast the network takes it, and say which one limits.

    The arguments are those of `train`; about `seconds` are spent on either. With `cache` all images are decoded first.

    Raises `AtrousError` for data that cannot be trained on, `ValueError` for a recipe that cannot be.
    """
    from atrous import runs
    from atrous.data.facts import fingerprint

    _refuse_unknown(changes)
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    dataset = runs.data_to_train_on(data, **wishes)
    return runs.feeding(
        dataset,
        _recipe(recipe, changes),
        facts=fingerprint(dataset, limit=_LOOKED_AT),
        cache=_cached(dataset, cache, cache_limit),
        device=device,
        workers=workers,
        seconds=seconds,
    )


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
