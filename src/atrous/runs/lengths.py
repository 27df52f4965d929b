"""Surface distances of a set: in which unit, and of which slices a volume is put together again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.data import Pair
from atrous.data.grids import Spacing
from atrous.data.leaves import leaves
from atrous.data.volumes import Slice
from atrous.evaluation import Distances, joined
from atrous.prediction.pixel_sizes import pixel_lengths

_EVEN = 0.1
"""How far a slice may lie from where an even stack has it, in slices."""


@dataclass(frozen=True)
class Lengths:
    """How distances are measured: in `unit`, None for pixels, and with which spacing and in which volume by name.

    `spacings` are (slice, row, column) or (row, column); `volumes` name all slices of the volume of a slice, in order.
    `notes` say what could not be done.
    """

    unit: str | None = None
    spacings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    volumes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lengths_of(pairs: Sequence[Pair]) -> Lengths:
    """Return the unit, the spacings and the volumes of labelled images, by what their files say of their places.

    The unit is that of all images; where one of them has another or none, all are measured in pixels. The slices of a
    volume go together where each follows the one before at the same distance; else each is an image of its own.
    """
    places = {pair.name: getattr(pair.image, "place", None) for pair in pairs}
    found = {name: pixel_lengths(place) for name, place in places.items()}
    units = Counter(unit for _, unit in found.values())
    unit = next(iter(units)) if len(units) == 1 else ""
    volumes, apart = _volumes(pairs)
    notes = []
    if apart:
        notes.append(
            f"distances: the slices of {apart} volumes do not follow one another evenly; each is measured alone"
        )
    if len(units) > 1:
        told = ", ".join(f"{count} in {name or 'pixels'}" for name, count in units.most_common())
        notes.append(f"distances: in pixels, since the images are not of one unit ({told})")
    spacings: dict[str, tuple[float, ...]] = {}
    for name, (lengths, _) in found.items():
        if unit and lengths is not None:
            place = places[name]
            spacings[name] = (place.slice, *lengths) if name in volumes and isinstance(place, Spacing) else lengths
    return Lengths(unit=unit or None, spacings=spacings, volumes=volumes, notes=tuple(notes))


def _volumes(pairs: Sequence[Pair]) -> tuple[dict[str, tuple[str, ...]], int]:
    """Return the names of a volume's slices in order, for each slice; and how many volumes are no even stack."""
    slices: dict[Hashable, list[tuple[float, str]]] = defaultdict(list)
    for pair in pairs:
        key, height = _height(pair)
        if key is not None:
            slices[key].append((height, pair.name))
    found: dict[str, tuple[str, ...]] = {}
    apart = 0
    for stack in slices.values():
        stack.sort()
        steps = np.diff([height for height, _ in stack])
        if len(stack) > 1 and (np.abs(steps - 1) < _EVEN).all():
            names = tuple(name for _, name in stack)
            found |= dict.fromkeys(names, names)
        apart += len(stack) > 1 and stack[0][1] not in found
    return found, apart


def _height(pair: Pair) -> tuple[Hashable | None, float]:
    """Return what tells the volume of a slice, None of an image, and the slice's place in it, counted in slices."""
    leaf = next(leaves(pair.image))
    if isinstance(leaf, Slice):
        return (leaf.path, leaf.view), float(leaf.index)
    place = getattr(leaf, "place", None)
    if not isinstance(place, Spacing) or place.affine is None or pair.group is None:
        return None, 0.0
    affine = np.asarray(place.affine, np.float64)
    along = affine[:3, 0]
    return (pair.group, place.pixel, place.slice), float(affine[:3, 3] @ along / (along @ along))


class Surfaces:
    """Surface distances as the images of a set come; slices wait until their volume is whole."""

    def __init__(self, space: LabelSpace, lengths: Lengths) -> None:
        """Begin with no image."""
        self._space, self._lengths = space, lengths
        self._waiting: dict[tuple[str, ...], dict[str, tuple[NDArray[Any], NDArray[Any]]]] = defaultdict(dict)
        self._found: list[Distances] = []

    def add(self, name: str, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Take one image, or one slice of a volume, (h, w) uint8."""
        names = self._lengths.volumes.get(name)
        if names is None:
            self._measure(name, truth, labels)
            return
        slices = self._waiting[names]
        slices[name] = truth, labels
        if len(slices) == len(names):
            del self._waiting[names]
            whole = [np.stack([slices[each][side] for each in names]) for side in (0, 1)]
            self._measure(name, *whole)

    def _measure(self, name: str, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        unit, spacing = self._lengths.unit, self._lengths.spacings.get(name)
        self._found.append(Distances.of(truth, labels, self._space, spacing=spacing, unit=unit))

    def joined(self) -> Distances:
        """Return the distances of all; raises `ValueError` where nothing came."""
        return joined(self._found)
