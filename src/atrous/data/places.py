"""Where a raster lies on the earth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a raster lie.

    `transform` is (a, b, c, d, e, f): the corner at (row, column), counted from the upper left corner of the first
    pixel, lies at x = a column + b row + c and y = d column + e row + f. `crs` names the coordinates, as
    `"EPSG:32633"` where they have such a number, as WKT or in words where not; None where the file does not tell.
    """

    transform: Transform
    crs: str | None = None

    def at(self, row: Any, column: Any) -> tuple[Any, Any]:
        """Return (x, y) of the corner at (row, column); of arrays of them, arrays.

        >>> Georeference((0.5, 0, 100, 0, -0.5, 200)).at(2, 4)
        (102.0, 199.0)
        """
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    def difference(self, other: Georeference, height: int, width: int) -> str:
        """Say in figures how another place differs for a raster of this size; "" where it is less than half a pixel.

        >>> here = Georeference((0.5, 0, 100, 0, -0.5, 200), "EPSG:32633")
        >>> here.difference(Georeference((0.5, 0, 108, 0, -0.5, 200), "EPSG:32633"), 10, 10)
        'its upper left corner lies at (108, 200) and not at (100, 200), 16 pixels away'
        >>> here.difference(here, 10, 10)
        ''
        """
        if self.crs != other.crs and all((crs or "").startswith("EPSG:") for crs in (self.crs, other.crs)):
            return f"its coordinates are {other.crs} and not {self.crs}"
        for name, row, column in (("upper left", 0, 0), ("lower right", height, width)):
            mine, its = self.at(row, column), other.at(row, column)
            pixels = _length(mine, its) / self.pixel_size
            if not pixels < 0.5:
                return f"its {name} corner lies at {_pair(its)} and not at {_pair(mine)}, {pixels:,.4g} pixels away"
        return ""

    @property
    def pixel_size(self) -> float:
        """The side of a pixel: the root of its area, in the units of the coordinates."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d) ** 0.5


def _length(first: tuple[float, float], second: tuple[float, float]) -> float:
    return ((first[0] - second[0]) ** 2 + (first[1] - second[1]) ** 2) ** 0.5


def _pair(point: tuple[float, float]) -> str:
    return f"({point[0]:.10g}, {point[1]:.10g})"
