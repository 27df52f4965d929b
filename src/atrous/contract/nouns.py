"""Six nouns of images: Sample, LabelSpace, Preprocessing, Geometry, Scorer, Prediction; and the error of bad files."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

IGNORE = 255
"""The label of a pixel that is neither learnt from nor counted."""

Colour = tuple[int, int, int]
Encoding = Literal["indices", "colours", "instances"]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class AtrousError(Exception):
    """A file, a dataset or a checkpoint is not what it should be; the message says what came and what to do.

    `kind` names the finding that an inspection makes of it, where it is not simply a file that cannot be read.
    """

    def __init__(self, message: str = "", *, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image with what is known about it.

    `image` is (h, w, c) as stored (uint8, uint16, int16 or float32; three channels are RGB), `labels` (h, w) uint8
    with 255 for ignore, `instances` (h, w) int32, `place` the spacing or georeference of the source.
    """

    image: NDArray[Any]
    labels: NDArray[np.uint8] | None = None
    instances: NDArray[np.int32] | None = None
    path: Path | None = None
    place: Any = None


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Return `count` RGB colours that are easy to tell apart, the same ones every time.

    Hues advance by the golden ratio, so any prefix is spread over the circle; brightness alternates in threes.

    >>> distinct_colours(2)
    ((229, 57, 57), (76, 106, 178))
    """
    colours = []
    for index in range(count):
        value = (0.9, 0.7, 0.5)[index % 3]
        saturation = (0.75, 0.57, 0.65, 0.45)[index % 4]
        rgb = colorsys.hsv_to_rgb(index * 0.618034 % 1.0, saturation, value)
        colours.append((int(rgb[0] * 255), int(rgb[1] * 255), int(rgb[2] * 255)))
    return tuple(colours)


@checked_dataclass(config=_FROZEN, kw_only=True)
class LabelSpace:
    """The classes, in order: their names, their colours, and what each is in the source's masks.

    `values` holds a number per class (`encoding="indices"`) or an RGB triple (`"colours"`); with `"instances"` a
    mask holds object numbers, 0 is the first class and every other number the second. `ignore` is what the source's
    masks hold where a pixel is not to be counted. Colours default to `distinct_colours`, values to 0..n-1.

    Raises `ValueError` for no classes, more than 255, names or values that repeat, or lengths that differ.

    >>> LabelSpace(names=("road", "car")).values
    (0, 1)
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    values: tuple[int | Colour, ...] = ()
    ignore: int | Colour | None = IGNORE
    encoding: Encoding = "indices"

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        fields = dict(given if isinstance(given, dict) else given.kwargs or {})
        count = len(fields.get("names", ()))
        if not fields.get("colours"):
            fields["colours"] = distinct_colours(count)
        if not fields.get("values"):
            fields["values"] = fields["colours"] if fields.get("encoding") == "colours" else tuple(range(count))
        return fields

    @model_validator(mode="after")
    def _check(self) -> LabelSpace:
        count = len(self.names)
        if not 1 <= count <= 255:
            raise ValueError(
                f"{count} classes came; 1 to 255 are possible, since labels are one byte and 255 is ignore"
            )
        for field, values in (("names", self.names), ("values", self.values)):
            if len(set(values)) != len(values):
                repeated = next(value for value in values if values.count(value) > 1)
                raise ValueError(f"{field} repeat {repeated!r}; every class needs its own")
        if not len(self.colours) == len(self.values) == count:
            raise ValueError(
                f"{count} names, {len(self.colours)} colours and {len(self.values)} values came; give as many of each"
            )
        return self

    def __len__(self) -> int:
        return len(self.names)


@checked_dataclass(config=_FROZEN, kw_only=True)
class Preprocessing:
    """How stored values become a network's input: `((value - low) / (high - low) - mean) / std` per channel.

    `low` and `high` are the stored range (0 and 255 for uint8; other depths take theirs from the data). `mean` and
    `std` have one entry per channel of the network, in its channel `order`. `padding` is what lies outside the image.
    """

    order: Literal["RGB", "BGR"] = "RGB"
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    padding: Literal["mirror", "mean"] = "mean"

    @model_validator(mode="after")
    def _check(self) -> Preprocessing:
        if not self.high > self.low:
            raise ValueError(f"high {self.high} is not above low {self.low}")
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean} and std {self.std} need one entry per channel, and std above 0")
        return self

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return len(self.mean)


@checked_dataclass(config=_FROZEN, kw_only=True)
class Geometry:
    """Which input sizes a network takes, and where its logits lie.

    A side s is valid when `s >= minimum` and `s % multiple == offset % multiple`. `margin` pixels on every side are
    context that has no logits. Logits are `stride` pixels apart: corner to corner when `align_corners`, else each
    centred in its cell.

    >>> Geometry(multiple=16, offset=12, minimum=188, margin=92).valid(200)
    204
    """

    multiple: Annotated[int, Field(ge=1)] = 1
    offset: Annotated[int, Field(ge=0)] = 0
    minimum: Annotated[int, Field(ge=1)] = 1
    margin: Annotated[int, Field(ge=0)] = 0
    stride: Annotated[int, Field(ge=1)] = 1
    align_corners: bool = False

    def valid(self, side: int) -> int:
        """Return the smallest valid side that is not below `side`."""
        side = max(side, self.minimum)
        return side + (self.offset - side) % self.multiple

    def padding(self, side: int) -> tuple[int, int]:
        """Return how many pixels an image of this side lacks before and after, the margin included."""
        return self.margin, self.valid(side + 2 * self.margin) - side - self.margin


def mirrored(side: int, before: int, after: int) -> NDArray[np.int64]:
    """Return the source index of every position of a padded side, mirrored without repeating the border.

    Mirroring is applied again where the side is shorter than the padding; a side of one repeats its only pixel.

    >>> mirrored(3, 2, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(2 * side - 2, 1)
    position = np.arange(-before, side + after) % period
    return np.minimum(position, period - position) if side > 1 else np.zeros_like(position)


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores every pixel for every class; a lambda will do.

    Images are (n, c, h, w), the sample's values, not normalised, uint8 or float32 (16 bits arrive as float32 of the
    same values). Probabilities are (n, classes, h, w) float32 of the same array library and device. A scorer may also
    offer `labels(images) -> (n, h, w) uint8`, the most probable class and the lowest on a tie, without full-size maps;
    `geometry`; `from_numpy(array)`, which moves an image to its device; and, where its geometry has a margin,
    `surrounded((top, bottom, left, right))`, a scorer of images whose border, so many pixels wide, is what really
    surrounds the inside that it answers for.
    """

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities of `images`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a scorer says of one image: `labels` (h, w) uint8, and `probabilities` where they were asked for."""

    labels: NDArray[np.uint8]
    space: LabelSpace
    path: Path | None = None
    probabilities: NDArray[np.float32] | None = None
