"""What was met on the way through a network: maps, what each reads, and the calls of modules that made them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

from atrous.layers.reading import Positions, Reads

Pair = tuple[int, int]
Sets = tuple[Positions, Positions]


class Edge(NamedTuple):
    """A node that is read, and how, down and across; without `reads` every position reads all of it."""

    source: int
    reads: tuple[Reads, Reads] | None


class Node(NamedTuple):
    """A map: its (h, w), how many pixels one step in it is worth, what it reads, and the convolution it came from."""

    size: Pair
    stride: tuple[Fraction, Fraction]
    edges: tuple[Edge, ...] = ()
    path: str = ""
    kernel: Pair = (1, 1)
    rate: Pair = (1, 1)


class Place(NamedTuple):
    """Which node a tensor is, and which of its dimensions, counted from the last, are height and width.

    Without `axes` every value of the tensor reads all of the node: it is a mean, or was computed from one. Where height
    and width are `flat`, they share dimensions with each other or with channels; `apart` is how far apart the positions
    of an axis are in its dimension.
    """

    node: int
    axes: Pair | None
    apart: Pair = (1, 1)
    flat: bool = False


class Output(NamedTuple):
    """A tensor that a module returned."""

    place: Place
    shape: tuple[int, ...]


class Call(NamedTuple):
    """One call of a module: its path, the nodes that entered it, and the tensors it returned.

    Within it the nodes from `first` on were made, up to `end`, and the calls from `began` on ended before this one.
    """

    path: str
    sources: tuple[int, ...]
    began: int
    first: int
    end: int
    outputs: tuple[Output, ...]


class Followed:
    """Everything that was met: `nodes` in the order they were made (0 is the image), `calls` as they ended."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.calls: list[Call] = []
        self.owners: list[tuple[str, str]] = [("", "")]
        """The modules whose forward is running, innermost last: path and class."""
        self._places: dict[int, tuple[Tensor, Place]] = {}  # the tensor is kept, so that its id stays its own

    def add(self, size: Sequence[int], stride: tuple[Fraction, Fraction], edges: Sequence[Edge], **facts: Any) -> int:
        """Add a node and return its number."""
        self.nodes.append(Node((size[0], size[1]), stride, tuple(edges), self.owners[-1][0], **facts))
        return len(self.nodes) - 1

    def put(self, tensor: Tensor, place: Place) -> None:
        """Say which node a tensor is."""
        self._places[id(tensor)] = tensor, place

    def place(self, tensor: Any) -> Place | None:
        """Return which node a tensor is; None where it does not come from the image."""
        found = self._places.get(id(tensor))
        return None if found is None else found[1]

    def placed(self, values: Any) -> list[Place]:
        """Return the places of all tensors in `values` that come from the image."""
        found = (self.place(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
        return [place for place in found if place is not None]

    def read(self, node: int, positions: Sets, since: int = 0) -> tuple[Sets | None, bool]:
        """Return the rows and columns of node `since` that positions of `node` read, and whether a mean reads it all.

        None in place of rows and columns where nothing but means leads there.
        """
        wanted, whole = {node: positions}, False
        for index in range(node, since, -1):
            for source, reads in self.nodes[index].edges if index in wanted else ():
                if reads is None:
                    whole = True
                    continue
                found = [each.sources(along) for each, along in zip(reads, wanted[index], strict=True)]
                if source in wanted:
                    found = [np.union1d(*pair) for pair in zip(found, wanted[source], strict=True)]
                wanted[source] = found[0], found[1]
        return wanted.get(since), whole
