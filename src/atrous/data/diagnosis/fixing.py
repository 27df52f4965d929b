"""A corrected copy of a dataset: what can be mended is, what cannot is left out, and each is said; the data stay.

The copy is an ordinary conversion to images and index masks, with `mending.Mended` in the place of masks. Nothing is
guessed: what has no remedy that is surely right is left as it is, or left out, and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import conversion
from atrous.data.census import Progress, in_threads
from atrous.data.dataset import Dataset
from atrous.data.diagnosis import smoothing
from atrous.data.diagnosis.copies import nearly_equal
from atrous.data.diagnosis.mending import SMOOTHED, Mended, way_on_edges
from atrous.data.pairs import Pair

if TYPE_CHECKING:
    from atrous.data.diagnosis.examination import Examination
    from atrous.data.diagnosis.looks import Look

_SAME_SHAPE = 0.02  # sides whose ratio differs by more are of another picture
_THIN = 0.0005  # of a mask's pixels: as many that no class explains are worth a word

_OUT = {
    "unreadable-file": "left out, with what belongs to it",
    "too-many-pixels": "left out",
    "dicom-without-pixels": "left out",
    "broken-annotation": "the entries that cannot be read left out",
    "broken-rle": "left out, with their images",
    "class-unknown": "the entries left out",
    "shape-outside": "cut off at the image's border",
    "mask-is-image": "left out, with their images",
    "mixed-encodings": "left out, with their images",
    "place-differs": "left out, with their images",
    "classes-unknown": "left out, with their images",
    "object-numbers": "left out, with their images",
    "image-without-mask": "left out",
    "mask-without-image": "left out",
    "name-twice": "the first of each name taken",
    "listed-missing": "taken off the list",
    "in-two-splits": "each in val, or else in test, alone",
    "all-ignore-mask": "left out, with their images",
    "identical-files": "the first of each taken",
    "near-duplicate": "left out, those of train kept",
}
_MENDED = {
    "jpeg-mask": "each pixel given the class that it is nearest to, of those beside it",
    "anti-aliased-mask": "each pixel of a border given the class that it is nearest to, of those beside it",
    "soft-mask": "rounded at one half",
    "size-differs": "the mask resized with nearest neighbour; where its proportions are others, left out",
    "axes-swapped": "turned so that borders lie on edges",
    "orientation-differs": "turned as the image is",
    "label-outside": "such pixels made ignore; a mask of nothing else left out",
}
_TAKES_PAIR = {
    "unreadable-file", "too-many-pixels", "dicom-without-pixels", "broken-rle", "mask-is-image", "mixed-encodings",
    "place-differs", "classes-unknown", "object-numbers",
}  # fmt: skip

_NOT_LEVELS = "their levels are not those of the classes; left out, with their images"
_NO_WAY = "no way of turning them lays borders on edges clearly best; left out, with their images"
_CHOOSE = "their masks differ, and only you know which is right; all kept"
_ALIKE = "alike, and not surely copies; kept"
_TOO_THIN = "have parts too thin to tell their class, made ignore; look at the copy"


@dataclass(frozen=True)
class Fixed:
    """A corrected copy: its folder and images, what was `done` to each kind of finding, and what is `left`.

    `notes` say what the copy does not hold, such as object numbers.
    """

    out: str
    images: int
    done: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Return the report as lines of plain text.

        >>> print(Fixed("new", 3, ("soft-mask (2): rounded at one half",), ()).as_text())
        corrected copy in new: 3 images
          soft-mask (2): rounded at one half
        """
        if not self.images:
            return f"no corrected copy: {'; '.join(self.left)}"
        lines = [f"corrected copy in {self.out}: {self.images:,} images", *(f"  {line}" for line in self.done)]
        lines += [f"  not mended: {line}" for line in self.left]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class _Verdict:
    """What becomes of a pair: None where it is left out, and the (kind, why) of what was not mended."""

    pair: Pair | None
    left: tuple[tuple[str, str], ...] = ()


def fixed(examination: Examination, out: str | Path, *, progress: Progress | None = None) -> Fixed:
    """Write a corrected copy of an examined dataset into the new folder `out`, as images and index masks.

    Where the classes are not known, or no image is left, nothing is written and `left` says why. Raises `AtrousError`
    for files that cannot be read, `ValueError` for an `out` that `conversion.check_out` refuses.
    """
    space = _space(examination)
    if space is None:
        return Fixed(str(out), 0, (), (_unknown(examination),))
    verdicts = _verdicts(examination, space)
    splits = _without_copies(examination, verdicts)
    left = Counter(reason for verdict in verdicts for reason in verdict.left)
    left.update(_copies_kept(examination))
    if not any(splits.values()):
        return Fixed(str(out), 0, (), ("no image would be left once the broken ones are out", *_not_mended(left)))
    plain = LabelSpace(names=space.names, colours=space.colours)
    dataset = Dataset(examination.root, examination.found.layout, splits, plain, examination.made_split)
    written = conversion.convert(dataset, Path(out), to="masks", progress=progress)
    counts = Counter(problem.kind for problem in examination.problems)
    told = {**_OUT, **_MENDED}
    unknown = [f"{kind} ({count:,})" for kind, count in counts.items() if kind not in told]
    for (kind, why), count in left.items():
        counts[kind] -= count if why != _TOO_THIN else 0
    done = [f"{kind} ({count:,}): {told[kind]}" for kind, count in counts.items() if kind in told and count > 0]
    return Fixed(str(out), written.images, tuple(done), (*unknown, *_not_mended(left)), written.notes)


def _not_mended(left: Mapping[tuple[str, str], int]) -> list[str]:
    return [f"{kind} ({count:,}): {why}" for (kind, why), count in left.items()]


def _unknown(examination: Examination) -> str:
    """Say why there can be no copy of masks whose classes are not known."""
    kinds = dict.fromkeys(problem.kind for problem in examination.problems)
    told = "Say them with --classes, --labels or --ignore."
    if "jpeg-mask" in kinds and examination.names is not None:
        told = "Say their values too, as `names` and `values` in a classes.json."
    return f"the masks do not tell their classes ({', '.join(kinds)}). {told}"


def _space(examination: Examination) -> LabelSpace | None:
    """Return the classes; those of soft masks, and of JPEGs with two names, are 0 and 255."""
    kinds = {problem.kind for problem in examination.problems}
    told = examination.space
    if told is not None and (len(told) > 1 or "soft-mask" not in kinds):
        return told
    names = examination.names or (("background", "foreground") if "soft-mask" in kinds else ())
    if kinds & {"soft-mask", "jpeg-mask"} and len(names) == 2:
        return LabelSpace(names=names, values=(0, IGNORE), ignore=None)
    return told


def _verdicts(examination: Examination, space: LabelSpace) -> list[_Verdict]:
    kinds: list[set[str]] = [set() for _ in examination.looks]
    for problem, rows in zip(examination.problems, examination.rows(), strict=True):
        for row in rows if problem.pair or len(rows) == 1 or problem.kind in _MENDED else ():
            kinds[row].add(problem.kind)
    for row, look in enumerate(examination.looks):
        kinds[row] |= {problem.kind for problem in look.problems}
    return in_threads(lambda row: _verdict(examination, row, kinds[row], space), range(len(kinds)))


def _verdict(examination: Examination, row: int, kinds: set[str], space: LabelSpace) -> _Verdict:
    look, pair = examination.looks[row], examination.looks[row].pair
    if kinds & _TAKES_PAIR or _no_class(examination, row) or _another_shape(look):
        return _Verdict(None)
    if pair.mask is None or look.size is None:
        return _Verdict(pair)
    turn = examination.turns.get(row, 1)
    if "axes-swapped" in kinds:
        way = way_on_edges(pair.image, pair.mask)
        if way is None:
            return _Verdict(None, (("axes-swapped", _NO_WAY),))
        turn = way
    lossy = "jpeg-mask" in kinds or _was_jpeg(look)
    mask = Mended(pair.mask, pair.image, look.size, space, frozenset(kinds & set(_MENDED)), turn, lossy)
    return _smoothed(replace(pair, mask=mask), mask) if kinds & SMOOTHED else _Verdict(replace(pair, mask=mask))


def _was_jpeg(look: Look) -> bool:
    """Say whether a mask was a JPEG once: its borders do not fade as those of a resized one do."""
    return (
        look.census is not None
        and not look.borders.smoothed
        and smoothing.saved_with_loss(look.borders, look.census.pixels)
    )


def _smoothed(pair: Pair, mask: Mended) -> _Verdict:
    """Return a pair with its smoothed mask mended, None where its levels tell no class."""
    (kind, *_) = sorted(mask.kinds & SMOOTHED)
    try:
        if not mask.fits():
            return _Verdict(None, ((kind, _NOT_LEVELS),))
        told = mask.snapped(mask.stored())
    except AtrousError:
        return _Verdict(None, ((kind, _NOT_LEVELS),))
    return _Verdict(pair, ((kind, _TOO_THIN),) if told.unexplained > _THIN * told.labels.size else ())


def _without_copies(examination: Examination, verdicts: list[_Verdict]) -> dict[str, tuple[Pair, ...]]:
    """Return the pairs that are kept: the first of identical images, and of copies beyond doubt the one in train."""
    same = {row for row, differ in _identical(examination).items() if not differ}
    first: dict[bytes | None, Path] = {}
    splits: dict[str, list[Pair]] = {split: [] for split in examination.splits}
    for row, (look, verdict) in enumerate(zip(examination.looks, verdicts, strict=True)):
        if verdict.pair is None or _sure_copy(examination, row):
            continue
        if row in same and first.setdefault(look.digest, look.image_path) != look.image_path:
            continue
        splits[look.split].append(verdict.pair)
    return {split: tuple(pairs) for split, pairs in splits.items()}


def _copies_kept(examination: Examination) -> dict[tuple[str, str], int]:
    """Return how many images of those that are, or may be, copies are kept, by (kind, why)."""
    contradictory = sum(_identical(examination).values())
    alike = sum(not _sure_copy(examination, row) for row in examination.copied)
    kept = {("identical-files", _CHOOSE): contradictory, ("near-duplicate", _ALIKE): alike}
    return {reason: count for reason, count in kept.items() if count}


def _identical(examination: Examination) -> dict[int, bool]:
    """Return {place of an image that equals another: whether the masks of the two differ}."""
    rows = {
        row
        for problem, rows in zip(examination.problems, examination.rows(), strict=True)
        if problem.kind == "identical-files"
        for row in rows
    }
    masks: dict[bytes | None, set[bytes | None]] = {}
    for row in rows:
        look = examination.looks[row]
        masks.setdefault(look.digest, set()).add(look.mask_digest)
    return {row: len(masks[examination.looks[row].digest] - {None}) > 1 for row in sorted(rows)}


def _sure_copy(examination: Examination, row: int) -> bool:
    if row not in examination.copied:
        return False
    other, mirrored = examination.copied[row]
    first, second = examination.looks[other].thumbnail, examination.looks[row].thumbnail
    return first is not None and second is not None and nearly_equal(first, second, mirrored=mirrored)


def _no_class(examination: Examination, row: int) -> bool:
    """Say whether a mask holds no class at all: nothing but ignore, and values that are none."""
    counts = examination.counts[row]
    return bool(counts.any()) and not counts[:-2].any()


def _another_shape(look: Look) -> bool:
    """Say whether a mask is of other proportions than its image: it is of another image."""
    if look.census is None or look.size is None or any(each.kind == "axes-swapped" for each in look.problems):
        return False
    height, width = (had / side for had, side in zip(look.census.size, look.size, strict=True))
    return abs(height / width - 1) > _SAME_SHAPE
