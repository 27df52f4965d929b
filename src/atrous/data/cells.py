"""Synthetic microscopy: nuclei that touch, under fluorescence or in bright field, with every object numbered."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace, Sample

__all__ = ["cell_image", "cell_space"]

# Odd, so that the centre of a pixel is the centre of one fine pixel and needs no rounding.
_FINE = 3
_TURN = np.arange(40) * (2 * np.pi / 40)


class _Nucleus(NamedTuple):
    row: float
    column: float
    radius: float


def cell_space() -> LabelSpace:
    """Return the two classes of `cell_image`.

    >>> cell_space().names
    ('background', 'nucleus')
    """
    return LabelSpace(names=("background", "nucleus"), colours=((24, 26, 40), (70, 190, 230)))


def cell_image(seed: int, *, size: tuple[int, int] = (128, 128)) -> Sample:
    """Return nuclei of varied size and brightness, many of them touching; the same seed gives the same pixels.

    `image` is (h, w, 3) uint8, two in three fluorescent and the others in bright field; `labels` (h, w) uint8 holds 0
    or 1 at each pixel's centre, and `instances` (h, w) int32 numbers the nuclei 1..n with 0 where there is none. Any
    size of at least 1 x 1 will do; nuclei are as large in proportion, and a picture of few pixels may hold none.

    Raises `ValueError` for a size below 1 x 1 or a negative seed.

    >>> image = cell_image(3, size=(64, 64))
    >>> bool(((image.instances > 0) == (image.labels == 1)).all())
    True
    """
    height, width = checked(seed, size)
    generator = np.random.default_rng([seed, 2])
    nuclei = _settle(generator, height, width)
    glow, number = _stain(generator, nuclei, height, width)
    instances = _renumbered(number[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE])
    labels = (instances > 0).astype(np.uint8)
    brightness = np.asarray(cv2.resize(glow, (width, height), interpolation=cv2.INTER_AREA), np.float32) / np.float32(
        255
    )
    draw = _fluorescent if generator.random() < 0.65 else _bright_field
    return Sample(image=draw(generator, brightness, labels), labels=labels, instances=instances)


def checked(seed: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) as integers; raises `ValueError` for a side below 1 or a negative seed."""
    if seed < 0:
        raise ValueError(f"seed {seed} came; it must be 0 or more")
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise ValueError(f"size {tuple(size)} came; it is (height, width), each at least 1")
    return height, width


def mottle(generator: np.random.Generator, shape: tuple[int, int], cell: int) -> NDArray[np.float32]:
    """Return smooth noise (h, w) from -0.5 to 0.5 with blobs of about `cell` pixels."""
    height, width = shape
    seeds = generator.integers(0, 256, (height // cell + 2, width // cell + 2), dtype=np.uint8)
    # The exact interpolation is the one that OpenCV promises to be equal to the bit on every machine.
    smooth = cv2.resize(seeds, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(smooth, dtype=np.float32) / np.float32(255) - np.float32(0.5)


def _settle(generator: np.random.Generator, height: int, width: int) -> list[_Nucleus]:
    """Place nuclei one by one, half of them against one that is there; those that would overlap much are dropped."""
    unit = (height * width) ** 0.5 / 128
    smallest = 5.0 + 3.0 * float(generator.random())
    nuclei: list[_Nucleus] = []
    for _ in range(int(generator.integers(20, 60))):
        draw = [float(value) for value in generator.random(4)]
        radius = unit * smallest * (1 + 0.8 * draw[0])
        row, column = draw[1] * height, draw[2] * width
        if nuclei and draw[3] < 0.55:
            beside = nuclei[int(generator.integers(len(nuclei)))]
            angle = 2 * np.pi * draw[1]
            away = (beside.radius + radius) * 0.95
            row, column = beside.row + away * np.sin(angle), beside.column + away * np.cos(angle)
        room = all(
            (row - other.row) ** 2 + (column - other.column) ** 2 >= (0.9 * (radius + other.radius)) ** 2
            for other in nuclei
        )
        if room:
            nuclei.append(_Nucleus(row, column, radius))
    return nuclei


def _stain(
    generator: np.random.Generator, nuclei: list[_Nucleus], height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return brightness and object numbers on the fine grid, filled from the same outlines."""
    glow = np.zeros((height * _FINE, width * _FINE), dtype=np.uint8)
    number = np.zeros(glow.shape, dtype=np.int32)
    for index, nucleus in enumerate(nuclei, start=1):
        draw = [float(value) for value in generator.random(5)]
        reach = 1 + 0.16 * draw[0] * np.cos(2 * (_TURN - 6.28 * draw[1])) + 0.05 * np.cos(3 * _TURN + 6.28 * draw[2])
        right, down = nucleus.radius * reach * np.cos(_TURN), nucleus.radius * reach * np.sin(_TURN)
        bright = 90 + 140 * draw[3]
        for inward, part in ((1.0, 0.72), (0.86, 0.86), (0.68, 0.95), (0.45, 1.0)):
            points = np.stack([nucleus.column + inward * right, nucleus.row + inward * down], axis=1)
            polygon = np.floor(points * _FINE).astype(np.int32)
            cv2.fillPoly(glow, [polygon], int(bright * part))
            if inward == 1.0:
                cv2.fillPoly(number, [polygon], index)
    return glow, number


def _renumbered(number: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the numbers without gaps: a nucleus that fell between pixels or outside the picture leaves none."""
    present = np.zeros(int(number.max()) + 1, dtype=np.int32)
    present[np.unique(number[number > 0])] = 1
    return (np.cumsum(present, dtype=np.int32) * present)[number]


def _fluorescent(
    generator: np.random.Generator, brightness: NDArray[np.float32], labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    shape = labels.shape
    chromatin = 1 + (mottle(generator, shape, 3) * 0.4 + mottle(generator, shape, 7) * 0.3) * labels
    haze = 0.05 + 0.05 * float(generator.random()) + mottle(generator, shape, max(min(shape) // 3, 1)) * 0.08
    # Out-of-focus debris is as bright as a faint nucleus but has neither edge nor texture.
    debris = np.clip(mottle(generator, shape, 9) - 0.32, 0, 1) * 1.2
    light = brightness * chromatin + haze + debris
    dyes = np.array([(1, 1, 1), (0.35, 0.55, 1.1), (0.4, 1.05, 0.5)], dtype=np.float32)
    dye = dyes[int(generator.integers(len(dyes)))]
    return _recorded(generator, np.clip(light, 0, 1)[..., None] * 235 * dye, grain=10)


def _bright_field(
    generator: np.random.Generator, brightness: NDArray[np.float32], labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    shape = labels.shape
    tissue = 1 + mottle(generator, shape, 5) * 0.16 + mottle(generator, shape, max(min(shape) // 4, 1)) * 0.2
    pinks = np.array([(236, 196, 214), (226, 206, 222), (240, 214, 206)], dtype=np.float32)
    background = tissue[..., None] * pinks[int(generator.integers(len(pinks)))]
    chromatin = 1 + (mottle(generator, shape, 2) * 0.3 + mottle(generator, shape, 5) * 0.3) * labels
    density = np.clip((brightness * 0.55 + (brightness > 0.05) * 0.3) * chromatin, 0, 0.92)[..., None]
    dye = np.array([84, 52, 128], dtype=np.float32)
    return _recorded(generator, background + (dye - background) * density, grain=7)


def _recorded(generator: np.random.Generator, image: NDArray[np.float32], *, grain: int) -> NDArray[np.uint8]:
    """Return what the microscope's camera stores: slightly blurred, noisy bytes."""
    soft = cv2.GaussianBlur(np.clip(image, 0, 255).astype(np.uint8), (3, 3), 0.7)
    noise = generator.integers(-grain, grain + 1, image.shape, dtype=np.int16)
    return np.clip(soft + noise, 0, 255).astype(np.uint8)
