"""A lattice as tables of rows, with which any array library filters by gathering rows and adding them up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from atrous._core import Lattice


@dataclass(frozen=True, eq=False)
class Tables:
    """`corners` (d + 1, points) are the rows of the vertices that a point's value is spread over and gathered from.

    `neighbours` (d + 1, 2, size + 1) are, on every axis, the rows before and behind each vertex. The last row of the
    vertices' values is 0 and stands for the neighbours that are missing: it is its own.
    """

    corners: NDArray[np.int64]
    neighbours: NDArray[np.int64]


def tables(lattice: Lattice) -> Tables:
    """Return the tables of a lattice, in which what lies in the private rows of a strip belongs to their owners.

    >>> from atrous._core import build_lattice
    >>> two = tables(build_lattice(np.float32([[[0, 0.1]]])))
    >>> two.corners.tolist(), two.neighbours[0].tolist()
    ([[0, 0], [1, 1]], [[1, 2, 2], [2, 0, 2]])
    """
    owned = np.append(np.arange(lattice.size), lattice.owners)
    neighbours = np.full((lattice.dimensions + 1, 2, lattice.size + 1), lattice.size)
    for axis, (start, end) in enumerate(pairwise(lattice.axes)):
        chain = lattice.chains[start:end]
        rows = np.where(chain < 0, ~chain, chain)
        linked = chain[:-1] >= 0
        first, second = rows[:-1][linked], rows[1:][linked]
        neighbours[axis, 0, second], neighbours[axis, 1, first] = first, second
    return Tables(np.ascontiguousarray(owned[lattice.vertices].T), neighbours)
