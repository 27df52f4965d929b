"""A mask of any origin, which alone says what its classes are; and the way back into its own form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import IGNORE, AtrousError, Colour, Encoding, LabelSpace
from atrous.data import decoders
from atrous.data.census import count_values, unpacked
from atrous.data.images import mask_orientation, packed, read_mask
from atrous.data.pairs import Pair
from atrous.data.samples import refuse_sizes
from atrous.data.spaces import looks_soft
from atrous.data.writers import atomic

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pnm")
"""The suffixes of formats that keep labels as they are."""

_MOST_COLOURS = 64
_MOST_VALUES = 254


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyMask:
    """`labels` (h, w) uint8, 0..n-1 and 255 for ignore, and how the file had them.

    `values` has, in order, the number or colour of each class, `ignore` that of ignored pixels. `palette` holds RGB
    triples, one after the other; a mask with one bit per pixel is `bilevel`, and its values are 0 and 255.
    """

    labels: NDArray[np.uint8]
    values: tuple[int | Colour, ...]
    ignore: int | Colour | None = None
    palette: tuple[int, ...] | None = None
    bilevel: bool = False

    @property
    def space(self) -> LabelSpace:
        """The classes, named by their values; in the colours of the palette or of the mask."""
        names = tuple(str(value) if isinstance(value, int) else ",".join(map(str, value)) for value in self.values)
        coloured = isinstance(self.values[0], tuple)
        colours = tuple(self._colour(value) for value in self.values) if coloured or self.palette is not None else ()
        encoding: Encoding = "colours" if coloured else "indices"
        return LabelSpace(names=names, colours=colours, values=self.values, ignore=self.ignore, encoding=encoding)

    def _colour(self, value: int | Colour) -> Colour:
        if isinstance(value, tuple):
            return value
        red, green, blue = (*(self.palette or ())[3 * value : 3 * value + 3], 0, 0, 0)[:3]
        return red, green, blue

    def write(self, path: str | Path, labels: NDArray[np.uint8]) -> None:
        """Write labels in the form of this mask, whole or not at all; the suffix decides the format.

        Raises `ValueError` for a format with loss, `AtrousError` where the disk refuses.
        """
        path = Path(path)
        check_lossless(path)
        image = Image.fromarray(np.ascontiguousarray(self._stored(labels)))
        if self.palette is not None:
            image.putpalette(bytes(self.palette))
        if self.bilevel:
            image = image.convert("1", dither=Image.Dither.NONE)
        with atomic(path) as temporary:
            image.save(temporary)

    def _stored(self, labels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return labels as the file's values: (h, w) numbers, or (h, w, 3) colours."""
        values = np.array(self.values, np.int64)
        table = np.zeros((256, *values.shape[1:]), np.int64)
        table[: len(values)] = values
        table[IGNORE] = IGNORE if self.ignore is None else self.ignore
        return table.astype(np.uint8 if table.max() <= 255 else np.uint16)[labels]


def check_lossless(path: Path) -> None:
    """Raise `ValueError` for the suffix of a format that changes labels, or of none."""
    if path.suffix.lower() not in LOSSLESS:
        raise ValueError(f"{path}: a mask is written without loss; name it .png, or another of {', '.join(LOSSLESS)}")


def read_any_mask(
    path: str | Path, *, image: Path | None = None, size: tuple[int, ...] | None = None, ignore: Any = None
) -> AnyMask:
    """Return a mask of indices, of a palette's, of grey levels or of colours, whose classes are the values in it.

    `ignore`, a number, or a colour of the mask or its palette, is no class; without it that is 255 in masks of numbers,
    unless 0 and 255 are all there is and there is no palette. `image` and its `size`, where given, must match; a mask
    that lies as the camera's sensor did is turned with its image.

    Raises `AtrousError` for a file that cannot be read, another size, grey levels that fade, more than 254 values or 64
    colours, negative ones, and for a mask in which everything is ignored.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mask.png"
    >>> Image.fromarray(np.uint8([[7, 7, 255]])).save(path)
    >>> mask = read_any_mask(path)
    >>> mask.labels.tolist(), mask.values
    ([[0, 0, 255]], (7,))
    """
    path = Path(path)
    array = read_mask(path)
    if image is not None and size is not None:
        if array.shape[:2] != size == array.shape[1::-1] and (orientation := mask_orientation(image)) >= 5:
            array = read_mask(path, orientation=orientation)
        refuse_sizes(Pair(path.stem, image, path), size, array.shape[:2])
    palette, bilevel = _form(path)
    pixels = count_values(array, path).pixels
    coloured = array.ndim == 3
    void = _void(path, pixels, ignore, coloured=coloured, palette=palette)
    kept = {value: count for value, count in pixels.items() if value != void}
    _check(path, kept, coloured=coloured, palette=palette is not None)
    numbers = packed(array) if coloured else array
    values = np.array(sorted(kept))
    labels = np.searchsorted(values, numbers).astype(np.uint8)
    if void is not None:
        labels[numbers == void] = IGNORE
    return AnyMask(
        labels=labels,
        values=tuple(unpacked(value) if coloured else value for value in values.tolist()),
        ignore=unpacked(void) if coloured and void is not None else void,
        palette=palette,
        bilevel=bilevel,
    )


def _form(path: Path) -> tuple[tuple[int, ...] | None, bool]:
    """Return the palette of a file, None where it has none, and whether it has one bit per pixel."""
    try:
        with Image.open(BytesIO(path.read_bytes())) as image:
            palette = image.getpalette("RGB") if image.mode == "P" else None
            return None if palette is None else tuple(palette), image.mode == "1"
    except decoders.DAMAGED:
        return None, False  # tifffile reads more than Pillow, and none of that has a palette


def _void(
    path: Path, pixels: dict[int, int], ignore: Any, *, coloured: bool, palette: tuple[int, ...] | None
) -> int | None:
    """Return the value that is no class, packed where masks are coloured, and None where there is none."""
    if ignore is None:
        binary = set(pixels) == {0, IGNORE} and palette is None
        return None if coloured or binary or IGNORE not in pixels else IGNORE
    if isinstance(ignore, int):
        return ignore * 0x010101 if coloured else ignore
    if coloured:
        return int(packed(np.array(ignore, np.uint8)))
    if palette is not None:
        return next((value for value in sorted(pixels) if palette[3 * value : 3 * value + 3] == tuple(ignore)), None)
    if len(set(ignore)) > 1:
        raise AtrousError(f"{path}: the ignore colour {ignore} came, and the mask holds numbers. Give one number.")
    return int(ignore[0])


def _check(path: Path, pixels: dict[int, int], *, coloured: bool, palette: bool) -> None:
    if not pixels:
        raise AtrousError(f"{path}: every pixel has the ignore value, so there is no class. Check --ignore.")
    if min(pixels) < 0 or (max(pixels) > 65_535 and not coloured):
        raise AtrousError(f"{path}: values from {min(pixels):,} to {max(pixels):,} came; 0 to 65,535 are accepted.")
    if not coloured and not palette and looks_soft(Counter(pixels)):
        raise AtrousError(
            f"{path}: {len(pixels):,} grey levels came that fade from 0 to 255, as in a soft mask. Round them at one "
            "half and save 0 and 255, or give probabilities as .npz."
        )
    most = _MOST_COLOURS if coloured else _MOST_VALUES
    if len(pixels) > most:
        raise AtrousError(
            f"{path}: {len(pixels):,} {'colours' if coloured else 'values'} came, and up to {most} are refined. "
            "Was the mask smoothed, or saved with loss? Make it again without."
        )
