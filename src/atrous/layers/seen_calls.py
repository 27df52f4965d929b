"""One call of torch as its rule sees it, and what every rule may need: maps that meet, and means of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from atrous.layers.followed import Edge, Followed, Node, Place
from atrous.layers.reading import SAME, Reads, Window

MAP = (-2, -1)
BOTH = (SAME, SAME)


class Seen:
    """One call as its rule sees it: arguments by name, the result, the places of the maps among the arguments."""

    def __init__(self, followed: Followed, func: Any, given: dict[str, Any], result: Any, places: list[Place]) -> None:
        self.followed, self.func, self.given, self.places = followed, func, given, places
        self.result: Tensor = result[0] if isinstance(result, tuple | list) else result
        spatial = [place for place in places if place.axes is not None]
        self.place = spatial[0] if spatial else places[0]

    @property
    def axes(self) -> tuple[int, int]:
        """Where height and width are in the first map; only asked for where it has them."""
        return self.place.axes or MAP

    @property
    def node(self) -> Node:
        """The first map's node."""
        return self.followed.nodes[self.place.node]

    def refuse(self, why: str = "it is not known here which positions it reads") -> ValueError:
        """Return the error that names this call."""
        path, kind = self.followed.owners[-1]
        where = f"{path} ({kind})" if path else kind or "the module"
        return ValueError(f"{where} calls {self.func.overloadpacket}: {why}; its receptive field cannot be told")

    def windows(self, reads: tuple[Reads, Reads], size: Sequence[int] | None = None, **facts: Any) -> Place:
        """Return a new map of the result's size, or of `size`, that reads the first one so, and all of any mean."""
        node, axes = self.node, self.axes
        others = [place for place in self.places if place != self.place]
        if any(place.axes is not None for place in others):
            raise self.refuse()
        edges = [Edge(self.place.node, reads), *(Edge(place.node, None) for place in others)]
        stride = (node.stride[0] * reads[0].scale, node.stride[1] * reads[1].scale)
        size = size or [self.result.shape[axis] for axis in axes]
        return Place(self.followed.add(size, stride, edges, **facts), axes)

    def moved(self, axes: tuple[int, int]) -> Place:
        """Return the same map with its height and width elsewhere."""
        return self.place._replace(axes=axes)

    def along(self, dimension: int) -> int:
        """Return a dimension of the first argument, counted from the last."""
        return dimension if dimension < 0 else dimension - self.given["self"].ndim


def together(seen: Seen) -> Place:
    """Position j reads position j of every map, and all of every mean."""
    return meeting(seen, tuple(seen.result.shape[axis] for axis in seen.axes))


def meeting(seen: Seen, size: Sequence[int]) -> Place:
    maps, flat = [place for place in seen.places if place.axes is not None], seen.place.flat
    if any(place[1:] != seen.place[1:] for place in maps):
        raise seen.refuse("its maps have height and width in different dimensions")
    written = seen.given.get("self")
    if seen.func._schema.is_mutable and len(seen.places) > 1 and isinstance(written, Tensor) and written._is_view():
        raise seen.refuse("it writes into a part of another map")
    if len(seen.places) == 1 and (flat or seen.node.size == size):
        return seen.place
    edges = [Edge(place.node, BOTH if flat else _spread_over(seen, place, size)) for place in maps]
    edges += [Edge(place.node, None) for place in seen.places if place.axes is None]
    node = seen.followed.add(seen.node.size if flat else size, seen.node.stride, edges)
    return seen.place._replace(node=node)


def _spread_over(seen: Seen, place: Place, size: Sequence[int]) -> tuple[Reads, Reads]:
    """Return how a map is read when it is broadcast: a side of 1 is read by all."""
    own = seen.followed.nodes[place.node].size
    rows, columns = (Window(step=0) if side == 1 != leaving else SAME for side, leaving in zip(own, size, strict=True))
    return rows, columns


def mean_of(seen: Seen) -> Place:
    """Whatever is computed from means alone reads all that they read."""
    if len(seen.places) == 1:
        return Place(seen.places[0].node, None)
    edges = [Edge(place.node, None) for place in seen.places]
    return Place(seen.followed.add((1, 1), seen.node.stride, edges), None)


def with_mean(seen: Seen) -> Place:
    """Position j reads position j, and through a statistic the whole map."""
    node = seen.node
    edges = [Edge(seen.place.node, BOTH), *(Edge(place.node, None) for place in seen.places)]
    return seen.place._replace(node=seen.followed.add(node.size, node.stride, edges))
