"""The poles of the synthetic street: lamps, traffic lights and signs, each with its post."""

from __future__ import annotations

from atrous.data.street_view import (
    FINE,
    POLE,
    Paint,
    View,
    bar,
    between,
    cast,
    choice,
    disc,
    scaled,
    upright,
    varied,
)


def pole(view: View, x: float, z: float) -> None:
    """Paint a street lamp, a traffic light or a sign on its post, never thinner than can be learnt."""
    metal = varied(view, choice(view, [(70, 74, 78), (120, 124, 128), (150, 150, 146), (56, 70, 62)]), 10)
    # Below about four pixels in a picture of 120 rows the outline outweighs the inside.
    pixels = 2.1 if view.busy else 3.2
    half = max(0.15, pixels * z / view.focal * view.canvas.shape[0] / FINE / 120)
    kind = choice(view, ("lamp", "light", "sign", "sign"))
    height = {"lamp": between(view, 4.2, 5.2), "light": between(view, 2.4, 3.0), "sign": between(view, 2.1, 2.6)}[kind]
    cast(view, x, z, half_width=half, half_depth=0.2, height=1.5)
    upright(view, (x, z), bar(-half, half, 0, height), metal, POLE)
    upright(view, (x, z), bar(-half, -half * 0.2, 0, height), scaled(metal, 1.25), POLE)
    upright(view, (x, z), bar(-half * 1.5, half * 1.5, 0, 0.35), scaled(metal, 0.75), POLE)
    if kind == "lamp":
        _lamp(view, (x, z), height, half, arm=1.5 if x < view.across else -1.5, metal=metal)
    elif kind == "light":
        _traffic_light(view, (x, z), height, half)
    else:
        _sign(view, (x, z), height, half)


def _lamp(view: View, place: tuple[float, float], height: float, half: float, *, arm: float, metal: Paint) -> None:
    """Paint an arm that reaches `arm` metres to the right, over the road, and the lamp beneath its end."""
    left, right = min(-half, arm) if arm < 0 else -half, half if arm < 0 else arm
    upright(view, place, bar(left, right, height - 1.4 * half, height + 0.6 * half), metal, POLE)
    left, right = sorted((arm * 0.53, arm * 1.07))
    glass = bar(left, right, height - 2.6 * half, height - 0.6 * half)
    upright(view, place, glass, (255, 240, 190), POLE, shines=view.light.lamps)


def _traffic_light(view: View, place: tuple[float, float], height: float, half: float) -> None:
    wide = max(half * 1.7, 0.24)
    upright(view, place, bar(-wide, wide, height - 0.3, height + 1.0), (36, 38, 40), POLE)
    on = int(view.generator.integers(3))
    for number, colour in enumerate(((230, 50, 40), (240, 180, 40), (60, 210, 100))):
        shown = colour if number == on else scaled(colour, 0.3)
        disc(view, (place[0], height + 0.75 - 0.4 * number, place[1]), 0.15, shown, POLE, shines=number == on)


def _sign(view: View, place: tuple[float, float], height: float, half: float) -> None:
    (x, z), size = place, max(0.42, half * 2.2)
    rim, inside = choice(
        view, [((190, 40, 40), (236, 234, 228)), ((40, 80, 160), (60, 104, 190)), ((236, 234, 228), (36, 72, 150))]
    )
    shape = choice(view, ("round", "round", "square", "triangle"))
    for scale, colour in ((1.0, rim), (0.68, inside)):
        reach = size * scale
        if shape == "round":
            disc(view, (x, height, z), reach, colour, POLE)
        elif shape == "square":
            upright(view, place, bar(-reach, reach, height - reach, height + reach), colour, POLE)
        else:
            low, top = height - 0.7 * reach, height + 1.2 * reach
            upright(view, place, [(-1.1 * reach, low), (1.1 * reach, low), (0, top)], colour, POLE)
