"""The examination of a dataset: all looks at all pairs, and every problem with all of its files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrous.contract import Colour, Encoding, LabelSpace
from atrous.data import dataset as datasets
from atrous.data.census import Progress, in_threads
from atrous.data.diagnosis import copies, gaps, labels, pairing, regions, turning
from atrous.data.diagnosis.kinds import REMEDIES
from atrous.data.diagnosis.looks import Look, look_at
from atrous.data.diagnosis.understanding import understood
from atrous.data.found import Found, Problem
from atrous.data.layouts import recognise
from atrous.data.pairs import Pair
from atrous.data.spaces import GREY_TOLD, OBJECTS_TOLD
from atrous.data.wishes import Wishes, wished


@dataclass(frozen=True, eq=False)
class Examination:
    """All that was seen of a dataset.

    `splits` has the pairs that a training would use, `made_split` says whether they were divided by hash. `looks` has
    one `Look` per pair, in the order of the splits. `space` is None where the masks do not tell their classes.
    `counts` has a row per look: pixels of each class, of ignore, and outside of both. `problems` are all of them,
    in the order of `REMEDIES`. `turns` says how masks must be turned, as {place in `looks`: EXIF's number}, `copied`
    which image nearly is another, as {place: (place of the other, whether mirrored)}, `names` what the classes were
    said to be called.
    """

    root: Path
    found: Found
    splits: dict[str, tuple[Pair, ...]]
    made_split: bool
    looks: tuple[Look, ...]
    space: LabelSpace | None
    counts: NDArray[np.integer]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    turns: Mapping[int, int]
    copied: Mapping[int, tuple[int, bool]] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    def rows(self) -> list[tuple[int, ...]]:
        """Return the places in `looks` that each problem is about: those of its pair, else all of its file."""
        of_pair: dict[str, list[int]] = defaultdict(list)
        of_file: dict[Path, list[int]] = defaultdict(list)
        for row, look in enumerate(self.looks):
            of_pair[look.pair.name].append(row)
            for path in {look.image_path, look.mask_path or look.image_path}:
                of_file[path].append(row)
        return [
            tuple(of_pair.get(problem.pair, ()) if problem.pair else of_file.get(problem.path, ()))
            for problem in self.problems
        ]

    def below(self, path: Path) -> str:
        """Return a path as it is written in reports: below the root, with slashes."""
        return below(path, self.root)

    def areas_of(self, index: int) -> list[NDArray[np.integer]]:
        """Return the areas of the regions of a class, an array per mask that was measured.

        Of object numbers an object's area is the number of its pixels, whether they are connected or not.
        """
        if self.space is None:
            return []
        if self.space.encoding == "instances":
            return [_object_areas(look, self.space.ignore) for look in self.looks] if index == 1 else []
        value = labels.number(self.space.values[index])
        grey = self.space.encoding == "colours"
        return [
            look.areas[key]
            for look in self.looks
            if look.areas and look.census is not None
            for key in [value & 255 if grey and not look.census.coloured else value]
            if key in look.areas
        ]


def below(path: Path, root: Path) -> str:
    """Return a path below the root with slashes, or as it is where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _object_areas(look: Look, ignore: object) -> NDArray[np.integer]:
    pixels = {} if look.census is None or look.areas is None else look.census.pixels
    return np.array([count for value, count in pixels.items() if value not in (0, ignore)], np.int32)


def examine(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | Colour | None = None,
    labels: Encoding | None = None,
    layout: str | None = None,
    masks: str | None = None,
    space: LabelSpace | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Look at every pair of a folder and return all that was seen; the options are those of `open_dataset`.

    Every file is read once. About 3 KB a pair are kept. Raises `AtrousError` as `inspect_dataset` does.

    >>> import tempfile
    >>> from atrous.data import write_image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("images/a.png", "images/b.png", "masks/a.png"):
    ...     write_image(root / name, np.eye(4, dtype=np.uint8))
    >>> [(problem.kind, problem.path.name) for problem in examine(root).problems]
    [('image-without-mask', 'b.png')]
    """
    found = recognise(Path(root), layout=layout, masks=masks)
    root = found.root
    wishes = wished(root, classes=classes, ignore=ignore, labels=labels, told=found.told)
    splits, made_split = datasets.divided(found, wishes)
    if split is not None:
        splits, made_split = datasets.stored_split(root, datasets.with_spare(found, splits), split), False
    colours = wishes.labels == "colours" if space is None else space.encoding == "colours"
    looks = _looks(splits, colours=colours, progress=progress)
    return _concluded(root, found, splits=splits, made_split=made_split, looks=looks, wishes=wishes, space=space)


def _looks(splits: Mapping[str, Sequence[Pair]], *, colours: bool, progress: Progress | None) -> tuple[Look, ...]:
    items = [(pair, name) for name, pairs in splits.items() for pair in pairs]
    step = max(1, -(-len(items) // regions.MEASURED))
    given = [(pair, name, place % step == 0) for place, (pair, name) in enumerate(items)]
    return tuple(
        in_threads(lambda item: look_at(item[0], item[1], colours=colours, count_regions=item[2]), given, progress)
    )


def _concluded(
    root: Path,
    found: Found,
    *,
    splits: dict[str, tuple[Pair, ...]],
    made_split: bool,
    looks: tuple[Look, ...],
    wishes: Wishes,
    space: LabelSpace | None,
) -> Examination:
    problems = pairing.pairing_problems(found)
    problems += [problem for look in looks for problem in look.problems if problem.kind != "mask-is-image"]
    told, spoilt = understood(root, found.layout, looks, wishes)
    problems += spoilt
    space = told if space is None else space
    bad = {problem.pair for problem in spoilt if problem.kind != "zero-convention"}
    sound = [_without_mask(look) if look.spoilt or look.pair.name in bad else look for look in looks]
    counts = labels.counts_of(sound, space)
    turns = turning.turned_masks(
        [look.agreement for look in sound], [look.exif for look in sound], [look.pair.group for look in sound]
    )
    near = _near(looks)
    notes = [*found.notes, *wishes.notes, *pairing.overlooked_notes(root, found, looks)]
    if space is not None and space.encoding == "instances" and wishes.labels is None:
        notes.append(OBJECTS_TOLD)
    if space is not None and datasets.grey_levels(space, wishes):
        notes.append(GREY_TOLD)
    for more, told_of in (
        labels.label_problems(sound, space, counts),
        gaps.gap_problems(sound, space, counts),
        pairing.mixture_problems(looks),
        (_turned(sound, turns), gaps.balance_notes(space, counts)),
        ([*_identical(looks, root), *_nearly(looks, near, root)], []),
    ):
        problems += more
        notes += told_of
    order = {kind: place for place, kind in enumerate(REMEDIES)}
    ordered = tuple(sorted(problems, key=lambda problem: order.get(problem.kind, len(order))))
    return Examination(
        root, found, splits, made_split, looks, space, counts, ordered, tuple(notes), turns, near, wishes.classes
    )


def _without_mask(look: Look) -> Look:
    return Look(look.pair, look.split, look.size, look.channels, look.dtype, exif=look.exif)


def _turned(looks: Sequence[Look], turns: Mapping[int, int]) -> list[Problem]:
    problems = []
    for index, turn in sorted(turns.items()):
        look = looks[index]
        why = ", as the sensor saw it while EXIF turns its image" if look.exif == turn else ""
        detail = f"its borders fit the image {look.agreement[turn - 1] / look.agreement[0]:.1f} times better"
        problems.append(look.about("orientation-differs", f"{detail} when it is {turning.TURNS[turn]}{why}"))
    return problems


def _identical(looks: Sequence[Look], root: Path) -> list[Problem]:
    """Return the images that equal another of any split, but slices of one volume."""
    problems = []
    for group in copies.identical([look.digest for look in looks]):
        if len({looks[index].image_path for index in group}) < 2:
            continue
        masks = {looks[index].mask_digest for index in group} - {None}
        differ = ", and their masks differ" if len(masks) > 1 else ""
        for index in group:
            look, other = looks[index], looks[group[1] if index == group[0] else group[0]]
            detail = f"in {look.split}, has the same pixels as {below(other.image_path, root)} in {other.split}{differ}"
            problems.append(Problem("identical-files", look.image_path, detail, look.pair.name))
    return problems


def _near(looks: Sequence[Look]) -> dict[int, tuple[int, bool]]:
    """Return the images nearly equal to one of another split, those that equal one left out."""
    same = {index for group in copies.identical([look.digest for look in looks]) for index in group}
    thumbnails = [None if index in same else look.thumbnail for index, look in enumerate(looks)]
    return copies.near_copies(thumbnails, [look.split for look in looks], [look.grey for look in looks])


def _nearly(looks: Sequence[Look], near: Mapping[int, tuple[int, bool]], root: Path) -> list[Problem]:
    problems = []
    for index, (earlier, mirrored) in sorted(near.items()):
        look, other = looks[index], looks[earlier]
        detail = f"in {look.split}, is nearly {below(other.image_path, root)} in {other.split}"
        problems.append(Problem("near-duplicate", look.image_path, detail + ", mirrored" * mirrored, look.pair.name))
    return problems
