"""What does not move in the synthetic street: ground, houses, hedges."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.data.street_view import (
    BUILDING,
    PAVEMENT,
    ROAD,
    TREE,
    Paint,
    View,
    between,
    chance,
    choice,
    paint,
    scaled,
    varied,
)

_NEAR = 1.2
_FACES: tuple[Paint, ...] = (
    (150, 84, 66),
    (176, 106, 84),
    (222, 205, 170),
    (200, 170, 120),
    (128, 126, 126),
    (164, 162, 160),
    (214, 212, 206),
    (196, 150, 140),
    (150, 168, 172),
    (116, 98, 86),
    (188, 196, 170),
)
_ROOFS: tuple[Paint, ...] = ((120, 62, 48), (84, 86, 94), (100, 84, 74), (142, 84, 60))
_AWNINGS: tuple[Paint, ...] = ((170, 50, 46), (48, 96, 70), (46, 70, 120), (206, 160, 60), (120, 116, 116))


def lay_ground(view: View, *, road: float, end: float) -> None:
    """Paint pavement to the horizon, the road with its crossing street, kerbs, slabs and markings."""
    far = max(end, 300.0)
    wide = 3 * view.reach(far) + far
    stone = varied(view, choice(view, [(158, 154, 150), (172, 160, 142), (136, 136, 140), (150, 128, 116)]), 14)
    asphalt = varied(view, choice(view, [(92, 92, 96), (110, 108, 106), (78, 80, 88)]), 14)
    paint(view, _carpet(-wide, wide, _NEAR, far), stone, PAVEMENT)
    _slabs(view, road, end, stone)
    kerb = scaled(stone, between(view, 1.1, 1.3))
    paint(view, _carpet(-road - 0.28, road + 0.28, _NEAR, end), kerb, PAVEMENT)
    paint(view, _carpet(-wide, wide, end - 9.3, end - 2.4), kerb, PAVEMENT)
    paint(view, _carpet(-road, road, _NEAR, end - 5), asphalt, ROAD)
    paint(view, _carpet(-wide, wide, end - 9, end - 2.7), asphalt, ROAD)
    _markings(view, road, end, scaled(asphalt, between(view, 1.6, 2.1)))
    if chance(view, 0.5):
        x, z = between(view, -road / 2, road / 2), between(view, 4, 8)
        paint(view, _carpet(x - 0.4, x + 0.4, z, z + 0.8), scaled(asphalt, 0.75), ROAD)


def _carpet(left: float, right: float, near: float, far: float) -> list[tuple[float, float, float]]:
    near, far = max(near, _NEAR), max(far, _NEAR)
    return [(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)]


def _slabs(view: View, road: float, end: float, stone: Paint) -> None:
    joint = scaled(stone, between(view, 0.72, 0.84))
    step = between(view, 1.0, 1.6)
    for side in (-1, 1):
        for z in np.arange(2.0, min(end, 14.0), step):
            paint(view, _carpet(side * road, side * (road + 6), z, z + 0.06 + z * 0.012), joint, PAVEMENT)
        for x in (road + 1.3, road + 2.6):
            paint(view, _carpet(side * x - 0.04, side * x + 0.04, _NEAR, end - 9), joint, PAVEMENT)


def _markings(view: View, road: float, end: float, white: Paint) -> None:
    style = choice(view, ("dashes", "dashes", "line", "none"))
    if style == "dashes":
        for z in np.arange(between(view, 1.5, 3), end - 13, 4.5):
            paint(view, _carpet(-0.09, 0.09, z, z + 2), white, ROAD)
    elif style == "line":
        paint(view, _carpet(-0.09, 0.09, _NEAR, end - 12), white, ROAD)
    if chance(view, 0.35):
        near = between(view, 4.5, max(end - 13, 5))
        for x in np.arange(-road + 0.3, road - 0.4, 0.95):
            paint(view, _carpet(x, x + 0.5, near, near + 2.4), white, ROAD)
    if chance(view, 0.3):
        for side in (-1, 1):
            paint(view, _carpet(side * (road - 0.4) - 0.06, side * (road - 0.4) + 0.06, _NEAR, end - 9), white, ROAD)


def raise_row(view: View, *, end: float) -> None:
    """Paint the houses that close the street, facing the camera."""
    reach = min(view.reach(end) * 1.3 + 12, 400.0)
    x = -reach + view.across
    tall = between(view, 5, 10)
    while x < reach + view.across:
        width, height = between(view, 5, 11), max(tall + between(view, -2.5, 3.5), 3.5)
        face = varied(view, choice(view, _FACES), 14)
        if chance(view, 0.55):
            peak = height + between(view, 1.2, 3)
            roof = [
                (x, height, end),
                (x + width, height, end),
                (x + width * 0.8, peak, end),
                (x + width * 0.2, peak, end),
            ]
            paint(view, roof, varied(view, choice(view, _ROOFS), 10), BUILDING)
        _wall(view, (x, end), (1, 0), (width, height), face)
        x += width


def raise_side(view: View, side: int, *, front: float, end: float, near: float = 1.3) -> None:
    """Paint the houses along one side of the street, the far ones first; `front` is where their walls stand."""
    edges = [near]
    while edges[-1] < end:
        edges.append(edges[-1] + between(view, 6, 12))
    edges[-1] = max(end, edges[-2] + 2)
    shine = 0.74 if side == view.light.side else 1.06
    tall = between(view, 4.5, 9)
    for start, stop in reversed(list(pairwise(edges))):
        height = max(tall + between(view, -2, 3), 3.2)
        face = scaled(varied(view, choice(view, _FACES), 14), shine)
        _house(view, side * front, (start, stop), height, face)
    reach = between(view, 0.5, 3.5)
    if side == view.light.side:
        shadow = [(side * front, 0, near), (side * (front - reach), 0, near)]
        view.shadows.append(view.project([*shadow, (side * (front - reach), 0, end), (side * front, 0, end)]))


def _house(view: View, x: float, depth: tuple[float, float], height: float, face: Paint) -> None:
    start, stop = depth
    side = 1 if x > 0 else -1
    back = x + 9 * side
    flank = scaled(face, 0.85)
    gabled = chance(view, 0.5)
    if gabled:
        ridge, middle = height + 2.6, x + 4 * side
        paint(view, [(x, height, start), (back, height, start), (middle, ridge, start)], flank, BUILDING)
        # From below, a roof shows where it is steeper than the line of sight over its eaves.
        if (height - view.eye) / max(abs(x - view.across), 0.5) < 2.6 / 4:
            roof = [(x, height, start), (x, height, stop), (middle, ridge, stop), (middle, ridge, start)]
            paint(view, roof, varied(view, choice(view, _ROOFS), 10), BUILDING)
    paint(view, [(x, 0, start), (back, 0, start), (back, height, start), (x, height, start)], flank, BUILDING)
    _wall(view, (x, start), (0, 1), (stop - start, height), face)


def _wall(
    view: View, foot: tuple[float, float], along: tuple[int, int], extent: tuple[float, float], face: Paint
) -> None:
    """Paint one front of (width, height) that runs from `foot` (x, z) in a direction `along` (x, z)."""
    width, height = extent

    def cells(left: ArrayLike, low: ArrayLike, wide: float, high: float) -> NDArray[np.float64]:
        corners = np.array([(0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)])
        a = np.asarray(left, dtype=np.float64).reshape(-1, 1) + corners[:, 0]
        y = np.asarray(low, dtype=np.float64).reshape(-1, 1) + corners[:, 1]
        return np.stack([foot[0] + a * along[0], y, foot[1] + a * along[1]], axis=-1)

    paint(view, cells(0, 0, width, height), face, BUILDING)
    pitch, storey = between(view, 1.8, 2.8), between(view, 2.6, 3.1)
    count, storeys = max(int(width / pitch), 1), max(int((height - 0.4) / storey), 1)
    wide, high = width / count * between(view, 0.4, 0.6), storey * between(view, 0.48, 0.62)
    column, level = np.meshgrid(np.arange(count), np.arange(1, storeys))
    left = ((column + 0.5) * (width / count) - wide / 2).ravel()
    low = (level * storey + storey * 0.25).ravel()
    lit = view.generator.random(left.size) < (0.45 if view.light.lamps else 0.0)
    glass = varied(view, choice(view, [(58, 68, 84), (96, 116, 138), (40, 44, 52), (128, 150, 168)]), 10)
    paint(view, cells(left[~lit], low[~lit], wide, high), glass, BUILDING)
    paint(view, cells(left[lit], low[lit], wide, high), (244, 204, 120), BUILDING, shines=True)
    paint(view, cells(left, low - 0.18, wide, 0.18), scaled(face, 1.22), BUILDING)
    paint(view, cells(0, height - 0.35, width, 0.35), scaled(face, choice(view, (0.78, 1.2))), BUILDING)
    _ground_floor(view, cells, width, storey, face)


def _ground_floor(
    view: View, cells: Callable[..., NDArray[np.float64]], width: float, storey: float, face: Paint
) -> None:
    door = varied(view, choice(view, [(90, 60, 44), (44, 66, 60), (60, 60, 70), (120, 46, 40)]), 10)
    if chance(view, 0.45):
        shines = view.light.lamps
        inside = (232, 200, 140) if shines else (64, 72, 82)
        paint(view, cells(0.4, 0.4, max(width - 2.2, 0.5), storey - 1.1), inside, BUILDING, shines=shines)
        paint(view, cells(0.2, storey - 0.8, width - 0.4, 0.6), varied(view, choice(view, _AWNINGS), 12), BUILDING)
    else:
        places = np.arange(0.7, max(width - 2.4, 0.8), 2.3)
        paint(view, cells(places, np.full(len(places), 0.9), 1.1, 1.2), (62, 70, 82), BUILDING)
        paint(view, cells(0, 0, width, 0.45), scaled(face, 0.75), BUILDING)
    paint(view, cells(width - 1.6, 0, 1.0, 2.1), door, BUILDING)


def raise_hedge(view: View, side: int, *, front: float, end: float) -> None:
    """Paint a hedge along one side of the street, with a ragged top."""
    green = varied(view, choice(view, [(62, 96, 44), (84, 110, 52), (70, 92, 60)]), 12)
    height = between(view, 1.2, 2.2)
    steps = np.arange(1.3, end, 0.9)
    top = [(side * front, height + between(view, -0.15, 0.2), z) for z in steps]
    paint(view, [(side * front, 0, 1.3), *top, (side * front, 0, float(steps[-1]))], green, TREE)
    foot = [
        (side * front, 0, 1.3),
        (side * front, height / 3, 1.3),
        (side * front, height / 3, end),
        (side * front, 0, end),
    ]
    paint(view, foot, scaled(green, 0.7), TREE)
