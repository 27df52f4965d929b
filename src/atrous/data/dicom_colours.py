"""Colours as DICOM keeps them: CIELab in three numbers of 16 bits, with the white of sRGB (D65), as common tools do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atrous.contract import Colour

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
_KNEE = 6 / 29
_LOWEST, _RANGE = np.array([0.0, -128.0, -128.0]), np.array([100.0, 255.0, 255.0])


def rgb_of(lab: Sequence[int]) -> Colour | None:
    """Return the RGB colour of three numbers of 0 to 65535, None for what is none; colours outside RGB are cut off.

    >>> rgb_of((41661, 41167, 40792))
    (221, 130, 101)
    """
    if len(lab) != 3 or min(lab) < 0 or max(lab) > 65535:
        return None
    lightness, a, b = np.asarray(lab) / 65535 * _RANGE + _LOWEST
    middle = (lightness + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    linear = np.linalg.solve(_TO_XYZ, np.where(roots > _KNEE, roots**3, 3 * _KNEE**2 * (roots - 4 / 29)) * _WHITE)
    bent = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055, 12.92 * linear)
    red, green, blue = (int(value) for value in np.rint(np.clip(bent, 0, 1) * 255))
    return red, green, blue


def lab_of(colour: Colour) -> tuple[int, int, int]:
    """Return the three numbers of an RGB colour, so that `rgb_of` gives it back.

    >>> rgb_of(lab_of((12, 200, 255)))
    (12, 200, 255)
    """
    bent = np.asarray(colour) / 255
    linear: NDArray[np.float64] = np.where(bent > 0.04045, ((bent + 0.055) / 1.055) ** 2.4, bent / 12.92)
    ratio = _TO_XYZ @ linear / _WHITE
    roots = np.where(ratio > _KNEE**3, np.cbrt(ratio), ratio / (3 * _KNEE**2) + 4 / 29)
    lab = np.array([116 * roots[1] - 16, 500 * (roots[0] - roots[1]), 200 * (roots[1] - roots[2])])
    first, second, third = (int(value) for value in np.rint((lab - _LOWEST) / _RANGE * 65535).clip(0, 65535))
    return first, second, third
