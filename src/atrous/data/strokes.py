"""Strokes of a brush as labels: what of a picture is background, and which colours are strokes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, Colour
from atrous.data import decoders
from atrous.data.any_mask import AnyMask
from atrous.data.census import unpacked
from atrous.data.images import MAX_PIXELS, packed

_FEW_COLOURS = 32  # more of them are edges that were smoothed, or loss
_NEAR = 40  # of a channel: as far as smoothing and JPEG move a colour
_LEAST_SHARE = 0.03  # of the strokes' pixels, where there are many colours
_EDGE_SHARE = 0.8
_PURE = 0.9
_FLAT = ((0, 0, 0), (255, 255, 255))


def read_strokes(path: str | Path, image: NDArray[Any], *, unknown: Colour | None = None) -> AnyMask:
    """Return strokes as a mask, 255 where there are none, whose values are the colours of the strokes.

    `image` is the picture (h, w, c) they were drawn for. What is no stroke is transparent; or equal to the image, where
    they were drawn over it; or black or white, whichever covers more; or the most common colour; `unknown` says it
    where none of that is right. Of a picture with few colours each is a class, but those that only lie along the edges
    of others; smoothed and JPEG strokes join the nearest colour that covers enough. A file with a palette keeps it.

    Raises `AtrousError` for a file that cannot be read, another size than the image's, no strokes, only one colour of
    them or more than 254, and none that covers enough.

    >>> import tempfile
    >>> from atrous.data.writers import write_image
    >>> path = Path(tempfile.mkdtemp()) / "strokes.png"
    >>> write_image(path, np.uint8([[[0, 0, 0]] * 4 + [[255, 0, 0], [0, 0, 255]]]))
    >>> strokes = read_strokes(path, np.zeros((1, 6, 3), np.uint8))
    >>> strokes.labels.tolist(), strokes.values
    ([[255, 255, 255, 255, 1, 0]], ((0, 0, 255), (255, 0, 0)))
    """
    path = Path(path)
    picture, opaque, indices, palette = _read(path)
    _check_size(path, picture, image)
    known, ground = _known(picture, opaque, image, unknown)
    if not known.any():
        raise AtrousError(f"{path}: no strokes were found. Draw at least one line in each class's colour.")
    colours = _stroke_colours(picture, known, ground)
    if not colours:
        raise AtrousError(
            f"{path}: {len(np.unique(packed(picture)[known])):,} colours came, and none covers enough to be a stroke. "
            "Is it a photo? Draw a line in one plain colour for each class, and save it as PNG."
        )
    if len(colours) < 2:
        raise AtrousError(
            f"{path}: all strokes have one colour, {','.join(map(str, colours[0]))}. Draw at least two, one of them "
            "for what is around the others."
        )
    if len(colours) >= IGNORE:
        raise AtrousError(f"{path}: {len(colours):,} colours of strokes came; up to 254 are accepted.")
    labels = _nearest(picture, known, colours)
    if len(np.unique(packed(picture)[known])) > max(_FEW_COLOURS, len(colours)):
        listed = " ".join(",".join(map(str, colour)) for colour in colours)
        logging.getLogger("atrous").warning(
            "%s: these strokes were smoothed or saved with loss; taken for classes: %s. Are these all? PNG keeps them.",
            path,
            listed,
        )
    if palette is None:
        return AnyMask(labels=labels, values=tuple(colours), form="colours")
    values = tuple(int(np.bincount(indices[labels == label]).argmax()) for label in range(len(colours)))
    return AnyMask(labels=labels, values=values, form="palette", palette=palette)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[Any], tuple[int, ...] | None]:
    """Return RGB (h, w, 3), what is not transparent (h, w), and the indices and the palette where there is one."""
    stored = decoders.loaded(decoders.opened(path, decoders.file_bytes(path), max_pixels=MAX_PIXELS), path)
    turn = decoders.orientation(stored)
    if stored.mode.startswith(("I", "F")):
        raise AtrousError(f"{path}: strokes are colours of 8 bits, and {stored.mode} came. Save them as an RGB PNG.")
    full = decoders.turned(np.array(stored.convert("RGBA")), turn)
    palette = stored.getpalette("RGB") if stored.mode == "P" else None
    indices = decoders.turned(np.array(stored), turn) if palette is not None else full[..., 0]
    return full[..., :3], full[..., 3] >= 128, indices, None if palette is None else tuple(palette)


def _check_size(path: Path, picture: NDArray[Any], image: NDArray[Any]) -> None:
    if picture.shape[:2] != image.shape[:2]:
        raise AtrousError(
            f"{path}: the strokes are {picture.shape[0]} x {picture.shape[1]} (height x width) and the image is "
            f"{image.shape[0]} x {image.shape[1]}. Draw on a picture of the image's size."
        )


def _known(
    picture: NDArray[np.uint8], opaque: NDArray[np.bool_], image: NDArray[Any], unknown: Colour | None
) -> tuple[NDArray[np.bool_], NDArray[Any] | None]:
    """Return where strokes are, and what lies under them, (h, w, 3), or None where they may be transparent."""
    if unknown is not None:
        return opaque & _apart(picture, unknown), _plain(picture, unknown)
    if not opaque.all():
        return opaque, None
    colours, counts = np.unique(packed(picture), return_counts=True)
    common = unpacked(int(colours[counts.argmax()]))
    drawn_over = _differs(picture, image)
    rest = (picture != common).any(2)
    if drawn_over is not None and rest.any() and drawn_over[rest].mean() < 0.5:
        return drawn_over, np.broadcast_to(image, picture.shape)
    covered = {colour: int(counts[colours == packed(np.array(colour))].sum()) for colour in _FLAT}
    best = max(_FLAT, key=lambda colour: covered[colour])
    ground = best if covered[best] else common
    return _apart(picture, ground), _plain(picture, ground)


def _plain(picture: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, np.uint8), picture.shape)


def _differs(picture: NDArray[np.uint8], image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where the picture is not the image, exactly or up to what JPEG does; None for images of other depths."""
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        return None
    distance = cv2.absdiff(picture, np.ascontiguousarray(np.broadcast_to(image, picture.shape))).max(2)
    exact = distance > 0
    return exact if exact.mean() < 0.5 else distance > _NEAR


def _apart(picture: NDArray[np.uint8], colour: Colour) -> NDArray[np.bool_]:
    """Return where the picture has another colour, clearly so where it has many."""
    distance = np.abs(picture.astype(np.int16) - np.array(colour, np.int16)).max(2)
    return distance > (_NEAR if len(np.unique(packed(picture))) > _FEW_COLOURS else 0)


def _stroke_colours(picture: NDArray[np.uint8], known: NDArray[np.bool_], ground: NDArray[Any] | None) -> list[Colour]:
    """Return the colours of the strokes, sorted, without those that smoothing made."""
    colours, counts = np.unique(packed(picture)[known], return_counts=True)
    found = [unpacked(int(colour)) for colour in colours[np.argsort(-counts, kind="stable")]]
    many = len(found) > _FEW_COLOURS
    if many:
        found = _gathered(np.array(found), np.sort(counts)[::-1])
    if ground is None or not found:
        return sorted(found)
    labels = _nearest(picture, known, found)
    edges = {label for label in range(len(found)) if _is_edge(picture, labels, label, found, ground, many=many)}
    return sorted(colour for label, colour in enumerate(found) if label not in edges)


def _gathered(colours: NDArray[np.int64], counts: NDArray[np.int64]) -> list[Colour]:
    """Return, most common first, colours that are far from each other and have enough pixels near them."""
    found: list[Colour] = []
    free = np.ones(len(colours), bool)
    while free.any():
        centre = colours[np.flatnonzero(free)[0]]
        near = free & (np.abs(colours - centre).max(1) <= _NEAR)
        if counts[near].sum() >= _LEAST_SHARE * counts.sum():
            red, green, blue = (int(channel) for channel in centre)
            found.append((red, green, blue))
        free &= ~near
    return found


def _nearest(picture: NDArray[np.uint8], known: NDArray[np.bool_], colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """Return the number of the nearest colour where strokes are, 255 elsewhere."""
    labels = np.full(known.shape, IGNORE, np.uint8)
    palette = np.array(colours, np.int32)
    present, places = np.unique(packed(picture)[known], return_inverse=True)
    table = np.array([((palette - np.array(unpacked(int(value)))) ** 2).sum(1).argmin() for value in present])
    labels[known] = table[places]
    return labels


def _is_edge(
    picture: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    label: int,
    colours: Sequence[Colour],
    ground: NDArray[Any],
    *,
    many: bool,
) -> bool:
    """Return whether a colour is but the smoothed rim of a purer one: mixed of that and what is under it, beside it."""
    own = labels == label
    if not own.any():
        return True
    kernel = np.ones((17, 17) if many else (3, 3), np.uint8)  # JPEG mixes colours, not brightness, within its blocks
    seen = _hues if many else _as_they_are
    under = seen(ground[own])
    came = seen(picture[own]) - under
    for other, colour in enumerate(colours):
        if other != label:
            way = seen(np.array(colour)) - under
            share = (came * way).sum(1) / np.maximum((way**2).sum(1), 1)
            apart = np.abs(came - share[:, None].clip(0, 1) * way).max(1)
            beside = cv2.dilate((labels == other).astype(np.uint8), kernel)[own] > 0
            if (beside & (share < _PURE) & (apart <= _NEAR / 2)).mean() >= _EDGE_SHARE:
                return True
    return False


def _as_they_are(colours: NDArray[Any]) -> NDArray[np.float64]:
    return colours.astype(np.float64)


def _hues(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Return the blue and red differences of YCbCr, (..., 2), of colours (..., 3)."""
    return colours @ np.array([[-0.1687, 0.5], [-0.3313, -0.4187], [0.5, -0.0813]])
