"""What may happen to a crop, and how likely it is: the ranges that are drawn from, and three presets of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from atrous.contract import Recipe

_CROPS = ("middle", "anywhere", "balanced", "foreground")
_CHANCES = "flip vertical_flip foreground_share noise_chance blur_chance jpeg_chance mosaic copy_paste"
_RANGES = (
    (_CHANCES, 1.0, "a chance from 0 to 1"),
    ("rotation", 180.0, "an angle from 0 to 180 degrees"),
    ("shear", 60.0, "an angle from 0 to 60 degrees"),
    # From a quarter on the plane's horizon could come into the crop.
    ("perspective", 0.2, "a share from 0 to 0.2"),
    ("elastic blur", 1000.0, "a standard deviation from 0 to 1000 pixels"),
    ("brightness contrast saturation", 1.0, "a relative change from 0 to 1"),
    ("hue", 0.5, "a turn from 0 to half a circle"),
    ("gamma", 3.0, "a change of the exponent's logarithm from 0 to 3"),
    ("noise", 1.0, "a standard deviation from 0 to 1, as a share of the range,"),
    ("jpeg", 100, "a quality from 0 to 100"),
)
"""Names of fields, their largest value, and what is said of another one."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The ranges that a crop's changes are drawn from; what is 0 does not happen. The defaults are `LIGHT`.

    Geometry: `scale` is the smallest and largest zoom, even in its logarithm; `flip` and `vertical_flip` are chances;
    `rotation` and `shear` are the largest angles in degrees, to either side; `perspective` is by how much sizes differ
    at most between the middle of the crop and the middle of a side, as a share; `elastic` is the standard deviation, in
    pixels of the crop, of the displacements at 3 x 3 points of it, bicubic between them (U-Net: 10).

    Crops: in the `"middle"`, `"anywhere"`, about a pixel of a class that is drawn among those in the image
    (`"balanced"`; with `class_weights` in proportion to them, one per class), or `"foreground"`: with the chance
    `foreground_share` about a pixel of a class other than 0 (nnU-Net: a third), else anywhere.

    Colour: `brightness`, `contrast` and `saturation` are the largest relative changes; `hue` the largest turn in
    circles; `gamma` the largest change of the exponent's logarithm. `noise` is the largest standard deviation as a
    share of the range, `blur` the largest in pixels, `jpeg` the lowest quality, each with its chance.

    `mosaic` is the chance that a crop is made of four samples, `copy_paste` that another sample's objects are put in.

    Raises `ValueError`, naming the field, for a value outside its range.

    >>> Augmentation(rotation=20).scale
    (0.5, 2.0)
    """

    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    vertical_flip: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    perspective: float = 0.0
    elastic: float = 0.0
    crops: Literal["middle", "anywhere", "balanced", "foreground"] = "anywhere"
    class_weights: tuple[float, ...] = ()
    foreground_share: float = 1 / 3
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    gamma: float = 0.0
    noise: float = 0.0
    noise_chance: float = 0.3
    blur: float = 0.0
    blur_chance: float = 0.2
    jpeg: int = 100
    jpeg_chance: float = 0.2
    mosaic: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale {self.scale} is (smallest, largest), above 0")
        if self.crops not in _CROPS:
            raise ValueError(f"crops {self.crops!r} is not known; there are {', '.join(_CROPS)}")
        if not all(0 <= weight < math.inf for weight in self.class_weights):
            raise ValueError(f"class_weights {self.class_weights} are 0 or more, one per class")
        for names, limit, words in _RANGES:
            for name in names.split():
                if not 0 <= getattr(self, name) <= limit:
                    raise ValueError(f"{name} {getattr(self, name)} came; {words} is accepted")


LIGHT = Augmentation()
"""Zoom by one half to two, flips left to right, and small changes of colour."""

NONE = replace(LIGHT, scale=(1.0, 1.0), flip=0.0, crops="middle", brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
"""The middle of the image as it is."""

FLIP = replace(LIGHT, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
"""What the DeepLab papers do: zoom, flips left to right, and no changes of colour."""

STRONG = replace(
    LIGHT,
    rotation=15.0,
    shear=5.0,
    perspective=0.05,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.05,
    gamma=0.4,
    noise=0.05,
    blur=1.5,
    jpeg=40,
)
"""For few images: also rotation, shear, perspective, gamma, noise, blur and JPEG's traces."""

PRESETS = {"none": NONE, "flip": FLIP, "light": LIGHT, "strong": STRONG}
"""What `--augment` chooses from."""


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Return the preset that the recipe names, with the recipe's own scale, crops, elastic and mixing.

    `augment="none"` does not scale, and takes the middle where the recipe does not ask for other crops.
    """
    preset = PRESETS[recipe.augment]
    return replace(
        preset,
        scale=preset.scale if recipe.augment == "none" else recipe.scale,
        crops=preset.crops if recipe.crops == "anywhere" else recipe.crops,
        elastic=recipe.elastic,
        mosaic=recipe.mosaic,
        copy_paste=recipe.copy_paste,
    )
