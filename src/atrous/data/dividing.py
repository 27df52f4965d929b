"""Pairs divided into splits, by the names of their folders or by the lists beside them, each in one split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.found import Found, Problem
from atrous.data.images import is_mask_name
from atrous.data.lists import Endings, lines_of, slashed, split_lists
from atrous.data.names import composed, image_core, mask_core, split_of
from atrous.data.pairs import Matched, Pair, named, path_below, without_suffix
from atrous.data.parts import Source, path_of

_OWNERS = ("val", "test", "train")


def apart(found: Found) -> Found:
    """Return what was found with every image in one split only: in `val`, else in `test`, so that no score is of what
    was learnt; each that was in another too is a problem of the kind `in-two-splits`.
    """
    owner: dict[Source, str] = {}
    for split in (*_OWNERS, *(name for name in found.splits if name not in _OWNERS)):
        for pair in found.splits.get(split, Matched(())).pairs:
            owner.setdefault(pair.image, split)
    splits, problems = {}, []
    for split, matched in found.splits.items():
        splits[split] = replace(matched, pairs=tuple(pair for pair in matched.pairs if owner[pair.image] == split))
        problems += [
            Problem("in-two-splits", path_of(pair.image), f"in {split} and in {owner[pair.image]}; kept in the latter")
            for pair in matched.pairs
            if owner[pair.image] != split
        ]
    return replace(found, splits=splits, problems=(*found.problems, *problems)) if problems else found


def without_empty(found: Found) -> Found:
    """Return what was found without a `val` or `test` that holds nothing, with a note of each."""
    empty = [split for split in ("val", "test") if found.splits.get(split) == Matched(())]
    splits = {split: each for split, each in found.splits.items() if split not in empty}
    notes = (f"{split} holds nothing, as if it were not there" for split in empty)
    return replace(found, splits=splits, notes=(*found.notes, *notes)) if empty else found


def divided(root: Path, found: Matched) -> Found:
    """Return the pairs by the first folder below `root` that is named after a split, else as `by_lists` does.

    What is in no such folder is in `train`; in `test` an image may be without mask.
    """
    paths = [path_of(pair.image) for pair in found.pairs]
    if not any(_split(root, path) for path in paths):
        return by_lists(root, found)
    return Found(
        {split: each for split in ("train", "val", "test") if (each := _part(root, found, split)) != Matched(())}
    )


def _part(root: Path, found: Matched, split: str) -> Matched:
    def ours(path: Path) -> bool:
        return (_split(root, path) or "train") == split

    pairs = tuple(pair for pair in found.pairs if ours(path_of(pair.image)))
    images = tuple(filter(ours, found.images_alone))
    if split == "test":
        pairs, images = (*pairs, *(named(root, path, None) for path in images)), ()
    doubles = tuple(double for double in found.doubles if ours(double[0]))
    return Matched(pairs, images, tuple(filter(ours, found.masks_alone)), doubles)


def _split(root: Path, path: Path) -> str | None:
    folders = path.relative_to(root).parent.parts if path.is_relative_to(root) else ()
    return next((split for split in map(split_of, folders) if split is not None), None)


def by_lists(root: Path, found: Matched) -> Found:
    """Return the pairs in the splits that the lists of `root` make, all in `train` where there are none.

    Every line names an image or a mask, with or without folders and suffix; what follows a tab or comma is not needed.
    Where only `val` is listed, the rest is `train`.
    """
    lists = split_lists(root)
    if not lists:
        return Found({"train": found})
    search = _Search(root, found)
    splits = {split: search.matched(path) for split, path in lists.items()}
    if found.pairs and not any(each.pairs for each in splits.values()):
        raise _nothing_listed(root, lists, splits, len(found.pairs))
    taken = {split: set(matched.pairs) for split, matched in splits.items()}
    left = tuple(pair for pair in found.pairs if not any(pair in pairs for pairs in taken.values()))
    notes: tuple[str, ...] = ()
    if "train" not in splits:
        splits["train"], left = Matched(left), ()
    elif left:
        notes = (f"left out, since in no list: {len(left):,} of the pairs, first {left[0].name}",)
    first = splits["train"]
    splits["train"] = replace(
        first, images_alone=found.images_alone, masks_alone=found.masks_alone, doubles=found.doubles
    )
    return Found({split: each for split, each in splits.items() if each != Matched(())}, notes=notes, spare=left)


def _nothing_listed(root: Path, lists: Mapping[str, Path], splits: Mapping[str, Matched], count: int) -> AtrousError:
    names = " and ".join(path_below(root, path) for path in lists.values())
    first = next((name for each in splits.values() for name in each.missing), "none at all")
    return AtrousError(
        f"{root}: nothing in {names} names one of the {count:,} pairs of images and masks; the first name is {first}. "
        "Correct the lists, or move them away.",
        kind="listed-missing",
    )


class _Search:
    """The pairs of a folder, to be found by what a list's line says."""

    def __init__(self, root: Path, found: Matched) -> None:
        self._pairs: dict[str, set[Pair]] = defaultdict(set)
        for pair in found.pairs:
            for source, core in ((pair.image, image_core), (pair.mask, mask_core)):
                if source is not None:
                    name = composed(without_suffix(path_below(root, path_of(source))))
                    self._pairs[name].add(pair)
                    self._pairs[core(name)].add(pair)
        self._names = Endings(self._pairs)
        self._alone = Endings(composed(without_suffix(path_below(root, path))) for path in found.images_alone)

    def matched(self, path: Path) -> Matched:
        """Return the pairs that a list names, each once, in the list's order."""
        pairs: dict[Pair, None] = {}
        missing = []
        for line in lines_of(path):
            pair = self._pair(line)
            if pair is not None:
                pairs[pair] = None
            elif not line.startswith("#") and not any(self._alone.find(name) for name in _meant(line)):
                missing.append(_meant(line)[0])
        return Matched(tuple(pairs), missing=tuple(missing))

    def _pair(self, line: str) -> Pair | None:
        for name in _meant(line):
            found: set[Pair] = set()
            for known in self._names.find(name):
                found |= self._pairs[known]
                if len(found) > 1:
                    break
            if len(found) == 1:
                return found.pop()
        return None


def _meant(line: str) -> tuple[str, ...]:
    """Return the names that a line may mean: all of it, or its first column; without suffix."""
    columns = line.replace(",", "\t").split("\t")[0]
    names = (line, columns, line.split(maxsplit=1)[0]) if len(columns) == len(line) else (columns, line)
    return tuple(dict.fromkeys(_bare(slashed(name)) for name in names if name.strip()))


def _bare(name: str) -> str:
    return without_suffix(name) if is_mask_name(name) else name
