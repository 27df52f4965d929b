"""One pair of files as a sample: the image as stored and the labels 0..n-1, 255 for ignore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace, Sample
from atrous.data.census import unpacked
from atrous.data.images import mask_orientation, packed
from atrous.data.pairs import Pair
from atrous.data.parts import Source, image_pixels, mask_pixels, path_of
from atrous.data.places import Georeference
from atrous.data.spaces import label_outside


def read_sample(pair: Pair, space: LabelSpace, *, instances: bool = True) -> Sample:
    """Return the image as stored, its labels (None without a mask) and, where the mask tells objects apart, these.

    Without `instances` they are left out, which saves drawing shapes a second time; the rest is the same.

    A mask that lies as the camera's sensor did, while its image was turned by EXIF, is turned alike. Where a part says
    by `valid() -> (h, w) bool` which pixels of the image hold data, the others are ignored.

    Raises `AtrousError` for files that cannot be read, sizes that differ, georeferences that differ by half a pixel or
    more, and labels outside `space`.

    >>> import tempfile
    >>> from atrous.data import write_image
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> write_image(path, np.eye(4, dtype=np.uint8))
    >>> read_sample(Pair("a", path, path), LabelSpace(names=("off", "on"))).labels[0].tolist()
    [1, 0, 0, 0]
    """
    image, path = image_pixels(pair.image), path_of(pair.image)
    place = getattr(pair.image, "place", None)
    if pair.mask is None:
        return Sample(image=image, path=path, place=place)
    mask = laid_mask(pair.image, pair.mask, image.shape[:2], colours=space.encoding == "colours")
    refuse_sizes(pair, image.shape[:2], mask.shape[:2])
    refuse_places(pair, image.shape[:2])
    labels = _without_data(decode(mask, space, path_of(pair.mask)), pair)
    objects = _instances(pair, mask, space) if instances else None
    return Sample(image=image, labels=labels, instances=objects, path=path, place=place)


def laid_mask(image: Source, mask: Source, size: tuple[int, ...], *, colours: bool = False) -> NDArray[Any]:
    """Return the mask as stored, laid as its image of this size (height, width).

    Where its sides are exchanged, and the image was turned by EXIF, it lies as the camera's sensor did and is turned
    alike. Raises `AtrousError` as `mask_pixels` does.
    """
    stored = mask_pixels(mask, colours=colours)
    if stored.shape[:2] != tuple(size) == stored.shape[1::-1] and isinstance(image, Path):
        orientation = mask_orientation(image)
        if orientation >= 5:
            return mask_pixels(mask, colours=colours, orientation=orientation)
    return stored


def _instances(pair: Pair, mask: NDArray[Any], space: LabelSpace) -> NDArray[np.int32] | None:
    if space.encoding == "instances":
        return object_numbers(mask)
    drawn = getattr(pair.mask, "instances", None)
    return None if drawn is None else drawn()


def refuse_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Raise `AtrousError`, naming both files, when the sizes (height, width) differ."""
    if image != mask and pair.mask is not None:
        raise AtrousError(
            f"{path_of(pair.mask)}: the mask is {mask[0]} x {mask[1]} (height x width) and its image "
            f"{path_of(pair.image)} is {image[0]} x {image[1]}. "
            "Make them equal: resize the mask with nearest neighbour, or check the pairing.",
            kind="size-differs",
        )


def place_difference(pair: Pair, size: tuple[int, ...]) -> str:
    """Say in figures where the mask lies instead of where its image does; "" where it does, or one does not tell."""
    image, mask = getattr(pair.image, "place", None), getattr(pair.mask, "place", None)
    if not isinstance(image, Georeference) or not isinstance(mask, Georeference):
        return ""
    return image.difference(mask, size[0], size[1])


def refuse_places(pair: Pair, size: tuple[int, ...]) -> None:
    """Raise `AtrousError`, with the figures, when image and mask both know where they lie and it is not the same."""
    different = place_difference(pair, size)
    if different and pair.mask is not None:
        raise AtrousError(
            f"{path_of(pair.mask)}: the mask lies elsewhere than its image {path_of(pair.image)}: {different}. "
            "Check the pairing, or warp the mask onto the image's grid with nearest neighbour.",
            kind="place-differs",
        )


def _without_data(labels: NDArray[np.uint8], pair: Pair) -> NDArray[np.uint8]:
    """Return the labels with those of image pixels that hold no data ignored."""
    drawn = getattr(pair.image, "valid", None)
    valid = None if drawn is None else drawn()
    return labels if valid is None else np.where(valid, labels, np.uint8(IGNORE))


def decode(mask: NDArray[Any], space: LabelSpace, path: Path) -> NDArray[np.uint8]:
    """Return labels (h, w), 0..n-1 and 255 for ignore, of a mask as `read_mask` gives it.

    Raises `AtrousError`, with the label and its count, for a value that is neither a class nor ignore.

    >>> decode(np.array([[0, 9]]), LabelSpace(names=("off", "on"), values=(0, 9)), Path("m.png")).tolist()
    [[0, 1]]
    """
    if space.encoding == "instances":
        numbers = object_numbers(mask)
        labels = (numbers != 0).astype(np.uint8)
        if isinstance(space.ignore, int):
            labels[numbers == space.ignore] = IGNORE
        return labels
    if space.encoding == "colours":
        return _decode_colours(mask, space, path)
    if mask.ndim == 3:
        raise AtrousError(f"{path}: a colour mask came, and the classes are indices. Try --labels colours.")
    return _decode_indices(mask, space, path)


def object_numbers(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Return (h, w) object numbers; of a colour mask each colour is one, black 0."""
    return packed(mask) if mask.ndim == 3 else mask.astype(np.int32)


def _decode_indices(mask: NDArray[Any], space: LabelSpace, path: Path) -> NDArray[np.uint8]:
    values = [int(value) for value in space.values if isinstance(value, int)]
    ignore = space.ignore if isinstance(space.ignore, int) else None
    if len(values) < len(space):
        raise AtrousError(f"{path}: indices came, and the classes are colours. Give their numbers as values.")
    if mask.dtype == np.uint8 or (mask.min() >= 0 and mask.max() < 65536):
        table = np.full(256 if mask.dtype == np.uint8 else 65536, -1, np.int16)
        known = [(index, value) for index, value in enumerate(values) if 0 <= value < len(table)]
        if ignore is not None and 0 <= ignore < len(table):
            table[ignore] = IGNORE
        table[[value for _, value in known]] = [index for index, _ in known]
        labels = table[mask]
    else:
        labels = _looked_up(mask, values, ignore)
    if labels.min() < 0:
        outside = mask[labels < 0]
        first = int(outside.min())
        raise label_outside(path, first, int((outside == first).sum()), sorted(values), ignore)
    return labels.astype(np.uint8)


def _looked_up(mask: NDArray[Any], values: list[int], ignore: int | None) -> NDArray[np.int16]:
    labels = np.full(mask.shape, -1, np.int16)
    if ignore is not None:
        labels[mask == ignore] = IGNORE
    order = np.argsort(values)
    ordered = np.asarray(values)[order]
    place = np.minimum(np.searchsorted(ordered, mask), len(ordered) - 1)
    hit = ordered[place] == mask
    labels[hit] = order[place[hit]]
    return labels


def _decode_colours(mask: NDArray[Any], space: LabelSpace, path: Path) -> NDArray[np.uint8]:
    numbers = packed(mask) if mask.ndim == 3 else mask.astype(np.int32) * 0x010101
    values = [int(packed(np.asarray(value))) for value in space.values]
    ignore = None if space.ignore is None else int(packed(np.broadcast_to(np.asarray(space.ignore), 3)))
    labels = _looked_up(numbers, values, ignore)
    if labels.min() < 0:
        found, counts = np.unique(numbers[labels < 0], return_counts=True)
        red, green, blue = unpacked(int(found[0]))
        raise AtrousError(
            f"{path}: colour ({red}, {green}, {blue}) is none of the {len(space)} classes and not ignore. "
            f"{int(counts[0]):,} pixels have it, {len(found):,} such colours came. "
            "If the mask was smoothed or saved with loss, make it again without; if not, add the class."
        )
    return labels.astype(np.uint8)
