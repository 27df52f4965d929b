"""The verbs that train networks, and that time what feeds them: train, bench_data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import Recipe
    from atrous.data import Dataset
    from atrous.data.cache import Cache
    from atrous.recipes.plan import Plan
    from atrous.runs import Feeding
    from atrous.runs.finding import RateSearch


Listener = Callable[[Any], None]
_LOOKED_AT = 64  # images of each split that are looked at where no more than their kind matters


def train(  # noqa: PLR0913  (what a run hangs on beside its recipe)
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop_after: int | None = None,
    seeds: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    cache: str | Path | None = None,
    cache_limit: int = 16_000_000_000,
    transform: Callable[[Any, Any], Any] | None = None,
    trackers: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    train_list: str | Path | None = None,
    val_list: str | Path | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> Path:
    """Train a network on a folder of images and masks, and return the run's folder.

    The layout, the classes and the split are worked out from the folder; `classes`, `ignore` and `labels` say what
    the masks cannot, `layout` and `masks` how the folder is laid out, `train_list` and `val_list` are files of the
    images to take. `recipe` (default `recipes.standard(model)`) decides the training: a `Recipe`, the name of a
    paper's, or `"auto"`, which is worked out from the data and this machine; `changes` are its fields: `model`,
    `encoder`, `epochs`, `batch`, `crop`, `learning_rate`, `seed` and so on. `out` defaults to `runs/NAME`. `cache` is a
    folder for decoded images, of up to `cache_limit` bytes, and `transform` an augmentation of your own, (sample,
    generator) to sample. `stop_after` ends this call after so many epochs, and `resume` goes on. With `seeds` as many
    runs are trained, `seed-0` and so on in `out`, and `seeds.json` there has their scores' mean and deviation.
    `trackers` are names of Accelerate's. `listener` is called with every note, step and epoch.

    Raises `AtrousError` for data or a run folder that cannot be used, `ValueError` for a recipe that cannot be.
    """
    from atrous import runs
    from atrous.console import is_main_process

    _refuse_unknown(changes)
    out = Path(out) if out is not None else Path("runs") / Path(data).resolve().name
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    wishes |= {"train_list": train_list, "val_list": val_list}
    listener = listener if listener is not None and is_main_process() else _silent

    def one(folder: Path, **more: Any) -> None:
        exists = (folder / "recipe.json").is_file()
        in_vain = resume and exists and not runs.saved_in(folder)
        again = resume and not in_vain and (exists or seeds is None)
        runs.claim(folder, resume=again, overwrite=overwrite)
        if in_vain:
            listener(runs.Note(text=f"{folder}: was ended before anything was trained; it begins anew"))
        given = _given(recipe, {**changes, **more}, stored=folder if in_vain else None)
        start = _resumed if again else _started
        dataset, chosen, facts, plan = start(data, folder, recipe, given, wishes, device)
        if plan is not None:
            listener(runs.Note(text=plan.as_text()))
        events = runs.run(
            dataset,
            folder,
            chosen,
            facts=facts,
            plan=None if plan is None else plan.as_json(),
            resume=again,
            stop_after=stop_after,
            device=device,
            workers=workers,
            read=_cached(dataset, chosen, cache, cache_limit),
            transform=transform,
            trackers=trackers,
        )
        for event in events:
            listener(event)

    if stop_after is not None and stop_after < 1:
        raise ValueError(f"stop_after {stop_after} came; 1 epoch or more is accepted")
    if seeds is None:
        one(out)
    else:
        _several(one, out, seeds, first=changes.get("seed", 0), listener=listener)
    return out


def _given(recipe: Recipe | str | None, changes: dict[str, Any], *, stored: Path | None) -> dict[str, Any]:
    """Return the changes of a recipe, completed by what they hang on.

    A run that was ended before its beginning has a recipe `stored`. A run or model that is started from has a network:
    what was not said of it is as it is there, so that its weights fit.
    """
    from atrous.store import model_folder, read_config, read_recipe

    if stored is not None and recipe is None:
        return {**_as_changes(read_recipe(stored)), **changes}
    start = changes.get("pretrained")
    if not isinstance(start, str) or not Path(start).is_dir() or not (recipe is None or isinstance(recipe, str)):
        return changes
    config = read_config(model_folder(start))
    told = config.options
    found: dict[str, Any] = {name: told[name] for name in ("encoder", "output_stride", "width") if name in told}
    if isinstance(recipe, str) and recipe != "auto":  # a paper's, whose stages are of different networks
        found = {"width": found["width"]} if "width" in found else {}
    elif changes.get("model", config.model) != config.model:
        return changes
    else:
        own = {"in_channels", "pretrained", *found}
        found |= {"model": config.model, "options": {name: told[name] for name in told if name not in own}}
    return {**found, **changes}


def _silent(event: Any) -> None:
    """Hear nothing."""


def _as_changes(recipe: Recipe) -> dict[str, Any]:
    """Return all fields of a recipe by name."""
    return {field.name: getattr(recipe, field.name) for field in fields(recipe)}


def _started(
    data: str | Path,
    out: Path,
    recipe: Recipe | str | None,
    changes: dict[str, Any],
    wishes: dict[str, Any],
    device: str | None,
) -> tuple[Dataset, Recipe, dict[str, Any], Plan | None]:
    """Return what a new run is trained on, by what recipe, the data's fingerprint, and the plan where one was made."""
    from atrous.contract import AtrousError

    if Path(data).resolve().is_relative_to(out.resolve()):
        raise AtrousError(f"{data}: lies inside the run's folder {out}; choose another --out")
    return _looked_at(data, recipe, changes, wishes, device)


def _looked_at(
    data: str | Path,
    recipe: Recipe | str | None,
    changes: dict[str, Any],
    wishes: dict[str, Any],
    device: str | None,
    *,
    limit: int | None = None,
) -> tuple[Dataset, Recipe, dict[str, Any], Plan | None]:
    """Return a dataset, the recipe for it, its fingerprint of up to `limit` images a split, and the plan for `auto`."""
    from atrous import runs
    from atrous.data.facts import fingerprint

    chosen = _recipe(recipe, changes) if recipe != "auto" else None  # before the images are looked at: that takes time
    dataset = runs.data_to_train_on(data, **wishes)
    facts = fingerprint(dataset, limit=limit)
    if chosen is not None:
        return dataset, chosen, facts, None
    plan = runs.plan(facts, given=changes, device=device)
    return dataset, plan.recipe, facts, plan


def _resumed(
    data: str | Path,
    out: Path,
    recipe: Recipe | str | None,
    changes: dict[str, Any],
    wishes: dict[str, Any],
    device: str | None,
) -> tuple[Dataset, Recipe, dict[str, Any], None]:
    """Return what the run in `out` goes on with; a recipe that is named has to be the stored one."""
    from atrous import runs
    from atrous.data.facts import fingerprint

    if isinstance(recipe, str) and recipe != "auto":
        recipe = _recipe(recipe, changes)
    given = {} if recipe is None or isinstance(recipe, str) else _as_changes(recipe)
    chosen = runs.resumed_recipe(out, {**given, **changes})
    dataset = runs.resumed_data(out, data, **wishes)
    return dataset, chosen, fingerprint(dataset), None


def _several(one: Callable[..., None], out: Path, seeds: int, *, first: int, listener: Listener) -> None:
    """Train a run for each of `seeds` seeds, and write what their scores come to."""
    from atrous import runs
    from atrous.contract import AtrousError
    from atrous.runs import Note

    if seeds < 2:
        raise ValueError(f"seeds {seeds} came; 2 or more runs have a deviation, and --seed chooses one")
    folders = [out / f"seed-{seed}" for seed in range(first, first + seeds)]
    others = sorted(path.name for path in (out.iterdir() if out.is_dir() else ()) if not path.name.startswith("seed"))
    if others:
        raise AtrousError(
            f"{out}: is in the way and holds more than runs of several seeds, such as {others[0]}; choose another --out"
        )
    for number, folder in enumerate(folders):
        listener(Note(text=f"seed {first + number}, run {number + 1} of {seeds}: {folder}"))
        one(folder, seed=first + number)
    summary = runs.seeds_summary(folders)
    summary.write(out)
    listener(Note(text=summary.as_text()))


def _recipe(recipe: Recipe | str | None, changes: dict[str, Any]) -> Recipe:
    """Return a recipe, that of the model without one, with changes; the options of its network are completed."""
    from atrous import recipes

    if "epochs" in changes:
        changes = {"steps": None, **changes}  # in place of a recipe's own
    if isinstance(recipe, str):
        start = changes.get("pretrained")
        recipe = recipes.named(recipe, start=start if isinstance(start, str) else None)
    elif recipe is None:
        wishes = {name: changes[name] for name in ("encoder", "pretrained") if changes.get(name) is not None}
        recipe = recipes.standard(changes.get("model", "deeplab_v3plus"), **wishes)
    else:
        return replace(recipe, **changes)
    return replace(recipe, **{**changes, "options": {**recipe.options, **(changes.get("options") or {})}})


def _cached(dataset: Dataset, recipe: Recipe, cache: str | Path | None, limit: int) -> Cache | None:
    from atrous.data.cache import cached
    from atrous.runs import needs_objects

    if cache is None:
        return None
    return cached(cache, dataset.splits["train"], dataset.space, limit=limit, instances=needs_objects(recipe))


def bench_data(  # noqa: PLR0913  (what `train` takes that concerns its speed)
    data: str | Path,
    *,
    recipe: Recipe | str | None = None,
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
    train_list: str | Path | None = None,
    val_list: str | Path | None = None,
    **changes: Any,
) -> Feeding:
    """Time how fast a folder is read and augmented, and how fast the network takes it, and say which one limits.

    The arguments are those of `train`; about `seconds` are spent on either. With `cache` all images are decoded first.

    Raises `AtrousError` for data that cannot be trained on, `ValueError` for a recipe that cannot be.
    """
    from atrous import runs

    _refuse_unknown(changes)
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    wishes |= {"train_list": train_list, "val_list": val_list}
    dataset, chosen, facts, _ = _looked_at(data, recipe, changes, wishes, device, limit=_LOOKED_AT)
    return runs.feeding(
        dataset,
        chosen,
        facts=facts,
        cache=_cached(dataset, chosen, cache, cache_limit),
        device=device,
        workers=workers,
        seconds=seconds,
    )


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


def lr_find(  # noqa: PLR0913  (what a run hangs on, and where to search)
    data: str | Path,
    *,
    recipe: Recipe | str | None = None,
    steps: int = 100,
    smallest: float | None = None,
    largest: float | None = None,
    plot: str | Path | None = None,
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
    train_list: str | Path | None = None,
    val_list: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> RateSearch:
    """Search the learning rate for a folder and a recipe, by some steps at ever larger ones; nothing is stored.

    The arguments are those of `train`; `steps` rates from `smallest` to `largest` are tried, and `plot` is a file for a
    picture of it. `progress` is called with how many steps are done, and of how many.

    Raises what `train` does, `ValueError` for fewer than 20 steps, for rates that are none and for a plot's suffix that
    is not known, and `AtrousError` for a plot without matplotlib.
    """
    from atrous.console import is_main_process
    from atrous.data.writers import check_figure
    from atrous.runs.finding import found_rate
    from atrous.runs.finding_plot import write_rates

    _refuse_unknown(changes)
    if plot is not None:
        check_figure(plot)
    wishes = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    wishes |= {"train_list": train_list, "val_list": val_list}
    dataset, chosen, facts, _ = _looked_at(data, recipe, changes, wishes, device)
    found = found_rate(
        dataset,
        chosen,
        facts=facts,
        device=device,
        workers=workers,
        steps=steps,
        smallest=smallest,
        largest=largest,
        read=_cached(dataset, chosen, cache, cache_limit),
        transform=transform,
        progress=progress,
    )
    if plot is not None and is_main_process():
        write_rates(plot, found)
    return found
