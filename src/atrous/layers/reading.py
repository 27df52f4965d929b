"""Which positions of a map a layer reads, along one axis: the arithmetic of windows, holes and enlarging.

Each kind answers two questions: which positions of the map that enters are read by given positions of the one that
leaves (`sources`), and how many positions of the one that enters one step in the other is worth (`scale`). Positions
may lie outside the map, as padding does: the plane is taken to go on for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Position j reads `j * step + start + offset` for every offset: convolution, pooling, padding, cropping.

    >>> Window((0, 2, 4), step=1, start=-2).sources(np.array([0, 1])).tolist()
    [-2, -1, 0, 1, 2, 3]
    """

    offsets: tuple[int, ...] = (0,)
    step: int = 1
    start: int = 0

    @property
    def scale(self) -> Fraction:
        """What one step is worth."""
        return Fraction(self.step)

    def sources(self, positions: Positions) -> Positions:
        """Return what these positions read, in order."""
        return np.unique((positions * self.step + self.start)[:, None] + np.asarray(self.offsets))


SAME = Window()
"""Position j reads position j."""


@dataclass(frozen=True)
class Spread:
    """A transposed convolution: position i is written to `i * stride - padding + k * rate` for every tap k.

    >>> Spread(kernel=4, stride=2, padding=1).sources(np.array([5])).tolist()
    [2, 3]
    """

    kernel: int
    stride: int
    padding: int = 0
    rate: int = 1

    @property
    def scale(self) -> Fraction:
        """What one step is worth."""
        return Fraction(1, self.stride)

    def sources(self, positions: Positions) -> Positions:
        """Return what these positions are written by; nothing where the taps leave gaps."""
        reached = positions[:, None] + self.padding - self.rate * np.arange(self.kernel)
        return np.unique(reached[reached % self.stride == 0] // self.stride)


@dataclass(frozen=True)
class Resized:
    """Interpolation: position j lies at `j * scale + start`, and reads the `taps` around it where it falls between two.

    Where it falls on a position it reads that one, whose weight is 1.

    >>> Resized(Fraction(1, 4)).sources(np.array([8, 9])).tolist()
    [2, 3]
    """

    scale: Fraction
    start: Fraction = Fraction(0)
    taps: tuple[int, ...] = (0, 1)

    def sources(self, positions: Positions) -> Positions:
        """Return what these positions read, in order."""
        parts = self.scale.denominator * self.start.denominator
        places = positions * int(self.scale * parts) + int(self.start * parts)
        below, between = places // parts, places % parts != 0
        around = below[between][:, None] + np.asarray(self.taps)
        return np.unique(np.concatenate([below[~between], around.ravel()]))


@dataclass(frozen=True)
class Cells:
    """Pooling to a fixed number of cells: cell j of `cells` reads from `j * side / cells` to the end of its share.

    >>> Cells(side=7, cells=3).sources(np.array([1])).tolist()
    [2, 3, 4]
    """

    side: int
    cells: int

    @property
    def scale(self) -> Fraction:
        """What one step is worth."""
        return Fraction(self.side, self.cells)

    def sources(self, positions: Positions) -> Positions:
        """Return what these cells read, in order."""
        ends = -(-(positions + 1) * self.side // self.cells)
        spans = [np.arange(first, end) for first, end in zip(positions * self.side // self.cells, ends, strict=True)]
        return np.unique(np.concatenate(spans)) if spans else positions


Reads = Window | Spread | Resized | Cells


def enlarged(entering: int, leaving: int, taps: tuple[int, ...], *, corners: bool, factor: float | None) -> Resized:
    """Return how a side of `entering` positions is interpolated to `leaving`, corner on corner or cell on cell.

    `factor` is the enlargement where it was given in place of a size.

    >>> enlarged(33, 129, (0, 1), corners=True, factor=None).scale
    Fraction(1, 4)
    """
    if corners:
        return Resized(Fraction(entering - 1, max(1, leaving - 1)), taps=taps)
    scale = 1 / Fraction(factor).limit_denominator(10_000) if factor else Fraction(entering, leaving)
    return Resized(scale, (scale - 1) / 2, taps)
