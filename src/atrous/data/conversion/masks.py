"""A folder of images and a folder of index masks, with the classes in `classes.json`.

```
images/train/a.jpg      masks/train/a.png
images/val/city/b.png   masks/val/city/b.png      classes.json
```
A mask holds 0..n-1, 255 where a pixel is to be ignored, and a palette of the classes' colours, so that it can be looked
at. With `values` it holds the numbers that the source's masks have.
"""

from __future__ import annotations

import json
from pathlib import Path

from atrous.contract import IGNORE, LabelSpace, Sample
from atrous.data.census import Progress
from atrous.data.conversion.placing import Facts, Place, Say, facts_of, for_each, places, put_image, say_lost
from atrous.data.dataset import Dataset
from atrous.data.images import SUFFIXES
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic, write_mask


def write(
    dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None, values: bool = False
) -> list[Path]:
    """Write images, masks and `classes.json` into `out`, and return their paths.

    With `values` the masks hold `space.values` and `space.ignore`. Raises `ValueError` where these are colours or
    object numbers or do not fit a byte, and for a dataset that has nothing but `test`.
    """
    placed = places(dataset, say=say)
    if not any(place.split != "test" for place in placed):
        raise ValueError(f"{dataset.root}: there is only test, and folders of masks need train or val. Try voc.")

    def written(place: Place, sample: Sample) -> tuple[list[Path], Facts]:
        source = place.pair.image
        files = [put_image(source, sample.image, out / "images" / place.split / place.name, kept=SUFFIXES)]
        if sample.labels is not None:
            files.append(out / "masks" / place.split / f"{place.name}.png")
            write_mask(files[-1], sample.labels, dataset.space, values=values)
        return files, facts_of(place, sample)

    answers = for_each(placed, dataset, written, progress)
    say_lost([facts for _, facts in answers], say, objects="masks hold classes only; coco keeps objects apart")
    write_classes(out / CLASSES_FILE, dataset.space, values=values)
    return [*(path for files, _ in answers for path in files), out / CLASSES_FILE]


def write_classes(path: Path, space: LabelSpace, *, values: bool = False) -> None:
    """Write the `classes.json` of masks that hold 0..n-1 and 255, or with `values` what the space says they hold."""
    classes = {
        "names": space.names,
        "colours": space.colours,
        "values": space.values if values else tuple(range(len(space))),
        "ignore": space.ignore if values else IGNORE,
        "labels": space.encoding if values else "indices",
    }
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(classes, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
