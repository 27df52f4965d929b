"""Synthetic street scenes with an exact label for every pixel, and the folder of files that holds them.

They need no download and no licence, and a small network learns them in minutes. Colours of the classes overlap on
purpose (grey houses, grey road, grey cars; green cars, green trees), so that shape, texture and place must be learnt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data.cells import cell_image, cell_space, checked, mottle
from atrous.data.street_poles import pole
from atrous.data.street_things import car_across, car_along, pedestrian, tree
from atrous.data.street_view import FINE, HOURS, PAVEMENT, ROAD, SKY, Light, View, between, chance, choice
from atrous.data.street_walls import lay_ground, raise_hedge, raise_row, raise_side
from atrous.data.writers import atomic, write_image, write_mask

__all__ = ["street_scene", "street_space", "write_scenes"]

Thing = tuple[float, Callable[[], None]]

# Per class, in the order of the space: how strong the grain of one pixel and the mottle of several pixels are.
_GRAIN = np.array([1, 5, 7, 5, 12, 2, 4, 3], dtype=np.float32)
_MOTTLE = np.array([0, 5, 7, 7, 16, 3, 3, 2], dtype=np.float32)


class _Plan(NamedTuple):
    road: float  # from the middle of the road to the kerb
    front: float  # and to the houses
    end: float  # distance of the houses that close the street


def street_space() -> LabelSpace:
    """Return the eight classes of `street_scene`, with colours in the manner of CamVid.

    >>> street_space().names[:3]
    ('sky', 'building', 'road')
    """
    classes = {
        "sky": (112, 170, 220),
        "building": (140, 60, 56),
        "road": (128, 64, 128),
        "pavement": (70, 80, 200),
        "tree": (112, 146, 44),
        "car": (244, 166, 44),
        "pedestrian": (230, 44, 96),
        "pole": (206, 206, 150),
    }
    return LabelSpace(names=tuple(classes), colours=tuple(classes.values()))


def street_scene(seed: int, *, size: tuple[int, int] = (120, 160), busy: bool = True) -> Sample:
    """Return a street as a driver or a walker sees it; the same seed gives the same pixels.

    `image` is (h, w, 3) uint8, smooth at its edges; `labels` (h, w) uint8 holds the class at each pixel's centre, of
    `street_space`, never 255. Any size of at least 1 x 1 will do: a larger one shows the same street in more detail,
    under its own noise. Where the street is not `busy` it is day, and what there is stands near and seldom behind
    something else: a small network learns that in minutes.

    Raises `ValueError` for a size below 1 x 1 or a negative seed.

    >>> scene = street_scene(7, size=(60, 80))
    >>> scene.image.shape, int(scene.labels.max()) < len(street_space())
    ((60, 80, 3), True)
    """
    height, width = checked(seed, size)
    view = _camera(np.random.default_rng([seed, 1]), height, width, busy=busy)
    _build(view)
    labels = np.ascontiguousarray(view.canvas[FINE // 2 :: FINE, FINE // 2 :: FINE, 3])
    image = cv2.resize(view.canvas, (width, height), interpolation=cv2.INTER_AREA)[:, :, :3]
    return Sample(image=_develop(view, image.astype(np.float32), labels), labels=labels)


def write_scenes(
    root: str | Path,
    *,
    train: int,
    val: int,
    size: tuple[int, int],
    seed: int = 0,
    kind: Literal["street", "quiet street", "cells"] = "street",
) -> Path:
    """Write a folder that any trainer reads: images, index masks with a palette, and `classes.json`; return `root`.

    Files are `images/train/0000.png` and so on, `masks/train/...`, the same for `val`, and no scene is in both.
    `classes.json`, written last, holds `names`, `colours`, `values` and `ignore`. Scenes of `seed` and `seed + 1`
    overlap but for one; take seeds at least `train + val` apart for folders that share none.

    Raises `ValueError` for counts below 0, no scene at all or an unknown kind, and `AtrousError` when `root` is a file
    or holds something, or the disk refuses.

    >>> import tempfile
    >>> folder = write_scenes(Path(tempfile.mkdtemp()) / "street", train=2, val=1, size=(24, 32))
    >>> sorted(path.name for path in folder.glob("*/train/*"))
    ['0000.png', '0000.png', '0001.png', '0001.png']
    """
    root = Path(root)
    makers: dict[str, tuple[Callable[..., Sample], LabelSpace]] = {
        "street": (street_scene, street_space()),
        "quiet street": (partial(street_scene, busy=False), street_space()),
        "cells": (cell_image, cell_space()),
    }
    if kind not in makers:
        raise ValueError(f"kind {kind!r} came; it is 'street', 'quiet street' or 'cells'")
    if train < 0 or val < 0 or train + val == 0:
        raise ValueError(f"train {train} and val {val} came; both are 0 or more, and one of them above 0")
    checked(seed, size)
    _refuse_occupied(root)
    make, space = makers[kind]
    for index in range(train + val):
        split, number = ("train", index) if index < train else ("val", index - train)
        scene = make(seed + index, size=size)
        write_image(root / "images" / split / f"{number:04d}.png", scene.image)
        write_mask(root / "masks" / split / f"{number:04d}.png", np.asarray(scene.labels), space)
    fields = {"names": space.names, "colours": space.colours, "values": space.values, "ignore": space.ignore}
    with atomic(root / "classes.json") as temporary:
        temporary.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    return root


def _refuse_occupied(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise AtrousError(f"{root}: this is a file; scenes are written into a new or empty folder. Name another one.")
    held = sorted(path.name for path in root.iterdir()) if root.exists() else []
    if held:
        more = f" and {len(held) - 3} more" if len(held) > 3 else ""
        raise AtrousError(
            f"{root}: the folder is not empty (it holds {', '.join(held[:3])}{more}), and scenes are written only into "
            "a new or empty one. Name another folder, or empty this one."
        )


def _camera(generator: np.random.Generator, height: int, width: int, *, busy: bool) -> View:
    hours = list(HOURS.values())
    shares = [0.34, 0.24, 0.18, 0.14, 0.1] if busy else [0.4, 0.3, 0.3, 0, 0]  # a quiet street has no evening or night
    hour = hours[int(generator.choice(len(hours), p=shares))]
    light = Light(**{**vars(hour), "side": 1 if generator.random() < 0.5 else -1})
    draw = generator.random(5)
    return View(
        canvas=np.empty((height * FINE, width * FINE, 4), dtype=np.uint8),
        generator=generator,
        light=light,
        focal=height * (0.8 + 0.18 * float(draw[0])),
        horizon=height * (0.4 + 0.13 * float(draw[1])),
        vanishing=width * (0.32 + 0.36 * float(draw[2])),
        across=-1.4 + 2.8 * float(draw[3]),
        eye=1.5 + 0.6 * float(draw[4]),
        busy=busy,
    )


def _build(view: View) -> None:
    """Paint the street from the sky forwards; what is nearer covers what is farther."""
    _hang_sky(view)
    road = between(view, 2.7, 3.6)
    end = between(view, 15, 24) if chance(view, 0.45) or not view.busy else between(view, 24, 42)
    plan = _Plan(road, road + between(view, 2.0, 3.2), end)
    lay_ground(view, road=plan.road, end=plan.end)
    raise_row(view, end=plan.end)
    things: list[Thing] = []
    for side in (-1, 1):
        green = chance(view, 0.28)
        if green:
            raise_hedge(view, side, front=plan.front, end=plan.end - 9.5)
        else:
            raise_side(view, side, front=plan.front, end=plan.end - 9.5)
        things += _trees(view, plan, side, green)
        things += _poles(view, plan, side)
    cars = list(_cars(view, plan))
    things += [(z, draw) for _, z, draw in cars]
    things += _people(view, plan, [(x, z) for x, z, _ in cars])
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw()


def _hang_sky(view: View) -> None:
    rows = np.arange(view.canvas.shape[0]) / (view.horizon * FINE)
    down = np.minimum(rows, 1.0)[:, None, None]
    top, bottom = np.array(view.light.top), np.array(view.light.bottom)
    column = np.full((view.canvas.shape[0], 1, 4), SKY, dtype=np.uint8)
    column[..., :3] = (top + (bottom - top) * down).astype(np.uint8)
    view.canvas[:] = column


def _trees(view: View, plan: _Plan, side: int, green: bool) -> Iterator[Thing]:
    z = between(view, 6, 10)
    while z < min(plan.end - 9, 26 if view.busy else 14):
        if chance(view, 0.85 if green else 0.4):
            x = side * (plan.front + between(view, 0.8, 2.0) if green else plan.road + between(view, 0.8, 1.3))
            yield z, partial(tree, view, x, z)
        z += between(view, 3.5, 5.5) if green else between(view, 5, 8)


def _poles(view: View, plan: _Plan, side: int) -> Iterator[Thing]:
    for near in (5.0, 9.5) if view.busy else (5.0,):
        x, z = side * (plan.road + between(view, 0.35, 0.6)), between(view, near, near + 3)
        column = view.vanishing + view.focal * (x - view.across) / z
        if chance(view, 0.62 if view.busy else 0.9) and 3 < column < view.canvas.shape[1] / FINE - 3:
            yield z, partial(pole, view, x, z)


def _cars(view: View, plan: _Plan) -> Iterator[tuple[float, float, Callable[[], None]]]:
    for side in (-1, 1):
        parked = chance(view, 0.55)
        x, z = side * (plan.road - 1.05 if parked else plan.road / 2), between(view, 4.5, 10 if view.busy else 7.5)
        while z < (min(plan.end - 13, 19) if view.busy else 8):
            if chance(view, 0.75 if parked or not view.busy else 0.5):
                towards = side < 0 if chance(view, 0.85) else side > 0
                yield x, z, partial(car_along, view, x, z, towards=towards)
            z += between(view, 5.2, 6.5) if parked else between(view, 7, 12)
    if plan.end < 26 and view.busy:
        x = view.across + between(view, -12, -4)
        for _ in range(3):
            z = plan.end - choice(view, (4.6, 7.2))
            if chance(view, 0.6):
                yield x, z, partial(car_across, view, x, z)
            x += between(view, 5.5, 9)


def _people(view: View, plan: _Plan, cars: list[tuple[float, float]]) -> Iterator[Thing]:
    width = view.canvas.shape[1] / FINE
    most, farthest, apart = (6, 8.8, 0.0) if view.busy else (4, 5.6, 1.2)
    taken: list[float] = []
    for _ in range(int(view.generator.integers(2, most))):
        z = between(view, 4.6 if view.busy else 3.8, farthest)
        x = view.across + (between(view, 0.05, 0.95) * width - view.vanishing) * z / view.focal
        x = min(max(x, 0.4 - plan.front), plan.front - 0.4)
        clear = all(abs(x - there) > 1.35 or not from_ - 0.6 < z < from_ + 5 for there, from_ in cars)
        if clear and all(abs(x - other) >= apart for other in taken):
            taken.append(x)
            yield z, partial(pedestrian, view, x, z)


def _develop(view: View, image: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add clouds, texture, shadows on the ground, and what a camera adds: glow, blur, noise."""
    height, width = labels.shape
    generator = view.generator
    sky = (labels == SKY)[..., None]
    banks = (
        mottle(generator, labels.shape, max(height // 5, 2)) * 0.7
        + mottle(generator, labels.shape, max(height // 14, 1)) * 0.3
    )
    cover = np.clip((banks + 0.35 * view.light.cloudiness - 0.1) * 2.2, 0, 0.85)[..., None] * sky
    image += (np.array(view.light.cloud, dtype=np.float32) - image) * cover
    texture = generator.integers(-100, 101, (height, width)).astype(np.float32) / 100 * _GRAIN[labels]
    texture += mottle(generator, labels.shape, 4) * 2 * _MOTTLE[labels]
    image *= 1 + texture[..., None] / 115
    image *= 1 - view.light.shadow * _shade(view, labels)[..., None]
    gain = 0.9 + 0.22 * generator.random(3) * 0.5 + 0.1 * float(generator.random())
    image *= gain.astype(np.float32)
    strength = int(generator.integers(2, 7))
    blurred = np.clip(image, 0, 255).astype(np.uint8)
    if generator.random() < 0.3:
        blurred = np.asarray(cv2.GaussianBlur(blurred, (3, 3), 0.5), dtype=np.uint8)
    noise = generator.integers(-strength, strength + 1, (height, width, 3), dtype=np.int16)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def _shade(view: View, labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    mask = np.zeros(labels.shape, dtype=np.uint8)
    for polygon in view.shadows:
        cv2.fillPoly(mask, [polygon // FINE], 255)
    soft = cv2.GaussianBlur(mask, (3, 3), 0.8).astype(np.float32) / 255
    return soft * ((labels == ROAD) | (labels == PAVEMENT))
