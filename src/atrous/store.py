"""Model folders and runs on disk: safetensors and JSON, written whole or not at all, opened without unpickling.

A model folder holds `model.safetensors`, `config.json` and a model card `README.md`. A run holds `recipe.json`,
`split.json`, `log.jsonl`, the model folders `best/` and `last/`, and `crf.json` where a CRF was tuned for it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from atrous import __version__
from atrous.contract import AtrousError, LabelSpace, Preprocessing, Recipe
from atrous.data.writers import atomic

if TYPE_CHECKING:
    from atrous.models import Segmenter

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
CRF = "crf.json"
"""Beside a run's `best/` and `last/`, or in a model folder of no run: the numbers its predictions are refined with."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `config.json` says: enough to build the network again and to feed it as it was trained."""

    model: str
    options: dict[str, Any]
    space: LabelSpace
    preprocessing: Preprocessing
    geometry: dict[str, Any]
    recipe: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    fingerprint: dict[str, Any] | None = None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON of a file; raises `AtrousError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AtrousError(f"{path}: missing") from error
    except (OSError, ValueError) as error:
        raise AtrousError(f"{path}: not readable JSON ({error})") from error


def save_model(
    folder: Path, segmenter: Segmenter, config: Config, *, also: Callable[[Path], None] | None = None
) -> None:
    """Write a model folder; an older one at the same place is replaced as a whole, once everything is written.

    `also` writes more files into the same folder, such as the training state that belongs to these weights.
    """
    from safetensors.torch import save_file

    state = {name: tensor.detach().contiguous() for name, tensor in segmenter.net.state_dict().items()}
    with whole_folder(folder) as temporary:
        save_file(state, temporary / WEIGHTS, metadata={"format": "pt"})
        write_json(temporary / CONFIG, _config_json(config))
        (temporary / CARD).write_text(_card(config), encoding="utf-8")
        if also is not None:
            also(temporary)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends well; else `folder` is untouched.

    A folder cannot be replaced in one step: the old one is moved aside first. A process killed between the two
    moves leaves it there, and `settled` brings it back.
    """
    temporary, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        settled(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(old, ignore_errors=True)  # left where a process was killed after the second move
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        settled(folder)
        if _disk_refused(error):
            raise AtrousError(
                f"{folder}: could not be written ({error}); what was there before is unchanged"
            ) from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _disk_refused(error: BaseException) -> bool:
    from safetensors import SafetensorError

    return isinstance(error, OSError | SafetensorError)


def _readable(folder: Path) -> Path:
    """Return `folder`, or where a running training has just moved it aside: a reader moves nothing itself."""
    old = folder.with_name(folder.name + ".old")
    return old if old.is_dir() and not folder.exists() else folder


def settled(folder: Path) -> Path:
    """Return `folder`, brought back first where a replacement of it was cut off between two moves."""
    old = folder.with_name(folder.name + ".old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    return folder


def open_model(path: str | Path) -> tuple[Segmenter, Config]:
    """Open a model folder, or a run's `best/` (else its `last/`, said once): the network in evaluation mode.

    Raises `AtrousError` where the path is neither, or a file is missing, damaged, or of another network.
    """
    from atrous.models import Segmenter, build

    folder = model_folder(path)
    config = read_config(folder)
    try:
        net = build(config.model, len(config.space), **config.options)
    except (TypeError, ValueError) as error:
        raise AtrousError(f"{folder / CONFIG}: the network cannot be built: {error}") from error
    load_weights(net, folder / WEIGHTS)
    return Segmenter(net, config.space, config.preprocessing).eval(), config


def load_weights(net: Any, path: Path) -> None:
    """Load a `.safetensors` file into `net`, every tensor of it and nothing else.

    Raises `AtrousError` where the file is missing, damaged, or holds other tensors; the net is unchanged then.
    """
    state = _read_weights(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != given:
        differ = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        name = differ[0]
        raise AtrousError(
            f"{path}: weights of another network: {len(differ)} tensors differ, first {name!r} "
            f"({given.get(name, 'missing')} in the file, {wanted.get(name, 'none')} in the network)"
        )
    net.load_state_dict(state)


def _read_weights(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise AtrousError(f"{path}: missing; a model folder holds {WEIGHTS}, {CONFIG} and {CARD}")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise AtrousError(
            f"{path}: a damaged checkpoint ({error}); take another copy, or `last/` for `best/`"
        ) from error


def start_from(net: Any, path: Path, space: LabelSpace | None = None) -> str:
    """Copy into `net` the weights of a run or model folder whose names and shapes meet, and say how many did.

    The others keep what they had: the score layers of FCN-16s start at zero when it starts from an FCN-32s. A network
    of several scales and one of a single scale share their weights. Where `space` has other classes than the model, or
    the same in another order, what scores a class is taken by the class's name; classes that the model did not have
    start anew. Only as many classes of which none has a name of the model's each start from the one in its place.

    Raises `AtrousError` where none meets, or the model's settings are those of no network.
    """
    folder = model_folder(path)
    given, wanted = _read_weights(folder / WEIGHTS), net.state_dict()
    given = _as_named(given, wanted)
    found = {name: tensor for name, tensor in given.items() if name in wanted and wanted[name].shape == tensor.shape}
    config = read_config(folder)
    before = config.space.names
    classes: dict[str, Any] = {}
    if space is not None and before != space.names and not _renamed(before, space.names):
        rows = _as_named(_class_rows(folder, config), wanted)
        classes = _by_class(given, wanted, rows, before=before, now=space.names)
        found = {name: tensor for name, tensor in found.items() if name not in rows}
    if not found and not classes:
        raise AtrousError(
            f"{folder / WEIGHTS}: no tensor has a name and shape of this network; it is a model of another kind"
        )
    net.load_state_dict({**found, **classes}, strict=False)
    left = [name for name in wanted if name not in found and name not in classes]
    rest = f"; new are {', '.join(left[:3])}{' and more' if len(left) > 3 else ''}" if left else ""
    met = len(found | classes)
    return f"starting from {path}: {met} of {len(wanted)} tensors{rest}{_class_words(classes, before, space)}"


def _renamed(before: Sequence[str], now: Sequence[str]) -> bool:
    """Return whether there are as many classes as before, and none of their names is one of then."""
    return len(before) == len(now) and not set(before) & set(now)


def _class_rows(folder: Path, config: Config) -> dict[str, tuple[int, ...]]:
    """Return how many rows each axis of a model's tensors has for a class, 0 where an axis is of none.

    They are what another class makes an axis longer by. Tensors without such an axis are left out.
    """
    import torch

    from atrous.models import build

    count = len(config.space)
    try:
        with torch.device("meta"):  # shapes without numbers
            one, more = (build(config.model, classes, **config.options) for classes in (count, count + 1))
    except (TypeError, ValueError) as error:
        raise AtrousError(f"{folder / CONFIG}: the network cannot be built: {error}") from error
    longer = more.state_dict()
    rows = {
        name: tuple(there - here for here, there in zip(tensor.shape, longer[name].shape, strict=True))
        for name, tensor in one.state_dict().items()
    }
    return {name: per_axis for name, per_axis in rows.items() if any(per_axis)}


def _by_class(
    given: Mapping[str, Any],
    wanted: Mapping[str, Any],
    rows: Mapping[str, tuple[int, ...]],
    *,
    before: Sequence[str],
    now: Sequence[str],
) -> dict[str, Any]:
    """Return the tensors that have rows of classes, each those of the class's name, or new where there was none."""
    kept = [name for name in now if name in before]
    here, there = ([names.index(name) for name in kept] for names in (now, before))
    result = {}
    for name in sorted(rows.keys() & given.keys() & wanted.keys()) if kept else ():
        old, new, per_axis = given[name], wanted[name].clone(), rows[name]
        sides = [len(now) * each if each else side for each, side in zip(per_axis, old.shape, strict=True)]
        if tuple(new.shape) == tuple(sides):
            new[_places(new, per_axis, here)] = old[_places(old, per_axis, there)].to(new.dtype)
            result[name] = new
    return result


def _places(tensor: Any, rows: Sequence[int], classes: Sequence[int]) -> tuple[Any, ...]:
    """Return the indices of what belongs to `classes`, in their order: of an axis without rows of classes, all."""
    import torch

    chosen = torch.tensor(classes)[:, None]
    indices = [
        (chosen * each + torch.arange(each)).flatten() if each else torch.arange(side)
        for each, side in zip(rows, tensor.shape, strict=True)
    ]
    return torch.meshgrid(*indices, indexing="ij")


def _class_words(classes: Mapping[str, Any], before: Sequence[str], space: LabelSpace | None) -> str:
    if space is None or tuple(before) == space.names:
        return ""
    if _renamed(before, space.names):
        return "; as many classes as before, under other names: each starts from the one in its place"
    new = [name for name in space.names if name not in before]
    kept = len(space.names) - len(new)
    if not classes or not kept:
        return f"; classes {', '.join(space.names[:4])}{' ...' if len(space.names) > 4 else ''} start anew"
    return f"; {kept} classes are taken by name" + (f", new is {', '.join(new)}" if new else "")


def _as_named(given: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors under the names of the wanted ones: a `MultiScale` calls what it wraps `net`."""
    inner, wrapped = (all(name.startswith("net.") for name in names) for names in (given, wanted))
    if inner and not wrapped:
        return {name.removeprefix("net."): tensor for name, tensor in given.items()}
    if wrapped and not inner:
        return {f"net.{name}": tensor for name, tensor in given.items()}
    return given


def model_folder(path: str | Path) -> Path:
    """Return the model folder that `path` means: itself, or a run's `best/`, else `last/` with a line saying so."""
    path = Path(path)
    if not path.exists():
        raise AtrousError(f"{path}: no such model folder or run")
    if (path / CONFIG).is_file():
        return path
    if path.name == WEIGHTS:
        return path.parent
    if (_readable(path / "best") / CONFIG).is_file():
        return _readable(path / "best")
    if (_readable(path / "last") / CONFIG).is_file():
        logging.getLogger("atrous").warning("%s: no best/ yet, taking last/", path)
        return _readable(path / "last")
    raise AtrousError(f"{path}: neither a model folder ({CONFIG} is missing) nor a run (no best/ or last/)")


def read_config(folder: Path) -> Config:
    """Return `config.json` of a model folder; raises `AtrousError` that names what is wrong in it."""
    path = folder / CONFIG
    values = read_json(path)
    if not isinstance(values, dict):
        raise AtrousError(f"{path}: no settings are in it; is it the config.json of another program?")
    try:
        if values["format"] > FORMAT:
            raise AtrousError(f"{path}: format {values['format']}; this version reads up to {FORMAT}: update atrous")
        space = {key: values[key] for key in ("colours", "values", "ignore", "encoding")}
        return Config(
            model=values["architecture"],
            options=dict(values["options"]),
            space=_validated(LabelSpace, {"names": values["classes"], **space}),
            preprocessing=_validated(Preprocessing, values["preprocessing"]),
            geometry=values["geometry"],
            recipe=values.get("recipe"),
            scores=values.get("scores"),
            versions=values.get("versions"),
            fingerprint=values.get("fingerprint"),
        )
    except KeyError as error:
        raise AtrousError(f"{path}: {error} is missing; is it the config.json of another program?") from error
    except (ValidationError, TypeError) as error:
        raise AtrousError(f"{path}: {explained(error)}") from error


def write_crf(model: str | Path, values: Mapping[str, Any]) -> Path:
    """Store how the predictions of a run or model folder are best refined, and return the file.

    `values` has `crf`, the CRF's numbers or None where none is better, and whatever tells how they were found.
    """
    folder = model_folder(model)
    path = _crf_file(folder)
    write_json(path, {"format": FORMAT, "version": __version__, "model": _state_of(folder), **values})
    return path


def read_crf(model: str | Path) -> tuple[dict[str, Any], bool] | None:
    """Return what `write_crf` stored, and whether it was for the model as it is now; None where nothing was stored.

    Raises `AtrousError` for a file that is damaged, holds other types, or is of a later format.
    """
    folder = model_folder(model)
    path = _crf_file(folder)
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, dict) or not {"format", "crf"} <= values.keys():
        raise AtrousError(f"{path}: no tuned CRF is in it; remove the file, or run atrous crf-tune again")
    return checked_crf(path, values), values.get("model") == _state_of(folder)


def checked_crf(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return what a file like `crf.json` holds; `format` and `tuned_on` may be missing, `crf` is not looked into.

    Raises `AtrousError` where one of the two has another type, and for a later format.
    """
    number, tuned_on = values.get("format", FORMAT), values.get("tuned_on") or {}
    if not isinstance(number, int) or isinstance(number, bool):
        raise AtrousError(
            f"{path}: format {number!r}; a whole number up to {FORMAT} is wanted: run atrous crf-tune again"
        )
    if number > FORMAT:
        raise AtrousError(f"{path}: format {number}; this version reads up to {FORMAT}: update atrous")
    names = tuned_on.get("images") or [] if isinstance(tuned_on, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AtrousError(f"{path}: tuned_on has no list of names as its images: run atrous crf-tune again")
    for key in ("data", "sha256"):
        if not isinstance(tuned_on.get(key), str | None):
            raise AtrousError(
                f"{path}: tuned_on has {key} {tuned_on[key]!r}; a text is wanted: run atrous crf-tune again"
            )
    return values


def _crf_file(folder: Path) -> Path:
    run = folder.parent
    return (run if (run / "split.json").is_file() else folder) / CRF


def _state_of(folder: Path) -> str:
    """Return a hash that changes when a run goes on: that of the settings, which hold the scores."""
    return sha256((folder / CONFIG).read_bytes()).hexdigest()


def plain(value: Any) -> Any:
    """Return a noun of the contract as plain JSON values."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def read_recipe(run: Path) -> Recipe:
    """Return the recipe a run was started with."""
    path = run / "recipe.json"
    values = read_json(path)
    if not isinstance(values, dict):
        raise AtrousError(f"{path}: no settings are in it; is it the recipe.json of another program?")
    try:
        return _validated(Recipe, values)
    except ValidationError as error:
        raise AtrousError(f"{path}: {explained(error)}") from error


def explained(error: Exception, *, flags: bool = False) -> str:
    """Return a validation error in one line: each field once, with what is accepted and what came.

    With `flags` the fields of a recipe are called as the command line calls them.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    found: dict[str, list[Any]] = {}
    for each in error.errors():
        found.setdefault(str(each["loc"][0]) if each["loc"] else "", []).append(each)
    parts = []
    for field, errors in found.items():
        flag = "--option" if field == "options" else f"--{field.replace('_', '-')}"
        words = _about_field(errors)
        parts.append(f"{flag if flags and error.title == 'Recipe' else field}: {words}" if field else words)
    return "; ".join(parts)


def _about_field(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with one field; of the kinds of value that it takes, only those that came nearest count."""
    deepest = max(len(each["loc"]) for each in errors)
    errors = [each for each in errors if len(each["loc"]) == deepest]
    kind, last = errors[0]["type"], errors[0]["loc"][-1:]
    if kind in ("missing", "unexpected_keyword_argument"):
        return "is missing" if kind == "missing" else "there is no such setting"
    first, *others = dict.fromkeys(_lowered(each["msg"]) for each in errors)
    words = ", or ".join([first, *(other.removeprefix("input should be ") for other in others)])
    if kind == "value_error":
        return words  # our own, which tells what came
    place = f" at place {last[0] + 1}" if deepest > 1 and isinstance(last[0], int) else ""
    return f"{words}, {errors[0]['input']!r} came{place}"


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _validated(kind: Any, values: Mapping[str, Any]) -> Any:
    return TypeAdapter(kind).validate_python(dict(values))


def _config_json(config: Config) -> dict[str, Any]:
    space = plain(config.space)
    return {
        "format": FORMAT,
        "architecture": config.model,
        "options": config.options,
        "classes": space.pop("names"),
        **space,
        "preprocessing": plain(config.preprocessing),
        "geometry": config.geometry,
        "recipe": config.recipe,
        "scores": config.scores,
        "versions": config.versions,
        "fingerprint": config.fingerprint,
    }


def _card(config: Config) -> str:
    options = ", ".join(f"{key} {value}" for key, value in config.options.items() if value not in (None, False))
    lines = [
        f"# {config.model}",
        "",
        f"A semantic segmentation network of {len(config.space)} classes ({options}), written by atrous.",
        "",
        "    atrous predict THIS_FOLDER IMAGES --out out/",
        "",
        "## Classes",
        "",
        ", ".join(config.space.names),
        "",
    ]
    if config.scores:
        lines += ["## Scores", "", *_card_scores(config.scores), ""]
    if config.fingerprint:
        images = ", ".join(f"{count} {split}" for split, count in config.fingerprint.get("splits", {}).items())
        lines += ["## Data", "", f"{images} images; fingerprint {config.fingerprint.get('sha256', '')[:16]}", ""]
    return "\n".join(lines)


def _card_scores(scores: Mapping[str, Any]) -> list[str]:
    lines = ["| score | per cent | definition |", "|---|---|---|"]
    for name, definition in scores.get("definitions", {}).items():
        if isinstance(scores.get(name), float):
            lines.append(f"| {name.replace('_', ' ')} | {100 * scores[name]:.2f} | {definition} |")
    return lines
