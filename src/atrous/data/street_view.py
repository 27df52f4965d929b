"""The camera and the brush of the synthetic street: a pinhole view whose canvas holds colour and class together.

Positions are metres: x to the right, y up from the ground, z away from the camera. The canvas is `FINE` times finer
than the picture and its fourth channel is the class, so image and labels come from the same fill of the same polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Odd, so that the centre of a pixel is the centre of one fine pixel and needs no rounding.
FINE = 3
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PEDESTRIAN, POLE = range(8)

Paint = tuple[float, float, float]
Points = Sequence[tuple[float, float, float]] | NDArray[np.float64]

_TURN = np.arange(16) * (np.pi / 8)
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Light:
    """The hour and the weather: colours of the sky, tint of everything else, where the sun stands."""

    top: Paint
    bottom: Paint
    tint: Paint
    side: int
    shadow: float
    cloud: Paint
    cloudiness: float
    lamps: bool


HOURS = {
    "sun": Light(
        top=(84, 140, 206),
        bottom=(186, 212, 230),
        tint=(1.06, 1.03, 0.96),
        side=1,
        shadow=0.42,
        cloud=(246, 246, 246),
        cloudiness=0.5,
        lamps=False,
    ),
    "overcast": Light(
        top=(150, 158, 166),
        bottom=(206, 208, 208),
        tint=(0.9, 0.92, 0.95),
        side=1,
        shadow=0.18,
        cloud=(186, 188, 192),
        cloudiness=0.9,
        lamps=False,
    ),
    "morning": Light(
        top=(120, 158, 200),
        bottom=(246, 218, 186),
        tint=(1.08, 0.98, 0.86),
        side=1,
        shadow=0.36,
        cloud=(250, 232, 214),
        cloudiness=0.6,
        lamps=False,
    ),
    "dusk": Light(
        top=(62, 72, 122),
        bottom=(232, 150, 110),
        tint=(0.74, 0.62, 0.66),
        side=1,
        shadow=0.2,
        cloud=(214, 130, 124),
        cloudiness=0.6,
        lamps=True,
    ),
    "evening": Light(
        top=(34, 44, 84),
        bottom=(98, 104, 142),
        tint=(0.5, 0.53, 0.66),
        side=1,
        shadow=0.12,
        cloud=(70, 76, 108),
        cloudiness=0.5,
        lamps=True,
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A camera above the street and the canvas it paints on.

    `shadows` gathers polygons that fall on the ground. Where the street is not `busy`, little stands in it, and near.
    """

    canvas: NDArray[np.uint8]
    generator: np.random.Generator
    light: Light
    focal: float
    horizon: float
    vanishing: float
    across: float
    eye: float
    busy: bool = True
    shadows: list[NDArray[np.int32]] = field(default_factory=list)

    def project(self, points: Points | tuple[float, float, float]) -> NDArray[np.int32]:
        """Return where points (..., 3) fall on the fine canvas, (..., 2) as (column, row)."""
        corners = np.asarray(points, dtype=np.float64)
        unit = self.focal * FINE / corners[..., 2]
        place = np.empty((*corners.shape[:-1], 2))
        place[..., 0] = (corners[..., 0] - self.across) * unit + self.vanishing * FINE
        place[..., 1] = (self.eye - corners[..., 1]) * unit + self.horizon * FINE
        # Fixed-point fills overflow far outside the canvas; a limit this wide bends no visible edge.
        return np.floor(place).clip(-20000, 20000).astype(np.int32)

    def reach(self, distance: float) -> float:
        """Return how many metres to either side of the vanishing point can be seen at `distance`."""
        width = self.canvas.shape[1] / FINE
        return max(self.vanishing, width - self.vanishing) * distance / self.focal


def between(view: View, low: float, high: float) -> float:
    """Return a number drawn from low to high; plain arithmetic, so every machine draws the same."""
    return low + (high - low) * float(view.generator.random())


def chance(view: View, probability: float) -> bool:
    """Return whether something of this probability happens."""
    return float(view.generator.random()) < probability


def choice(view: View, options: Sequence[Any]) -> Any:
    """Return one of the options, all equally likely."""
    return options[int(view.generator.integers(len(options)))]


def scaled(colour: Paint, factor: float) -> Paint:
    """Return a colour made brighter or darker."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def varied(view: View, colour: Paint, amount: float) -> Paint:
    """Return a colour moved by up to `amount` per channel, most of it in common."""
    common = between(view, -amount, amount)
    red, green, blue = (value + common + between(view, -amount, amount) / 3 for value in colour)
    return red, green, blue


def pigment(view: View, colour: Paint, label: int, distance: float, *, shines: bool = False) -> tuple[float, ...]:
    """Return what the brush holds: the colour in this light and haze, and the class."""
    haze = 0.0 if shines else min(max((distance - 10) / 110, 0.0), 0.4)
    lit = []
    for value, tint, sky in zip(colour, view.light.tint, view.light.bottom, strict=True):
        here = value if shines else value * tint
        lit.append(float(int(min(max(here + (sky - here) * haze, 0.0), 255.0))))
    return *lit, float(label)


def paint(view: View, points: Points, colour: Paint, label: int, *, shines: bool = False) -> None:
    """Fill one polygon (n, 3), or many of one colour (m, n, 3) that do not overlap."""
    corners = np.asarray(points, dtype=np.float64)
    if corners.size == 0:
        return
    polygons = view.project(corners).reshape(-1, corners.shape[-2], 2)
    distance = float(corners[..., 2].min())
    cv2.fillPoly(view.canvas, list(polygons), pigment(view, colour, label, distance, shines=shines))


def disc(view: View, centre: tuple[float, float, float], radius: float, colour: Paint, label: int, **how: bool) -> None:
    """Fill a disc that faces the camera."""
    points = np.empty((len(CIRCLE), 3))
    points[:, 0] = centre[0] + radius * CIRCLE[:, 0]
    points[:, 1] = centre[1] + radius * CIRCLE[:, 1]
    points[:, 2] = centre[2]
    paint(view, points, colour, label, **how)


def upright(
    view: View, place: tuple[float, float], shape: Sequence[tuple[float, float]], colour: Paint, label: int, **how: bool
) -> None:
    """Fill a polygon of (right, up) corners that stands at a place (x, z) and faces the camera."""
    x, z = place
    paint(view, [(x + right, up, z) for right, up in shape], colour, label, **how)


def bar(left: float, right: float, low: float, high: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle for `upright`."""
    return [(left, low), (right, low), (right, high), (left, high)]


def cast(view: View, x: float, z: float, *, half_width: float, half_depth: float, height: float) -> None:
    """Let something standing at (x, z) darken the ground beneath it and away from the sun."""
    shift = -view.light.side * height * (0.5 if view.light.shadow > 0.3 else 0.0)
    points = np.zeros((len(CIRCLE), 3))
    points[:, 0] = x + shift / 2 + CIRCLE[:, 0] * (half_width + abs(shift) / 2)
    points[:, 2] = np.maximum(z + CIRCLE[:, 1] * half_depth, 1.0)
    view.shadows.append(view.project(points))
