"""The categories of COCO's formats as classes: an id of any size, names that may repeat, and at most 255 in all.

Of several files the names say which categories are the same, since tools number them anew with each export.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, Colour, distinct_colours
from atrous.data.annotations import whole
from atrous.data.names import composed
from atrous.data.wishes import Wishes

_BACKGROUND = ("background", "_background_", "bg")


@dataclass(frozen=True)
class Category:
    """What a file says of a class."""

    name: str
    colour: Colour | None = None
    parent: str | None = None


@dataclass(frozen=True)
class Classes:
    """The classes in the order of their ids: `told`, and the `value` that each category id has in the masks."""

    told: Wishes
    value: Mapping[int, int]
    notes: tuple[str, ...] = ()


def read_categories(path: Path, entries: Any, known: dict[int, Category]) -> dict[int, int]:
    """Add the categories that a file lists to those that are `known`; return the known id of each id of the file.

    A name that is known, and that neither the file nor those before repeat, is the same category whatever its id.

    Raises `AtrousError` for an entry without whole id and name, and for an id that another file calls otherwise, unless
    the file lists that other name too.
    """
    listed = [_category(path, entry) for entry in (entries if isinstance(entries, list) else [entries])]
    ids: dict[str, set[int]] = defaultdict(set)
    for number, category in listed:
        ids[category.name].add(number)
    before: dict[str, list[int]] = defaultdict(list)
    for number, category in known.items():
        before[category.name].append(number)
    table: dict[int, int] = {}
    for number, category in listed:
        same = before[category.name]
        if number not in same and len(same) == len(ids[category.name]) == 1:
            table[number] = same[0]
        else:
            table[number] = _added(path, number, category, known, ids)
    return table


def renumbered_note(root: Path, path: Path, table: Mapping[int, int], known: Mapping[int, Category]) -> tuple[str, ...]:
    """Return the line that says which categories have other ids in a file than in those before, if any have."""
    others = [(number, same) for number, same in table.items() if number != same]
    if not others:
        return ()
    number, same = others[0]
    told = f"{len(others):,} of {len(table):,} categories have other ids than in other files"
    first = f"{known[same].name} is {number} here and {same} there" if same in known else ""
    return (f"{path.relative_to(root).as_posix()}: {told} ({first}): they are matched by name.",)


def _category(path: Path, entry: Any) -> tuple[int, Category]:
    number = whole(entry.get("id")) if isinstance(entry, dict) else None
    name = entry.get("name") if number is not None else None
    if number is None or not isinstance(name, str) or not name.strip():
        raise AtrousError(
            f"{path}: the category {str(entry)[:80]} came; each needs a whole number as id and a name. Correct it.",
            kind="broken-annotation",
        )
    parent = entry.get("supercategory")
    parent = composed(parent) if isinstance(parent, str) else None
    return number, Category(composed(name.strip()), _colour(entry.get("color")), parent)


def _added(
    path: Path, number: int, category: Category, known: dict[int, Category], ids: Mapping[str, Collection[int]]
) -> int:
    """Take a category into those that are known, and return its id, another where its own is taken."""
    first = known.setdefault(number, category)
    if first.name == category.name:
        return number
    if number in ids.get(first.name, (number,)):
        raise AtrousError(
            f"{path}: category {number} is {category.name!r} here, and {first.name!r} before. "
            "Give each id one name in all files, or read the files in folders of their own.",
            kind="broken-annotation",
        )
    free = 1 + max(*known, *(one for numbers in ids.values() for one in numbers))
    known[free] = category
    return free


def _colour(value: Any) -> Colour | None:
    numbers = [whole(item) for item in value] if isinstance(value, list) else []
    if len(numbers) != 3 or not all(number is not None and 0 <= number <= 255 for number in numbers):
        return None
    return (numbers[0] or 0, numbers[1] or 0, numbers[2] or 0)


def classes_of(root: Path, categories: Mapping[int, Category], used: Collection[int], *, background: bool) -> Classes:
    """Return the classes of categories, in the order of their ids, after the `background` where there is one.

    The value of a class in the masks is its id where ids run from 1 (with background, else 0) to 254; otherwise
    classes are numbered anew in the order of their ids. Unlabelled pixels are 0; where a category is called background,
    they are that category. A name that repeats is followed by its id. Of more than 255 classes those that no
    annotation uses are left out, as is a category that only names the group of others.

    Raises `AtrousError` for more than 255 classes that are used.
    """
    kept, notes = _kept(root, categories, used, background=background)
    own = next((number for number in kept if categories[number].name.lower() in _BACKGROUND), None)
    unlabelled = background and own is None
    least = 1 if unlabelled else 0
    keep_ids = all(least <= number <= 254 for number in kept)
    if own is not None and background:
        kept = [own, *(number for number in kept if number != own)]
        keep_ids = keep_ids and own == 0
    value = {number: number if keep_ids else index for index, number in enumerate(kept, start=least)}
    repeated = Counter(categories[number].name for number in kept)
    names = [_named(number, categories[number], repeated) for number in kept]
    colours = _colours([categories[number] for number in kept], unlabelled=unlabelled)
    values = tuple(value[number] for number in kept)
    first = _free("background", names)
    told = Wishes(
        classes=(first, *names) if unlabelled else tuple(names),
        values=(0, *values) if unlabelled else values,
        colours=colours,
    )
    return Classes(told, value, notes)


def _kept(
    root: Path, categories: Mapping[int, Category], used: Collection[int], *, background: bool
) -> tuple[list[int], tuple[str, ...]]:
    parents = {category.parent for number, category in categories.items() if category.parent != category.name}
    groups = [number for number in categories if number not in used and categories[number].name in parents]
    kept = sorted(set(categories) - set(groups))
    notes = [f"category {number} ({categories[number].name}) only names a group: left out." for number in groups]
    most = 255 - background
    if len(kept) > most:
        notes.append(f"{len(kept):,} categories are listed; those that no annotation uses are left out.")
        kept = [number for number in kept if number in used]
    if not kept or len(kept) > most:
        came = f"{len(kept):,} categories are used" if kept else "no categories are listed"
        raise AtrousError(
            f"{root}: {came}, and 1 to {most} are possible, since labels are one byte. Merge or remove categories.",
            kind="classes-unknown",
        )
    return kept, tuple(notes)


def _named(number: int, category: Category, repeated: Mapping[str, int]) -> str:
    return category.name if repeated[category.name] == 1 else f"{category.name} ({number})"


def _free(name: str, taken: Collection[str]) -> str:
    return name if name not in taken else f"{name} (unlabelled)"


def _colours(categories: list[Category], *, unlabelled: bool) -> tuple[Colour, ...] | None:
    """Return the colours, black for the background, where every category has one of its own."""
    colours = [category.colour for category in categories if category.colour is not None]
    if len(colours) < len(categories) or len(set(colours)) < len(colours):
        return None
    black = ((0, 0, 0),) if (0, 0, 0) not in colours else distinct_colours(1)
    return (*black, *colours) if unlabelled else tuple(colours)
