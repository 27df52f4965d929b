"""Distances between true and found surfaces: the Hausdorff distance without its last 5 %, and the average.

In images a surface is a contour, in volumes a skin. Lengths are in pixels or, with a spacing, in its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation.boundary import check_classes
from atrous.evaluation.figures import mean_known, means_known, one_space, plain
from atrous.evaluation.nearest import distances_to

DISTANCE_DEFINITIONS = {
    "hausdorff95": "the larger of two 95th percentiles: of the distances from each point of the true surface to the "
    "nearest of the found one, and the other way round",
    "average_distance": "mean of all those distances of both ways together (average symmetric surface distance)",
    "missed": "images whose truth has the class and whose prediction lacks it",
    "false": "images whose prediction has the class and whose truth lacks it",
    "protocol": "a surface is the pixels of a region with a neighbour outside it, of four in images and six in "
    "volumes; the slices of a volume are one image, measured in three dimensions; the border of the image is outside; "
    "ignored pixels are left out and make no surface; per class the mean over images that have it in truth and "
    "prediction, missed and false ones are counted apart; then over classes",
}
_PERCENTILE = 95


@dataclass(frozen=True, kw_only=True, eq=False)
class Distances:
    """Surface distances of a labelled set, in `unit`; NaN where no image has the class in truth and prediction.

    `values` is (images, classes, 2): Hausdorff 95 and average; `present` (images, classes, 2) bool: whether truth and
    prediction have the class. `volumes` of the images have three axes.

    Source: Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets", IEEE
    Transactions on Medical Imaging 2009, for the average; of the percentile the larger of both ways is taken, as in
    Maier-Hein et al., "Metrics reloaded", Nature Methods 2024. Others take that of both ways together.

    >>> truth, found = np.zeros((2, 9, 9), np.uint8)
    >>> truth[4, 2], found[4, 6] = 1, 1
    >>> space = LabelSpace(names=("ground", "dot"))
    >>> Distances.of(truth, found, space, spacing=(1.0, 0.5), unit="mm").hausdorff95[1]
    np.float64(2.0)
    """

    space: LabelSpace
    values: NDArray[np.float64]
    present: NDArray[np.bool_]
    unit: str
    volumes: int = 0

    @classmethod
    def of(
        cls,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        space: LabelSpace,
        *,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
    ) -> Distances:
        """Return the distances of one image (h, w) or volume (d, h, w), uint8, 255 where the truth is ignored.

        `spacing` is the distance of neighbours along each axis, in `unit`; without it both are pixels.

        Raises `ValueError` for other arrays, labels that are no class where the truth is counted, and a spacing that
        is not a positive number for each axis.
        """
        _check(truth, labels, len(space))
        steps = _steps(spacing, truth.ndim)
        void = truth == IGNORE
        values = np.full((1, len(space), 2), np.nan)
        present = np.zeros((1, len(space), 2), bool)
        for index in range(len(space)):
            regions = truth == index, (labels == index) & ~void
            present[0, index] = [bool(region.any()) for region in regions]
            if present[0, index].all():
                values[0, index] = surface_distances(*regions, void=void, spacing=steps)
        named = unit or ("pixels" if spacing is None else "units of the spacing")
        return cls(space=space, values=values, present=present, unit=named, volumes=int(truth.ndim == 3))

    def __add__(self, other: Distances) -> Distances:
        """Return the distances of the images of both.

        Raises `ValueError` where their classes or their units differ.
        """
        space = one_space(self.space, other.space)
        if self.unit != other.unit:
            raise ValueError(f"distances in {self.unit} and in {other.unit} came; those of one unit are added")
        values, present = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("values", "present")
        )
        volumes = self.volumes + other.volumes
        return Distances(space=space, values=values, present=present, unit=self.unit, volumes=volumes)

    @property
    def hausdorff95(self) -> NDArray[np.float64]:
        """Per class, the mean over images of the Hausdorff distance at the 95th percentile."""
        return means_known(self.values[..., 0])

    @property
    def average(self) -> NDArray[np.float64]:
        """Per class, the mean over images of the average symmetric surface distance."""
        return means_known(self.values[..., 1])

    @property
    def mean_hausdorff95(self) -> float:
        """The mean of `hausdorff95` over the classes that have one."""
        return mean_known(self.hausdorff95)

    @property
    def mean_average(self) -> float:
        """The mean of `average` over the classes that have one."""
        return mean_known(self.average)

    @property
    def missed(self) -> NDArray[np.int64]:
        """Per class, in how many images the truth has it and the prediction lacks it."""
        return np.count_nonzero(self.present[..., 0] & ~self.present[..., 1], axis=0)

    @property
    def false(self) -> NDArray[np.int64]:
        """Per class, in how many images the prediction has it and the truth lacks it."""
        return np.count_nonzero(self.present[..., 1] & ~self.present[..., 0], axis=0)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None."""
        classes = [
            {
                "name": name,
                "hausdorff95": plain(self.hausdorff95[index]),
                "average_distance": plain(self.average[index]),
                "images": int(self.present[:, index].all(1).sum()),
                "missed": int(self.missed[index]),
                "false": int(self.false[index]),
            }
            for index, name in enumerate(self.space.names)
        ]
        return {
            "hausdorff95": plain(self.mean_hausdorff95),
            "average_distance": plain(self.mean_average),
            "unit": self.unit,
            "missed": int(self.missed.sum()),
            "false": int(self.false.sum()),
            "images": len(self.values),
            "volumes": self.volumes,
            "classes": classes,
            "definitions": DISTANCE_DEFINITIONS,
        }

    def as_text(self) -> str:
        """Return the two means in the unit, each beside its definition, then a line per class."""
        words = DISTANCE_DEFINITIONS
        width = max(5, *(len(name) for name in self.space.names))
        volumes = f", {self.volumes} of them volumes" if self.volumes else ""
        lines = [
            f"{'Hausdorff 95':<24}{_length(self.mean_hausdorff95)}   {words['hausdorff95']}",
            f"{'average distance':<24}{_length(self.mean_average)}   {words['average_distance']}",
            f"(in {self.unit}; {len(self.values)} images{volumes}; {words['protocol']})",
            "",
            f"{'class':<{width}}   Hausdorff 95   average   images   missed    false",
        ]
        for name, far, average, present, missed, false in zip(
            self.space.names, self.hausdorff95, self.average, self.present.all(2).sum(0), self.missed, self.false,
            strict=True,
        ):  # fmt: skip
            lines.append(f"{name:<{width}}       {_length(far)}  {_length(average)}{present:9,}{missed:9,}{false:9,}")
        return "\n".join([*lines, "", *(f"{name}: {words[name]}" for name in ("missed", "false"))])


def surface_distances(
    truth: NDArray[np.bool_],
    found: NDArray[np.bool_],
    *,
    void: NDArray[np.bool_] | None = None,
    spacing: Sequence[float] | None = None,
) -> tuple[float, float]:
    """Return Hausdorff 95 and the average distance of two regions, bool of one shape, neither of them empty.

    `void` makes no surface; regions in which only void lies outside have their pixels as surface.

    >>> surface_distances(np.array([[True, False, False]]), np.array([[False, False, True]]))
    (2.0, 2.0)
    """
    steps = _steps(spacing, truth.ndim)
    surfaces = [surface(region, void=void) for region in (truth, found)]
    ways = distances_to(surfaces[0], surfaces[1], steps), distances_to(surfaces[1], surfaces[0], steps)
    far = max(float(np.percentile(way, _PERCENTILE)) for way in ways)
    return far, float(np.concatenate(ways).mean())


def surface(region: NDArray[np.bool_], *, void: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Return the pixels of a region, of any shape, that have a neighbour along an axis outside it.

    Outside the array is outside the region; `void` is not. A region all of whose neighbours are void is its surface.

    >>> surface(np.ones((3, 3), bool)).tolist()
    [[True, True, True], [True, False, True], [True, True, True]]
    """
    solid = np.pad(region if void is None else region | void, 1)
    inside = np.ones(region.shape, bool)
    middle = (slice(1, -1),) * region.ndim
    for axis in range(region.ndim):
        for side in (slice(None, -2), slice(2, None)):
            inside &= solid[(*middle[:axis], side, *middle[axis + 1 :])]
    found = region & ~inside
    return found if found.any() else region


def _steps(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    if spacing is None:
        return (1.0,) * axes
    steps = tuple(float(each) for each in spacing)
    if len(steps) != axes or not all(0 < each < float("inf") for each in steps):
        raise ValueError(f"spacing {steps} came; it is a positive number for each of the {axes} axes")
    return steps


def _check(truth: NDArray[Any], labels: NDArray[Any], classes: int) -> None:
    for name, given in (("truth", truth), ("labels", labels)):
        if given.dtype != np.uint8 or given.ndim not in (2, 3) or not given.size:
            raise ValueError(
                f"{name} is {given.dtype} of shape {given.shape}; labels are uint8 of shape (h, w) or (d, h, w)"
            )
    check_classes(truth, labels, classes)


def _length(value: float) -> str:
    return f"{'-':>8}" if np.isnan(value) else f"{value:8.2f}"
