"""One look at one pair: both files are read once, and little is kept of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.census import MaskCensus, count_values
from atrous.data.diagnosis import copies, pictures, regions, smoothing, turning
from atrous.data.found import Problem
from atrous.data.images import is_image_name, is_mask_name, mask_orientation, packed
from atrous.data.pairs import Pair
from atrous.data.parts import Source, image_pixels, mask_pixels, path_of
from atrous.data.samples import laid_mask, place_difference

_LEVELS = 64  # a mask of more values is examined for being a picture, or smoothed


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a pair told; `size` is (height, width), None where the image could not be read.

    `exif` is how the image was turned when it was read, 1 for not at all; `grey` that all its channels are one.
    `digest` and `thumbnail` stand for the image, `mask_digest` for the mask, `agreement` for how well the image's edges
    fit the mask in 8 orientations, `areas` for the regions of each value. `texture` and `mask_texture` say what the
    pixels look like, a picture or a map. All problems of the two files themselves are in `problems`.
    """

    pair: Pair
    split: str
    size: tuple[int, int] | None = None
    channels: int = 0
    dtype: str = ""
    exif: int = 1
    grey: bool = False
    digest: bytes | None = None
    thumbnail: bytes | None = None
    mask_digest: bytes | None = None
    texture: pictures.Texture | None = None
    census: MaskCensus | None = None
    mask_texture: pictures.Texture | None = None
    borders: smoothing.Borders = field(default_factory=smoothing.Borders)
    agreement: tuple[float, ...] = ()
    thin_zero: bool = False
    areas: dict[int, NDArray[np.int32]] | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def image_path(self) -> Path:
        """The file of the image."""
        return path_of(self.pair.image)

    @property
    def mask_path(self) -> Path | None:
        """The file of the mask, None where there is none."""
        return None if self.pair.mask is None else path_of(self.pair.mask)

    @property
    def subject(self) -> Path:
        """The file to name where the mask is meant: its own, or the image's where a file holds masks of many images."""
        if isinstance(self.pair.mask, Path) or not is_image_name(self.image_path.name):
            return self.mask_path or self.image_path
        own = self.mask_path is not None and is_mask_name(self.mask_path.name)
        return self.mask_path if own and self.mask_path is not None else self.image_path

    @property
    def spoilt(self) -> bool:
        """Whether the mask is a picture, or was smoothed, so that its values are no classes."""
        if self.census is None:
            return False
        lossy = not self.census.wide and smoothing.saved_with_loss(self.borders, self.census.pixels)
        return lossy or self.borders.smoothed or (self.mask_texture is not None and self.mask_texture.picture)

    def about(self, kind: str, detail: str) -> Problem:
        """Return a problem of the mask; of a volume, which has one file for many, with the name of the slice."""
        where = "" if self.pair.group is None else f"{self.pair.name.rsplit('/', 1)[-1]}: "
        return Problem(kind, self.subject, where + detail, self.pair.name)


def look_at(pair: Pair, split: str, *, colours: bool = False, count_regions: bool = False) -> Look:
    """Return what a pair looks like; with `colours` a palette counts as its colours. Never raises `AtrousError`."""
    path = path_of(pair.image)
    try:
        image = image_pixels(pair.image)
        exif = mask_orientation(path) if path.suffix.lower() in (".jpg", ".jpeg") else 1
    except AtrousError as error:
        return Look(pair, split, problems=(problem(error, path), *_mask_alone(pair, path)))
    look = Look(
        pair,
        split,
        size=(image.shape[0], image.shape[1]),
        channels=image.shape[2],
        dtype=str(image.dtype),
        exif=exif,
        grey=copies.is_grey(image),
        digest=copies.digest(image),
        thumbnail=copies.thumbnail(image),
        texture=pictures.texture(image[..., 0]),
    )
    if pair.mask is None:
        return look
    return _with_mask(look, image, pair.mask, colours=colours, count_regions=count_regions)


def problem(error: AtrousError, path: Path) -> Problem:
    """Return the problem that an error tells of a file, without the file's name in front."""
    return Problem(error.kind or "unreadable-file", path, str(error).removeprefix(f"{path}: "))


def _mask_alone(pair: Pair, image: Path) -> tuple[Problem, ...]:
    """Return what is wrong with the mask of an image that cannot be read itself."""
    if pair.mask is None or path_of(pair.mask) == image:
        return ()
    try:
        mask_pixels(pair.mask)
    except AtrousError as error:
        return (problem(error, path_of(pair.mask)),)
    return ()


def _with_mask(look: Look, image: NDArray[Any], source: Source, *, colours: bool, count_regions: bool) -> Look:
    path = path_of(source)
    try:
        mask = laid_mask(look.pair.image, source, look.size or (0, 0), colours=colours)
    except AtrousError as error:
        return replace(look, problems=(pictures.picture_in_disguise(path) or problem(error, path),))
    census = count_values(mask, path)
    look = replace(look, census=census, mask_digest=copies.hashed(mask))
    look = replace(look, problems=_size_problem(look, census) or _place_problem(look, path))
    if len(census.pixels) > _LEVELS:
        seen = pictures.texture(mask if mask.ndim == 2 else packed(mask))
        look = replace(look, mask_texture=replace(seen, copy=pictures.same_picture(image, mask)))
        if look.mask_texture is not None and look.mask_texture.picture:
            return look
    return replace(
        look,
        borders=smoothing.borders(mask) if len(census.pixels) >= 4 else smoothing.Borders(),
        agreement=turning.agreement(image, mask),
        thin_zero=_thin_zero(mask, census),
        areas=regions.region_areas(packed(mask) if mask.ndim == 3 else mask, census.pixels) if count_regions else None,
    )


def _size_problem(look: Look, census: MaskCensus) -> tuple[Problem, ...]:
    if look.size is None or census.size == look.size:
        return ()
    height, width = look.size
    detail = f"the mask is {census.size[0]} x {census.size[1]} (height x width) and its image {height} x {width}"
    kind = "axes-swapped" if census.size == (width, height) else "size-differs"
    return (Problem(kind, census.path, detail),)


def _place_problem(look: Look, path: Path) -> tuple[Problem, ...]:
    different = "" if look.size is None else place_difference(look.pair, look.size)
    return (
        (Problem("place-differs", path, f"the mask lies elsewhere than its image: {different}"),) if different else ()
    )


def _thin_zero(mask: NDArray[Any], census: MaskCensus) -> bool:
    """Say whether 255 is most of the mask, 0 nothing but lines and others more, as if the two had changed places."""
    import cv2

    total = sum(census.pixels.values())
    if census.coloured or census.pixels.get(255, 0) < 0.5 * total or not 0 < census.pixels.get(0, 0) < 0.2 * total:
        return False
    square = np.ones((5, 5), np.uint8)
    thick = {value: bool(cv2.erode((mask == value).astype(np.uint8), square).any()) for value in census.pixels}
    others = [is_thick for value, is_thick in thick.items() if value not in (0, 255)]
    return not thick[0] and 2 * sum(others) > len(others)
