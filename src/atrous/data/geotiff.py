"""Georeferenced rasters: where they lie, and which of their pixels hold no data.

A folder whose images or masks are TIFFs with a georeference or with a value for no data is read through the parts below
instead of as plain pictures. One or two headers of the folder decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError
from atrous.data.decoders import file_bytes
from atrous.data.found import Found
from atrous.data.geotiff_tags import Tags, marked_pixels, read_tags
from atrous.data.images import MAX_PIXELS, as_image, one_channel, read_image, read_mask, whole_numbers
from atrous.data.pairs import Pair
from atrous.data.parts import Source
from atrous.data.places import Georeference
from atrous.data.tiff import is_transparency, read_tiff
from atrous.data.wishes import Wishes

_SUFFIXES = (".tif", ".tiff")
_LOOKED_AT = 16  # masks, where the value for no data may be a class
_PEEKED = 1 << 26  # pixels of a mask that are looked at, where its value for no data may be a class


@dataclass(frozen=True)
class Raster:
    """An image in a TIFF that knows where it lies and which of its pixels hold data."""

    path: Path

    @property
    def place(self) -> Georeference | None:
        """The georeference, None where this file has none."""
        return read_tags(self.path).place

    def read(self) -> NDArray[Any]:
        """Return (h, w, c) as `read_image` does, with 0 in every channel where there is no data.

        Values such as -9999 or NaN would otherwise decide the range and the mean that networks are given.
        """
        tags = read_tags(self.path)
        if tags.palette or not _says(tags):
            return read_image(self.path)
        image, valid = _with_validity(self.path, tags)
        return as_image(image if valid.all() else np.where(valid[..., None], image, image.dtype.type(0)))

    def valid(self) -> NDArray[np.bool_] | None:
        """Return (h, w), True where the pixel holds data; None where the file says nothing of it, so all do.

        A page of the file that marks them comes first, then an alpha channel, then the value for no data, which a
        pixel without data has in all channels. A float pixel with a value that is not finite holds none either.
        """
        tags = read_tags(self.path)
        return _with_validity(self.path, tags)[1] if _says(tags) else None


@dataclass(frozen=True)
class RasterMask:
    """A mask in a TIFF that knows where it lies; what stands for no data in this file reads as `ignore`."""

    path: Path
    ignore: int | None = None

    @property
    def place(self) -> Georeference | None:
        """The georeference, None where this file has none."""
        return read_tags(self.path).place

    def read(self) -> NDArray[Any]:
        """Return the mask as `read_mask` does; raises `AtrousError` as it does."""
        nodata = read_tags(self.path).nodata
        if self.ignore is None or nodata is None or nodata == self.ignore:
            return read_mask(self.path)
        mask = one_channel(_stored(self.path), self.path)
        if mask.ndim == 3:
            return mask
        empty = holds_nodata(mask, nodata)
        labels = whole_numbers(np.where(empty, mask.dtype.type(0), mask), self.path)
        if empty.any():
            labels = labels if np.can_cast(np.min_scalar_type(self.ignore), labels.dtype) else labels.astype(np.int32)
            labels = np.where(empty, labels.dtype.type(self.ignore), labels)
        return labels


def _stored(path: Path, *, alpha: bool = False) -> NDArray[Any]:
    return read_tiff(path, file_bytes(path), max_pixels=MAX_PIXELS, colours=False, alpha=alpha)


def holds_nodata(array: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Return where the array holds the value for no data, in the array's own precision."""
    if array.dtype.kind == "f":
        return np.isnan(array) if np.isnan(nodata) else np.asarray(array == np.float64(nodata).astype(array.dtype))
    if not np.isfinite(nodata) or nodata != round(nodata):
        return np.zeros(array.shape, bool)
    return np.asarray(array == int(nodata))


def _says(tags: Tags) -> bool:
    """Say whether some pixels of the file may hold no data."""
    return tags.nodata is not None or tags.alpha or tags.floating or tags.mask_page is not None


def _with_validity(path: Path, tags: Tags) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the pixels (h, w, c) without alpha, indices where there is a palette, and which of them hold data."""
    image = _stored(path, alpha=True)
    image = image if image.ndim == 3 else image[..., None]
    alpha = image[..., -1] if _has_alpha(image, tags) else None
    image = image if alpha is None else image[..., :-1]
    valid = _marked(path, tags, image, alpha)
    if image.dtype.kind == "f":
        valid &= np.isfinite(image).all(axis=2)
    return image, valid


def _marked(path: Path, tags: Tags, image: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[np.bool_]:
    if tags.mask_page is not None:
        return marked_pixels(path, tags.mask_page)
    if alpha is not None:
        return np.asarray(alpha != 0)
    if tags.nodata is None:
        return np.ones(image.shape[:2], bool)
    return np.asarray(~holds_nodata(image, tags.nodata).all(axis=2))


def _has_alpha(image: NDArray[Any], tags: Tags) -> bool:
    return tags.alpha and image.shape[2] > 1 and (tags.place is None or is_transparency(image[..., -1]))


def georeferenced(found: Found) -> Found:
    """Return what was found with every raster among its TIFFs taken for one.

    The first and the last TIFF of images and of masks are looked at. What stands for no data in the masks is ignored,
    unless the layout tells that it is a class; nor where masks all over the folder hold but one other value, since GIS
    programs like to call the background of a mask its value for no data: a note says so.
    """
    pairs = [pair for matched in found.splits.values() for pair in matched.pairs]
    images = _probed([pair.image for pair in pairs])
    masks = _probed([pair.mask for pair in pairs if pair.mask is not None])
    wrap_images = any(tags.place is not None or tags.nodata is not None for tags in images.values())
    wrap_masks = any(
        (tags.place is not None or tags.nodata is not None) and not tags.palette for tags in masks.values()
    )
    if wrap_masks:
        files = [pair.mask for pair in pairs if isinstance(pair.mask, Path) and _is_tiff(pair.mask)]
        ignore, notes = _ignored(masks, _spread(files), found.told)
        told = replace(found.told, ignore=ignore) if found.told.ignore is None else found.told
        found = replace(found, told=told, notes=found.notes + notes)
        found = _with(found, lambda pair: replace(pair, mask=_as(pair.mask, lambda path: RasterMask(path, ignore))))
    return _with(found, lambda pair: replace(pair, image=_as(pair.image, Raster))) if wrap_images else found


def _is_tiff(source: Source | None) -> bool:
    return isinstance(source, Path) and source.suffix.lower() in _SUFFIXES


def _as(source: Any, part: Callable[[Path], Any]) -> Any:
    return part(source) if _is_tiff(source) else source


def _with(found: Found, change: Callable[[Pair], Pair]) -> Found:
    splits = {
        name: replace(matched, pairs=tuple(change(pair) for pair in matched.pairs))
        for name, matched in found.splits.items()
    }
    return replace(found, splits=splits)


def _probed(sources: list[Source]) -> Mapping[Path, Tags]:
    """Return the tags of the first and the last TIFF; those that are damaged are left for whoever reads them."""
    paths = [source for source in sources if isinstance(source, Path) and _is_tiff(source)]
    tags = {}
    for path in dict.fromkeys([*paths[:1], *paths[-1:]]):
        try:
            tags[path] = read_tags(path)
        except AtrousError:
            continue
    return tags


def _spread(paths: Sequence[Path]) -> list[Path]:
    """Return a few of the files, evenly spread."""
    count = min(len(paths), _LOOKED_AT)
    return [paths[index * (len(paths) - 1) // max(count - 1, 1)] for index in range(count)]


def _ignored(masks: Mapping[Path, Tags], some: Sequence[Path], told: Wishes) -> tuple[int | None, tuple[str, ...]]:
    """Return the number that stands for no data in all masks, None for no such number, and what is to be noted."""
    nodata = next((tags.nodata for tags in masks.values() if tags.nodata is not None), None)
    if nodata is None:
        return None, ()
    whole = np.isfinite(nodata) and nodata == round(nodata) and abs(nodata) < 2**31
    if not whole:
        return _told_number(told, IGNORE), ()
    number = int(nodata)
    if told.values is not None and number in told.values:
        return None, (f"The masks' value for no data, {number}, is one of the classes, and is read as that.",)
    if told.values is None and _is_background(some, number):
        return None, (
            f"The masks' value for no data, {number}, is taken for a class, since the {len(some):,} masks that were "
            f"looked at hold only one other value. If nothing is known of those pixels, say --ignore {number}.",
        )
    note = f"The masks' value for no data, {number}, is ignored. If it is a class, list it in classes.json."
    return _told_number(told, number), (note,) if 0 <= number < IGNORE else ()


def _told_number(told: Wishes, otherwise: int) -> int:
    return told.ignore if isinstance(told.ignore, int) else otherwise


def _is_background(masks: Sequence[Path], nodata: int) -> bool:
    """Say whether masks hold one value at most beside that for no data, which some pixels have."""
    values: set[int] = set()
    for path in masks:
        try:
            mask = read_mask(path, max_pixels=_PEEKED)
        except AtrousError:
            return False
        values |= set(np.unique(mask).tolist()) if mask.ndim == 2 else set()
    return nodata in values and len(values - {nodata}) <= 1
