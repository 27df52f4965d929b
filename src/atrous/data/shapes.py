"""Masks that annotation files describe as shapes, drawn when they are read.

A shape has a value, that of its class, and a form: polygons, run lengths, an ellipse, a stroke or a small picture. A
pixel belongs to a form when its centre does. Larger shapes are drawn first, so that small ones stay visible. Forms hold
their numbers as bytes, so that shapes are small, can be hashed, and travel to worker processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import rle
from atrous.data.decoders import DAMAGED, turned
from atrous.data.fitting import fitting
from atrous.data.images import MAX_PIXELS
from atrous.data.rings import filled_window, outlines, polygons

__all__ = ["Brush", "Ellipse", "Form", "Picture", "Polygon", "Runs", "Shape", "Shapes", "Stroke", "fitting",
           "outlines", "polygon", "polygons", "stroke"]  # fmt: skip

Size = tuple[int, int]
Window = tuple[int, int, NDArray[np.bool_]]
"""A row and a column of the image, and a mask that begins there and does not pass the image's borders."""


class Form(Protocol):
    """Where a shape is."""

    def window(self, size: Size) -> Window:
        """Return the pixels of an image of this size (height, width) that belong to the form."""
        ...


@dataclass(frozen=True, slots=True)
class Polygon:
    """Rings of corners as `polygon` makes them: united, or else each ring in a ring is a hole.

    Corners are in pixels, or, where `relative`, in shares of the image's width and height.
    """

    rings: tuple[bytes, ...]
    united: bool = True
    relative: bool = False

    def window(self, size: Size) -> Window:
        """Return the pixels whose centres the rings enclose."""
        scale = np.array(size[::-1] if self.relative else (1, 1))
        rings = [_corners(ring) * scale for ring in self.rings]
        if len(rings) == 1 or not self.united:
            return filled_window(rings, size)
        return _united([filled_window([ring], size) for ring in rings])


def polygon(rings: Iterable[NDArray[Any]], *, united: bool = True, relative: bool = False) -> Polygon:
    """Return the polygon with these rings, each (n, 2) in the order x, y; coordinates are kept as float32.

    >>> polygon([np.array([[0, 0], [2, 0], [2, 2], [0, 2]])]).window((4, 4))[2].shape
    (2, 2)
    """
    return Polygon(tuple(_stored(ring) for ring in rings), united, relative)


@dataclass(frozen=True, slots=True)
class Runs:
    """COCO's run lengths, as the string of them, of an image of this size (height, width)."""

    counts: bytes
    size: Size

    def window(self, size: Size) -> Window:
        """Return the decoded mask; raises `AtrousError` for run lengths that are broken or of another size."""
        if self.size != size:
            raise AtrousError(
                f"run lengths of {self.size[0]} x {self.size[1]} pixels (height x width) came for an image of "
                f"{size[0]} x {size[1]}",
                kind="broken-rle",
            )
        return 0, 0, rle.decode(self.counts, size)


@dataclass(frozen=True, slots=True)
class Brush:
    """Label Studio's brush, as the bytes of its run lengths."""

    data: bytes

    def window(self, size: Size) -> Window:
        """Return the decoded mask; raises `AtrousError` for run lengths that are broken or of another size."""
        return 0, 0, rle.decode_brush(self.data, size)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse around (x, y), its first half-axis turned clockwise as seen by an angle in degrees; all in pixels."""

    x: float
    y: float
    half_axes: tuple[float, float]
    degrees: float = 0.0

    def window(self, size: Size) -> Window:
        """Return the pixels whose centres lie in the ellipse or on it."""
        reach = max(self.half_axes)
        top, left, y, x = _centres(size, (self.x - reach, self.y - reach), (self.x + reach, self.y + reach))
        across, down = x - self.x, y - self.y
        cosine, sine = np.cos(np.deg2rad(self.degrees)), np.sin(np.deg2rad(self.degrees))
        first = (across * cosine + down * sine) / max(self.half_axes[0], 1e-9)
        second = (down * cosine - across * sine) / max(self.half_axes[1], 1e-9)
        return top, left, first**2 + second**2 <= 1


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line from point to point as a round pen draws it, `width` pixels wide; of a single point, a disc."""

    points: bytes
    width: float

    def window(self, size: Size) -> Window:
        """Return the pixels whose centres lie within half the width of the line."""
        points = _corners(self.points)
        starts, ends = points[: max(len(points) - 1, 1)], points[-max(len(points) - 1, 1) :]
        return _united([self._segment(size, *pair) for pair in zip(starts, ends, strict=True)])

    def _segment(self, size: Size, start: NDArray[Any], end: NDArray[Any]) -> Window:
        reach = self.width / 2
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        top, left, y, x = _centres(size, (low[0], low[1]), (high[0], high[1]))
        along = end - start
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along @ along), 1e-9)
        share = np.clip(share, 0, 1)
        distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        return top, left, distance <= reach


def stroke(points: NDArray[Any], width: float) -> Stroke:
    """Return the line through points (n, 2) in the order x, y."""
    return Stroke(_stored(points), width)


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture file, as its bytes, whose upper left pixel lies at a row and column; what is not 0 belongs."""

    data: bytes
    top: int
    left: int

    def window(self, size: Size) -> Window:
        """Return the pixels that are not 0 and lie in the image; raises `AtrousError` for a damaged picture."""
        try:
            with Image.open(BytesIO(self.data)) as picture:
                on = np.asarray(picture.convert("L") if picture.mode != "1" else picture) != 0
        except (*DAMAGED, Image.DecompressionBombError) as error:
            raise AtrousError(f"the picture of a shape is damaged ({error})", kind="broken-annotation") from error
        top, left = max(self.top, 0), max(self.left, 0)
        return top, left, on[top - self.top : size[0] - self.top, left - self.left : size[1] - self.left]


@dataclass(frozen=True, slots=True)
class Shape:
    """The value of a class and where it is; a `crowd` of objects that are not told apart is none of the instances.

    Shapes of one value that are `part_of` the same are one instance; None is an instance of its own.
    """

    value: int
    form: Form
    crowd: bool = False
    part_of: str | None = None


@dataclass(frozen=True)
class Shapes:
    """The mask of one image: shapes on a background, drawn when it is read.

    `path` is the annotation file. `size` (height, width) is what it says of the image, None where it does not. `image`
    is the image's file, from which a missing size comes, and which says whether the size is that of the image as it is
    seen or, before EXIF turned it, as it is stored.
    """

    path: Path
    size: Size | None
    shapes: tuple[Shape, ...]
    image: Path | None = None
    background: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """The image's file, whose size and EXIF turn count."""
        return () if self.image is None else (self.image,)

    def read(self) -> NDArray[np.int32]:
        """Return (h, w) values of classes.

        Raises `AtrousError` for a size that is not the image's, and for a shape that is broken.

        >>> square = polygon([np.array([[0, 0], [2, 0], [2, 1], [0, 1]])])
        >>> Shapes(Path("a.json"), (2, 3), (Shape(7, square),)).read().tolist()
        [[7, 7, 0], [0, 0, 0]]
        """
        return self._drawn([shape.value for shape in self.shapes], self.background)

    def instances(self) -> NDArray[np.int32]:
        """Return (h, w) numbers of the shapes, from 1 in their order; 0 is the background and crowds.

        Shapes that are one instance have the number of the first.
        """
        first: dict[tuple[int, str], int] = {}
        numbers = []
        for number, shape in enumerate(self.shapes, start=1):
            whole = number if shape.part_of is None else first.setdefault((shape.value, shape.part_of), number)
            numbers.append(0 if shape.crowd else whole)
        return self._drawn(numbers, 0)

    def _drawn(self, values: Sequence[int], background: int) -> NDArray[np.int32]:
        size, turn = self.size, 1
        if self.image is not None:
            size, turn = fitting(self.path, size, self.image)
        if size is None or size[0] < 1 or size[1] < 1 or size[0] * size[1] > MAX_PIXELS:
            raise AtrousError(f"{self._name}: its size is {size}; 1 to {MAX_PIXELS:,} pixels are drawn. Correct it.")
        windows = [self._window(shape, size) for shape in self.shapes]
        drawn = np.full(size, background, np.int32)
        areas = [int(np.count_nonzero(window)) for _, _, window in windows]
        for index in sorted(range(len(windows)), key=lambda index: -areas[index]):
            top, left, window = windows[index]
            drawn[top : top + window.shape[0], left : left + window.shape[1]][window] = values[index]
        return turned(drawn, turn)

    def _window(self, shape: Shape, size: Size) -> Window:
        try:
            return shape.form.window(size)
        except AtrousError as error:
            raise AtrousError(
                f"{self._name}: {error}. Export the annotations again, or take this one out.", kind=error.kind
            ) from error

    @property
    def _name(self) -> str:
        return str(self.path) if self.image is None else f"{self.path}: {self.image.name}"


def _stored(points: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(points, "<f4").tobytes()


def _corners(points: bytes) -> NDArray[np.float64]:
    return np.frombuffer(points, "<f4").reshape(-1, 2).astype(np.float64)


def _centres(
    size: Size, low: tuple[float, float], high: tuple[float, float]
) -> tuple[int, int, NDArray[np.float64], NDArray[np.float64]]:
    """Return the first row and column between two corners (x, y), and the y and x of the centres of pixels there."""
    left, right = (int(np.clip(np.floor(x), 0, size[1])) for x in (low[0], high[0] + 1))
    top, bottom = (int(np.clip(np.floor(y), 0, size[0])) for y in (low[1], high[1] + 1))
    y, x = np.arange(top, bottom, dtype=np.float64) + 0.5, np.arange(left, right, dtype=np.float64) + 0.5
    return top, left, y[:, None], x[None]


def _united(windows: Sequence[Window]) -> Window:
    windows = [window for window in windows if window[2].size]
    if not windows:
        return 0, 0, np.zeros((0, 0), bool)
    top, left = min(window[0] for window in windows), min(window[1] for window in windows)
    bottom = max(row + window.shape[0] for row, _, window in windows)
    right = max(column + window.shape[1] for _, column, window in windows)
    union = np.zeros((bottom - top, right - left), bool)
    for row, column, window in windows:
        union[row - top : row - top + window.shape[0], column - left : column - left + window.shape[1]] |= window
    return top, left, union
