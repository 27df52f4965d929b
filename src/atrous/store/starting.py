"""A network that starts from the weights of another: by name and shape, and by the names of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Config, LabelSpace
from atrous.store.folders import CONFIG, WEIGHTS, model_folder, read_config
from atrous.store.opening import read_weights


def start_from(net: Any, path: Path, space: LabelSpace | None = None) -> str:
    """Copy into `net` the weights of a run or model folder whose names and shapes meet, and say how many did.

    The others keep what they had: the score layers of FCN-16s start at zero when it starts from an FCN-32s. A network
    of several scales and one of a single scale share their weights. Where `space` has other classes than the model, or
    the same in another order, what scores a class is taken by the class's name; classes that the model did not have
    start anew. Only as many classes of which none has a name of the model's each start from the one in its place.

    Raises `AtrousError` where none meets, or the model's settings are those of no network.
    """
    folder = model_folder(path)
    given, wanted = read_weights(folder / WEIGHTS), net.state_dict()
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
