"""Splits by lists that the caller names: which images a list of any origin means, and what is left for the others."""

from __future__ import annotations

import logging
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.images import is_mask_name
from atrous.data.lists import Endings, is_file, slashed, text_of
from atrous.data.names import composed
from atrous.data.pairs import Pair, without_suffix
from atrous.data.parts import Source, path_of

Splits = dict[str, tuple[Pair, ...]]


def splits_by_lists(root: Path, splits: Splits, *, train: Path | None, val: Path | None) -> Splits:
    """Return the splits that the lists `train` and `val` make of the folder's own; without lists these.

    A list has an image on every line, by its path from the folder or from the list, by its whole path, that of another
    machine too, or by its name alone where there is one such; suffixes may be left out. Its mask's path means it too.
    The name of a volume is that of all its slices. A mask beside an image must be its own. Lines that begin with # are
    left out.

    With `train` only, `val` is the folder's own, or where it has none all that is not listed. With `val` only, `train`
    is all that is neither listed nor in the folder's own `val` or `test`. `test` keeps what no list names.

    Raises `AtrousError`, with the list and the line, for a list that cannot be read or holds nothing, for names that
    are not there or not of one image, for images without mask and masks of others, and for an image in both lists.
    """
    if train is None and val is None:
        return splits
    files = _Files(root, chain.from_iterable(splits.values()))
    lists = {name: files.read(path) for name, path in (("train", train), ("val", val)) if path is not None}
    _refuse_both(lists, train, val)
    chosen = {name: tuple(lines) for name, lines in lists.items()}
    named = set(chain.from_iterable(chosen.values()))
    own = {name: tuple(pair for pair in pairs if pair not in named) for name, pairs in splits.items()}
    if val is None:
        left = own["val"] if "val" in splits else own.get("train", ())
        chosen["val"] = _with_masks(left)
    elif train is None:
        chosen["train"] = _with_masks(own.get("train", ()))
        if not chosen["train"]:
            raise AtrousError(f"{val}: names all images of {root}, and none is left to train on. Name fewer.")
    if own.get("test"):
        chosen["test"] = own["test"]
    _tell(root, splits, chosen)
    return {name: chosen[name] for name in ("train", "val", "test") if chosen.get(name)}


def _with_masks(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple(pair for pair in pairs if pair.mask is not None)


def _refuse_both(lists: Mapping[str, Mapping[Pair, int]], train: Path | None, val: Path | None) -> None:
    if len(lists) < 2:
        return
    both = [pair for pair in lists["train"] if pair in lists["val"]]
    if both:
        more = f", and {len(both) - 1:,} more" if len(both) > 1 else ""
        raise AtrousError(
            f"{val}, line {lists['val'][both[0]]}: {both[0].name} is in {train}, line {lists['train'][both[0]]}, "
            f"too{more}. Take each image off one of the lists: what was learnt is no test."
        )


def _tell(root: Path, splits: Splits, chosen: Splits) -> None:
    """Log what the lists changed that their author may not know of."""
    log = logging.getLogger("atrous")
    for name in ("val", "test"):
        learnt = len(set(chosen["train"]) & set(splits.get(name, ())))
        if learnt:
            log.warning("%s: %s images of its own %s are trained on, as the list says", root, f"{learnt:,}", name)
    left = set(chain.from_iterable(splits.values())) - set(chain.from_iterable(chosen.values()))
    if left:
        first = min(pair.name for pair in left)
        log.warning("%s: left out, since in no list: %s of the images, first %s", root, f"{len(left):,}", first)
    groups = {name: {pair.group for pair in pairs if pair.group} for name, pairs in chosen.items()}
    if shared := groups["train"] & groups.get("val", set()):
        log.warning("%s: parts of %s are in train and in val; scores will look too good", root, min(shared))
    if not chosen.get("val"):
        log.warning("%s: nothing is left for val, so the run is not scored", root)


class _Unclear(Exception):
    """What is wrong with a line."""


@dataclass(frozen=True)
class _Named:
    """Sources of one kind, images or masks, to be found by what a list says."""

    root: Path
    exact: Mapping[str, tuple[Pair, ...]]
    endings: Endings

    def at(self, name: str, folder: Path) -> tuple[Pair, ...]:
        """Return the pairs at a path from the root, from the list's folder, or from `/`; () where it leads nowhere."""
        for start in (self.root, folder):
            path = posixpath.normpath(posixpath.join(_absolute(start), name))
            for each in (path, _bare(path)):
                if each in self.exact:
                    return self.exact[each]
        return self.exact.get(_bare(name), ())

    def ending(self, name: str) -> tuple[Pair, ...]:
        """Return the pairs whose paths share the longest ending with a name; raises `_Unclear` for several images."""
        found = {pairs: None for each in self.endings.find(_bare(name)) for pairs in (self.exact[each],)}
        if len(found) > 1:
            names = [pairs[0].name for pairs in found]
            raise _Unclear(f"{name!r} is the name of {len(names):,} images, {names[0]} and {names[1]}; give the folder")
        return next(iter(found), ())


def _absolute(folder: Path) -> str:
    return composed(Path(os.path.abspath(folder)).as_posix())  # noqa: PTH100 - links stay what they are called


def _bare(name: str) -> str:
    return without_suffix(name) if is_mask_name(name) else name


def _found_by(root: Path, pairs: Iterable[tuple[Source, Pair]], *, named: bool) -> _Named:
    """Return pairs by their sources' whole paths and paths below the root, without suffix; where `named` by name too.

    A file that holds several, such as a volume, stands for all of them.
    """
    above = f"{_absolute(root)}/"
    exact: dict[str, dict[Pair, None]] = defaultdict(dict)
    for source, pair in pairs:
        whole = _absolute(path_of(source))
        words = [whole, _bare(whole)]
        words += [_bare(whole.removeprefix(above))] if whole.startswith(above) else []
        words += [name for name in (pair.name, pair.group) if name and named]
        for word in words:
            exact[word][pair] = None
    known = {word: tuple(several) for word, several in exact.items()}
    return _Named(root, known, Endings(word for word in known if not word.startswith(above)))


class _Files:
    """The images of a folder, to be found by the lines of a list."""

    def __init__(self, root: Path, pairs: Iterable[Pair]) -> None:
        self._root, self._pairs = root, tuple(pairs)
        self._images = _found_by(root, ((pair.image, pair) for pair in self._pairs), named=True)
        self._masks = _found_by(root, ((pair.mask, pair) for pair in self._pairs if pair.mask is not None), named=False)

    def read(self, path: Path) -> dict[Pair, int]:
        """Return the pairs that a list names, in its order, each with the first line that does."""
        lines = enumerate(text_of(path).splitlines(), 1)
        wanted = [(number, line.strip()) for number, line in lines if line.strip() and line.strip()[0] != "#"]
        if not wanted:
            raise AtrousError(f"{path}: the list is empty. Name an image on every line.")
        found: dict[Pair, int] = {}
        for number, line in wanted:
            try:
                pairs = self._meant(line, path.parent)
            except _Unclear as error:
                raise AtrousError(f"{path}, line {number}: {error}.") from None
            for pair in pairs:
                if pair.mask is None:
                    raise AtrousError(f"{path}, line {number}: {pair.name} has no mask, and is no use to training.")
                found.setdefault(pair, number)
        return found

    def _meant(self, line: str, folder: Path) -> tuple[Pair, ...]:
        """Return what a line means: an image, else an image and its mask, and endings where no path leads there."""
        whole = slashed(line)
        if pairs := self._images.at(whole, folder):
            return pairs
        columns = list(_columns(line))
        for find in (self._images.at, self._ending):
            others = []
            for image, mask in columns:
                if pairs := find(image, folder):
                    if self._is_own(pairs, mask, folder):
                        return pairs
                    others.append((pairs[0], mask))
            if others:
                raise _Unclear(_not_its_mask(*others[0]))
        if pairs := self._ending(whole, folder):
            return pairs
        raise _Unclear(self._not_there(columns[0][0] if columns and is_mask_name(columns[0][0]) else whole))

    def _ending(self, name: str, folder: Path) -> tuple[Pair, ...]:
        """Return the pairs that a path ends like; raises `_Unclear` for one of a file that is neither of theirs."""
        pairs = self._images.ending(name)
        own = {path_of(source) for pair in pairs for source in (pair.image, pair.mask) if source is not None}
        for start in (self._root, folder):
            path = posixpath.join(_absolute(start), name)
            if pairs and is_file(path) and not any(Path(path).samefile(each) for each in own):
                raise _Unclear(
                    f"{name!r} is another file than {pairs[0].name} of {self._root}; name files of the latter"
                )
        return pairs

    def _is_own(self, pairs: tuple[Pair, ...], mask: str, folder: Path) -> bool:
        """Say whether a path is that of the pairs' mask: the very file, or one of another machine that ends so."""
        if exact := self._masks.at(mask, folder):
            return pairs[0] in exact
        if any(is_file(posixpath.join(_absolute(start), mask)) for start in (self._root, folder)):
            return False
        own = self._masks.endings.find(_bare(mask))
        return any(pairs[0] in self._masks.exact[name] for name in own)

    def _not_there(self, name: str) -> str:
        names = [pair.name for pair in self._pairs]
        near = get_close_matches(_bare(name), names, n=1, cutoff=0.5)
        lasts = {each.rpartition("/")[2]: each for each in reversed(names)}
        last = get_close_matches(_bare(name).rpartition("/")[2], lasts, n=1, cutoff=0.5)
        nearest = (lasts[last[0]] if last else None) or (near[0] if near else None)
        hint = f"the nearest name is {nearest}" if nearest else f"its names are like {min(names, default='')}"
        if is_file(posixpath.join(_absolute(self._root), name)):
            hint = f"the file is there, but no image with a mask by the folder's layout; {hint}"
        return f"{name!r} is none of the {len(names):,} images of {self._root}; {hint}"


def _columns(line: str) -> Iterator[tuple[str, str]]:
    """Return the ways in which a line is an image and a mask, the clearest separator first."""
    for separator in ("\t", ",", ";"):
        image, found, mask = line.partition(separator)
        if found and image.strip() and mask.strip(f"{separator} \t"):
            yield slashed(image), slashed(mask.strip(f"{separator} \t"))
    for place, letter in enumerate(line):
        if letter.isspace() and line[place + 1 :].strip():
            yield slashed(line[:place]), slashed(line[place + 1 :].rstrip("; \t"))


def _not_its_mask(pair: Pair, mask: str) -> str:
    own = "it has none" if pair.mask is None else f"that is {path_of(pair.mask)}"
    return (
        f"{mask!r} is not the mask of {pair.name}; {own}. Masks are found by the folder's layout: name images only, or "
        "correct the list"
    )
