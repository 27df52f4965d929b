"""Files refined: masks of any tool, probabilities and strokes, each written in its own form, with what changed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, Colour, LabelSpace
from atrous.data import read_image, write_image
from atrous.data.any_mask import check_lossless, read_any_mask
from atrous.data.images import SUFFIXES as PICTURES
from atrous.data.strokes import read_strokes
from atrous.draw import overlay
from atrous.prediction.probability_files import SUFFIXES, check_suffix, read_probabilities
from atrous.prediction.refine_jobs import Job

Probabilities = NDArray[np.float32]
Before = tuple[NDArray[np.uint8], NDArray[np.uint8], LabelSpace]  # labels before and after, and their classes
_LIMITS = (0.5, 99.5)
_MUCH = 0.3
_LARGEST = {".jpg": 65_000, ".jpeg": 65_000, ".webp": 16_000}  # with room for the legend below the picture
_PICTURES = ", ".join(PICTURES)


Kind = Literal["labels", "probabilities", "strokes"]


@dataclass(frozen=True, kw_only=True)
class Refining:
    """How files of one kind are refined.

    `function` returns the probabilities (classes, h, w) of an image (h, w, c) in 0..255, of an array, and of the number
    of classes; the array is labels (h, w) with 255 for ignore, strokes likewise, or probabilities. `ignore` is the
    value of masks that is no class, `keep_ignored` leaves such pixels as they are, and `unknown` is the colour of
    pictures of strokes where there is none.
    """

    kind: Kind
    function: Callable[[NDArray[Any], NDArray[Any], int], Probabilities]
    ignore: int | Colour | None = None
    keep_ignored: bool = False
    unknown: Colour | None = None


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How many pixels there are and how many got another class, by class; and how many had none and got one."""

    pixels: int = 0
    changed: int = 0
    filled: int = 0
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            pixels=self.pixels + other.pixels,
            changed=self.changed + other.changed,
            filled=self.filled + other.filled,
            gained=self.gained + other.gained,
            lost=self.lost + other.lost,
        )

    def as_text(self) -> str:
        """Return one line: pixels changed and filled, and what each class gained and lost."""
        parts = [f"{self.changed:,} of {self.pixels:,} pixels changed ({100 * self.changed / self.pixels:.2f} %)"]
        if self.filled:
            parts.append(f"{self.filled:,} without a class got one")
        classes = sorted({*self.gained, *self.lost}, key=lambda name: (len(name), name))
        each = ", ".join(f"{name} +{self.gained[name]:,} -{self.lost[name]:,}" for name in classes)
        return "; ".join(parts) + (f": {each}" if each else "")

    def as_json(self) -> dict[str, Any]:
        """Return the same numbers for JSON."""
        return {
            "pixels": self.pixels,
            "changed": self.changed,
            "filled": self.filled,
            "gained": dict(self.gained),
            "lost": dict(self.lost),
        }


@dataclass(frozen=True, kw_only=True)
class RefinedFiles:
    """What came of it: the changes of each file written, why others failed, and in words what refined."""

    changes: dict[Path, Changes]
    failed: dict[Path, str]
    words: str = ""

    @property
    def total(self) -> Changes:
        """The changes of all files together."""
        return sum(self.changes.values(), Changes())

    def as_text(self, out: str | Path) -> str:
        """Return what was written to `out`, what changed, and what refined, in a line each."""
        many = len(self.changes) > 1 or self.failed
        where = f"{len(self.changes)} refined, {len(self.failed)} failed: {out}" if many else str(out)
        return "\n".join([where, *([self.total.as_text()] if self.changes else []), f"refined with {self.words}"])


def check_settings(
    kind: Kind, *, confidence: float | None, ignore: Any, keep_ignored: bool, unknown: Colour | None
) -> None:
    """Raise `ValueError` for settings, None and False being none, that a kind of file has no use for."""
    used = {"labels": ("confidence", "ignore", "keep_ignored"), "probabilities": (), "strokes": ("unknown",)}[kind]
    came = {"confidence": confidence, "ignore": ignore, "keep_ignored": keep_ignored or None, "unknown": unknown}
    surplus = [name for name, value in came.items() if value is not None and name not in used]
    if surplus:
        what = {"labels": "a mask", "probabilities": "a file of probabilities", "strokes": "a picture of strokes"}[kind]
        takes = f"takes {', '.join(used)}" if used else "takes none of these"
        raise ValueError(f"{', '.join(surplus)} came, and {what} has no use for that: it {takes}. Leave it out.")


def kind_of(given: Path, *, strokes: bool) -> Kind:
    """Return what a file holds, as its suffix and the caller say."""
    return "strokes" if strokes else "probabilities" if given.suffix.lower() in SUFFIXES else "labels"


def refine_file(job: Job, refining: Refining) -> Changes:
    """Refine one file, write it and its overlay, and say what changed.

    A mask is written in its own form, strokes as a mask of their colours, probabilities as such, or with a suffix .png
    as the likeliest class.

    Raises, before anything is refined, `AtrousError` for files that cannot be read or do not belong together,
    `ValueError` for a suffix that would lose labels or, of the overlay, is no picture's.
    """
    (check_suffix if refining.kind == "probabilities" else check_lossless)(job.out)
    if job.overlay is not None and job.overlay.suffix.lower() not in PICTURES:
        raise ValueError(f"{job.overlay}: no picture has this suffix; name the overlay .jpg, or another of {_PICTURES}")
    image = read_image(job.image)
    shown = None if job.overlay is None else _fitting(job, job.overlay, image)
    work = _probabilities_refined if refining.kind == "probabilities" else _mask_refined
    before, after, space = work(job, in_bytes(image), refining)
    if shown is not None:
        write_image(shown, overlay(image, after, space))
    return _changes(before, after, space)


def _fitting(job: Job, shown: Path, image: NDArray[Any]) -> Path:
    """Return where the overlay goes: a PNG where the image is too large for the format, if we chose that."""
    most = _LARGEST.get(shown.suffix.lower())
    if most is None or max(image.shape[:2]) <= most:
        return shown
    if job.in_folder:
        return shown.with_suffix(".png")
    raise ValueError(f"{shown}: {shown.suffix} ends at {most:,} pixels a side, and the image is larger; name it .png")


def _mask_refined(job: Job, image: NDArray[Any], refining: Refining) -> Before:
    if refining.kind == "strokes":
        mask = read_strokes(job.given, image, unknown=refining.unknown)
        _say_much_is_held(job.given, mask.labels)
    else:
        mask = read_any_mask(job.given, image=job.image, size=image.shape[:2], ignore=refining.ignore)
    mask.check_format(job.out)
    labels = refining.function(image, mask.labels, len(mask.values)).argmax(0).astype(np.uint8)
    if refining.keep_ignored:
        labels[mask.labels == IGNORE] = IGNORE
    mask.write(job.out, labels)
    return mask.labels, labels, mask.space


def _say_much_is_held(path: Path, strokes: NDArray[np.uint8]) -> None:
    """Say that strokes stay as they are where they cover so much that they were hardly meant to."""
    share = float((strokes != IGNORE).mean())
    if share > _MUCH:
        logging.getLogger("atrous").warning(
            "%s: %.0f %% of the pixels are strokes, and those keep their class; where they are rough, give the picture "
            "as the mask, with --ignore for the colour of what is open",
            path,
            100 * share,
        )


def _probabilities_refined(job: Job, image: NDArray[Any], refining: Refining) -> Before:
    file = read_probabilities(job.given)
    if file.probabilities.shape[1:] != image.shape[:2]:
        raise AtrousError(
            f"{job.given}: probabilities of shape {file.probabilities.shape} came, (classes, h, w), and the image "
            f"{job.image} is {image.shape[0]} x {image.shape[1]}. Make them equal: enlarge them to the image."
        )
    found = refining.function(image, file.probabilities, len(file.probabilities))
    file.write(job.out, found)
    before, after = (each.argmax(0).astype(np.uint8) for each in (file.probabilities, found))
    return before, after, file.space


def _changes(before: NDArray[Any], after: NDArray[Any], space: LabelSpace) -> Changes:
    moved = (before != after) & (before != IGNORE)
    filled = (before == IGNORE) & (after != IGNORE)
    gained = np.bincount(after[moved | filled], minlength=len(space))
    lost = np.bincount(before[moved], minlength=len(space))
    return Changes(
        pixels=before.size,
        changed=int(moved.sum()),
        filled=int(filled.sum()),
        gained=Counter({name: int(count) for name, count in zip(space.names, gained, strict=True) if count}),
        lost=Counter({name: int(count) for name, count in zip(space.names, lost, strict=True) if count}),
    )


def in_bytes(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image in 0..255, the units that colours are compared in: uint8 as it is, others as float32.

    Those are stretched from their 0.5th to their 99.5th percentile over all channels, as they are for looking at.

    >>> in_bytes(np.array([[[0], [40000]]], np.uint16)).ravel().round().tolist()
    [0.0, 255.0]
    """
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, _LIMITS)
    if low == high:
        low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return np.clip((values - np.float32(low)) * np.float32(scale), 0, 255).astype(np.float32)


def refine_files(
    jobs: Sequence[Job],
    refining: Refining,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[Path, Changes], dict[Path, str]]:
    """Refine file after file, and return the changes of those written, and why others, also logged, were not."""
    changes: dict[Path, Changes] = {}
    failed: dict[Path, str] = {}
    for done, job in enumerate(jobs, 1):
        try:
            changes[job.out] = refine_file(job, refining)
        except (AtrousError, ValueError, MemoryError) as error:
            words = str(error) or "too large for this machine's memory"
            failed[job.given] = words if str(job.given) in words else f"{job.given}: {words}"
            logging.getLogger("atrous").warning("%s (skipped)", failed[job.given])
        if progress is not None:
            progress(done, len(jobs))
    return changes, failed
