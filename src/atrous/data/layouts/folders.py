"""The layout of a folder of images beside a folder of masks, with or without split folders, above or below.

`images/ masks/`, `images/train masks/train`, `train/images train/masks` and `train_images train_masks` are all read, as
are the usual other names, images beside a folder of their masks, and `train/` beside `train_masks/`. Where no folders
make the split, `train.txt`, `val.txt` and `test.txt` beside them or in `splits/`, `lists/`, `ImageSets/` do.

Annotations of another kind, such as a `labels/` of text files, are left to the layouts that read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.dividing import by_lists
from atrous.data.found import Found
from atrous.data.images import is_image_name, is_mask_name
from atrous.data.layouts import list_files
from atrous.data.names import Kind, meaning, partners, split_of
from atrous.data.pairs import Matched, by_key, files_in, folders_in, holds, paired, path_below

_WANTED = {"image": is_image_name, "mask": is_mask_name}
ACCEPTED = "images/ + masks/, images/train/ + masks/train/, or train/images/ + train/masks/"


@dataclass(frozen=True)
class _Place:
    """A folder that holds images or masks, of a split or of None; of a flat one only the files directly in it."""

    kind: Kind
    split: str | None
    folder: Path
    flat: bool = False

    def is_usable(self) -> bool:
        """Say whether it holds what it should, or nothing at all."""
        return holds(self.folder, _WANTED[self.kind]) or not holds(self.folder, bool)

    def files(self) -> tuple[dict[str, Path], tuple[tuple[Path, Path], ...]]:
        """Return what `by_key` does."""
        return by_key(self.folder, _WANTED[self.kind], flat=self.flat)


_Places = Mapping[str | None, Sequence[_Place]]


def recognise(root: Path) -> Found | None:
    """Return the splits of a folder with images and masks apart, or None when it is laid out otherwise.

    Where neither folders nor lists make a split, all pairs are in `train`.

    Raises `AtrousError` where several folders could as well be that of the images or masks.
    """
    places = list(_places(root))
    images, masks = _grouped(places, "image"), _grouped(places, "mask")
    if masks and not images and files_in(root, is_image_name):
        images = {None: [_Place("image", None, root, flat=True)]}
    if not images or not masks or list_files.names_pairs(root):
        return None
    if set(images) == set(masks) == {None}:
        return by_lists(root, _matched(root, images[None], masks[None]))
    sides = {split: _sides(split, images, masks) for split in _splits(images, masks)}
    if not any(pictures and labels for pictures, labels in sides.values()):
        return None
    splits = {
        split or "train": _matched(root, *folders, masks_optional=split == "test" and split in images)
        for split, folders in sides.items()
    }
    return Found(_without_shared(splits), notes=_left_out(root, places, sides))


def _places(folder: Path, kind: Kind | None = None, split: str | None = None) -> Iterator[_Place]:
    """Yield the folders whose names, and those of the folders above, say that they hold images or masks."""
    for path in folders_in(folder):
        inner = meaning(path.name)
        if inner == (None, None) or (inner[0] and kind) or (inner[1] and split):
            continue
        now = kind or inner[0], split or inner[1]
        below = [] if all(now) else list(_places(path, *now))
        yield from below
        if now[0] is None and not any(place.kind == "image" for place in below) and files_in(path, is_image_name):
            yield _Place("image", now[1], path, flat=bool(below))
        elif now[0] is not None and not below and (place := _Place(now[0], now[1], path)).is_usable():
            yield place


def _grouped(places: Sequence[_Place], kind: Kind) -> dict[str | None, list[_Place]]:
    found: dict[str | None, list[_Place]] = {}
    for place in places:
        if place.kind == kind:
            found.setdefault(place.split, []).append(place)
    return found


def _splits(images: _Places, masks: _Places) -> list[str | None]:
    """Return the splits that there are, None for images and masks that are in none, unless others are for training."""
    splits: list[str | None] = [split for split in ("train", "val", "test") if split in images or split in masks]
    return [None, *splits] if None in images and None in masks and "train" not in splits else splits


def _sides(split: str | None, images: _Places, masks: _Places) -> tuple[Sequence[_Place], Sequence[_Place]]:
    """Return the folders of a split; those without a split serve all where the other side has split folders only."""
    pictures = images.get(split, images.get(None, ()) if None not in masks else ())
    labels = masks.get(split, masks.get(None, ()) if None not in images else ())
    return pictures, labels


def _matched(
    root: Path, pictures: Sequence[_Place], labels: Sequence[_Place], *, masks_optional: bool = False
) -> Matched:
    picture, label = _chosen(root, pictures, labels)
    images, doubles = picture.files() if picture else ({}, ())
    masks, double_masks = label.files() if label else ({}, ())
    return paired(root, images, masks, masks_optional=masks_optional, doubles=doubles + double_masks)


def _chosen(root: Path, pictures: Sequence[_Place], labels: Sequence[_Place]) -> tuple[_Place | None, _Place | None]:
    """Return the folders of which most images have a mask; raises `AtrousError` where two choices are nearly as good.

    A folder that holds something is preferred to an empty one.
    """
    pictures = [place for place in pictures if holds(place.folder, is_image_name)] or pictures[:1]
    labels = [place for place in labels if holds(place.folder, is_mask_name)] or labels[:1]
    if len(pictures) <= 1 and len(labels) <= 1:
        return next(iter(pictures), None), next(iter(labels), None)
    if not pictures or not labels:
        raise _unclear(root, [(place, "") for place in (*pictures, *labels)][:2])
    names = {place: place.files()[0] for place in (*pictures, *labels)}
    counts = {(one, two): len(partners(names[one], names[two])) for one in pictures for two in labels}
    best, second = sorted(counts, key=lambda choice: -counts[choice])[:2]
    if 2 * counts[second] >= counts[best]:
        raise _unclear(
            root,
            [
                (one if one != other[0] else two, f" ({counts[one, two]:,} of {len(names[one]):,} images have a mask)")
                for (one, two), other in ((best, second), (second, best))
            ],
        )
    return best


def _unclear(root: Path, places: Sequence[tuple[_Place, str]]) -> AtrousError:
    first = places[0][0]
    said = " and ".join(f"{path_below(root, place.folder)}/{words}" for place, words in places)
    template = f"{path_below(root, first.folder)}/{{stem}}.png"
    hint = f'Say which: --masks "{template}", or' if first.kind == "mask" else "Merge them, or"
    return AtrousError(f"{root}: {said} could both hold the {first.kind}s. {hint} move one of them away.")


def _without_shared(splits: Mapping[str, Matched]) -> dict[str, Matched]:
    """Return the splits without those images and masks alone that another split uses, the rest told once."""
    told = {pair.image for each in splits.values() for pair in each.pairs}
    told |= {pair.mask for each in splits.values() for pair in each.pairs if pair.mask is not None}
    result = {}
    for split, each in splits.items():
        images = tuple(path for path in each.images_alone if path not in told)
        masks = tuple(path for path in each.masks_alone if path not in told)
        told |= {*images, *masks}
        result[split] = replace(each, images_alone=images, masks_alone=masks)
    return result


def _left_out(
    root: Path, places: Sequence[_Place], sides: Mapping[str | None, tuple[Sequence[_Place], Sequence[_Place]]]
) -> tuple[str, ...]:
    """Return a line for what is in no split: folders without one, and images beside split folders."""
    used = {place for folders in sides.values() for side in folders for place in side}
    notes = [
        f"left out, since others are in splits: {path_below(root, place.folder)}/"
        for place in places
        if place not in used
    ]
    parents = sorted({place.folder.parent for place in used if place.split and meaning(place.folder.parent.name)[0]})
    for parent in parents:
        loose = len(files_in(parent, is_image_name))
        others = [path.name + "/" for path in folders_in(parent) if not split_of(path.name)]
        if loose:
            notes.append(f"left out, since in no split: {loose:,} of the files in {path_below(root, parent)}/")
        if others:
            named = ", ".join(others[:5])
            notes.append(f"left out, since no splits: the folders {named} in {path_below(root, parent)}/")
    return tuple(notes)
