"""From a network to its description: it is run without values, and what was met is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from atrous.describing.cost import Cost, costs
from atrous.describing.description import Description, Stage
from atrous.describing.gridding import gridding, outgrown
from atrous.describing.stages import Part, channels_of, parts_of, short_names, size_of, stages_read
from atrous.layers.followed import Followed, Output, Pair
from atrous.layers.following import follow
from atrous.layers.probing import without_weights
from atrous.layers.receptive_field import field_of


def described(net: Any, size: Pair = (513, 513), in_channels: int = 3, *, name: str | None = None) -> Description:
    """Describe a network at an image size: a row per stage, totals, and warnings about its atrous rates.

    A size that the network's `geometry` does not take is enlarged to the next one that it takes, and a note says so.
    Nothing is computed: it runs on the meta device, in evaluation mode, and stays as it was. `name` is what the
    description calls it, by default its class.

    Raises `ValueError` for a size below 1, and where a call is met of which it is not known what it reads.

    >>> from atrous.models import unet
    >>> described(unet(2, in_channels=1, width=1 / 64), (188, 188), 1).stages[4].receptive_field
    (140, 140)
    """
    name = name or type(net).__name__
    taken = size_taken(net, size)
    bare = without_weights(net)
    run = _Run(bare, follow(bare, taken, in_channels)[0], costs(bare, taken, in_channels))
    parts = parts_of(bare, run.followed, run.works)
    names, counts = short_names([part.path for part in parts]), run.parameters(parts)
    reads = [[names[each] if each >= 0 else "image" for each in run.reads(parts, part)] for part in parts]
    rows = [run.row(*each) for each in zip(names, parts, counts, reads, strict=True)]
    rows += run.after(parts, names)
    named = dict(zip(names, parts, strict=True))
    total = sum(parameter.numel() for parameter in bare.parameters())
    return Description(
        name=name,
        size=taken,
        in_channels=in_channels,
        stages=tuple(rows),
        parameters=total,
        multiply_adds=run.costs[-1].multiply_adds,
        memory=run.costs[-1].memory,
        notes=(*_enlarged(name, size, taken), *_idle(bare, run.followed, total - sum(counts))),
        warnings=(*run.gridding(named), *outgrown(bare, taken, named, run.followed)),
    )


def size_taken(net: Any, size: Pair) -> Pair:
    """Return the smallest size that the network takes and that is not below `size`; `ValueError` for one below 1.

    >>> from atrous.models import unet
    >>> size_taken(unet(2, width=1 / 64), (513, 200))
    (524, 204)
    """
    if min(size) < 1:
        raise ValueError(f"size {size[0]} x {size[1]} came; both sides are 1 or more")
    geometry = getattr(net, "geometry", None)
    return size if geometry is None else (geometry.valid(size[0]), geometry.valid(size[1]))


def _enlarged(name: str, size: Pair, taken: Pair) -> list[str]:
    wished, had = (f"{each[0]} x {each[1]}" for each in (size, taken))
    return [] if size == taken else [f"{name} does not take {wished} pixels; described at the next size, {had}"]


def _idle(net: nn.Module, followed: Followed, count: int) -> list[str]:
    """Say which parameters no stage has: those of parts that only training runs."""
    ran = {call.path for call in followed.calls}
    names = [name for name, child in net.named_children() if name not in ran and not _ran_within(name, ran)]
    idle = [name for name in names if any(True for _ in net.get_submodule(name).parameters())]
    where = f", of {', '.join(idle)}" if idle else ""
    return [f"{count:,} parameters are in no stage{where}: this forward does not run them"] if count else []


def _ran_within(name: str, ran: set[str]) -> bool:
    return any(path.startswith(f"{name}.") for path in ran)


@dataclass(frozen=True)
class _Run:
    """A network of the meta device that ran once: what was met, and what each call costs."""

    net: nn.Module
    followed: Followed
    costs: Sequence[Cost]

    def works(self, call: int) -> bool:
        """Say whether a call multiplies."""
        return self.costs[call].multiply_adds > 0

    def parameters(self, parts: Sequence[Part]) -> list[int]:
        """Return how many parameters each stage has; those that several share count in the first."""
        counted: set[int] = set()
        counts = []
        for part in parts:
            modules = [self.net.get_submodule(self.followed.calls[call].path) for call in part.all_calls]
            own = {id(each): each.numel() for module in modules for each in module.parameters()}
            counts.append(sum(count for key, count in own.items() if key not in counted))
            counted |= own.keys()
        return counts

    def reads(self, parts: Sequence[Part], part: Part) -> list[int]:
        """Return the numbers of the stages that enter this one, -1 for the image."""
        entering = [source for call in part.calls for source in self.followed.calls[call].sources]
        number = parts.index(part)
        return [each for each in stages_read(parts, self.followed, [*part.sources, *entering]) if each < number]

    def row(self, name: str, part: Part, parameters: int, reads: Sequence[str]) -> Stage:
        """Return what is said of a stage."""
        spent = [self.costs[call] for call in part.all_calls]
        row = self._map(name, part.path, part.output)
        multiply_adds, memory = sum(each.multiply_adds for each in spent), sum(each.memory for each in spent)
        return replace(row, parameters=parameters, multiply_adds=multiply_adds, memory=memory, reads=tuple(reads))

    def after(self, parts: Sequence[Part], names: Sequence[str]) -> list[Stage]:
        """Return the row of the logits where the last stage's map is not yet what comes out: a sum, a mix or a crop."""
        last = self.followed.calls[-1].outputs
        same = {output.place.node for output in last} & {part.output.place.node for part in parts[-1:]}
        if same or not last or last[0].place.axes is None:
            return []
        reads = stages_read(parts, self.followed, [last[0].place.node])
        staged = sum(self.costs[call].multiply_adds for part in parts for call in part.all_calls)
        row = replace(self._map("logits", "", last[0]), multiply_adds=self.costs[-1].multiply_adds - staged)
        return [replace(row, reads=tuple(names[each] for each in reads if each >= 0))]

    def gridding(self, named: Mapping[str, Part]) -> Iterator[str]:
        """Yield a sentence per stage with holes; of one that runs at several scales the first is meant."""
        told: set[str] = set()
        for name, part in named.items():
            module = self.followed.calls[part.calls[0]].path
            sentence = None if module in told else gridding(name, part, self.followed)
            told.add(module)
            if sentence:
                yield sentence

    def _map(self, name: str, path: str, output: Output) -> Stage:
        field = field_of(self.followed, output.place)
        return Stage(
            name=name,
            path=path,
            size=size_of(output, self.followed),
            channels=channels_of(output),
            stride=float(max(field.stride)),
            receptive_field=field.size if len(field.rows) else None,
            whole=field.whole,
        )
