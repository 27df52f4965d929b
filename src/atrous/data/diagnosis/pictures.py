"""Masks that are pictures: hundreds of levels, and hardly two neighbours alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.found import Problem
from atrous.data.images import is_jpeg, read_image

if TYPE_CHECKING:
    from atrous.data.diagnosis.looks import Look

_LEVELS = 64
_FLAT = 0.5
_FLAT_JPEG = 0.3  # a mask of small shapes in colours that became a JPEG comes down to 0.35
_FEW = 32
_MOSTLY = 0.5
_EXTREME = 0.25
_MOST = 1_000_000


@dataclass(frozen=True)
class Texture:
    """How many `levels` one channel has, and the share of pixels that equal the one beside them.

    `extreme` is the share of black and white, which a map of probabilities has much of and a picture little. `copy` is
    said of a mask that holds the very pixels of its image.
    """

    levels: int
    flat: float
    extreme: float = 0.0
    copy: bool = False

    @property
    def picture(self) -> bool:
        """Whether this is a photo or another picture rather than a map of labels."""
        return self.copy or (self.levels > _LEVELS and self.flat < _FLAT and self.extreme < _EXTREME)

    @property
    def label_map(self) -> bool:
        """Whether this could be a map of labels."""
        return self.levels <= _FEW and self.flat > 0.85


def texture(channel: NDArray[Any]) -> Texture:
    """Return the texture of (h, w), of more than a million pixels that of every second row or so.

    >>> texture(np.zeros((4, 4), np.uint8))
    Texture(levels=1, flat=1.0, extreme=1.0, copy=False)
    """
    channel = channel[:: max(1, channel.size // _MOST)]
    extreme = float(((channel == 0) | (channel == 255)).mean())
    levels = np.count_nonzero(np.bincount(channel.ravel())) if channel.dtype == np.uint8 else len(np.unique(channel))
    flat = float((channel[:, 1:] == channel[:, :-1]).mean()) if channel.shape[1] > 1 else 1.0
    return Texture(int(levels), flat, extreme)


def same_picture(image: NDArray[Any], mask: NDArray[Any]) -> bool:
    """Say whether a mask (h, w) or (h, w, 3) is the image (h, w, c) itself."""
    channels = mask.reshape(*mask.shape[:2], -1)
    return np.array_equal(channels, image if channels.shape[2] == image.shape[2] else image[..., :1])


def picture_in_disguise(path: Path) -> Problem | None:
    """Return the problem of a mask that is a JPEG, if it is a photo rather than a damaged mask."""
    if not is_jpeg(path):
        return None
    try:
        seen = texture(read_image(path)[..., 0])
    except AtrousError:
        return None
    return Problem("mask-is-image", path, _told(seen)) if seen.picture and seen.flat < _FLAT_JPEG else None


def picture_problems(looks: Sequence[Look]) -> list[Problem]:
    """Return a problem for each mask that is a picture; it says so where images and masks are swapped."""
    problems = []
    for look in looks:
        if look.census is not None and look.mask_texture is not None and look.mask_texture.picture:
            problems.append(look.about("mask-is-image", _told(look.mask_texture)))
        problems += [each for each in look.problems if each.kind == "mask-is-image"]
    maps = sum(1 for look in looks if look.texture is not None and look.texture.label_map)
    masked = sum(1 for look in looks if look.pair.mask is not None)
    if masked and len(problems) > _MOSTLY * masked and maps > _MOSTLY * len(looks):
        swapped = "the images look like masks: the folders of images and masks seem to be swapped"
        problems = [replace(each, detail=f"{each.detail}; {swapped}") for each in problems]
    return problems


def _told(seen: Texture) -> str:
    if seen.copy:
        return "it holds the very pixels of its image"
    return f"{seen.levels:,} values, and only {seen.flat:.0%} of the pixels equal the one beside them, as in a picture"
