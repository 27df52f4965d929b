"""A dataset of objects made from one of scenes: crops around single objects, and crops around proposals.

Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015 (arXiv 1505.04366), section
4.2: the network first learns what one object in the middle looks like, with all else as background; then what
proposals show, where several objects may stand in one crop and none need be in the middle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace, Sample
from atrous.data.census import Progress, in_threads
from atrous.data.dataset import Dataset, open_dataset
from atrous.data.images import read_mask
from atrous.data.pairs import Pair
from atrous.data.samples import object_numbers, read_sample
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic, write_image, write_mask

Box = tuple[int, int, int, int]
"""Top, left, bottom and right; the last two are the first row and column outside."""

Crop = tuple[NDArray[Any], NDArray[np.uint8]]


@dataclass(frozen=True)
class _Object:
    label: int
    box: Box
    number: int


@dataclass(frozen=True, kw_only=True)
class _Plan:
    stage: Literal[1, 2]
    size: int
    background: int
    enlarge: float
    minimum: int
    propose: Callable[..., Any] | None
    count: int
    overlap: float


def object_crops(
    data: Dataset | str | Path,
    out: str | Path,
    *,
    stage: Literal[1, 2],
    size: int = 250,
    enlarge: float = 1.2,
    propose: Callable[..., Any] | None = None,
    count: int = 200,
    overlap: float = 0.5,
    background: str = "background",
    minimum: int = 16,
    progress: Progress | None = None,
) -> Path:
    """Write crops of `size` x `size` around the objects of a dataset, as a folder that `train` reads; return `out`.

    An object is one of the masks' numbered instances (or of VOC's `SegmentationObject`) where there are any, else a
    connected region of a class other than `background`; those with a side below `minimum` pixels are left out.

    Stage 1: the box of each object, `enlarge`d about its centre and cut off at the image's border. Only the object
    keeps its class, all else becomes background; where regions stand for objects, the other pixels of its class keep
    theirs too, since they may be parts of it. Stage 2: the boxes that `propose(image, count=count)` returns (k, 4),
    such as `prediction.selective_search`, and that overlap an object's by `overlap` or more, as intersection over
    union; all labels are kept. What is ignored stays so. Images are resized by area or bilinearly, labels by the
    nearest; proportions change, as they do at prediction.

    Files are `images/train/00000-NAME-00.png`, `masks/train/...`, the same for `val` from the dataset's own `val`, and
    `classes.json`, written last. `progress(done, total)` is called after each image of a split.

    Raises `ValueError` for arguments out of range, and `AtrousError` for a folder that is no dataset, has no class
    `background` or no object in `train`, and where `out` holds something.

    Source: DeconvNet, sections 4.2 and 6.1 (250 pixels, of which training takes crops of 224). That boxes are enlarged
    1.2 times and proposals overlap by 0.5 is from notes on the paper, not verified. The authors repeat objects of rare
    classes, which is not done here.

    >>> import tempfile
    >>> from atrous.data.scenes import write_scenes
    >>> folder = Path(tempfile.mkdtemp())
    >>> cells = write_scenes(folder / "cells", train=2, val=1, size=(96, 96), kind="cells")
    >>> crops = object_crops(cells, folder / "crops", stage=1, size=32)
    >>> open_dataset(crops).space.names
    ('background', 'nucleus')
    """
    _check(stage, size=size, enlarge=enlarge, propose=propose, count=count, overlap=overlap, minimum=minimum)
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    out = Path(out)
    _refuse_occupied(out)
    plan = _Plan(
        stage=stage,
        size=size,
        background=_index(dataset, background),
        enlarge=enlarge,
        minimum=minimum,
        propose=propose,
        count=count,
        overlap=overlap,
    )
    for split in ("train", "val"):
        pairs = [pair for pair in dataset.splits.get(split, ()) if pair.mask is not None]
        written = in_threads(
            partial(_write_crops, space=dataset.space, out=out, split=split, plan=plan),
            list(enumerate(pairs)),
            progress,
        )
        if split == "train" and not sum(written):
            raise _nothing(dataset, len(pairs), plan)
    _write_classes(out, dataset.space)
    return out


def _write_crops(item: tuple[int, Pair], *, space: LabelSpace, out: Path, split: str, plan: _Plan) -> int:
    """Write the crops of one image, and return how many there are."""
    index, pair = item
    sample = read_sample(pair, space)
    done = -1
    for done, (image, labels) in enumerate(_crops(sample, _numbered(pair, sample), plan)):
        name = f"{index:05d}-{Path(pair.name).name}-{done:02d}"
        as_png = image.shape[2] in (1, 3) and image.dtype in (np.uint8, np.uint16)
        write_image(out / "images" / split / f"{name}.{'png' if as_png else 'tif'}", image)
        write_mask(out / "masks" / split / f"{name}.png", labels, space)
    return done + 1


def _numbered(pair: Pair, sample: Sample) -> NDArray[np.int32] | None:
    """Return the object numbers (h, w) of a sample: its own, or those that VOC stores beside its classes."""
    if sample.instances is not None or not isinstance(pair.mask, Path) or sample.labels is None:
        return sample.instances
    path = pair.mask.parent.with_name("SegmentationObject") / pair.mask.name
    if not path.is_file():
        return None
    numbers = object_numbers(read_mask(path))
    if numbers.shape != sample.labels.shape:
        raise AtrousError(f"{path}: {numbers.shape} came, and the classes are {sample.labels.shape}. Make them equal.")
    return numbers


def _crops(sample: Sample, instances: NDArray[np.int32] | None, plan: _Plan) -> Iterator[Crop]:
    labels = np.asarray(sample.labels)
    numbers = _regions(labels, plan.background) if instances is None else instances
    objects = _objects(labels, numbers, plan)
    if plan.propose is not None:
        found = plan.propose(sample.image, count=plan.count) if objects else ()
        for box in _overlapping(found, objects, plan.overlap, labels.shape):
            yield _resized(_cut(sample.image, box), _cut(labels, box), plan.size)
        return
    for each in objects:
        box = _enlarged(each.box, plan.enlarge, labels.shape)
        part = _cut(labels, box)
        own = part == each.label if instances is None else _cut(numbers, box) == each.number
        alone = np.where(own | (part == IGNORE), part, plan.background).astype(np.uint8)
        yield _resized(_cut(sample.image, box), alone, plan.size)


def _regions(labels: NDArray[np.uint8], background: int) -> NDArray[np.int32]:
    """Return a number for every connected region of one class, 0 for background and ignored pixels."""
    numbers, before = np.zeros(labels.shape, np.int32), 0
    for label in np.unique(labels):
        if label not in (background, IGNORE):
            count, regions = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
            numbers += np.where(regions > 0, regions + before, 0).astype(np.int32)
            before += count - 1
    return numbers


def _objects(labels: NDArray[np.uint8], numbers: NDArray[np.int32], plan: _Plan) -> list[_Object]:
    """Return the numbered objects that are large enough, ordered by number; each has its commonest class."""
    rows, columns = np.nonzero((labels != IGNORE) & (labels != plan.background) & (numbers != 0))
    each, place = np.unique(numbers[rows, columns], return_inverse=True)
    first, last = np.full((2, len(each)), max(labels.shape)), np.zeros((2, len(each)), int)
    for axis, positions in enumerate((rows, columns)):
        np.minimum.at(first[axis], place, positions)
        np.maximum.at(last[axis], place, positions + 1)
    counts = np.zeros((len(each), IGNORE), int)
    np.add.at(counts, (place, labels[rows, columns]), 1)
    large = np.flatnonzero((last - first >= plan.minimum).all(0))
    return [
        _Object(
            label=int(counts[index].argmax()),
            box=(int(first[0, index]), int(first[1, index]), int(last[0, index]), int(last[1, index])),
            number=int(each[index]),
        )
        for index in large
    ]


def _enlarged(box: Box, factor: float, shape: tuple[int, ...]) -> Box:
    """Return the box enlarged about its centre, cut off at the border of an image (h, w).

    >>> _enlarged((10, 0, 20, 10), 1.2, (100, 100))
    (9, 0, 21, 11)
    """
    top, left, bottom, right = box
    high, wide = (bottom - top) * (factor - 1) / 2, (right - left) * (factor - 1) / 2
    return (
        max(0, round(top - high)),
        max(0, round(left - wide)),
        min(shape[0], round(bottom + high)),
        min(shape[1], round(right + wide)),
    )


def _overlapping(found: Any, objects: list[_Object], overlap: float, shape: tuple[int, ...]) -> Iterator[Box]:
    """Yield the boxes that overlap an object's by enough; raise `ValueError` for what are no boxes of the image."""
    height, width = shape
    for row in np.asarray(found).tolist():
        box = tuple(row) if isinstance(row, list) and all(isinstance(edge, int) for edge in row) else ()
        if len(box) != 4 or not (0 <= box[0] < box[2] <= height and 0 <= box[1] < box[3] <= width):
            raise ValueError(
                f"propose returned {row}, which is not (top, left, bottom, right) in an image of {height} x {width}"
            )
        if max(_shared(box, each.box) for each in objects) >= overlap:
            yield box


def _shared(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes."""
    high = min(first[2], second[2]) - max(first[0], second[0])
    wide = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, high) * max(0, wide)
    areas = sum((bottom - top) * (right - left) for top, left, bottom, right in (first, second))
    return common / (areas - common)


def _cut(array: NDArray[Any], box: Box) -> NDArray[Any]:
    return array[box[0] : box[2], box[1] : box[3]]


def _resized(image: NDArray[Any], labels: NDArray[np.uint8], size: int) -> Crop:
    smooth = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_LINEAR
    parts = [image[:, :, first : first + 4] for first in range(0, image.shape[2], 4)]  # OpenCV's most for areas
    resized = [cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=smooth) for part in parts]
    nearest = cv2.resize(np.ascontiguousarray(labels), (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.concatenate([part.reshape(size, size, -1) for part in resized], 2), np.asarray(nearest, np.uint8)


def _write_classes(out: Path, space: LabelSpace) -> None:
    fields = {"names": space.names, "colours": space.colours, "values": list(range(len(space))), "ignore": IGNORE}
    with atomic(out / CLASSES_FILE) as temporary:
        temporary.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def _check(
    stage: int,
    *,
    size: int,
    enlarge: float,
    propose: Callable[..., Any] | None,
    count: int,
    overlap: float,
    minimum: int,
) -> None:
    if stage not in (1, 2):
        raise ValueError(f"stage {stage} came; it is 1 (single objects) or 2 (proposals)")
    if stage == 2 and propose is None:
        raise ValueError("stage 2 is made of proposals: give propose, such as atrous.prediction.selective_search")
    if stage == 1 and propose is not None:
        raise ValueError("stage 1 is made of the objects' own boxes: leave propose out, or take stage=2")
    for name, value in (("size", size), ("count", count), ("minimum", minimum)):
        if value < 1:
            raise ValueError(f"{name} {value} came; it is 1 or more")
    if enlarge < 1:
        raise ValueError(f"enlarge {enlarge} came; it is 1 (the object's own box) or more")
    if not 0 < overlap <= 1:
        raise ValueError(f"overlap {overlap} came; it is an intersection over union, above 0 and up to 1")


def _index(dataset: Dataset, background: str) -> int:
    names = dataset.space.names
    if background not in names:
        raise AtrousError(
            f"{dataset.root}: no class is called {background!r}; there are {', '.join(names)}. All that is no object "
            "becomes this class: name it with background=, or add it to the masks."
        )
    return names.index(background)


def _nothing(dataset: Dataset, images: int, plan: _Plan) -> AtrousError:
    least = f"of {plan.minimum} x {plan.minimum} pixels or more"
    if plan.stage == 1:
        came = f"hold no object {least}. Check the classes, or lower minimum."
    else:
        came = f"have no proposal that overlaps an object {least} by {plan.overlap:g}. Raise count, or lower overlap."
    return AtrousError(f"{dataset.root}: {images} images to train on {came}")


def _refuse_occupied(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AtrousError(
            f"{out}: is there already, and crops are written into a new or empty folder. Name another one."
        )
