"""What stands and moves in the synthetic street: trees, cars, pedestrians."""

from __future__ import annotations

import cv2

from atrous.data.street_view import (
    CAR,
    CIRCLE,
    FINE,
    PEDESTRIAN,
    TREE,
    Paint,
    View,
    bar,
    between,
    cast,
    chance,
    choice,
    disc,
    paint,
    pigment,
    scaled,
    upright,
    varied,
)

_LEAVES: tuple[Paint, ...] = ((70, 104, 44), (92, 124, 56), (58, 90, 56), (112, 122, 50), (176, 122, 48), (160, 84, 46))
_BODIES: tuple[Paint, ...] = (
    (214, 214, 212),
    (52, 54, 60),
    (150, 152, 156),
    (104, 106, 112),
    (168, 40, 38),
    (44, 78, 140),
    (60, 110, 70),
    (214, 170, 60),
    (120, 150, 170),
    (180, 98, 60),
)
_CLOTHES: tuple[Paint, ...] = (
    (180, 50, 50),
    (50, 80, 150),
    (60, 120, 80),
    (210, 190, 70),
    (60, 60, 66),
    (140, 140, 146),
    (226, 222, 214),
    (140, 80, 130),
    (200, 120, 60),
)
_SKINS: tuple[Paint, ...] = ((234, 196, 168), (206, 156, 120), (150, 104, 76), (100, 70, 52))
_GLASS: Paint = (46, 56, 68)
_TYRE: Paint = (28, 28, 30)


def tree(view: View, x: float, z: float) -> None:
    """Paint a tree: a round crown, a tall narrow one, or a conifer."""
    leaf = varied(view, choice(view, _LEAVES), 14)
    kind = choice(view, ("round", "round", "tall", "conifer"))
    height = between(view, 4.2, 7.0)
    trunk = between(view, 0.16, 0.26)
    cast(view, x, z, half_width=1.3, half_depth=1.0, height=2.5)
    upright(
        view,
        (x, z),
        [(-trunk, 0), (trunk, 0), (trunk * 0.7, height * 0.6), (-trunk * 0.7, height * 0.6)],
        (92, 72, 56),
        TREE,
    )
    if kind == "conifer":
        _conifer(view, x, z, height, leaf)
        return
    wide = height * (0.36 if kind == "round" else 0.2)
    tall = height * (0.32 if kind == "round" else 0.38)
    _crown(view, (x, height - tall, z), wide, tall, leaf)


def _crown(view: View, centre: tuple[float, float, float], wide: float, tall: float, leaf: Paint) -> None:
    """Paint clumps of leaves, the dark ones first and the sunlit ones last and towards the sun."""
    x, y, z = centre
    unit = view.focal / z * FINE
    for layer, (shade, spread, size) in enumerate(((0.68, 0.68, 0.46), (0.95, 0.56, 0.34), (1.25, 0.5, 0.2))):
        colour = pigment(view, scaled(leaf, shade), TREE, z)
        for number in range(13 if layer else 10):
            direction = CIRCLE[(number * 5 + layer) % len(CIRCLE)]
            away = spread * (1.0 if number < 8 else between(view, 0.0, 0.7))
            right = wide * (direction[0] * away + between(view, -0.14, 0.14) + layer * 0.09 * view.light.side)
            up = tall * (direction[1] * away + between(view, -0.14, 0.14) + layer * 0.1)
            column, row = view.project((x + right, y + up, z)).tolist()
            cv2.circle(view.canvas, (column, row), max(int(unit * min(wide, tall) * size), 1), colour, -1)


def _conifer(view: View, x: float, z: float, height: float, leaf: Paint) -> None:
    for level in range(4):
        low = height * (0.18 + 0.19 * level)
        half = height * (0.27 - 0.05 * level)
        top = low + height * 0.32
        upright(
            view,
            (x, z),
            [(-half, low), (half, low), (half * 0.1, top), (-half * 0.1, top)],
            scaled(leaf, 0.7 + level * 0.1),
            TREE,
        )
        sun = half * view.light.side
        upright(
            view, (x, z), [(0, low + 0.1), (sun * 0.9, low + 0.05), (0, top)], scaled(leaf, 0.9 + level * 0.1), TREE
        )


def car_along(view: View, x: float, z: float, *, towards: bool) -> None:
    """Paint a car whose length lies along the street, seen from its near end and its inner side."""
    body = varied(view, choice(view, _BODIES), 12)
    van = chance(view, 0.2)
    half, length, waist, roof = 0.9, between(view, 3.6, 4.4), 0.92, 1.95 if van else between(view, 1.42, 1.55)
    cast(view, x, z + length / 2, half_width=half + 0.25, half_depth=length / 2 + 0.4, height=0.6)
    side = x + (half if view.across > x else -half)
    lean = 0.1 if van else 0.45
    stern, bow = z + lean * 0.5, z + length - (0.9 if not van else 0.5)
    dark, glass = scaled(body, 0.78), varied(view, _GLASS, 8)
    paint(view, [(x - half, 0.18, z), (x + half, 0.18, z), (side, 0.18, z + length)], _TYRE, CAR)
    for wheel in (z + 0.75, z + length - 0.75):
        paint(view, [(side, 0.34 + 0.34 * up, wheel + 0.36 * right) for right, up in CIRCLE], _TYRE, CAR)
    paint(view, [(side, 0.3, z), (side, 0.3, z + length), (side, waist, z + length), (side, waist, z)], dark, CAR)
    for wheel in (z + 0.75, z + length - 0.75):
        paint(view, [(side, 0.34 + 0.3 * up, wheel + 0.32 * right) for right, up in CIRCLE], _TYRE, CAR)
    top = [(x - half, waist, z), (x + half, waist, z), (x + half, waist, z + length), (x - half, waist, z + length)]
    paint(view, top, scaled(body, 1.08), CAR)
    inner = side + (0.1 if side < x else -0.1)
    cabin = [(side, waist, stern), (side, waist, bow), (inner, roof, bow - lean - 0.2), (inner, roof, stern + lean)]
    paint(view, cabin, dark, CAR)
    if not van:
        pane = [(side, waist + 0.06, stern + 0.3), (side, waist + 0.06, bow - 0.3)]
        paint(
            view, [*pane, (inner, roof - 0.1, bow - lean - 0.35), (inner, roof - 0.1, stern + lean + 0.15)], glass, CAR
        )
    upper = half - 0.1
    lid = [(x - upper, roof, stern + lean), (x + upper, roof, stern + lean)]
    paint(
        view, [*lid, (x + upper, roof, bow - lean - 0.2), (x - upper, roof, bow - lean - 0.2)], scaled(body, 1.12), CAR
    )
    _near_end(view, (x, z), (half, waist, roof), (stern, stern + lean), body, towards=towards)


def _near_end(
    view: View,
    place: tuple[float, float],
    box: tuple[float, float, float],
    rake: tuple[float, float],
    body: Paint,
    *,
    towards: bool,
) -> None:
    """Paint the end of a car that faces the camera: screen, panel, bumper, lights, plate, wheels."""
    (x, z), (half, waist, roof), (low, high) = place, box, rake
    upper = half - 0.1
    paint(
        view,
        [(x - half, waist, low), (x + half, waist, low), (x + upper, roof, high), (x - upper, roof, high)],
        body,
        CAR,
    )
    screen = [(x - half + 0.13, waist + 0.06, low), (x + half - 0.13, waist + 0.06, low)]
    paint(view, [*screen, (x + upper - 0.1, roof - 0.1, high), (x - upper + 0.1, roof - 0.1, high)], _GLASS, CAR)
    for edge in (-half + 0.06, half - 0.28):
        upright(view, (x, z), bar(edge, edge + 0.22, 0, 0.45), _TYRE, CAR)
    upright(
        view,
        (x, z),
        [
            (-half, 0.34),
            (half, 0.34),
            (half, waist - 0.05),
            (half - 0.07, waist + 0.02),
            (-half + 0.07, waist + 0.02),
            (-half, waist - 0.05),
        ],
        body,
        CAR,
    )
    upright(view, (x, z), bar(-half, half, 0.24, 0.42), scaled(body, 0.62), CAR)
    lamp: Paint = (250, 244, 220) if towards else (206, 36, 34)
    for edge in (-half + 0.03, half - 0.33):
        upright(view, (x, z), bar(edge, edge + 0.3, 0.6, 0.8), lamp, CAR, shines=view.light.lamps)
    if towards:
        upright(view, (x, z), bar(-0.45, 0.45, 0.5, 0.72), (40, 42, 46), CAR)
    upright(view, (x, z), bar(-0.24, 0.24, 0.42, 0.54), (226, 222, 196), CAR)


def car_across(view: View, x: float, z: float) -> None:
    """Paint a car seen from its side."""
    body = varied(view, choice(view, _BODIES), 12)
    half, turn = between(view, 1.95, 2.3), choice(view, (-1, 1))
    glass = varied(view, _GLASS, 8)
    cast(view, x, z + 0.6, half_width=half + 0.1, half_depth=0.9, height=0.4)
    hull = [
        (-half, 0.3),
        (half, 0.3),
        (half, 0.72),
        (half - 0.25, 0.84),
        (0.95, 0.95),
        (0.3, 1.5),
        (-1.15, 1.5),
        (-1.75, 0.95),
    ]
    hull += [(-half + 0.05, 0.9)]
    upright(view, (x, z), [(turn * right, up) for right, up in hull], body, CAR)
    upright(view, (x, z), bar(-half, half, 0.3, 0.46), scaled(body, 0.7), CAR)
    for pane in (
        [(-1.5, 0.98), (-0.5, 0.98), (-0.5, 1.4), (-1.08, 1.4)],
        [(-0.38, 0.98), (0.75, 0.98), (0.22, 1.4), (-0.38, 1.4)],
    ):
        upright(view, (x, z), [(turn * right, up) for right, up in pane], glass, CAR)
    for wheel in (-half + 0.75, half - 0.75):
        disc(view, (x + turn * wheel, 0.36, z), 0.37, _TYRE, CAR)
        disc(view, (x + turn * wheel, 0.36, z), 0.18, (150, 150, 152), CAR)
    for end, lamp in ((half - 0.22, (250, 244, 210)), (-half, (206, 36, 34))):
        left, right = sorted((turn * end, turn * (end + 0.22)))
        upright(view, (x, z), bar(left, right, 0.66, 0.8), lamp, CAR, shines=view.light.lamps)


def pedestrian(view: View, x: float, z: float) -> None:
    """Paint somebody who stands or walks."""
    tall = between(view, 0.93, 1.08)
    coat, legs = varied(view, choice(view, _CLOTHES), 16), varied(view, choice(view, _CLOTHES), 16)
    skin, hair = (
        choice(view, _SKINS),
        choice(view, [(40, 30, 26), (96, 64, 36), (190, 160, 100), (130, 128, 126), coat]),
    )
    stride, face = between(view, 0.04, 0.26), choice(view, (-1, 1))

    def part(shape: list[tuple[float, float]], colour: Paint) -> None:
        upright(view, (x, z), [(right * tall * face, up * tall) for right, up in shape], colour, PEDESTRIAN)

    cast(view, x, z, half_width=0.35, half_depth=0.3, height=1.2)
    part([(-0.22, 0.85), (0.05, 0.85), (0.02 - stride, 0), (-0.2 - stride, 0)], scaled(legs, 0.75))
    part([(-0.05, 0.85), (0.22, 0.85), (0.22 + stride, 0), (stride, 0)], legs)
    part(bar(stride, stride + 0.3, 0, 0.09), (34, 30, 30))
    part(bar(-0.2 - stride, 0.08 - stride, 0, 0.09), (34, 30, 30))
    hem = 0.5 if chance(view, 0.35) else 0.78
    part([(-0.27, hem), (0.27, hem), (0.29, 1.36), (0.14, 1.47), (-0.14, 1.47), (-0.29, 1.36)], coat)
    part([(0.06, 1.38), (0.22, 1.38), (0.1 + stride, 0.8), (-0.06 + stride, 0.8)], scaled(coat, 0.78))
    if chance(view, 0.3):
        part(bar(-0.42, -0.2, 0.8, 1.3), varied(view, choice(view, _CLOTHES), 16))
    disc(view, (x, 1.6 * tall, z), 0.16 * tall, hair, PEDESTRIAN)
    disc(view, (x + 0.04 * face, 1.57 * tall, z), 0.12 * tall, skin, PEDESTRIAN)
