"""Labels made visible: class colours, overlays with a legend, and sheets of many pictures.

Everything here returns (H, W, 3) uint8 RGB for looking at, and changes none of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unicodedata import combining, normalize

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atrous.contract import IGNORE, LabelSpace

__all__ = ["background", "colourise", "contact_sheet", "displayed", "legend_of", "overlay"]

Picture = NDArray[np.uint8]

_NARROWEST_LEGEND = 64
_PAPER, _INK, _EDGE = (250, 250, 250), (32, 32, 32), (120, 120, 120)
_BACKGROUND = frozenset({"background", "_background_", "bg", "void", "unlabeled", "unlabelled"})


def background(space: LabelSpace) -> int | None:
    """Return the first class whose name says that nothing is there, in any letters; None where there is none.

    Such names are background, bg, void, unlabelled.

    >>> background(LabelSpace(names=("road", "Background"))), background(LabelSpace(names=("road",)))
    (1, None)
    """
    return next((label for label, name in enumerate(space.names) if name.strip().lower() in _BACKGROUND), None)


def colourise(labels: NDArray[Any], space: LabelSpace) -> Picture:
    """Return each pixel in the colour of its class, (h, w, 3) uint8; ignored pixels are black.

    Raises `ValueError` when labels are not (h, w) integers, or one is neither a class of `space` nor 255.

    >>> colourise(np.array([[0, 255]]), LabelSpace(names=("road",), colours=((128, 64, 128),))).tolist()
    [[[128, 64, 128], [0, 0, 0]]]
    """
    return _palette(space)[_checked(labels, space)]


def overlay(
    image: NDArray[Any], labels: NDArray[Any], space: LabelSpace, *, strength: float = 0.5, legend: bool = True
) -> Picture:
    """Return the image under its class colours, with thin darker borders, and a legend of the classes present below.

    `image` is what `displayed` takes. `strength` runs from 0 (only the image) to 1 (only the colours). Ignored pixels
    and those of the `background` show the image as it is. The picture is the first h rows, at its own size; the legend
    adds rows below, and is left out where the picture is narrower than 64 pixels or no other class is present.

    Raises `ValueError` when image and labels differ in size, a label is neither a class nor 255, or strength is
    outside 0..1.

    >>> space = LabelSpace(names=("road", "car"))
    >>> overlay(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8), space).shape
    (2, 3, 3)
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength} came; it runs from 0 (only the image) to 1 (only the colours)")
    labels = _checked(labels, space)
    picture = displayed(image)
    if picture.shape[:2] != labels.shape:
        raise ValueError(
            f"the image is {_size(picture)} and the labels are {_size(labels)} (height x width); they must be the "
            "same. Resize the labels with nearest-neighbour interpolation, or pass the image they were made for."
        )
    bare = (IGNORE, background(space))
    blend = _tinted(picture, labels, _palette(space), strength, bare)
    present = [index for index in np.unique(labels).tolist() if index not in bare]
    if not legend or not present or labels.shape[1] < _NARROWEST_LEGEND:
        return blend
    return np.vstack([blend, _legend(present, space, labels.shape[1])])


def _tinted(
    picture: Picture, labels: NDArray[np.uint8], colours: Picture, strength: float, bare: Sequence[int | None]
) -> Picture:
    """Return the picture under the colours of all labels but those of `bare`."""
    blend = np.asarray(cv2.addWeighted(picture, 1 - strength, colours[labels], strength, 0), dtype=np.uint8)
    empty = np.isin(labels, [label for label in bare if label is not None])
    border = _borders(labels, empty)
    firm = min(1.6 * strength, 1.0)
    darker = (colours[labels[border]] * 0.55 * firm + picture[border] * (1 - firm)).round()
    blend[border] = darker.astype(np.uint8)
    blend[empty] = picture[empty]
    return blend


def displayed(image: NDArray[Any], *, limits: tuple[float, float] | None = None) -> Picture:
    """Return any image as (h, w, 3) uint8 RGB for looking at.

    `image` is (h, w) or (h, w, c): one or two channels are shown as grey (the first), more by the first three. uint8
    is shown as stored; other depths are stretched from their 0.5th to their 99.5th percentile over the channels shown,
    a constant image is mid-grey and values that are not finite are black. `limits` are the values that become black
    and white instead, of any depth, for pictures that are to be seen alike, as the slices of a volume.

    Raises `ValueError` for another number of axes, an empty image, or values that are not real numbers.

    >>> displayed(np.array([[0, 1000]], np.uint16))[0, :, 0].tolist()
    [0, 255]
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"an image of shape {image.shape} came; it is (h, w) or (h, w, c), none of them 0")
    if image.dtype.kind not in "buif":
        raise ValueError(f"an image of {image.dtype} came; booleans, integers and floating-point numbers can be shown")
    channels = image[..., None] if image.ndim == 2 else image
    channels = channels[..., :3] if channels.shape[-1] >= 3 else channels[..., :1]
    if limits is not None or channels.dtype != np.uint8:
        channels = _stretched(channels, limits)
    return np.array(np.broadcast_to(channels, (*image.shape[:2], 3)))


def legend_of(space: LabelSpace, width: int) -> Picture:
    """Return the legend of all classes but the `background`, as `overlay` puts it below pictures of this width.

    It has no rows where there is no such class, or the width is below 64 pixels.

    >>> legend_of(LabelSpace(names=("road", "car")), 200).shape[1:]
    (200, 3)
    """
    classes = [index for index in range(len(space)) if index != background(space)]
    if not classes or width < _NARROWEST_LEGEND:
        return np.zeros((0, width, 3), np.uint8)
    return _legend(classes, space, width)


def contact_sheet(
    rows: Sequence[Sequence[NDArray[Any]]], *, titles: Sequence[str] | None = None, gap: int = 4
) -> Picture:
    """Return rows of pictures on one white sheet, (H, W, 3) uint8, in columns as wide as their widest picture.

    Each picture is what `displayed` takes, of any size, and lies at the top left of its cell; rows may be shorter than
    others. `titles` stand above the columns, shortened where they are too long. `gap` is the white between pictures
    and around them, in pixels.

    Raises `ValueError` when no picture came, `gap` is negative, or there are not as many titles as columns.

    >>> grey = np.zeros((4, 6), np.uint8)
    >>> contact_sheet([[grey, grey], [grey]], gap=2).shape
    (14, 18, 3)
    """
    pictures = [[displayed(image) for image in row] for row in rows]
    columns = max((len(row) for row in pictures), default=0)
    if columns == 0:
        raise ValueError("no pictures came; give rows of images, such as [[image, overlay]]")
    if gap < 0:
        raise ValueError(f"gap {gap} came; it is 0 or more pixels")
    if titles is not None and len(titles) != columns:
        raise ValueError(f"{len(titles)} titles came for {columns} columns; give one for each, '' for none")
    widths = [max((row[at].shape[1] for row in pictures if at < len(row)), default=0) for at in range(columns)]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in pictures]
    head = [] if titles is None else [_titles(titles, widths, gap)]
    sheet = np.full((gap + sum(heights) + gap * len(heights), gap + sum(widths) + gap * columns, 3), 255, np.uint8)
    top = gap
    for row, height in zip(pictures, heights, strict=True):
        left = gap
        for picture, width in zip(row, widths, strict=False):
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += width + gap
        top += height + gap
    return np.vstack([*head, sheet])


def _palette(space: LabelSpace) -> Picture:
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(space)] = space.colours
    return colours


def _checked(labels: NDArray[Any], space: LabelSpace) -> NDArray[np.uint8]:
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels of shape {labels.shape} and {labels.dtype} came; they are (h, w) integers")
    outside = (labels != IGNORE) & ((labels < 0) | (labels >= len(space)))
    if outside.any():
        raise ValueError(
            f"label {int(labels[outside][0])} is outside 0..{len(space) - 1} and is not the ignore value 255; "
            f"{int(outside.sum()):,} pixels have it or another such. Pass the LabelSpace they were made with."
        )
    return labels.astype(np.uint8)


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _stretched(channels: NDArray[Any], limits: tuple[float, float] | None) -> Picture:
    values = channels.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(channels.shape, np.uint8)
    low, high = limits or np.percentile(values[finite], (0.5, 99.5))
    if low == high:
        # A few pixels that differ are worth showing even where the percentiles do not see them.
        low, high = values[finite].min(), values[finite].max()
    if low == high:
        return np.where(finite, 128, 0).astype(np.uint8)
    scaled = np.where(finite, (np.where(finite, values, low) - low) / (high - low), 0)
    return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)


def _borders(labels: NDArray[np.uint8], empty: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels whose right or lower neighbour is of another class, so that a border is one pixel wide.

    What is `empty` has no border, so that beside it those of all sides are the neighbour's own.
    """
    border = np.zeros(labels.shape, dtype=bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, 1:] |= empty[:, :-1]
    border[1:] |= empty[:-1]
    return border


def _text_size(width: int) -> int:
    return min(max(width // 36, 11), 28)


def _printable(text: str) -> str:
    # OpenCV before 5 has no such font: accents are dropped there, and other scripts become question marks.
    if text.isascii() or hasattr(cv2, "FontFace"):
        return text
    bare = "".join(letter for letter in normalize("NFKD", text) if not combining(letter))
    return bare.encode("ascii", "replace").decode()


def _text_width(text: str, size: int) -> int:
    if text.isascii():
        return round(ImageFont.load_default(size).getlength(text))
    return int(cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("uni"), size)[2])


def _write(strip: Picture, text: str, left: int, middle: int, size: int) -> None:
    """Write one line into a strip; its middle is at row `middle`."""
    if text.isascii():
        page = Image.fromarray(strip)
        font = ImageFont.load_default(size)
        ImageDraw.Draw(page).text((left, middle), text, fill=_INK, font=font, anchor="lm")
        strip[:] = np.asarray(page)
        return
    # Pillow's own font knows ASCII only; OpenCV carries one with most of the world's scripts.
    cv2.putText(strip, text, (left, middle + round(0.36 * size)), _INK, cv2.FontFace("uni"), size)


def _shortened(text: str, size: int, room: float) -> str:
    text = _printable(" ".join(text.split()))
    if _text_width(text, size) <= room:
        return text
    while text and _text_width(text + "...", size) > room:
        text = text[:-1]
    return text + "..." if text else ""


def _legend(present: Sequence[int], space: LabelSpace, width: int) -> Picture:
    """Return a strip of this width with a swatch and the name of each class, wrapped."""
    size = _text_size(width)
    pad, line = size // 2, int(size * 1.6)
    x, y, entries = pad, pad, []
    for index in present:
        name = _shortened(space.names[index], size, width - 3 * pad - size)
        wide = size + pad + _text_width(name, size)
        if x > pad and x + wide > width - pad:
            x, y = pad, y + line
        entries.append((x, y, index, name))
        x += wide + 2 * pad
    strip = np.full((y + line + pad // 2, width, 3), _PAPER, np.uint8)
    for left, top, index, name in entries:
        cv2.rectangle(strip, (left, top), (left + size, top + size), space.colours[index], -1)
        cv2.rectangle(strip, (left, top), (left + size, top + size), _EDGE, 1)
        _write(strip, name, left + size + pad, top + size // 2, size)
    return strip


def _titles(titles: Sequence[str], widths: Sequence[int], gap: int) -> Picture:
    size = _text_size(sum(widths))
    strip = np.full((int(size * 1.6), gap + sum(widths) + gap * len(widths), 3), 255, np.uint8)
    left = gap
    for title, width in zip(titles, widths, strict=True):
        _write(strip, _shortened(title, size, width), left, int(size * 0.9), size)
        left += width + gap
    return strip
