"""Where atrous rates harm: holes that never close (gridding), and kernels that have outgrown their map.

Gridding: successive atrous convolutions whose rates have a common divisor read a lattice of the map they start from,
and neighbouring outputs read different lattices. Rates such as 1, 2, 3 leave no holes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import gcd
from typing import Any

import numpy as np

from atrous.describing.stages import Part
from atrous.layers.followed import Followed, Node, Pair
from atrous.layers.rates import degenerate
from atrous.layers.reading import SAME


def gridding(name: str, part: Part, followed: Followed) -> str | None:
    """Return a sentence on the holes that a stage's atrous convolutions leave in the map they enter; None without."""
    chain = _longest_chain(part, followed)
    if len(chain) < 2 or not part.sources:
        return None
    last = followed.nodes[chain[-1]]
    middle = np.array([last.size[0] // 2]), np.array([last.size[1] // 2])
    found, _ = followed.read(chain[-1], middle, since=part.sources[0])
    if found is None:
        return None
    rows = found[0]
    extent = int(rows[-1] - rows[0]) + 1
    if len(rows) == extent:
        return None
    rates = [max(followed.nodes[index].rate) for index in chain]
    return (
        f"gridding: {name} has atrous convolutions of rates {_listed(rates)} in a row, whose common divisor is "
        f"{gcd(*rates)}: along each axis a position reads {len(rows)} of {extent} positions of the map that enters"
    )


def _listed(rates: Sequence[int]) -> str:
    """Return the rates, those that repeat as `2 (23 times)`."""
    runs = [(rate, len(list(run))) for rate, run in groupby(rates)]
    return ", ".join(f"{rate} ({count} times)" if count > 3 else ", ".join([str(rate)] * count) for rate, count in runs)


def _longest_chain(part: Part, followed: Followed) -> tuple[int, ...]:
    """Return the longest run of atrous convolutions, each reading the one before, whose rates share a divisor."""
    spans = [range(followed.calls[call].first, followed.calls[call].end) for call in part.calls]
    chains: dict[int, tuple[int, ...]] = {}
    for index in (index for span in spans for index in span):
        node = followed.nodes[index]
        if not _is_atrous(node):
            continue
        before = [chains[each] for each in _windows_before(index, followed) if each in chains]
        fitting = [
            chain for chain in before if gcd(*(max(followed.nodes[each].rate) for each in chain), max(node.rate)) > 1
        ]
        chains[index] = (*max(fitting, key=len, default=()), index)
    return max(chains.values(), key=len, default=())


def _is_atrous(node: Node) -> bool:
    return max(node.kernel) > 1 and max(node.rate) > 1


def _windows_before(index: int, followed: Followed) -> Iterator[int]:
    """Yield the nodes that look around, met first on every way back from this one."""
    waiting, met = [edge.source for edge in followed.nodes[index].edges], set()
    while waiting:
        each = waiting.pop()
        if each in met:
            continue
        met.add(each)
        node = followed.nodes[each]
        passing = [edge.source for edge in node.edges if edge.reads == (SAME, SAME)]
        if node.kernel == (1, 1) and passing:
            waiting += passing
        else:
            yield each


def outgrown(net: Any, size: Pair, named: Mapping[str, Part], followed: Followed) -> list[str]:
    """Return a sentence per stage whose atrous convolutions have outgrown the map that they read."""
    owners = {
        followed.calls[call].path: name.partition(" (")[0] for name, part in named.items() for call in part.all_calls
    }
    found: dict[str, list[tuple[int, int]]] = {}
    for each in degenerate(net, *size):
        owner = next((name for path, name in owners.items() if f"{each.name}.".startswith(f"{path}.")), each.name)
        found.setdefault(owner, []).append((each.rate, each.side))
    return [
        _outgrown(name, sorted({rate for rate, _ in pairs}), min(side for _, side in pairs))
        for name, pairs in found.items()
    ]


def _outgrown(name: str, rates: Sequence[int], side: int) -> str:
    several = "s" * (len(rates) > 1)
    return (
        f"degenerate rates: {name} has rate{several} {', '.join(map(str, rates))} on a map whose shorter side is "
        f"{side}; the outer taps of its kernels read only padding there, as if they were 1x1"
    )
