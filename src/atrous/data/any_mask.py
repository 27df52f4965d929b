"""A mask of any origin, which alone says what its classes are; and the way back into its own form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

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
from atrous.data.transparency import Transparency, transparency
from atrous.data.writers import atomic, write_image

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pnm")
"""The suffixes of formats that keep labels as they are, each of some forms."""

Form = Literal["numbers", "deep numbers", "palette", "one bit", "colours"]

_TIFF = (".tif", ".tiff")
_FORMATS: dict[Form, tuple[str, ...]] = {
    "numbers": (".png", *_TIFF, ".bmp", ".pgm", ".pnm"),
    "deep numbers": (".png", *_TIFF, ".pgm", ".pnm"),
    "palette": (".png", *_TIFF, ".bmp", ".gif"),
    "one bit": (".png", *_TIFF, ".bmp", ".pnm"),
    "colours": (".png", *_TIFF, ".bmp", ".ppm", ".pnm"),
}
_MOST_COLOURS = 64
_MOST_VALUES = 254


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyMask:
    """`labels` (h, w) uint8, 0..n-1 and 255 for ignore, and how the file had them.

    `values` has, in order, the number or colour of each class, `ignore` that of ignored pixels. `palette` holds RGB
    triples, one after the other; the numbers of a mask of one bit are 0 and 255. `stored` (h, w) or (h, w, 3) is the
    file's array, which ignored pixels keep; without it they are written as `ignore`. What was `transparent` is ignored.
    """

    labels: NDArray[np.uint8]
    values: tuple[int | Colour, ...]
    form: Form
    ignore: int | Colour | None = None
    palette: tuple[int, ...] | None = None
    stored: NDArray[Any] | None = None
    transparent: Transparency | None = None

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

    def check_format(self, path: Path) -> None:
        """Raise `ValueError` where the format of the suffix cannot hold this form of mask, or its transparency."""
        formats = _FORMATS[self.form]
        if self.transparent is not None:
            formats = tuple(suffix for suffix in formats if self.transparent.fits(suffix))
        if path.suffix.lower() not in formats:
            clear = "" if self.transparent is None else " with transparent pixels"
            raise ValueError(
                f"{path}: this is a mask of {self.form}{clear}, which {path.suffix} does not hold; name it .png, or "
                f"another of {', '.join(formats)}"
            )

    def write(self, path: str | Path, labels: NDArray[np.uint8]) -> None:
        """Write labels in the form of this mask, whole or not at all; the suffix decides the format.

        Raises `ValueError` for a format that does not hold the form, `AtrousError` where the disk refuses.
        """
        path = Path(path)
        check_lossless(path)
        self.check_format(path)
        array = self._as_stored(labels)
        if path.suffix.lower() in _TIFF and array.dtype not in (np.uint8, np.uint16):
            write_image(path, array)
            return
        image = Image.fromarray(array if array.dtype == np.uint8 else array.astype(np.uint16))
        if self.palette is not None:
            image.putpalette(bytes(self.palette))
        if self.form == "one bit":
            image = image.convert("1", dither=Image.Dither.NONE)
        options: dict[str, Any] = {"optimize": False} if path.suffix.lower() == ".gif" else {}  # it renumbers
        if self.transparent is not None:
            options |= self.transparent.put(image, open_pixels=labels == IGNORE)
        with atomic(path) as temporary:
            image.save(temporary, **options)

    def _as_stored(self, labels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return labels as the file's values: (h, w) numbers, or (h, w, 3) colours."""
        values = np.array(self.values, np.int64)
        table = np.zeros((256, *values.shape[1:]), np.int64)
        table[: len(values)] = values
        table[IGNORE] = 0 if self.ignore is None else self.ignore
        dtype = np.dtype(np.uint8) if self.stored is None or self.stored.dtype.itemsize == 1 else self.stored.dtype
        array = table.astype(dtype)[labels]
        if self.stored is not None:
            void = labels == IGNORE
            array[void] = self.stored[void]
        if self.form == "colours" and array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
        return np.ascontiguousarray(array)


def check_lossless(path: Path) -> None:
    """Raise `ValueError` for the suffix of a format that changes labels, or of none."""
    if path.suffix.lower() not in LOSSLESS:
        raise ValueError(f"{path}: a mask is written without loss; name it .png, or another of {', '.join(LOSSLESS)}")


def read_any_mask(
    path: str | Path, *, image: Path | None = None, size: tuple[int, ...] | None = None, ignore: Any = None
) -> AnyMask:
    """Return a mask of indices, of a palette's, of grey levels or of colours, whose classes are the values in it.

    `ignore`, a number, or a colour of the mask or its palette, is no class; without it that is 255 in masks of numbers,
    unless 0 and 255 are all there is and there is no palette; and pixels that are wholly transparent are ignored too.
    `image` and its `size`, where given, must match; a mask that lies as the camera's sensor did is turned with its
    image.

    Raises `AtrousError` for a file that cannot be read, another size, grey levels that fade, more than 254 values or 64
    colours, negative ones, transparency that could not be written again, an `ignore` that the mask cannot hold, and for
    a mask in which everything is ignored; `ValueError` for an `ignore` that is no number 0..65,535 and no colour.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mask.png"
    >>> Image.fromarray(np.uint8([[7, 7, 255]])).save(path)
    >>> mask = read_any_mask(path)
    >>> mask.labels.tolist(), mask.values
    ([[0, 0, 255]], (7,))
    """
    path = Path(path)
    ignore = _checked_ignore(ignore)
    array = read_mask(path)
    turn = None
    if image is not None and size is not None:
        if array.shape[:2] != size == array.shape[1::-1] and (orientation := mask_orientation(image)) >= 5:
            turn = orientation
            array = read_mask(path, orientation=turn)
        refuse_sizes(Pair(path.stem, image, path), size, array.shape[:2])
    form, palette, transparent = _form(path, array, turn)
    coloured = array.ndim == 3
    clear = None if transparent is None else transparent.where(array)
    pixels = count_values(array if clear is None else array[~clear][None], path).pixels
    void = _void(path, pixels, ignore, array=array, palette=palette)
    kept = {value: count for value, count in pixels.items() if value != void}
    _check(path, kept, coloured=coloured, palette=palette is not None)
    numbers = packed(array) if coloured else array
    values = np.array(sorted(kept))
    labels = np.searchsorted(values, numbers).astype(np.uint8)
    if void is not None:
        labels[numbers == void] = IGNORE
    if clear is not None:
        labels[clear] = IGNORE
    return AnyMask(
        labels=labels,
        values=tuple(unpacked(value) if coloured else value for value in values.tolist()),
        form=form,
        ignore=unpacked(void) if coloured and void is not None else void,
        palette=palette,
        stored=array,
        transparent=transparent,
    )


def _form(
    path: Path, array: NDArray[Any], turn: int | None
) -> tuple[Form, tuple[int, ...] | None, Transparency | None]:
    """Return the form of a file, its palette, None where it has none, and what is transparent in it."""
    plain: Form = "deep numbers" if array.dtype.itemsize > 1 else "colours" if array.ndim == 3 else "numbers"
    try:
        with Image.open(BytesIO(path.read_bytes())) as image:
            transparent = transparency(path, image, array, turn)
            palette = image.getpalette("RGB") if image.mode == "P" else None
            if palette is not None:
                return "palette", tuple(palette), transparent
            if plain == "numbers" and image.mode in ("RGB", "RGBA"):
                return "colours", None, transparent
            return "one bit" if image.mode == "1" else plain, None, transparent
    except decoders.DAMAGED:
        return plain, None, None  # tifffile reads more than Pillow, and none of that has a palette


def _checked_ignore(ignore: Any) -> int | Colour | None:
    """Return a number 0..65,535, a colour or None; raises `ValueError` for anything else."""
    if ignore is None:
        return None
    parts = tuple(ignore) if isinstance(ignore, Sequence | np.ndarray) and not isinstance(ignore, str) else (ignore,)
    most = 65_535 if len(parts) == 1 else 255
    whole = all(isinstance(part, Integral) and not isinstance(part, bool) for part in parts)
    if len(parts) not in (1, 3) or not whole or not all(0 <= part <= most for part in parts):
        raise ValueError(f"ignore {ignore!r}: a number 0..65535 or a colour of three 0..255 is accepted")
    numbers = tuple(int(part) for part in parts)
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _void(
    path: Path,
    pixels: dict[int, int],
    ignore: int | Colour | None,
    *,
    array: NDArray[Any],
    palette: tuple[int, ...] | None,
) -> int | None:
    """Return the value that is no class, packed where masks are coloured, and None where there is none."""
    coloured = array.ndim == 3
    if ignore is None:
        binary = set(pixels) == {0, IGNORE} and palette is None
        return None if coloured or binary or IGNORE not in pixels else IGNORE
    if isinstance(ignore, int):
        if ignore > 255 and array.dtype.itemsize == 1:
            raise AtrousError(f"{path}: the ignore value {ignore} came, and this mask holds 0 to 255. Check --ignore.")
        return ignore * 0x010101 if coloured else ignore
    if coloured:
        return int(packed(np.array(ignore, np.uint8)))
    if palette is not None:
        return next((value for value in sorted(pixels) if palette[3 * value : 3 * value + 3] == ignore), None)
    if len(set(ignore)) > 1:
        raise AtrousError(f"{path}: the ignore colour {ignore} came, and the mask holds numbers. Give one number.")
    return ignore[0]


def _check(path: Path, pixels: dict[int, int], *, coloured: bool, palette: bool) -> None:
    if not pixels:
        raise AtrousError(
            f"{path}: every pixel has the ignore value or is transparent, so there is no class. Check --ignore."
        )
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
