"""The layout of a tree of DICOM files: series of images, and segmentations (SEG) that refer to them.

Files are known by their first bytes and not by their names or folders, so that exports of any archive are read. Every
slice of a segmented series is a pair, also where no segment is; slices of a patient stay together. Segments are classes
by their names, in whichever file and under whichever number they are, and several segmentations of a series are drawn
into one mask. A folder `train`, `val` or `test` at the top makes the split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.dicom import DicomSlice
from atrous.data.dicom_alignment import Alignment, aligned, misfit, stack_of
from atrous.data.dicom_classes import classes_of, labels_of, told
from atrous.data.dicom_headers import place_of
from atrous.data.dicom_layers import Layer, SegmentedSlice, layer, overlapping_voxels
from atrous.data.dicom_segments import Segmentation
from atrous.data.dicom_series import Stack, StackSlice, at_one_place, named_below, stacks
from atrous.data.dicom_tree import DicomTree, dicom_tree
from atrous.data.found import Found, Problem
from atrous.data.layouts import folders
from atrous.data.pairs import SPLITS, Matched, Pair

ACCEPTED = "series of DICOM images and the DICOM SEG files that refer to them"

_COUNTED_BYTES = 2**26  # of segmentations in which overlaps are counted


@dataclass(frozen=True)
class _Segmented:
    """A stack and the segmentations that lie on it; `of` is the stack before slices at one place were left out."""

    stack: Stack
    of: Stack
    alignments: tuple[Alignment, ...]


def recognise(root: Path) -> Found | None:
    """Return the slices of segmented series, or None for a folder without DICOM images or without segmentations.

    Raises `AtrousError` where no segmentation fits any of the series.
    """
    tree = dicom_tree(root)
    if tree is None:
        return None
    made, misfits = stacks(tree.images)
    tree.problems += misfits
    segmented = [_segmented(stack, files, tree) for stack, files in _assigned(tree, made)]
    if not segmented:
        _refuse(root, tree)
        return None
    classes = classes_of(root, tree.segmentations)
    pairs = _pairs(root, segmented, classes, tree)
    alone = _alone(root, segmented, made, tree)
    splits = {split: _matched(root, split, pairs.get(split, []), alone.get(split, [])) for split in {**pairs, **alone}}
    _tell_of_shares(tree)
    return Found(splits, told(tree.segmentations, classes), tuple(tree.notes), tuple(tree.problems))


def _matched(root: Path, split: str, pairs: Sequence[Pair], alone: Sequence[Stack]) -> Matched:
    """Return a split; series without segmentation are images without mask, which in `test` is as it should be."""
    if split == "test":
        images = (Pair(named_below(root, one), _image(one, stack), None) for stack in alone for one in stack.slices)
        return Matched((*pairs, *images))
    paths = dict.fromkeys(one.image.path for stack in alone for one in stack.slices)
    return Matched(tuple(pairs), tuple(paths))


def _assigned(tree: DicomTree, made: Sequence[Stack]) -> list[tuple[Stack, list[Segmentation]]]:
    """Return the stacks that have segmentations, with these; the tree is told of those that fit none."""
    groups: dict[int, list[Segmentation]] = defaultdict(list)
    for each in tree.segmentations:
        stack = stack_of(each, made)
        if stack is None:
            detail = "none of the series that are there is the one that it was drawn on"
            tree.problems.append(Problem("mask-without-image", each.path, detail))
        elif (problem := misfit(each, stack)) is not None:
            tree.problems.append(problem)
        else:
            groups[made.index(stack)].append(each)
    tree.segmentations = [each for _, files in sorted(groups.items()) for each in files]
    return [(made[number], files) for number, files in sorted(groups.items())]


def _segmented(stack: Stack, files: Sequence[Segmentation], tree: DicomTree) -> _Segmented:
    kept, dropped = at_one_place(stack, {instance for each in files for instance in each.instances})
    if dropped:
        said = f"{dropped:,} slices of its series lie where another does, as echoes and times do; left out"
        tree.tell([stack.first.path], said)
    alignments = tuple(aligned(each, kept) for each in files)
    for each in alignments:
        if each.lost:
            detail = f"{each.lost:,} of its {len(each.segmentation.frames):,} frames lie on no slice; they are left out"
            tree.problems.append(Problem("mask-without-image", each.segmentation.path, detail))
    if len(files) > 1:
        tree.tell([each.path for each in files], "segmentations of one series, drawn into one mask")
    return _Segmented(kept, stack, alignments)


def _refuse(root: Path, tree: DicomTree) -> None:
    """Raise `AtrousError`, but for folders of images and masks, whose files are paired by their names."""
    if folders.recognise(root) is not None:
        return
    why = "".join(f" {problem.path}: {problem.detail}." for problem in tree.problems[:1])
    raise AtrousError(
        f"{root}: there are DICOM images and DICOM segmentations, and no segmentation fits a series.{why} "
        "Put the series that they were drawn on into the folder."
    )


def _pairs(
    root: Path, segmented: Sequence[_Segmented], classes: Mapping[str, int], tree: DicomTree
) -> dict[str, list[Pair]]:
    patients = {each.stack.first.patient for each in segmented}
    budget = _COUNTED_BYTES
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for each in segmented:
        layers = _layers(each, classes)
        first = each.stack.first
        group = first.patient if len(patients) > 1 and first.patient else first.series or first.path.as_posix()
        pairs[_split(root, each.stack)] += _pairs_of(root, each, layers, group)
        budget -= sum(alignment.segmentation.path.stat().st_size for alignment in each.alignments)
        if budget >= 0:
            tree.problems += _overlaps(each, layers)
    if budget < 0:
        tree.notes.append(f"overlaps of segments were counted in the first {_COUNTED_BYTES >> 20} MiB only")
    return _unique(root, pairs)


def _layers(each: _Segmented, classes: Mapping[str, int]) -> list[tuple[Layer, ...]]:
    """Return what is to be drawn on every slice."""
    found: list[list[Layer]] = [[] for _ in each.stack.slices]
    for alignment in each.alignments:
        labels = labels_of(alignment.segmentation, classes)
        for number, frames in alignment.frames.items():
            found[number] += [layer(alignment.segmentation, frame, labels) for frame in frames]
    return [tuple(layers) for layers in found]


def _pairs_of(root: Path, each: _Segmented, layers: Sequence[tuple[Layer, ...]], group: str) -> list[Pair]:
    path, size = each.alignments[0].segmentation.path, each.stack.first.size
    found = []
    for one, drawn in zip(each.stack.slices, layers, strict=True):
        mask = SegmentedSlice(drawn, size, drawn[0].path if drawn else path)
        found.append(Pair(named_below(root, one), _image(one, each.stack), mask, group))
    return found


def _image(one: StackSlice, stack: Stack) -> DicomSlice:
    return DicomSlice(one.image.path, one.frame, place_of(one.image, stack.between, one.frame))


def _split(root: Path, stack: Stack) -> str:
    return SPLITS.get(stack.first.path.relative_to(root).parts[0].lower(), "train")


def _overlaps(each: _Segmented, layers: Sequence[tuple[Layer, ...]]) -> list[Problem]:
    path = each.alignments[0].segmentation.path
    try:
        count = overlapping_voxels(layers)
    except AtrousError as error:
        return [Problem(error.kind or "unreadable-file", path, str(error).removeprefix(f"{path}: "))]
    detail = f"{count:,} voxels are in several segments; each has the label of the segment with fewer voxels"
    return [Problem("overlapping-segments", path, detail)] if count else []


def _unique(root: Path, pairs: Mapping[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Return pairs of which those that share a name, as a.dcm and a.ima do, keep their suffix."""
    counts = Counter(pair.name for each in pairs.values() for pair in each)

    def named(pair: Pair) -> Pair:
        if counts[pair.name] == 1:
            return pair
        image = pair.image
        path = image if isinstance(image, Path) else image.path
        return replace(pair, name=path.relative_to(root).as_posix())

    return {split: [named(pair) for pair in each] for split, each in pairs.items()}


def _alone(
    root: Path, segmented: Sequence[_Segmented], made: Iterable[Stack], tree: DicomTree
) -> dict[str, list[Stack]]:
    """Return the series without segmentation, by split.

    Those of a frame of reference in which another series is segmented, such as scouts, phases and converted copies,
    were not meant to be, and are a note.
    """
    used = [each.of for each in segmented]
    spaces = {stack.first.space for stack in used}
    found: dict[str, list[Stack]] = defaultdict(list)
    for stack in made:
        if stack in used:
            continue
        if stack.first.space and stack.first.space in spaces:
            said = "a series without segmentation, in a frame of reference where another has one; left out"
            tree.tell([stack.first.path], said)
        else:
            found[_split(root, stack)].append(stack)
    return found


def _tell_of_shares(tree: DicomTree) -> None:
    shares = [each.path for each in tree.segmentations if each.kind == "FRACTIONAL"]
    tree.tell(shares, "of a FRACTIONAL segmentation, shares of one half and more count")
