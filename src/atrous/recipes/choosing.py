"""A recipe while it is chosen: what was given is kept, and every choice noted with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from atrous.contract import Recipe
from atrous.recipes.plan import Choice
from atrous.recipes.starting import standard


class Choices:
    """The recipe as far as it has been chosen; what was given is kept, and the rest noted with its reason."""

    def __init__(self, given: Mapping[str, Any], model: str) -> None:
        wishes = {name: given[name] for name in ("encoder", "pretrained") if name in given}
        self.start = standard(given.get("model", model), **wishes)
        options = {**self.start.options, **(given.get("options") or {})}
        self.recipe = replace(self.start, **{**given, "options": options})
        self.given, self.made = given, dict[str, Choice]()

    def choose(self, setting: str, value: Any, reason: str) -> None:
        """Set one setting, unless it was given."""
        if setting not in self.given:
            self.recipe = replace(self.recipe, **{setting: value})
        self.note(setting, reason)

    def note(self, setting: str, reason: str) -> None:
        """Note why a setting has the value it has."""
        given = setting in self.given
        self.made[setting] = Choice(setting, getattr(self.recipe, setting), "given" if given else reason, given)

    def all(self) -> tuple[Choice, ...]:
        """Return all choices, and what was given beside them, in the order of the recipe."""
        for name in self.given:
            if name not in self.made:
                self.note(name, "given")
        order = [field.name for field in fields(Recipe)]
        return tuple(sorted(self.made.values(), key=lambda each: order.index(each.setting)))
