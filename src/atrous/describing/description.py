"""A network in numbers: a row per stage, as text in columns or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

COLUMNS = ("stage", "output", "channels", "stride", "receptive field", "parameters", "multiply-adds", "memory")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: its map (h, w), its stride in pixels, what a position of it sees, and what it costs.

    `receptive_field` is (h, w) in pixels, of the position in the middle, without means over the map; None where only
    those lead to the image. `whole` says that there are such means, so that every pixel counts. `multiply_adds` are
    those of convolutions and matrix products; `memory` is what its layers put out, in bytes of float32. `reads`
    names the stages it takes its input from, `image` the image itself.
    """

    name: str
    path: str
    size: tuple[int, int]
    channels: int
    stride: float
    receptive_field: tuple[int, int] | None
    whole: bool
    parameters: int = 0
    multiply_adds: int = 0
    memory: int = 0
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network at one image size: its stages in the order they run, what they add up to, and what to know about it.

    `size` is the (h, w) that was described, `in_channels` the image's channels. `parameters`, `multiply_adds` and
    `memory` are the network's, `weights` the bytes of its parameters in float32. `notes` say what was done, `warnings`
    what may harm.
    """

    name: str
    size: tuple[int, int]
    in_channels: int
    stages: tuple[Stage, ...]
    parameters: int
    multiply_adds: int
    memory: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def weights(self) -> int:
        """Bytes of the parameters, as float32."""
        return 4 * self.parameters

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**asdict(self), "weights": self.weights}

    def as_text(self) -> str:
        """Return the stages in aligned columns, the totals, the notes and the warnings."""
        rows = [COLUMNS, *(_cells(stage) for stage in self.stages)]
        totals = f"{self.parameters:,}", scaled(self.multiply_adds), scaled(self.memory, "B")
        rows.append(("total", "", "", "", "", *totals))
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        rule = "-" * max(len(line) for line in lines)
        title = f"{self.name} on {self.size[0]} x {self.size[1]} pixels of {_channels(self.in_channels)}"
        table = [title, "", lines[0], rule, *lines[1:-1], rule, lines[-1]]
        remarks = [*self._legend(), *self.notes, *(f"! {warning}" for warning in self.warnings)]
        return "\n".join([*table, "", *remarks])

    def _legend(self) -> list[str]:
        lines = [
            f"weights: {scaled(self.weights, 'B')}; memory: what the layers put out for one image; both in float32"
        ]
        if any(stage.whole for stage in self.stages):
            lines.append("image: a mean over the map lets every position see the whole image, besides its window")
        return lines


def _cells(stage: Stage) -> tuple[str, ...]:
    return (
        stage.name,
        f"{stage.size[0]} x {stage.size[1]}",
        f"{stage.channels}",
        f"{stage.stride:.4g}",
        field_text(stage),
        f"{stage.parameters:,}",
        scaled(stage.multiply_adds),
        scaled(stage.memory, "B"),
    )


def field_text(stage: Stage) -> str:
    """Return a stage's receptive field in words: `404`, `404 x 372`, `image`, or `1043, image`.

    >>> field_text(Stage(name="", path="", size=(9, 9), channels=1, stride=4, receptive_field=(99, 99), whole=True))
    '99, image'
    """
    if stage.receptive_field is None:
        return "image"
    height, width = stage.receptive_field
    window = f"{height}" if height == width else f"{height} x {width}"
    return f"{window}, image" if stage.whole else window


def title_of(name: str, options: Mapping[str, Any]) -> str:
    """Return a network's name with its builder's keywords, without the image's channels and those that are None.

    >>> title_of("deeplab_v3plus", {"encoder": "xception65", "output_stride": 8, "in_channels": 3, "norm": None})
    'deeplab_v3plus (encoder xception65, output stride 8)'
    >>> title_of("fcn8s", {"at_once": True, "pretrained": False})
    'fcn8s (at once, no pretrained)'
    """
    said = [
        _said(key.replace("_", " "), value)
        for key, value in options.items()
        if key != "in_channels" and value is not None
    ]
    return f"{name} ({', '.join(said)})" if said else name


def _said(words: str, value: Any) -> str:
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value:.4g}" if isinstance(value, float) else f"{words} {value}"


def scaled(count: float, unit: str = "") -> str:
    """Return a count with three to five digits and a letter for its thousands: k, M, G, T or P.

    >>> scaled(97_812_345_678), scaled(3_200, "B"), scaled(1_250_000_000_000), scaled(0)
    ('97.81 G', '3.20 kB', '1.25 T', '0')
    """
    for letter, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if round(1000 * count / size, 2) >= 1000:  # as it is printed: 999.999 M is 1.00 G
            return f"{count / size:.2f} {letter}{unit}"
    return f"{count:g} {unit}".strip()


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"
