"""Which parts of a network are its stages: what a paper's figure would draw, found from the calls of its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, pairwise
from math import prod

from torch import nn

from atrous.layers.followed import Call, Followed, Output, Pair

SPAN = 8
"""A part whose stride changes as much within it is opened: it holds stages, and is none."""


@dataclass(frozen=True)
class Part:
    """Calls, by their number, that make one stage, after those of the pools before it and the norms behind it."""

    path: str
    calls: tuple[int, ...]
    sources: tuple[int, ...]
    output: Output
    beside: tuple[int, ...] = ()

    @property
    def all_calls(self) -> tuple[int, ...]:
        """Its calls and those that were added to it."""
        return tuple(sorted((*self.calls, *self.beside)))


def parts_of(net: nn.Module, followed: Followed, works: Callable[[int], bool]) -> list[Part]:
    """Return the stages in the order they ran; `works` says of a call whether it multiplies.

    Parts that span several strides, such as an encoder, are opened. Pools go with the stage behind them, norms and
    activations with the stage before them. Units of a list, such as the blocks of an encoder, are one stage where
    their maps have one size.
    """
    root = len(followed.calls) - 1
    found = list(_opened(net, followed, root, works))
    return _named_once(_units_joined(_folded(found, followed, works), followed))


def _opened(net: nn.Module, followed: Followed, call: int, works: Callable[[int], bool]) -> Iterator[Part]:
    inner = [each for each in _direct(followed, call) if followed.calls[each].outputs]
    working = [each for each in inner if works(each)]
    if len(set(_paths(followed, working))) == 1 and not followed.calls[call].path:
        for each in inner:  # a wrapper around one network, called once or at several scales
            if each in working and _direct(followed, each):
                yield from _opened(net, followed, each, works)
            else:
                yield _part(followed, followed.calls[each].path, [each])
        return
    for path, calls in _grouped(net, followed, inner):
        if _is_chain(followed, calls) and _span(followed, calls) < SPAN:
            yield _part(followed, path, calls)
            continue
        for each in calls:
            if _span(followed, [each]) >= SPAN and any(works(within) for within in _direct(followed, each)):
                yield from _opened(net, followed, each, works)
            else:
                yield _part(followed, followed.calls[each].path, [each])


def _paths(followed: Followed, calls: Sequence[int]) -> list[str]:
    return [followed.calls[call].path for call in calls]


def _direct(followed: Followed, call: int) -> list[int]:
    """Return the calls made by this one itself, in order."""
    found, index = [], call - 1
    while index >= followed.calls[call].began:
        found.append(index)
        index = followed.calls[index].began - 1
    return found[::-1]


def _grouped(net: nn.Module, followed: Followed, calls: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield the calls by the list that holds their modules, since a list is not called itself."""

    def owner(call: int) -> str:
        path = followed.calls[call].path
        parent = path.rpartition(".")[0]
        listed = parent and isinstance(net.get_submodule(parent), nn.ModuleList | nn.Sequential)
        return parent if listed and not any(each.path == parent for each in followed.calls) else path

    for path, group in groupby(calls, owner):
        yield path, list(group)


def _is_chain(followed: Followed, calls: Sequence[int]) -> bool:
    """Say whether each call takes what the one before returned."""
    return all(
        set(followed.calls[after].sources) & {output.place.node for output in followed.calls[before].outputs}
        for before, after in pairwise(calls)
    )


def _span(followed: Followed, calls: Sequence[int]) -> Fraction:
    """Return how many times the stride changes between what enters and what leaves."""
    first, last = followed.calls[calls[0]], followed.calls[calls[-1]]
    entering = [followed.nodes[source].stride[0] for source in first.sources]
    leaving = [followed.nodes[output.place.node].stride[0] for output in last.outputs if output.place.axes]
    if not entering or not leaving:
        return Fraction(1)
    return max(max(leaving) / min(entering), max(entering) / min(leaving))


def _part(followed: Followed, path: str, calls: Sequence[int]) -> Part:
    outputs = followed.calls[calls[-1]].outputs
    maps = [output for output in outputs if output.place.axes is not None]
    return Part(path, tuple(calls), followed.calls[calls[0]].sources, (maps or outputs)[0])


def stages_read(parts: Sequence[Part], followed: Followed, sources: Sequence[int]) -> list[int]:
    """Return which stages nodes come from, in order; -1 is the image."""
    owners = {
        node: number
        for number, part in enumerate(parts)
        for call in part.all_calls
        for node in range(followed.calls[call].first, followed.calls[call].end)
    }
    waiting, met, found = list(sources), set(), set()
    while waiting:
        node = waiting.pop()
        if node in met:
            continue
        met.add(node)
        if node in owners or node == 0:
            found.add(owners.get(node, -1))
        else:
            waiting += [edge.source for edge in followed.nodes[node].edges]
    return sorted(found)


# What goes with which ------------------------------------------------------------------------------------------------


def _folded(parts: Sequence[Part], followed: Followed, works: Callable[[int], bool]) -> list[Part]:
    """Add what does not multiply to the stage behind it where it looks around or resizes, else to the one before."""
    found: list[Part] = []
    waiting: list[Part] = []
    for part in parts:
        if any(works(call) for call in part.calls):
            beside = tuple(call for each in waiting for call in each.calls)
            sources = next((each.sources for each in waiting if each.sources), part.sources)
            found.append(replace(part, sources=sources, beside=beside))
            waiting = []
        elif _looks_around(part, followed):
            waiting.append(part)
        elif found and not waiting:
            found[-1] = replace(found[-1], beside=(*found[-1].beside, *part.calls))
        elif waiting:
            waiting.append(part)
    return [*found, *waiting]


def _looks_around(part: Part, followed: Followed) -> bool:
    calls: list[Call] = [followed.calls[call] for call in part.calls]
    made = [followed.nodes[index] for call in calls for index in range(call.first, call.end)]
    means = part.output.place.axes is None
    sizes = {followed.nodes[source].size for source in part.sources}
    return means or any(node.kernel != (1, 1) or node.size not in sizes for node in made)


def _units_joined(parts: Sequence[Part], followed: Followed) -> list[Part]:
    """Join neighbours of one list whose maps have the same size and channels."""

    def kind(part: Part) -> object:
        parent, _, last = part.path.rpartition(".")
        if not last.isdigit():
            return part
        return parent, size_of(part.output, followed), channels_of(part.output)

    joined = []
    for _, group in groupby(parts, kind):
        each = list(group)
        first, last = each[0], each[-1]
        path = first.path if len(each) == 1 else f"{first.path}-{last.path.rpartition('.')[2]}"
        calls = tuple(call for part in each for call in part.calls)
        beside = tuple(call for part in each for call in part.beside)
        joined.append(Part(path, calls, first.sources, last.output, beside))
    return joined


def _named_once(parts: Sequence[Part]) -> list[Part]:
    """Number the stages that run more than once."""
    paths = [part.path for part in parts]
    return [
        replace(part, path=f"{part.path} ({paths[:index].count(part.path) + 1})")
        if paths.count(part.path) > 1
        else part
        for index, part in enumerate(parts)
    ]


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the last word of each path, with as many before it as make it a name of its own.

    >>> short_names(["encoder.body.layer1", "encoder.body.blocks.3-18", "aspp", "head.aspp"])
    ['layer1', 'blocks.3-18', 'aspp', 'head.aspp']
    """
    names = []
    for path in paths:
        words = path.split(".")
        kept = 2 if words[-1][:1].isdigit() and len(words) > 1 else 1
        short = ".".join(words[-kept:])
        while kept < len(words) and any(other != path and f".{other}".endswith(f".{short}") for other in paths):
            kept += 1
            short = ".".join(words[-kept:])
        names.append(short)
    return names


def size_of(output: Output, followed: Followed) -> Pair:
    """Return the (h, w) of a stage's map; that of a mean is (1, 1)."""
    return followed.nodes[output.place.node].size if output.place.axes else (1, 1)


def channels_of(output: Output) -> int:
    """Return how many values each position of a stage's map has."""
    dimensions = range(-len(output.shape) + 1, 0)
    if output.place.axes is None:
        return prod(output.shape[1:])
    return prod(output.shape[each] for each in dimensions if each not in output.place.axes)
