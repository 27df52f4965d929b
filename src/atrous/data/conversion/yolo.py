"""YOLO: a text file of polygons for each image, and the classes in `data.yaml`.

```
images/train/a.jpg   labels/train/a.txt   data.yaml   classes.json
0 0.25 0.5 0.75 0.5 0.75 1       # class, then x and y of each corner in widths and heights of the image
```
A line is an object, or a connected region of a class, along the edges of its pixels. Holes and further pieces are
joined to the outline by a cut there and back, so they stay what they are wherever pixel centres decide. YOLO's
background is what no polygon covers, so that a class of this name has none, and ignored pixels cannot be told from it.
Where no class is called background, pixels of no polygon are those to be ignored, as `classes.json` says to our own
reader.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from atrous.contract import IGNORE, Sample
from atrous.data.census import Progress
from atrous.data.conversion import placing
from atrous.data.conversion.coco import runs_of
from atrous.data.conversion.numbering import Numbering, numbering, shown
from atrous.data.conversion.placing import USUAL, Facts, Place, Say, facts_of, for_each
from atrous.data.dataset import Dataset
from atrous.data.rings import Ring, polygons
from atrous.data.writers import atomic

_LOST = "YOLO cannot tell them from background, which they became"
_UNLABELLED = "YOLO takes an image without text for one without objects"
_IGNORED = "they have no polygon, which means background to other tools"


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write images, polygons and `data.yaml` into `out`, and return their paths."""
    placed = placing.places(dataset, say=say)
    numbers = numbering(dataset.space)

    def written(place: Place, sample: Sample) -> tuple[list[Path], Facts]:
        target = out / "images" / place.split / place.name
        files = [placing.put_image(place.pair.image, sample.image, target, kept=USUAL)]
        if sample.labels is not None:
            files.append(out / "labels" / place.split / f"{place.name}.txt")
            with atomic(files[-1]) as temporary:
                temporary.write_text("".join(_lines(sample, numbers)), encoding="utf-8")
        return files, facts_of(place, sample)

    answers = for_each(placed, dataset, written, progress)
    lost = _IGNORED if numbers.background is None else _LOST
    placing.say_lost([facts for _, facts in answers], say, ignore=lost)
    placing.say_unlabelled(placed, say, _UNLABELLED)
    names = shown((numbers.numbers[label], dataset.space.names[label]) for label in numbers.labels())
    _write_yaml(out / "data.yaml", [name for _, name in names], [place.split for place in placed])
    classes = numbers.write(out, dataset.space, ignored=False)
    return [*(path for files, _ in answers for path in files), out / "data.yaml", classes]


def _lines(sample: Sample, numbers: Numbering) -> list[str]:
    """Return a line for each connected region of each class, or of each object, that is not background."""
    if sample.labels is None:
        return []
    size = np.array([sample.labels.shape[1], sample.labels.shape[0]])
    lines = []
    for runs in runs_of(sample.labels, sample.instances):
        if runs.label in (IGNORE, numbers.background):
            continue
        regions = polygons(runs.pixels())
        for rings in [tuple(chain.from_iterable(regions))] if runs.number else regions:
            corners = (joined(rings) + np.array(runs.box[:2])) / size
            lines.append(f"{numbers.numbers[runs.label] - 1} {' '.join(f'{x:.6g}' for x in corners.ravel())}\n")
    return lines


def joined(rings: Sequence[Ring]) -> Ring:
    """Return an outline with holes and further pieces as one ring, which goes from a corner near by to each and back.

    >>> joined([np.array([[0, 0], [0, 3], [3, 3], [3, 0]]), np.array([[1, 1], [2, 1], [2, 2], [1, 2]])]).tolist()[:3]
    [[0, 0], [0, 3], [1, 1]]
    """
    outline, others = rings[0], rings[1:]
    if not others:
        return outline
    # Near by is next in the order of rows: the nearest of all takes minutes where noise has 100,000 holes.
    width = 1 + max(int(ring[:, 0].max()) for ring in rings)
    places = outline[:, 1].astype(np.int64) * width + outline[:, 0]
    order = np.argsort(places)
    wanted = np.array([int(ring[0, 1]) * width + int(ring[0, 0]) for ring in others])
    anchors = order[np.searchsorted(places[order], wanted).clip(max=len(order) - 1)]
    pieces, last = [], 0
    for index in np.argsort(anchors, kind="stable"):
        anchor = int(anchors[index])
        pieces += [outline[last : anchor + 1], others[index], others[index][:1]]
        last = anchor
    return np.concatenate([*pieces, outline[last:]])


def _write_yaml(path: Path, names: Sequence[str], splits: Sequence[str]) -> None:
    lines = [f"{split}: images/{split}" for split in ("train", "val", "test") if split in splits]
    # A string of JSON is one of YAML, whatever is in it.
    lines += ["names:", *(f"  {index}: {json.dumps(name, ensure_ascii=False)}" for index, name in enumerate(names))]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
