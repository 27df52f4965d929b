"""COCO: images by split, and a JSON of annotations for each split, whose masks are compressed run lengths.

```
images/train/a.jpg   annotations/instances_train.json   annotations/image_info_test.json (images without masks)
classes.json
```
An annotation is one object where the source numbers objects, else all pixels of a class in an image. Pixels of no
annotation are background in COCO, so that a class of this name has none, and ignored pixels are annotated as a crowd of
a category "ignore". Where no class is called background, pixels of no annotation are those to be ignored.
`classes.json` says so to our own reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace, Sample
from atrous.data.census import Progress
from atrous.data.conversion import placing
from atrous.data.conversion.numbering import Numbering, numbering, shown
from atrous.data.conversion.placing import USUAL, Facts, Place, Say, facts_of, for_each
from atrous.data.dataset import Dataset
from atrous.data.rle import string_of_counts
from atrous.data.writers import atomic

Coded = dict[str, Any]
"""The fields of an annotation that hang on its pixels: `segmentation`, `area`, `bbox` and `iscrowd`."""


_CROWD = 'a crowd of the category "ignore"'
_IGNORED = "they have no annotation, which means background to other tools"


@dataclass(frozen=True)
class _Entry:
    """An image as the JSON lists it, and its annotations."""

    image: Coded
    annotations: list[Coded] | None


@dataclass(frozen=True)
class Runs:
    """The pixels of a label: where runs begin, column by column, and how long they are.

    With a `number` other than 0 they are those of the object that has it.
    """

    label: int
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    size: tuple[int, int]
    number: int = 0

    @property
    def counts(self) -> NDArray[np.int64]:
        """COCO's counts: pixels off, on, off and so on."""
        edges = np.stack([self.starts, self.starts + self.lengths], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=self.size[0] * self.size[1])
        return counts if counts[-1] else counts[:-1]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The left column, the upper row, the width and the height."""
        height = self.size[0]
        last = self.starts + self.lengths - 1
        left, right = int(self.starts[0]) // height, int(last[-1]) // height
        # A run that goes on in the next column has passed the bottom of one and the top of the other.
        whole = bool((self.starts // height != last // height).any())
        top = 0 if whole else int((self.starts % height).min())
        bottom = height - 1 if whole else int((last % height).max())
        return left, top, right - left + 1, bottom - top + 1

    def pixels(self) -> NDArray[np.bool_]:
        """Return the mask (h, w) of the box alone."""
        left, top, width, height = self.box
        columns = np.zeros(width * self.size[0], np.int8)
        first = self.starts - left * self.size[0]
        columns[first] = 1
        ends = first + self.lengths
        columns[ends[ends < len(columns)]] -= 1
        whole = np.cumsum(columns, dtype=np.int8).astype(bool).reshape(width, self.size[0])
        return whole[:, top : top + height].T


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write images and annotations with run lengths into `out`, and return their paths."""
    return write_coded(dataset, out, run_lengths, progress=progress, say=say)


def write_coded(
    dataset: Dataset,
    out: Path,
    coded: Callable[[Runs], Coded],
    *,
    progress: Progress | None = None,
    say: Say | None = None,
) -> list[Path]:
    """Write images and annotations as `coded` says into `out`, and return their paths."""
    numbers = numbering(dataset.space)
    placed = placing.places(dataset, say=say)

    def written(place: Place, sample: Sample) -> tuple[Path, _Entry, Facts]:
        folder = out / "images" / place.split
        path = placing.put_image(place.pair.image, sample.image, folder / place.name, kept=USUAL)
        height, width = sample.image.shape[:2]
        image = {"file_name": path.relative_to(folder).as_posix(), "width": width, "height": height}
        return path, _Entry(image, _annotations(sample, numbers, coded)), facts_of(place, sample)

    answers = for_each(placed, dataset, written, progress)
    facts = [facts for *_, facts in answers]
    ignored = any(fact.ignored for fact in facts)
    placing.say_lost(facts, say, ignore=_IGNORED if numbers.background is None else _CROWD)
    categories = _categories(dataset.space, numbers, ignored=ignored)
    files = [path for path, *_ in answers]
    for split in dict.fromkeys(place.split for place in placed):
        mine = [entry for place, (_, entry, _) in zip(placed, answers, strict=True) if place.split == split]
        files += _write_split(out / "annotations", split, mine, categories)
    return [*files, numbers.write(out, dataset.space, ignored=ignored)]


def _annotations(sample: Sample, numbers: Numbering, coded: Callable[[Runs], Coded]) -> list[Coded] | None:
    """Return the annotations of a sample without ids, None where it has no mask."""
    if sample.labels is None:
        return None
    found = []
    for runs in runs_of(sample.labels, sample.instances):
        if runs.label == IGNORE and numbers.background is not None:
            found.append({"category_id": numbers.ignored, **run_lengths(runs), "iscrowd": 1})
        elif runs.label not in (IGNORE, numbers.background):
            found.append({"category_id": numbers.numbers[runs.label], **coded(runs)})
    return found


def _categories(space: LabelSpace, numbers: Numbering, *, ignored: bool) -> list[Coded]:
    named = shown((numbers.numbers[label], space.names[label]) for label in numbers.labels())
    colours = [space.colours[label] for label in numbers.labels()]
    if ignored and numbers.background is not None:
        named.append((numbers.ignored, "ignore"))
        colours.append((224, 224, 192))  # the border of VOC's objects
    return [
        {"id": number, "name": name, "supercategory": name, "color": list(colour)}
        for (number, name), colour in zip(named, colours, strict=True)
    ]


def runs_of(labels: NDArray[np.uint8], instances: NDArray[np.int32] | None = None) -> Iterator[Runs]:
    """Yield the pixels of each label, ignored ones too, or of each object where there are numbers."""
    keys = labels.T.astype(np.int64).ravel()
    if instances is not None:
        keys += instances.T.astype(np.int64).ravel() << 8
    starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
    lengths = np.diff(starts, append=len(keys))
    order = np.argsort(keys[starts], kind="stable")
    found, first = np.unique(keys[starts][order], return_index=True)
    for key, mine in zip(found.tolist(), np.split(order, first[1:]), strict=True):
        size = (labels.shape[0], labels.shape[1])
        yield Runs(key & 255, starts[mine], lengths[mine], size, key >> 8)


def run_lengths(runs: Runs) -> Coded:
    """Return an annotation's pixels as compressed run lengths."""
    code = {"size": list(runs.size), "counts": string_of_counts(runs.counts)}
    return {"segmentation": code, "area": int(runs.lengths.sum()), "bbox": list(runs.box), "iscrowd": 0}


def _write_split(folder: Path, split: str, entries: Sequence[_Entry], categories: list[Coded]) -> list[Path]:
    """Write the JSON of the images with masks, and that of those without."""
    numbered = [({"id": number, **entry.image}, entry.annotations) for number, entry in enumerate(entries, start=1)]
    files = []
    labelled = [(image, annotations) for image, annotations in numbered if annotations is not None]
    if labelled:
        flat = [{"image_id": image["id"], **one} for image, annotations in labelled for one in annotations]
        annotations = [{"id": number, **one} for number, one in enumerate(flat, start=1)]
        images = [image for image, _ in labelled]
        files.append(folder / f"instances_{split}.json")
        _write_json(files[-1], {"images": images, "categories": categories, "annotations": annotations})
    if bare := [image for image, annotations in numbered if annotations is None]:
        files.append(folder / f"image_info_{split}.json")
        _write_json(files[-1], {"images": bare, "categories": categories})
    return files


def _write_json(path: Path, content: Coded) -> None:
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump({"info": {"description": "written by atrous"}, **content}, file, ensure_ascii=False)
