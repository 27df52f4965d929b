"""The doctor's report: what a folder holds, and what is wrong with it, before a night of training is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from atrous.contract import Colour, Encoding, LabelSpace
from atrous.data.census import Progress
from atrous.data.diagnosis.examination import Examination, examine
from atrous.data.diagnosis.kinds import REMEDIES
from atrous.data.diagnosis.regions import summed_up
from atrous.data.found import Problem
from atrous.data.wishes import is_absent

if TYPE_CHECKING:
    from atrous.data.diagnosis.fixing import Fixed

__all__ = ["REMEDIES", "Finding", "Inspection", "inspect_dataset", "report"]

_LISTED = 20
_SHOWN = 3
_LONG = 80  # characters of a detail that is not said twice
_EVERY = 24  # of more classes only those that occur have a line
_ASKED = 20  # masks that are asked for a palette


@dataclass(frozen=True)
class Finding:
    """One kind of problem: the first 20 files that have it, how many do, what to do, and what exactly is wrong.

    `details` has a line for each of the files, such as `"masks/7.png: label 22 is outside 0..20; 9 pixels have it"`.
    """

    kind: str
    files: tuple[str, ...]
    count: int
    remedy: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What a dataset holds and what is wrong with it; sizes are (height, width), `ignore_share` is 0 to 1.

    `encoding` says in words what the masks hold: "indices", "palette", "colours", "0 and 255", "instances" or "soft";
    None where they were not understood. Each of `classes` has `name`, `value` (in the masks; None where the folder
    lacks the class), `pixels`, `images`, `pixel_share` (of the pixels that count), `image_share` (of the images with
    masks), and of up to 1,000 evenly spaced masks `regions`, how many are `small` (under 32 x 32 pixels), and
    `median_area`; of object numbers these count objects. `notes` are lines that are no problems. `fixed` tells of a
    corrected copy, where one was asked for.
    """

    root: str
    layout: str
    images: int
    splits: dict[str, int]
    sizes: dict[str, tuple[int, int]]
    channels: tuple[int, ...]
    dtypes: tuple[str, ...]
    encoding: str | None
    classes: tuple[dict[str, Any], ...]
    ignore_share: float
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    fixed: Fixed | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the report as lines of plain text."""
        splits = ", ".join(f"{count:,} {name}" for name, count in self.splits.items())
        lines = [f"{self.root}: layout {self.layout}, {self.images:,} images ({splits})"]
        if self.sizes:
            low, middle, high = (f"{height} x {width}" for height, width in self.sizes.values())
            lines.append(f"sizes (height x width): {low} to {high}, median {middle}")
        lines.append(f"channels: {_listed(self.channels)}; depth: {_listed(self.dtypes)}")
        lines.append(f"masks: {self.encoding or 'not understood'}; ignored: {self.ignore_share:.1%} of the pixels")
        shown = [entry for entry in self.classes if entry["pixels"] or len(self.classes) <= _EVERY]
        width = max((len(entry["name"]) for entry in shown), default=0)
        lines += [_class_line(entry, width) for entry in shown]
        lines += [f"note: {note}" for note in self.notes]
        lines.append(f"findings: {len(self.findings)}" if self.findings else "findings: none")
        for finding in self.findings:
            lines += _finding_lines(finding)
        if self.fixed is not None:
            lines.append(self.fixed.as_text())
        return "\n".join(lines)


def _class_line(entry: Mapping[str, Any], width: int) -> str:
    images = f"{entry['images']:,} image{'s' if entry['images'] != 1 else ''}"
    line = f"  {entry['name']:<{width}}  {entry['pixel_share']:7.2%} of pixels, on {images}"
    if entry["regions"]:
        regions = f"{entry['regions']:,} region{'s' if entry['regions'] != 1 else ''}"
        line += f"; {regions}, {entry['small'] / entry['regions']:.0%} small"
    return line


def _finding_lines(finding: Finding) -> list[str]:
    lines = [f"  {finding.kind} ({finding.count:,}): {finding.remedy}"]
    lines += [f"    {detail}" for detail in finding.details[:_SHOWN]]
    more = finding.count - _SHOWN
    return [*lines, f"    and {more:,} more"] if more > 0 else lines


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items)) or "unknown"


def inspect_dataset(
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
) -> Inspection:
    """Return what the folder holds and every problem found; the options are those of `open_dataset`.

    A broken file becomes a finding. Raises `AtrousError` only for a folder that is missing, empty or of no known
    layout, for a `classes.json` that cannot be read, and for a stored split whose names are gone.
    """
    return report(
        examine(
            root,
            classes=classes,
            ignore=ignore,
            labels=labels,
            layout=layout,
            masks=masks,
            space=space,
            split=split,
            progress=progress,
        )
    )


def report(seen: Examination) -> Inspection:
    """Return the report of an examination."""
    sizes = np.array([look.size for look in seen.looks if look.size is not None]).reshape(-1, 2)
    named = (("minimum", np.min), ("median", np.median), ("maximum", np.max)) if len(sizes) else ()
    every = int(seen.counts.sum(dtype=np.int64))
    return Inspection(
        root=str(seen.root),
        layout=seen.found.layout,
        images=len(seen.looks),
        splits={name: len(pairs) for name, pairs in seen.splits.items()},
        sizes={name: _size(function(sizes, axis=0)) for name, function in named},
        channels=tuple(sorted({look.channels for look in seen.looks if look.channels})),
        dtypes=tuple(sorted({look.dtype for look in seen.looks if look.dtype})),
        encoding=encoding_in_words(seen),
        classes=_classes(seen),
        ignore_share=int(seen.counts[:, -2].sum(dtype=np.int64)) / every if every else 0.0,
        findings=_findings(seen),
        notes=seen.notes,
    )


def _size(sides: Any) -> tuple[int, int]:
    return int(sides[0]), int(sides[1])


def encoding_in_words(seen: Examination) -> str | None:
    """Return what the masks hold, as `Inspection.encoding` says it."""
    if seen.space is None:
        kinds = {problem.kind for problem in seen.problems}
        return "soft" if "soft-mask" in kinds else "instances" if "object-numbers" in kinds else None
    if seen.space.encoding != "indices":
        return seen.space.encoding
    if seen.space.values == (0, 255):
        return "0 and 255"
    masks = [look.mask_path for look in seen.looks if isinstance(look.pair.mask, Path)]
    return "palette" if any(_has_palette(path) for path in masks[:_ASKED] if path is not None) else "indices"


def _has_palette(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode == "P"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _classes(seen: Examination) -> tuple[dict[str, Any], ...]:
    if seen.space is None:
        return ()
    pixels = seen.counts[:, :-2].sum(axis=0, dtype=np.int64)
    images = (seen.counts[:, :-2] > 0).sum(axis=0)
    masks = max(1, int((seen.counts.sum(axis=1) > 0).sum()))
    total = max(1, int(pixels.sum()))
    return tuple(
        {
            "name": name,
            "value": None if is_absent(seen.space.values[index]) else seen.space.values[index],
            "pixels": int(pixels[index]),
            "images": int(images[index]),
            "pixel_share": int(pixels[index]) / total,
            "image_share": int(images[index]) / masks,
            **_objects(seen, index),
        }
        for index, name in enumerate(seen.space.names)
    )


def _objects(seen: Examination, index: int) -> dict[str, Any]:
    regions = summed_up(seen.areas_of(index))
    return {"regions": regions.count, "small": regions.small, "median_area": regions.median}


def _findings(seen: Examination) -> tuple[Finding, ...]:
    findings = []
    for kind in dict.fromkeys(problem.kind for problem in seen.problems):
        problems = [problem for problem in seen.problems if problem.kind == kind]
        files = list(dict.fromkeys(seen.below(problem.path) for problem in problems))
        details = _details(seen, problems[:_LISTED])
        remedy = REMEDIES.get(kind, "Look at the files that are named.")
        findings.append(Finding(kind, tuple(files[:_LISTED]), len(problems), remedy, details))
    return tuple(findings)


def _details(seen: Examination, problems: Sequence[Problem]) -> tuple[str, ...]:
    """Return a line for each problem: a long sentence that is true of many is said of the first."""
    lines, said = [], set()
    for problem in problems:
        detail = "the same" if problem.detail in said else problem.detail
        lines.append(f"{seen.below(problem.path)}: {detail}".removesuffix(": "))
        if len(problem.detail) > _LONG:
            said.add(problem.detail)
    return tuple(lines)
