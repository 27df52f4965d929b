"""The doctor: what a folder holds, and what is wrong with it, before a night of training is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from atrous.contract import IGNORE, AtrousError, Colour, Encoding, LabelSpace
from atrous.data import dataset as datasets
from atrous.data.census import MaskCensus, Progress, count_mask, in_threads, total_pixels
from atrous.data.found import Found
from atrous.data.images import mask_orientation, packed
from atrous.data.layouts import recognise
from atrous.data.pairs import Pair
from atrous.data.parts import image_pixels, path_of
from atrous.data.spaces import looks_like_instances, looks_soft, space_as_wished
from atrous.data.wishes import Wishes, wished

_LISTED = 20

REMEDIES = {
    "unreadable-file": "Copy the files again from their source, or remove them with their masks.",
    "jpeg-mask": "JPEG changes label values. Save the masks as PNG, from their source.",
    "size-differs": "Make image and mask equal: resize the mask with nearest neighbour, or check the pairing.",
    "label-outside": "Is this a colour mask? Try --labels colours. Else give --classes or --ignore, or mend the masks.",
    "image-without-mask": "Add masks of the same name, or move the images out of the folder.",
    "mask-without-image": "Add images of the same name, or move the masks out of the folder.",
    "name-twice": "Remove or rename one of the files that share a name.",
    "listed-missing": "Copy the images, or take their names off the list.",
    "class-missing-in-train": "A class that is never seen cannot be learnt. Split anew, or leave the class out.",
    "all-ignore-mask": "Every pixel is ignore, so nothing is learnt. Label the images, or remove them.",
    "empty-mask": "Only the first class is on them. Right if the images show nothing else; else label them.",
}


@dataclass(frozen=True)
class Finding:
    """One kind of problem: the first files that have it, how many do, and what to do."""

    kind: str
    files: tuple[str, ...]
    count: int
    remedy: str


@dataclass(frozen=True)
class Inspection:
    """What a dataset holds and what is wrong with it; sizes are (height, width), `ignore_share` is 0 to 1."""

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
        total = sum(entry["pixels"] for entry in self.classes) or 1
        width = max((len(entry["name"]) for entry in self.classes), default=0)
        for entry in self.classes:
            share = entry["pixels"] / total
            lines.append(f"  {entry['name']:<{width}}  {share:7.2%} of pixels, on {entry['images']:,} images")
        lines.append(f"findings: {len(self.findings)}" if self.findings else "findings: none")
        for finding in self.findings:
            some = ", ".join(finding.files[:3]) + (", ..." if finding.count > 3 else "")
            lines.append(f"  {finding.kind} ({finding.count:,}): {some}. {finding.remedy}".replace(": . ", ": "))
        return "\n".join(lines)


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items)) or "unknown"


@dataclass(frozen=True)
class _Look:
    pair: Pair
    split: str
    size: tuple[int, int] | None = None
    channels: int = 0
    dtype: str = ""
    census: MaskCensus | None = None
    problem: tuple[str, Path] | None = None


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
    root = Path(root)
    found = recognise(root, layout=layout, masks=masks)
    splits, _ = datasets.divided({name: matched.pairs for name, matched in found.splits.items()})
    if split is not None:
        splits = datasets.stored_split(root, splits, split)
    wishes = wished(root, classes=classes, ignore=ignore, labels=labels, told=found.told)
    colours = wishes.labels == "colours" if space is None else space.encoding == "colours"
    items = [(name, pair) for name, pairs in splits.items() for pair in pairs]
    looks = in_threads(lambda item: _look(*item, colours=colours), items, progress)
    counted = [look.census for look in looks if look.census is not None]
    space, trouble = (space, None) if space is not None else _space(root, found.layout, counted, wishes)
    problems = [*_pairing_problems(found), *(look.problem for look in looks if look.problem is not None)]
    problems += _mask_problems(looks, space)
    findings = [] if trouble is None else [trouble]
    findings += _gathered(problems, root) + _gaps(looks, space)
    return _report(root, found.layout, splits=splits, looks=looks, space=space, findings=findings)


def _look(split: str, pair: Pair, *, colours: bool) -> _Look:
    try:
        image = image_pixels(pair.image)
    except AtrousError as error:
        return _Look(pair, split, problem=(error.kind or "unreadable-file", path_of(pair.image)))
    size = (image.shape[0], image.shape[1])
    census, problem = None, None
    if pair.mask is not None:
        try:
            census = count_mask(pair.mask, colours=colours)
        except AtrousError as error:
            problem = (error.kind or "unreadable-file", path_of(pair.mask))
    if census is not None and census.size != size:
        lies = census.size == size[::-1] and isinstance(pair.image, Path) and mask_orientation(pair.image) >= 5
        problem = None if lies else ("size-differs", census.path)
    return _Look(pair, split, size, image.shape[2], str(image.dtype), census, problem)


def _space(
    root: Path, layout: str, masks: list[MaskCensus], wishes: Wishes
) -> tuple[LabelSpace | None, Finding | None]:
    try:
        return space_as_wished(wishes) or datasets.space_from_census(root, layout, masks, wishes), None
    except AtrousError as error:
        message = str(error)
    if wishes.classes is not None and wishes.labels != "colours" and not any(mask.coloured for mask in masks):
        ignore = wishes.ignore if isinstance(wishes.ignore, int) else IGNORE
        return LabelSpace(names=wishes.classes, ignore=ignore), None
    kind = "classes-unknown"
    if looks_like_instances(masks):
        kind = "object-numbers"
    elif not any(mask.coloured for mask in masks) and looks_soft(total_pixels(masks, coloured=False)):
        kind = "soft-mask"
    strange = [mask for mask in masks if len(mask.pixels) > 2] or masks
    names = tuple(mask.path.relative_to(root).as_posix() for mask in strange[:_LISTED])
    return None, Finding(kind, names, len(strange), message.removeprefix(f"{root}: "))


def _pairing_problems(found: Found) -> list[tuple[str, Path]]:
    problems: list[tuple[str, Path]] = []
    for matched in found.splits.values():
        problems += [("image-without-mask", path) for path in matched.images_alone]
        problems += [("mask-without-image", path) for path in matched.masks_alone]
        problems += [("name-twice", path) for path in chain.from_iterable(matched.doubles)]
        problems += [("listed-missing", Path(name)) for name in matched.missing]
    problems += [(problem.kind, problem.path) for problem in found.problems]
    return problems


def _mask_problems(looks: list[_Look], space: LabelSpace | None) -> list[tuple[str, Path]]:
    problems = []
    for look in looks:
        if look.census is None or space is None:
            continue
        classes, ignored, outside = _class_pixels(look.census, space)
        if outside:
            problems.append(("label-outside", look.census.path))
        elif ignored and not any(classes):
            problems.append(("all-ignore-mask", look.census.path))
        elif len(space) > 1 and classes[0] and not any(classes[1:]):
            problems.append(("empty-mask", look.census.path))
    return problems


def _class_pixels(mask: MaskCensus, space: LabelSpace) -> tuple[list[int], int, int]:
    """Return the pixels of each class, of ignore, and of values that are neither."""
    pixels = mask.pixels
    if space.encoding == "instances":
        ignored = pixels.get(space.ignore, 0) if isinstance(space.ignore, int) else 0
        first = pixels.get(0, 0)
        return [first, sum(pixels.values()) - first - ignored], ignored, 0
    if space.encoding == "colours" and not mask.coloured:
        pixels = {value * 0x010101: count for value, count in pixels.items()}
    elif space.encoding == "indices" and mask.coloured:
        return [0] * len(space), 0, sum(pixels.values())
    ignored = 0 if space.ignore is None else pixels.get(_number(space.ignore), 0)
    classes = [pixels.get(_number(value), 0) for value in space.values]
    return classes, ignored, sum(pixels.values()) - ignored - sum(classes)


def _number(value: int | Colour) -> int:
    return value if isinstance(value, int) else int(packed(np.asarray(value)))


def _gathered(problems: list[tuple[str, Path]], root: Path) -> list[Finding]:
    findings = []
    for kind, remedy in REMEDIES.items():
        paths = [path for found, path in problems if found == kind]
        if paths:
            names = tuple(_below(path, root) for path in paths[:_LISTED])
            findings.append(Finding(kind, names, len(paths), remedy))
    return findings


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _gaps(looks: list[_Look], space: LabelSpace | None) -> list[Finding]:
    if space is None:
        return []
    seen: dict[str, set[int]] = {}
    first: dict[int, str] = {}
    for look in looks:
        if look.census is not None:
            present = {index for index, count in enumerate(_class_pixels(look.census, space)[0]) if count}
            seen.setdefault(look.split, set()).update(present)
            if look.split == "val":
                first.update(dict.fromkeys(present - set(first), look.pair.name))
    missing = sorted(seen.get("val", set()) - seen["train"]) if "train" in seen else []
    if not missing:
        return []
    names = ", ".join(space.names[index] for index in missing)
    files = tuple(dict.fromkeys(first[index] for index in missing))
    return [Finding("class-missing-in-train", files, len(missing), f"{names}: {REMEDIES['class-missing-in-train']}")]


def _report(
    root: Path,
    layout: str,
    *,
    splits: dict[str, tuple[Pair, ...]],
    looks: list[_Look],
    space: LabelSpace | None,
    findings: list[Finding],
) -> Inspection:
    sizes = np.array([look.size for look in looks if look.size is not None]).reshape(-1, 2)
    named = (("minimum", np.min), ("median", np.median), ("maximum", np.max)) if len(sizes) else ()
    counted = [_class_pixels(look.census, space) for look in looks if look.census is not None and space is not None]
    classes = (
        ()
        if space is None
        else tuple(
            {
                "name": name,
                "value": space.values[index],
                "pixels": sum(entry[0][index] for entry in counted),
                "images": sum(entry[0][index] > 0 for entry in counted),
            }
            for index, name in enumerate(space.names)
        )
    )
    every = sum(sum(entry[0]) + entry[1] + entry[2] for entry in counted)
    return Inspection(
        root=str(root),
        layout=layout,
        images=len(looks),
        splits={name: len(pairs) for name, pairs in splits.items()},
        sizes={name: _size(function(sizes, axis=0)) for name, function in named},
        channels=tuple(sorted({look.channels for look in looks if look.channels})),
        dtypes=tuple(sorted({look.dtype for look in looks if look.dtype})),
        encoding=None if space is None else space.encoding,
        classes=classes,
        ignore_share=sum(entry[1] for entry in counted) / every if every else 0.0,
        findings=tuple(findings),
    )


def _size(sides: Any) -> tuple[int, int]:
    return int(sides[0]), int(sides[1])
