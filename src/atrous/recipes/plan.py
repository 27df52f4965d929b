"""What a plan is made of: the machine it is for, its choices with their reasons, and the recipe they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from atrous.contract import Recipe

Kind = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is to train on: `memory` in bytes for each of `processes`, and whether bfloat16 is fast.

    Raises `ValueError` for another kind, and for numbers below 1.
    """

    kind: Kind
    memory: int
    cores: int = 1
    bfloat16: bool = False
    processes: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "cuda", "mps"):
            raise ValueError(f"kind {self.kind!r} came; cpu, cuda or mps is accepted")
        for name in ("memory", "cores", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} came; 1 or more is accepted")


@dataclass(frozen=True)
class Choice:
    """One setting of the recipe, why it has its value, and whether it was `given` by the caller."""

    setting: str
    value: Any
    reason: str
    given: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe for a dataset on a machine: `choices` in the order of its fields, and `notes` on what was left.

    `data` says in numbers what was planned for, `steps` how many the run takes, and `memory` about how many bytes a
    step takes in each process.
    """

    recipe: Recipe
    choices: tuple[Choice, ...]
    machine: Machine
    data: Mapping[str, Any]
    steps: int
    memory: int
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the plan as what JSON holds: dicts, lists, strings and numbers."""
        return {
            "data": dict(self.data),
            "machine": asdict(self.machine),
            "steps": self.steps,
            "memory": self.memory,
            "choices": [{**asdict(each), "value": _plain(each.value)} for each in self.choices],
            "notes": list(self.notes),
            "recipe": {name: _plain(value) for name, value in asdict(self.recipe).items()},
        }

    def as_text(self) -> str:
        """Return the plan as lines for a terminal: a setting, its value and the reason, in columns."""
        rows = [(each.setting, shown(each.value), each.reason) for each in self.choices]
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{setting:<{wide[0]}}  {value:<{wide[1]}}  {reason}" for setting, value, reason in rows]
        return "\n".join([self._head(), *lines, *self.notes])

    def _head(self) -> str:
        machine, data = self.machine, self.data
        many = f", {machine.processes} processes" if machine.processes > 1 else ""
        cores = f" of {machine.cores} core{'s' * (machine.cores > 1)}" if machine.kind == "cpu" else ""
        return (
            f"plan for {data['train']:,} training images of {shown(tuple(data['size']))} and {data['classes']} classes "
            f"on {machine.kind}{cores}{many}: {self.steps:,} steps, about {gigabytes(self.memory)} of "
            f"{gigabytes(machine.memory)}"
        )


def gigabytes(count: int) -> str:
    """Return bytes as words.

    >>> gigabytes(2_340_000_000)
    '2.3 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def shown(value: Any) -> str:
    """Return a setting's value as its flag takes it.

    >>> shown((256, 336)), shown((0.7, 1.4)), shown({"norm": "group"})
    ('256x336', '0.7 to 1.4', 'norm=group')
    """
    if isinstance(value, dict):
        return " ".join(f"{name}={each}" for name, each in value.items()) or "none"
    if isinstance(value, tuple) and len(value) == 2:
        whole = all(isinstance(each, int) for each in value)
        return "x".join(map(str, value)) if whole else " to ".join(f"{each:g}" for each in value)
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
