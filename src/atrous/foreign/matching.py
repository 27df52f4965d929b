"""A network of ours for weights of others: built with the options that their shapes tell, and filled, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from atrous.contract import AtrousError, Preprocessing
from atrous.models import build

Tensors = Mapping[str, Tensor]

CAFFE_MEAN = (104.008, 116.669, 122.675)
"""The mean (B, G, R) of DeepLab v1 and v2 and of DeconvNet. Source: their train.prototxt, transform_param."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """Weights whose source is known: what it is here, and where each tensor goes.

    `state` is by our names, `theirs` has the name in the file for each of them. Where the encoder cannot be told,
    `options` have none and `needs_encoder` is set. `guesses` has a note by the option that it is about, for use where
    that option is not given.
    """

    source: str
    model: str
    classes: int
    options: dict[str, Any]
    state: dict[str, Tensor]
    theirs: dict[str, str] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    notes: tuple[str, ...] = ()
    guesses: dict[str, str] = field(default_factory=dict)
    needs_encoder: bool = False


def caffe_preprocessing() -> Preprocessing:
    """Return what DeepLab's and DeconvNet's authors fed their networks: BGR from 0 to 255, less the mean.

    >>> caffe_preprocessing().order
    'BGR'
    """
    return Preprocessing(order="BGR", low=0.0, high=1.0, mean=CAFFE_MEAN, std=(1.0, 1.0, 1.0))


def renamed(tensors: Tensors, rename: Callable[[str], str | None]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by our names, and their names by ours; a name that becomes None is left out.

    >>> renamed({"a.x": 1, "b": 2}, lambda name: name.replace("a.", "c.") if "." in name else None)
    ({'c.x': 1}, {'c.x': 'a.x'})
    """
    state, theirs = {}, {}
    for name, tensor in tensors.items():
        ours = rename(name)
        if ours is not None:
            state[ours], theirs[ours] = tensor, name
    return state, theirs


def mostly(tensors: Tensors, prefixes: tuple[str, ...], needed: str) -> bool:
    """Return whether most names begin with one of `prefixes`, and some with `needed`.

    >>> mostly({"a.x": 0, "a.y": 0, "b.z": 0}, ("a.",), "a.x"), mostly({"a.x": 0, "b.z": 0}, ("a.",), "a.x")
    (True, False)
    """
    known = sum(name.startswith(prefixes) for name in tensors)
    return 2 * known > len(tensors) and any(name.startswith(needed) for name in tensors)


def classes_of(tensors: Tensors, layer: str) -> int:
    """Return how many classes the last layer scores, by its weights or its biases; 21 where it has neither.

    >>> classes_of({"fc.bias": [0, 0]}, "fc")
    2
    """
    found = (tensors[f"{layer}.{part}"] for part in ("weight", "bias") if f"{layer}.{part}" in tensors)
    return next((len(each) for each in found), 21)


def fitted(found: Recognised, path: Path, options: Mapping[str, Any], count: int) -> Any:
    """Build the network and load all `count` tensors of the file into it; `options` go before those inferred.

    Raises `AtrousError` that lists what differs, with both shapes, and `ValueError` for options it does not take.
    """
    net = build(found.model, found.classes, **{**found.options, **options})
    inner: Any = net.net if options.get("multiscale") else net
    wanted = inner.state_dict()
    wrong = misfit(found.state, wanted, found.model, count, found.theirs)
    if wrong is not None:
        raise AtrousError(f"{path}: {found.source}, but {wrong}")
    inner.load_state_dict(wanted | found.state)  # only counters of batches can be the network's own
    return net


def misfit(
    given: Tensors, wanted: Tensors, model: str, count: int, theirs: Mapping[str, str] | None = None
) -> str | None:
    """Return how many of a file's `count` tensors fit `model` and the first that do not, or None where all do.

    Counters of batches that the file lacks are not missed: inference has no use for them.

    >>> import torch
    >>> misfit({"a": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(1)}, "unet", 1)
    "the file has 1 tensors, unet 2; 1 fit: 'b' (1,) is only in the network"
    """
    wanted = {name: each for name, each in wanted.items() if name in given or not name.endswith("num_batches_tracked")}
    differ = differences(given, wanted, theirs)
    fit = sum(name in given and given[name].shape == each.shape for name, each in wanted.items())
    counts = f"the file has {count} tensors, {model} {len(wanted)}; {fit} fit"
    return f"{counts}: {listed(differ)}" if differ else None


def differences(given: Tensors, wanted: Tensors, theirs: Mapping[str, str] | None = None) -> list[str]:
    """Return a phrase for every name or shape in which two states differ, those with a name in common first.

    >>> import torch
    >>> differences({"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": torch.zeros(3)})
    ["'a' is (2,) in the file and (3,) in the network", "'b' (1,) is only in the file"]
    """
    names = theirs or {}
    shapes, lost, left = [], [], []
    for name, tensor in wanted.items():
        if name not in given:
            lost.append(f"{name!r} {tuple(tensor.shape)} is only in the network")
        elif given[name].shape != tensor.shape:
            have, want = tuple(given[name].shape), tuple(tensor.shape)
            shapes.append(f"{names.get(name, name)!r} is {have} in the file and {want} in the network")
    for name, tensor in given.items():
        if name not in wanted:
            left.append(f"{names.get(name, name)!r} {tuple(tensor.shape)} is only in the file")
    return [*shapes, *_in_turn(left, lost)]


def _in_turn(first: list[str], second: list[str]) -> list[str]:
    """Return both lists merged, so that the beginning of the result shows some of each."""
    both = [phrase for pair in zip(first, second, strict=False) for phrase in pair]
    least = min(len(first), len(second))
    return [*both, *first[least:], *second[least:]]


def listed(phrases: list[str], most: int = 2) -> str:
    """Return the first phrases, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a; b; and 1 more'
    """
    rest = [f"and {len(phrases) - most} more"] if len(phrases) > most else []
    return "; ".join([*phrases[:most], *rest])
