"""Masks as run lengths: COCO's counts, COCO's string of them, and the brush strokes of Label Studio.

COCO counts the pixels column by column, first those that are off, then those that are on, and so on; a mask whose first
pixel is on begins with a count of 0. The string holds each count in characters of six bits, five of the number and one
that says whether more follow, lowest first, beginning at `0`; from the fourth count on it holds the difference to the
count before the last. Label Studio packs the bytes of an RGBA picture, row by row, and its alpha is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.images import MAX_PIXELS

_MOST_CHARACTERS = 12  # of one count: 60 bits, so that no number overflows 64
_BRUSH_HEADER = 32 + 5 + 4 * 4  # bits: how many bytes, bits of a byte less 1, bits of four kinds of lengths less 1


def decode(counts: Sequence[int] | NDArray[Any] | str | bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of COCO's counts, or of the string of them.

    Raises `AtrousError` for counts that are no whole numbers, are negative or do not add up to h * w, for characters
    that are none of the string's, for a string that ends within a count, and for a size that is none.

    >>> decode([1, 2, 1], (2, 2)).tolist()
    [[False, True], [True, False]]
    """
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise _broken(f"a mask of {height:,} x {width:,} pixels (height x width) came; 1 to {MAX_PIXELS:,} are read")
    runs = counts_of_string(counts) if isinstance(counts, (str, bytes)) else _whole_numbers(counts)
    if runs.size and int(runs.min()) < 0:
        raise _broken(f"a count of {int(runs.min()):,} came, and counts are 0 or more")
    # A sum of floats cannot overflow, which that of numbers from a damaged file might.
    if float(runs.sum(dtype=np.float64)) != height * width:
        total = int(runs.sum(dtype=np.float64))
        raise _broken(f"the counts add up to {total:,}, and {height} x {width} pixels are {height * width:,}")
    on = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(on, runs).reshape(width, height).T)


def encode(mask: NDArray[Any]) -> NDArray[np.int64]:
    """Return COCO's counts of a mask (h, w).

    >>> encode(np.array([[0, 1], [1, 0]])).tolist()
    [1, 2, 1]
    """
    pixels = np.asarray(mask).astype(bool).T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first = [0] if pixels.size and pixels[0] else []
    return np.diff(np.concatenate([[0], first, changes, [pixels.size]])).astype(np.int64)


def counts_of_string(text: str | bytes) -> NDArray[np.int64]:
    """Return the counts that COCO's string holds; raises `AtrousError` as `decode` does.

    >>> counts_of_string("121").tolist()
    [1, 2, 1]
    """
    try:
        characters = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, np.uint8).astype(np.int64)
    except UnicodeEncodeError as error:
        raise _broken(f"the character {error.object[error.start]!r} is none of the string's") from None
    if not characters.size:
        raise _broken("the string is empty")
    outside = (characters < 48) | (characters > 48 + 63)
    if outside.any():
        raise _broken(f"the character {chr(int(characters[outside.argmax()]))!r} is none of the string's")
    return _undone(_numbers(characters - 48))


def _numbers(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the signed numbers that codes of six bits spell, lowest five bits first."""
    ends = np.flatnonzero(codes < 32)
    if not ends.size or ends[-1] != len(codes) - 1:
        raise _broken("the string ends within a count: it was cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if int(lengths.max()) > _MOST_CHARACTERS:
        raise _broken(f"a count of {int(lengths.max())} characters came, which no mask is large enough for")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    return values - np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)


def _undone(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts from differences: of the odd and the even ones apart, the very first standing alone."""
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def string_of_counts(counts: Sequence[int] | NDArray[Any]) -> str:
    """Return COCO's string of counts.

    >>> string_of_counts([1, 2, 1])
    '121'
    """
    numbers = _whole_numbers(counts)
    rest = numbers.copy()
    rest[3:] -= numbers[1:-2]
    codes, used = [], []
    more = np.ones(len(rest), bool)
    while more.any():
        used.append(more)
        code = rest & 31
        rest = rest >> 5
        more = more & np.where(code & 16, rest != -1, rest != 0)
        codes.append(code + 32 * more + 48)
    if not codes:
        return ""
    return np.stack(codes, 1)[np.stack(used, 1)].astype(np.uint8).tobytes().decode("ascii")


def _whole_numbers(counts: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    try:
        numbers = np.asarray(counts)
    except (ValueError, OverflowError):
        numbers = np.empty(1, object)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise _broken("the counts are no list of whole numbers")
    return numbers.astype(np.int64)


def decode_brush(data: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of Label Studio's brush: the pixels whose alpha is not 0.

    Raises `AtrousError` for a stream that ends early, or that holds another number of bytes than h * w * 4.
    """
    height, width = size
    count, word, lengths = _brush_header(data)
    if height < 1 or width < 1 or count != height * width * 4:
        raise _broken(f"the brush holds {count:,} bytes, and {height} x {width} pixels have {height * width * 4:,}")
    if count > MAX_PIXELS * 4:
        raise _broken(f"a mask of {height:,} x {width:,} pixels came, and {MAX_PIXELS:,} are read")
    values = np.zeros(count, np.uint8)
    position, filled = _BRUSH_HEADER, 0
    while filled < count:
        repeated, kind = _bits(data, position, 1), _bits(data, position + 1, 2)
        length = _bits(data, position + 3, lengths[kind]) + 1
        position += 3 + lengths[kind]
        words = _words(data, position, 1 if repeated else length, word)
        values[filled : filled + length] = words[: count - filled]
        position += len(words) * word
        filled += length
    if filled != count:
        raise _broken("its last run passes the end of the picture")
    return values.reshape(height, width, 4)[..., 3] > 0


def _brush_header(data: bytes) -> tuple[int, int, list[int]]:
    """Return how many bytes the brush holds, the bits of each, and the bits of the four kinds of lengths."""
    sizes = [_bits(data, 37 + 4 * kind, 4) + 1 for kind in range(4)]
    return _bits(data, 0, 32), _bits(data, 32, 5) + 1, sizes


def _bits(data: bytes, position: int, count: int) -> int:
    """Return the number in `count` bits from `position` on, highest first."""
    last = (position + count + 7) // 8
    if last > len(data):
        raise _broken("the brush ends early: it was cut off")
    return int.from_bytes(data[position // 8 : last], "big") >> (8 * last - position - count) & ((1 << count) - 1)


def _words(data: bytes, position: int, count: int, bits: int) -> NDArray[np.uint8]:
    """Return `count` numbers of `bits` bits each, the lowest eight of them."""
    first, last = position // 8, (position + count * bits + 7) // 8
    if last > len(data):
        raise _broken("the brush ends early: it was cut off")
    unpacked = np.unpackbits(np.frombuffer(data[first:last], np.uint8))
    start = position - 8 * first
    table = unpacked[start : start + count * bits].reshape(count, bits)[:, -8:]
    return np.packbits(np.pad(table, ((0, 0), (8 - table.shape[1], 0))), axis=1)[:, 0]


def _broken(what: str) -> AtrousError:
    return AtrousError(f"the run lengths are broken: {what}", kind="broken-rle")
