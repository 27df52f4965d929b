"""The picture of a description: the pyramid of its maps, and what the middle logit sees of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous.data.writers import atomic, check_figure
from atrous.describing.description import Description, Stage, field_text, scaled
from atrous.layers.receptive_field import ReceptiveField, radius_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, ACCENT = "#1f2933", "#68758a", "#d1495b"
HIGH = 9.0
"""Height of the figure, in inches."""

HEAD = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
"""How arrows are drawn."""

SHARES = {0.68: "-", 0.95: "--"}
"""The shares of the effective field that are marked, and how."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What the middle logit sees: `image` (h, w, 3) uint8, its theoretical field, its effective one (h, w).

    `middle` is the (row, column) of the pixel that the logit lies over, between pixels where it is halved. `trained`
    says whether the weights are, `copies` of how many noisy copies of the image the effective one is a mean.
    """

    image: NDArray[np.uint8]
    field: ReceptiveField
    effective: NDArray[np.float32]
    middle: tuple[float, float]
    trained: bool
    copies: int

    @property
    def caption(self) -> str:
        """How the effective field came about."""
        weights = "trained" if self.trained else "random"
        return (
            "Slabs: height goes with the root of the map's side, breadth with the channels, colour with the stride. "
            "Arrows: what a stage reads;\nbetween neighbours without one nothing is read. "
            "Heat: the root of how much a pixel moves the largest logit in the middle, with\n"
            f"{weights} weights, mean of {self.copies} noisy copies of the image; circles hold 68 % and 95 % of it."
        )

    @property
    def ends(self) -> tuple[float, float]:
        """How far from the logit the nearest and the farthest side of its window are, in pixels; 0 without one."""
        axes = zip(self.middle, (self.field.rows, self.field.columns), strict=True)
        sides = [
            distance
            for middle, read in axes
            if len(read)
            for distance in (middle - (read[0] - 0.5), read[-1] + 0.5 - middle)
        ]
        return (float(min(sides)), float(max(sides))) if sides else (0.0, 0.0)


def write_figure(path: str | Path, description: Description, sight: Sight) -> None:
    """Draw a description and what its middle logit sees, and write it in the format of the suffix, whole or not at all.

    Raises what `check_figure` does, and `AtrousError` where the file cannot be written.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    path = Path(path)
    wide = max(10.0, 0.6 + 0.84 * len(description.stages))
    figure = Figure(figsize=(wide, HIGH), facecolor="white")

    def panel(left: float, bottom: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / wide, bottom / HIGH, width / wide, height / HIGH))

    draw_pyramid(panel(0.3, 5.35, wide - 0.6, 3.2), description)
    broad = min(5.2, 3.9 * sight.effective.shape[1] / sight.effective.shape[0])
    draw_sight(panel(0.4, 0.95, broad, 3.9), sight)
    draw_profile(panel(broad + 1.2, 0.95, min(6.5, wide - broad - 1.6), 3.9), sight)
    title = _title(description)
    points = min(12.0, 72 * (wide - 0.8) / (0.62 * len(title)))  # a bold letter is about 0.62 times as wide as high
    figure.text(0.4 / wide, 8.75 / HIGH, title, color=INK, fontsize=points, fontweight="bold", va="center")
    figure.text(0.4 / wide, 0.1 / HIGH, sight.caption, color=GREY, fontsize=8, va="bottom")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=160, format=path.suffix[1:].lower())


def _title(description: Description) -> str:
    height, width = description.size
    return (
        f"{description.name} on {height} x {width} pixels: {description.parameters / 1e6:.1f} million parameters, "
        f"{scaled(description.multiply_adds)} multiply-adds"
    )


# The pyramid ----------------------------------------------------------------------------------------------------------


def draw_pyramid(axes: Axes, description: Description) -> None:
    """Draw each stage as a slab: its height goes with the root of the map's side, its breadth with its channels."""
    from matplotlib.patches import FancyBboxPatch

    stages = description.stages
    largest = max(stage.size[0] for stage in stages)
    heights = [max(0.12, (stage.size[0] / largest) ** 0.5) for stage in stages]
    for place, (stage, height) in enumerate(zip(stages, heights, strict=True)):
        breadth = _breadth(stage)
        box = (place - breadth / 2, 0), breadth, height
        shape = "round,pad=0,rounding_size=0.02"
        axes.add_patch(FancyBboxPatch(*box, boxstyle=shape, facecolor=_shade(stage.stride), edgecolor="none"))
        _write_stage(axes, place, stage)
        if place and stages[place - 1].name in stage.reads:
            _draw_step(axes, place, [_breadth(each) / 2 for each in stages[place - 1 : place + 1]])
    lanes = _lanes(stages, heights)
    for (source, target), level in lanes.items():
        _draw_link(axes, source, target, level, heights)
    axes.set_xlim(-0.55, len(stages) - 0.45)
    axes.set_ylim(-0.62, max(1.02, *lanes.values(), 0) + 0.02)
    axes.set_axis_off()


def _breadth(stage: Stage) -> float:
    return float(0.16 + 0.5 * min(1.0, np.log2(max(2, stage.channels)) / 12))


def _shade(stride: float) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.86 - 0.15 * min(5.0, max(0.0, np.log2(stride))))


def _write_stage(axes: Axes, place: int, stage: Stage) -> None:
    height, width = stage.size
    lines = [f"{height} x {width}", f"{stage.channels} channels", f"stride {stage.stride:.3g}"]
    sees = field_text(stage).split(", ")
    lines += [f"sees {sees[0]}", *(f"and the {word}" for word in sees[1:])]
    name = stage.name if len(stage.name) < 11 else "_\n".join(stage.name.rsplit("_", 1))
    axes.text(place, -0.05, name, ha="center", va="top", fontsize=7.6, color=INK, fontweight="bold")
    axes.text(place, -0.20, "\n".join(lines), ha="center", va="top", fontsize=6.8, color=INK, linespacing=1.35)


def _lanes(stages: Sequence[Stage], heights: Sequence[float]) -> dict[tuple[int, int], float]:
    """Return a height for the line of every stage that reads another than the one before it, clear of the others."""
    names = {stage.name: place for place, stage in enumerate(stages)}
    pairs = [(names[read], place) for place, stage in enumerate(stages) for read in stage.reads if read in names]
    lanes: dict[tuple[int, int], float] = {}
    for source, target in sorted((pair for pair in pairs if pair[1] > pair[0] + 1), key=lambda pair: pair[1] - pair[0]):
        level = max(heights[source : target + 1]) + 0.09
        crossing = [lane for (first, last), lane in lanes.items() if first < target and source < last]
        shared = [lane for (first, last), lane in lanes.items() if first == source or last == target]
        while any(abs(level - lane) < 0.05 for lane in crossing if lane not in shared):
            level += 0.055
        lanes[source, target] = level
    return lanes


def _draw_step(axes: Axes, place: int, halves: Sequence[float]) -> None:
    """Draw the arrow from the stage before to this one, between their slabs, which are so broad."""
    ends = (place - 1 + halves[0] + 0.03, 0.06), (place - halves[1] - 0.03, 0.06)
    axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=HEAD)


def _draw_link(axes: Axes, source: int, target: int, level: float, heights: Sequence[float]) -> None:
    across = [source + 0.08, source + 0.08, target - 0.08, target - 0.08]
    axes.plot(across, [heights[source] + 0.015, level, level, heights[target] + 0.06], color=GREY, linewidth=1.1)
    end = (target - 0.08, heights[target] + 0.015)
    axes.annotate("", xy=end, xytext=(end[0], heights[target] + 0.07), arrowprops=HEAD)


# What is seen ---------------------------------------------------------------------------------------------------------


def draw_sight(axes: Axes, sight: Sight) -> None:
    """Draw the image in grey, the effective field as heat over it, the theoretical one as a frame."""
    from matplotlib import colormaps
    from matplotlib.patches import Circle, Rectangle

    height, width = sight.effective.shape
    heat = _heat(sight.effective)
    grey = sight.image.mean(2, keepdims=True).repeat(3, 2) / 255
    colours = colormaps["inferno"](heat)[..., :3]
    opacity = np.clip(heat * 1.6, 0, 0.92)[..., None]
    axes.imshow(grey * 0.85 * (1 - opacity) + colours * opacity)
    row, column = sight.middle
    if len(sight.field.rows):
        rows, columns = sight.field.rows, sight.field.columns
        axes.add_patch(
            Rectangle(
                (columns[0] - 0.5, rows[0] - 0.5),
                columns[-1] - columns[0] + 1,
                rows[-1] - rows[0] + 1,
                fill=False,
                edgecolor=ACCENT,
                linewidth=2,
            )
        )
    for share, style in SHARES.items():
        radius = radius_of(sight.effective, share, (row, column))
        axes.add_patch(Circle((column, row), radius, fill=False, edgecolor="white", linewidth=1.2, linestyle=style))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()
    axes.set_title(_sight_title(sight), color=INK, fontsize=9, loc="left")


def _heat(effective: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the field smoothed by a pixel or two and scaled to 0..1, the root of it, so that its skirt shows."""
    import cv2

    smooth = cv2.GaussianBlur(effective, (0, 0), max(1.0, min(effective.shape) / 250))
    return np.sqrt(np.clip(smooth / max(float(np.quantile(smooth, 0.9995)), 1e-30), 0, 1))


def _sight_title(sight: Sight) -> str:
    height, width = sight.field.size
    beyond = height > sight.effective.shape[0] or width > sight.effective.shape[1]
    window = f"The middle logit sees {height} x {width} pixels" if height else "The middle logit sees the image"
    whole = "\nand through a mean the whole image" if sight.field.whole and height else ""
    return f"{window}{' (more than are here)' if beyond else ' (frame)' if height else ''}{whole}"


def draw_profile(axes: Axes, sight: Sight) -> None:
    """Draw which share of the effective field lies within which distance, and where the theoretical one ends.

    That is a band from the nearest of its sides to the farthest, since the logit need not lie in the middle of it.
    """
    rows, columns = np.indices(sight.effective.shape, dtype=np.float32)
    distance = np.hypot(rows - sight.middle[0], columns - sight.middle[1]).ravel()
    order = np.argsort(distance)
    held = np.cumsum(sight.effective.ravel()[order], dtype=np.float64)
    farthest = float(distance.max())
    axes.plot(distance[order], 100 * held / max(held[-1], 1e-30), color=INK, linewidth=1.8)
    nearest, last = sight.ends
    if 0 < nearest < farthest:
        axes.axvspan(nearest, last, color=ACCENT, alpha=0.2, linewidth=0)
        axes.axvline(nearest, color=ACCENT, linewidth=1.8)
        text, right = _window_text(sight), nearest < 0.6 * farthest
        _label(axes, (min(last, farthest) if right else nearest, 6), text, right=right, color=ACCENT)
    for share, style in SHARES.items():
        radius = radius_of(sight.effective, share, sight.middle)
        axes.plot([radius, radius, 0], [0, 100 * share, 100 * share], color=GREY, linewidth=1, linestyle=style)
        text, right = f"{100 * share:.0f} % within {radius:.0f} pixels", radius < 0.4 * farthest
        _label(axes, (radius if right else 0, 100 * share), text, right=right, color=INK)
    axes.set(xlim=(0, farthest), ylim=(0, 102))
    axes.set_xlabel("distance from the logit, pixels", fontsize=8.5, color=INK)
    axes.set_title("Share of the gradient within a distance, per cent", fontsize=9, loc="left", color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _window_text(sight: Sight) -> str:
    height, width = sight.field.size
    ends = dict.fromkeys(f"{each:.0f}" for each in sight.ends)
    return f"the {height} x {width} window\nends, {' to '.join(ends)} pixels away"


def _label(axes: Axes, place: tuple[float, float], text: str, *, right: bool, color: str) -> None:
    """Write on white: to the right of a place, else above it, or to its left where it is not at the border."""
    across, up = (7, -9 if place[1] > 10 else 4) if right else (4, 9) if place[0] == 0 else (-6, 4)
    side = "left" if across > 0 else "right"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    written: dict[str, Any] = {
        "textcoords": "offset points",
        "ha": side,
        "va": "center",
        "fontsize": 8,
        "color": color,
        "bbox": box,
    }
    axes.annotate(text, place, xytext=(across, up), **written)
