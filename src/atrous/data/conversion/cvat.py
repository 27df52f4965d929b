"""CVAT's "Segmentation mask 1.1": VOC's folders with masks of colours, and the colours in `labelmap.txt`.

```
JPEGImages/a.jpg   SegmentationClass/a.png   SegmentationObject/a.png   ImageSets/Segmentation/train.txt
labelmap.txt       # label:color_rgb:parts:actions
                   background:0,0,0::
```
Black is what CVAT takes for unlabelled, so that a class named background is black and no other is. CVAT knows no
pixels to be ignored: they have a colour and a label of their own, which `classes.json` says is none.
`SegmentationObject` is there where objects are numbered, each in a colour of VOC's palette.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, Colour, LabelSpace, Sample, distinct_colours
from atrous.data.census import Progress
from atrous.data.conversion import placing
from atrous.data.conversion.masks import write_classes
from atrous.data.conversion.placing import USUAL, Facts, Place, Say, counted, facts_of, for_each
from atrous.data.conversion.voc import IMAGES, LISTS, MASKS, write_lists
from atrous.data.dataset import Dataset
from atrous.data.layouts.voc import palette
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic, write_image

_BLACK = (0, 0, 0)
_BORDER = (224, 224, 192)
_OBJECTS = "SegmentationObject"
_MOST_OBJECTS = 254
_IGNORED = 'CVAT has no such pixels, and shows them as label "ignore"'
_APART = f"drawn in {_OBJECTS}/ for CVAT; opened again here, masks hold classes only, and coco keeps objects apart"


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write images, coloured masks, lists, `labelmap.txt` and `classes.json` into `out`, and return their paths."""
    placed = placing.places(dataset, flat=True, say=say)
    space = coloured_space(dataset.space, say)
    table = np.zeros((256, 3), np.uint8)
    table[: len(space)] = space.colours
    table[IGNORE] = np.asarray(space.ignore, np.uint8)

    def written(place: Place, sample: Sample) -> tuple[list[Path], Facts]:
        files = [placing.put_image(place.pair.image, sample.image, out / IMAGES / place.name, kept=USUAL)]
        if sample.labels is not None:
            files.append(out / MASKS / f"{place.name}.png")
            write_image(files[-1], table[sample.labels])
        if sample.instances is not None and (drawn := _drawn(sample.instances)) is not None:
            files.append(out / _OBJECTS / f"{place.name}.png")
            write_image(files[-1], drawn)
        return files, facts_of(place, sample)

    answers = for_each(placed, dataset, written, progress)
    (out / MASKS).mkdir(exist_ok=True)
    facts = [fact for _, fact in answers]
    lists = write_lists(out / LISTS, placed)
    label_map = _write_label_map(out / "labelmap.txt", space, ignored=any(fact.ignored for fact in facts))
    write_classes(out / CLASSES_FILE, space, values=True)
    placing.say_lost(facts, say, ignore=_IGNORED, objects=_APART)
    crowded = sum(fact.objects > _MOST_OBJECTS for fact in facts)
    if crowded and say is not None:
        say(f"{counted(crowded, 'image')} with more than {_MOST_OBJECTS} objects, whose objects are not kept apart")
    return [*(path for files, _ in answers for path in files), *lists, label_map, out / CLASSES_FILE]


def coloured_space(space: LabelSpace, say: Say | None = None) -> LabelSpace:
    """Return the classes with colours that differ, black for background alone, and names that `labelmap.txt` can hold.

    >>> coloured_space(LabelSpace(names=("background", "cat"))).colours
    ((0, 0, 0), (76, 106, 178))
    """
    names = _distinct(re.sub(r"[:\s]+", " ", name).strip().lstrip("#") or "class" for name in space.names)
    colours: list[Colour] = []
    spare = (colour for colour in distinct_colours(1000) if colour not in space.colours)
    for name, colour in zip(names, space.colours, strict=True):
        free = colour not in colours and colour != _BLACK
        colours.append(
            _BLACK if name.lower() == "background" and _BLACK not in colours else colour if free else next(spare)
        )
    ignore = _BORDER if _BORDER not in colours else next(spare)
    if say is not None:
        for old, new in zip(space.names, names, strict=True):
            if old != new:
                say(f"class {old!r} is named {new!r}, since a label of CVAT's file has no colon and no break")
        if changed := sum(old != new for old, new in zip(space.colours, colours, strict=True)):
            say(f"{counted(changed, 'colour')} changed: in CVAT black is background, and colours differ")
    return LabelSpace(names=names, colours=tuple(colours), ignore=ignore, encoding="colours")


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        number, free = 2, name
        while free in found:
            number, free = number + 1, f"{name} {number}"
        found.append(free)
    return tuple(found)


def _write_label_map(path: Path, space: LabelSpace, *, ignored: bool) -> Path:
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(space.names, space.colours, strict=True)]
    if ignored and isinstance(space.ignore, tuple):
        name = next(name for name in ("ignore", "ignored", "not labelled") if name not in space.names)
        lines.append(f"{name}:{','.join(map(str, space.ignore))}::")
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _drawn(instances: NDArray[np.int32]) -> NDArray[np.uint8] | None:
    """Return object numbers as colours of VOC's palette, None where it has too few."""
    numbers, place = np.unique(instances, return_inverse=True)
    objects = numbers[numbers != 0]
    if not 0 < len(objects) <= _MOST_OBJECTS:
        return None
    colours = np.array([_BLACK, *palette(len(objects) + 1)[1:]], np.uint8)
    indices = np.zeros(len(numbers), np.int64)
    indices[numbers != 0] = np.arange(1, len(objects) + 1)
    return colours[indices[place.reshape(instances.shape)]]
