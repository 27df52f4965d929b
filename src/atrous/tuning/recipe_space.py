"""What a search of recipes may change: fields of `Recipe`, each with a range or with choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import sqrt
from typing import Any

from atrous.contract import Recipe
from atrous.store import explained

_NOT_SEARCHED = {
    "seed": "is luck and no setting",
    "deterministic": "changes no score that can be relied on",
    **dict.fromkeys(
        ("epochs", "steps", "validate_every", "patience"), "would make trials of different length, which do not compare"
    ),
    **dict.fromkeys(("options", "freeze"), "is not one value; give it to all trials by its flag"),
}
_MAY_BE_NONE = ("encoder", "output_stride")
_NUMBERS = {
    field.name
    for field in fields(Recipe)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
}
_WHOLE = {field.name for field in fields(Recipe) if isinstance(field.default, int)}
_LOG_FROM = 10


@dataclass(frozen=True, kw_only=True)
class Between:
    """Numbers from `low` to `high`, both included; drawn by their logarithm where `log`, integers where `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' (log)' if self.log else ''}"

    def holds(self, value: Any) -> bool:
        """Return whether a value of the recipe lies in it."""
        return bool(self.low <= value <= self.high)

    def rounded(self, value: float) -> float:
        """Return a drawn number with three digits, as a person would write it, where that still lies in the range."""
        short = float(f"{value:.3g}")
        return short if self.low <= short <= self.high else value


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Some values of a field, and the words for them that a study stores."""

    words: tuple[str, ...]
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(self.words)

    def holds(self, value: Any) -> bool:
        """Return whether a value of the recipe is one of them."""
        return value in self.values


Space = Mapping[str, Between | Choice]
"""The fields that a search changes, and what each may be."""


def space_around(recipe: Recipe) -> dict[str, Between | Choice]:
    """Return what is searched where nothing is said: the rates and what depends most on the data.

    A decade of learning rates around the recipe's, two of weight decay, the trunk's share of the rate, how crops are
    varied and where they lie, an overlap loss beside the recipe's, weights of classes, and averaged weights. The
    recipe's own values are in it.

    >>> print(space_around(Recipe(learning_rate=0.01))["learning_rate"])
    0.00316228..0.0316228 (log)
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay or 1e-4
    losses = (recipe.loss, *(f"{recipe.loss}+{name}" for name in ("dice", "lovasz") if name not in recipe.loss))
    low = min(0.1, recipe.encoder_rate) if recipe.encoder_rate > 0 else 0.0
    return {
        "learning_rate": Between(low=rate / sqrt(10), high=rate * sqrt(10), log=True),
        "weight_decay": Between(low=decay / 10, high=decay * 10, log=True),
        "encoder_rate": Between(low=low, high=max(1.0, recipe.encoder_rate), log=low > 0),
        "augment": _choice(recipe.augment, "flip", "light", "strong"),
        "crops": _choice(recipe.crops, "anywhere", "balanced"),
        "loss": _choice(*losses),
        "class_weights": _choice(recipe.class_weights, "none", "root"),
        "ema": _choice(recipe.ema, 0.0, 0.999),
    }


def _choice(*values: Any) -> Choice:
    kept = tuple(dict.fromkeys(values))
    return Choice(words=tuple(map(word, kept)), values=kept)


def space_of(searches: Sequence[str], recipe: Recipe) -> dict[str, Between | Choice]:
    """Return the space that `NAME=A..B` and `NAME=a,b,c` say, each checked against the recipe.

    A range is drawn by its logarithm where B is ten times A or more, and of integers where the field is. Sizes are
    256 or 256x336, several numbers of one value are joined by colons, as in scale=0.5:2,1:1.

    Raises `ValueError` for a field that is not known, with the nearest name, for one that is not searched, and for
    values that the recipe refuses.

    >>> {name: str(each) for name, each in space_of(["learning_rate=0.001..0.1", "crop=128,256"], Recipe()).items()}
    {'learning_rate': '0.001..0.1 (log)', 'crop': '128, 256'}
    """
    space: dict[str, Between | Choice] = {}
    for text in searches:
        name, equals, rest = (part.strip() for part in text.partition("="))
        if not equals or not rest:
            raise ValueError(f"search {text!r}: NAME=A..B or NAME=a,b,c is accepted, such as learning_rate=0.001..0.1")
        _refuse_name(name, text)
        if name in space:
            raise ValueError(f"search {text!r}: {name} came twice; give all its values at once")
        space[name] = _range(name, rest, text, recipe) if ".." in rest else _choices(name, rest, text, recipe)
    return space


def _refuse_name(name: str, text: str) -> None:
    known = [field.name for field in fields(Recipe) if field.name not in _NOT_SEARCHED]
    if name in _NOT_SEARCHED:
        raise ValueError(f"search {text!r}: {name} {_NOT_SEARCHED[name]}")
    if name not in known:
        near = get_close_matches(name.replace("-", "_"), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"search {text!r}: the recipe has no field {name!r}; {hint}")


def _range(name: str, rest: str, text: str, recipe: Recipe) -> Between:
    if name not in _NUMBERS:
        raise ValueError(f"search {text!r}: {name} is not one number; give choices, as in {name}=a,b,c")
    ends = [part.strip() for part in rest.split("..")]
    if len(ends) != 2 or "," in rest:
        raise ValueError(f"search {text!r}: a range is A..B, such as learning_rate=0.001..0.1")
    low, high = (_checked(name, end, text, recipe) for end in ends)
    if low >= high:
        advice = "give the smaller number first" if low > high else "a range has two different ends"
        raise ValueError(f"search {text!r}: from {low:g} to {high:g} is no range; {advice}")
    return Between(low=low, high=high, log=low > 0 and high / low >= _LOG_FROM, whole=name in _WHOLE)


def _choices(name: str, rest: str, text: str, recipe: Recipe) -> Choice:
    values = [_checked(name, part.strip(), text, recipe) for part in rest.split(",")]
    if len(set(values)) != len(values):
        raise ValueError(f"search {text!r}: a value came twice")
    if len(values) < 2:
        raise ValueError(f"search {text!r}: one value is no choice; give it to all trials by its flag")
    if name == "model":
        _refuse_unknown_models(values, text)
    return _choice(*values)


def _refuse_unknown_models(values: Sequence[str], text: str) -> None:
    from atrous.models import TABLE

    for value in values:
        if value not in TABLE:
            near = get_close_matches(value, list(TABLE), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TABLE)}"
            raise ValueError(f"search {text!r}: no model {value!r}; {hint}")


def _checked(name: str, part: str, text: str, recipe: Recipe) -> Any:
    """Return a value as the recipe has it, once the recipe has taken it."""
    try:
        return getattr(replace(recipe, **{name: value_of(name, part)}), name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"search {text!r}: {explained(error)}") from error


def value_of(name: str, text: str) -> Any:
    """Return what a word means for a field: a number, yes or no, several numbers, a size, or the word.

    >>> value_of("crop", "256x336"), value_of("scale", "0.5:2"), value_of("augment", "flip")
    ((256, 336), (0.5, 2), 'flip')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() == "none" and name in _MAY_BE_NONE:
        return None
    if name == "crop" and re.fullmatch(r"\d+x\d+", text):
        return tuple(int(part) for part in text.split("x"))
    numbers = [_number(part) for part in text.split(":")]
    if any(number is None for number in numbers):
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def word(value: Any) -> str:
    """Return a value of the recipe as a word that `value_of` reads.

    >>> word((256, 256)), word((0.5, 2.0)), word(0.999), word(None)
    ('256', '0.5:2', '0.999', 'none')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        if value and all(isinstance(each, int) for each in value):
            return str(value[0]) if len(set(value)) == 1 else "x".join(map(str, value))
        return ":".join(map(word, value))
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def parameters_of(space: Space, recipe: Recipe) -> dict[str, Any] | None:
    """Return the recipe itself as a point of the space, None where it lies outside.

    >>> parameters_of(space_of(["crop=128,256"], Recipe()), Recipe())
    {'crop': '256'}
    """
    found = {}
    for name, each in space.items():
        value = getattr(recipe, name)
        if not each.holds(value):
            return None
        found[name] = value if isinstance(each, Between) else each.words[each.values.index(value)]
    return found
