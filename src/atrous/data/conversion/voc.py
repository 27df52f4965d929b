"""PASCAL VOC's folders: images, index masks with a palette, and lists of names.

```
JPEGImages/a.jpg   SegmentationClass/a.png   ImageSets/Segmentation/{train,val,trainval,test}.txt   classes.json
```
Names are flat, since the lists hold no folders. The palette has the classes' own colours, and `classes.json` their
names, for which VOC has no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atrous.contract import Sample
from atrous.data.census import Progress
from atrous.data.conversion import placing
from atrous.data.conversion.masks import write_classes
from atrous.data.conversion.placing import USUAL, Facts, Place, Say, counted, facts_of, for_each
from atrous.data.dataset import Dataset
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic, write_mask

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", Path("ImageSets", "Segmentation")


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Say | None = None) -> list[Path]:
    """Write images, masks, lists and `classes.json` into `out`, and return their paths."""
    placed = placing.places(dataset, flat=True, say=say)

    def written(place: Place, sample: Sample) -> tuple[list[Path], Facts]:
        files = [placing.put_image(place.pair.image, sample.image, out / IMAGES / place.name, kept=USUAL)]
        if sample.labels is not None:
            files.append(out / MASKS / f"{place.name}.png")
            write_mask(files[-1], sample.labels, dataset.space)
        return files, facts_of(place, sample)

    answers = for_each(placed, dataset, written, progress)
    (out / MASKS).mkdir(exist_ok=True)  # a test split alone has none, and the folder is what tells VOC
    files = [path for files, _ in answers for path in files]
    lists = write_lists(out / LISTS, placed)
    write_classes(out / CLASSES_FILE, dataset.space)
    placing.say_lost([facts for _, facts in answers], say, objects="masks hold classes only; coco keeps objects apart")
    other = sum(path.parent.name == IMAGES and path.suffix.lower() not in (".jpg", ".jpeg") for path in files)
    if other and say is not None:
        say(f"{counted(other, 'image')} not JPEG; some tools for VOC look for .jpg alone")
    return [*files, *lists, out / CLASSES_FILE]


def write_lists(folder: Path, placed: Sequence[Place]) -> list[Path]:
    """Write the names of each split, one on a line, and those of train and val together."""
    lists = {split: [place.name for place in placed if place.split == split] for split in ("train", "val", "test")}
    lists["trainval"] = lists["train"] + lists["val"]
    written = []
    for split, names in lists.items():
        if names:
            written.append(folder / f"{split}.txt")
            with atomic(written[-1]) as temporary:
                temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return written
