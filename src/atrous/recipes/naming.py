"""The papers' recipes by name, and what is said of them: on the command line, and on the page of recipes."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

from atrous.contract import Recipe
from atrous.recipes.papers import TABLE
from atrous.recipes.papers.cited import PaperRecipe

_AUTO = "`atrous train DATA --recipe auto` works one out from the data and this machine, each choice with its reason."


def named(name: str, *, start: str | Path | None = None) -> Recipe:
    """Return the paper's recipe of that name.

    `start` is a run or a model folder: a later stage begins there and must have one, and in the others it takes the
    place of published weights.

    Raises `ValueError` for a name that is not known, with the nearest, and for a later stage without a `start`, with
    the recipe that comes first and the commands of both.

    >>> named("unet_isbi").momentum, named("fcn16s_voc", start="runs/fcn32s").pretrained
    (0.99, 'runs/fcn32s')
    """
    return paper(name)(start=start)


def described() -> list[dict[str, str | None]]:
    """Return a row per recipe: `name`, `summary`, `source`, and `after`, whose run it starts from, or None.

    >>> [row["after"] for row in described()[:3]]
    [None, 'fcn32s_voc', 'fcn16s_voc']
    """
    return [_row(recipe) for recipe in TABLE.values()]


def cited(name: str) -> dict[str, Any]:
    """Return a recipe's row of `described`, its `command`, and its `fields`: of each `name`, `value` and `source`.

    The fields are those that the recipe sets, in the order of `Recipe`; all others have `Recipe`'s defaults.

    Raises `ValueError` for a name that is not known.

    >>> cited("fcn16s_voc")["fields"][0]
    {'name': 'model', 'value': 'fcn16s', 'source': 'voc-fcn16s/net.py'}
    """
    recipe = paper(name)
    given = dict(recipe.cited)
    if recipe.after is not None:
        given["pretrained"] = f"a run of {recipe.after.name}", "the stage before"
    listed = [
        {"name": field.name, "value": given[field.name][0], "source": given[field.name][1]}
        for field in fields(Recipe)
        if field.name in given
    ]
    return {**_row(recipe), "command": recipe.command, "fields": listed}


def paper(name: str) -> PaperRecipe:
    """Return the recipe of that name before it is called; raises `ValueError`, with the nearest, for an unknown one."""
    plain = {_plain(each): each for each in TABLE}
    if name not in TABLE:
        near = get_close_matches(_plain(str(name)), plain, n=1)
        hint = f"did you mean {plain[near[0]]!r}? " if near else ""
        if _plain(str(name)) == "auto":
            raise ValueError(f"recipe {name!r} is no paper's. {_AUTO}")
        raise ValueError(f"recipe {name!r} is not known; {hint}`atrous recipes` lists all {len(TABLE)}")
    return TABLE[name]


def _row(recipe: PaperRecipe) -> dict[str, str | None]:
    after = None if recipe.after is None else recipe.after.name
    return {"name": recipe.name, "summary": recipe.summary, "source": recipe.source, "after": after}


def _plain(name: str) -> str:
    """Return a name as it is compared: papers write FCN-8s and DeepLab v3+."""
    return name.lower().replace("+", "plus").replace("-", "").replace("_", "").replace(" ", "")


def listed() -> str:
    """Return all recipes as text: under each source, their names and what they are; auto comes first."""
    blocks = [_AUTO]
    for source, rows in groupby(described(), key=lambda row: row["source"]):
        blocks.append("\n".join([f"{source}", *(f"  {row['name']:<36}{row['summary']}" for row in rows)]))
    return "\n\n".join(blocks)


def as_text(name: str) -> str:
    """Return what a recipe sets as text, a line per field: its name, its value and its source.

    Raises `ValueError` for a name that is not known.
    """
    recipe = cited(name)
    rows = [f"{field['name']:<16}{shown(field['value']):<27} {field['source']}" for field in recipe["fields"]]
    return "\n".join([recipe["summary"], recipe["source"], "", *rows, "", f"next: {recipe['command']}"])


def shown(value: Any) -> str:
    """Return a value as the command line takes it.

    >>> shown((1e-10, 0.5)), shown((500, 500)), shown({"at_once": True})
    ('1e-10 0.5', '500x500', 'at_once=true')
    """
    if isinstance(value, dict):
        return " ".join(f"{key}={shown(each)}" for key, each in value.items())
    if isinstance(value, tuple):
        whole = len(value) == 2 and all(isinstance(each, int) for each in value)
        return ("x" if whole else " ").join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
