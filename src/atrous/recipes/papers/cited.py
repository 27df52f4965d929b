"""What a paper's recipe is: fields of `Recipe`, and where each of their values comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import Recipe

Cited = dict[str, tuple[Any, str]]
"""Fields of a recipe by name, each with its value and its source.

A source is a section of the paper or a file of its release. `ours` stands before what the paper does not say, or what
is done otherwise here; `not verified` before what could not be read in either.
"""


@dataclass(frozen=True, kw_only=True)
class PaperRecipe:
    """A paper's recipe: called, it returns the `Recipe`.

    `cited` has every field that is set, with its source. `after` is the recipe whose run this one starts from, where it
    is a later stage.
    """

    name: str
    summary: str
    source: str
    cited: Cited
    after: PaperRecipe | None = None

    def __call__(self, *, start: str | Path | None = None) -> Recipe:
        """Return the recipe; `start` is a run or a model folder, whose weights take the place of published ones.

        A later stage must have one. Any other recipe also takes a file of its encoder's weights.

        Raises `ValueError` for a later stage without a run to start from, naming the recipe that comes first and both
        commands, and `TypeError` for a `start` that is no path.
        """
        if start is not None and not isinstance(start, str | Path):
            raise TypeError(f"start {start!r} came; it is the path of a run or a model folder")
        if self.after is not None and (not start or Path(start).is_file()):
            came = f"the file {start} came" if start else "none came"
            raise ValueError(
                f"{self.name} starts from a run of {self.after.name}, and {came}: "
                f"first `{self.after.command}`, then `{self.command}`"
            )
        values = {field: value for field, (value, _) in self.cited.items()}
        return Recipe(**values if start is None else {**values, "pretrained": str(start)})

    @property
    def command(self) -> str:
        """The command that trains it, on a folder DATA, into `runs/` and its name."""
        start = f" --pretrained=runs/{self.after.name}" if self.after is not None else ""
        return f"atrous train DATA --recipe {self.name}{start} --out runs/{self.name}"


def paper_recipe(source: str, *, after: PaperRecipe | None = None) -> Callable[[Callable[[], Cited]], PaperRecipe]:
    """Make a recipe of a function that returns its cited fields: its name is the recipe's, its docstring the summary.

    >>> @paper_recipe("a paper")
    ... def unet_street() -> Cited:
    ...     "U-Net on streets."
    ...     return {"model": ("unet", "section 2")}
    >>> unet_street.name, unet_street().model
    ('unet_street', 'unet')
    """

    def made(fields: Callable[[], Cited]) -> PaperRecipe:
        summary = (fields.__doc__ or "").strip()
        return PaperRecipe(name=fields.__name__, summary=summary, source=source, cited=fields(), after=after)

    return made
