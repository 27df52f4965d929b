"""How much of each class there is: a table per image, and one of all images made of these.

```
class,pixels,share,regions,area_m2,area_mm2,volume_ml
road,1200,0.75,2,300,,
```
`share` is of the pixels that have a class, `regions` counts what is connected. Of the sizes, one is known at most; the
others are empty. Every class has a line, in the order of the model.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atrous.contract import AtrousError, LabelSpace
from atrous.data.writers import atomic
from atrous.prediction.pixel_sizes import Unit

COLUMNS = ("class", "pixels", "share", "regions", "area_m2", "area_mm2", "volume_ml")
_OF_UNIT = {"m2": "area_m2", "mm2": "area_mm2", "ml": "volume_ml"}


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Pixels, connected regions, and the size in `unit`, of every class; `sizes` is None where the place is not known.

    `unit` is m2 on maps, mm2 in pictures with a spacing, ml in volumes.
    """

    pixels: tuple[int, ...]
    regions: tuple[int, ...]
    sizes: tuple[float, ...] | None = None
    unit: Unit = ""

    def rows(self, space: LabelSpace) -> Iterator[dict[str, str]]:
        """Yield a line of the table for every class of `space`, by column."""
        total = sum(self.pixels)
        for label, name in enumerate(space.names):
            row = {"class": name, "pixels": str(self.pixels[label]), "regions": str(self.regions[label])}
            if total:
                row["share"] = f"{self.pixels[label] / total:.6f}"
            if self.sizes is not None:
                row[_OF_UNIT[self.unit]] = f"{self.sizes[label]:.10g}"
            yield row


def write_statistics(path: Path, statistics: Statistics, space: LabelSpace) -> None:
    """Write the table of one image as CSV; raises `AtrousError` where the disk refuses."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(statistics.rows(space))


def joined_statistics(out: Path) -> Path | None:
    """Write `OUT/statistics.csv` of all tables below `OUT/statistics`, and return it; None where there are none.

    Its first column, `image`, has the path of each table without its suffix. The tables stay.

    Raises `AtrousError` for a table that is none, and where the disk refuses.
    """
    folder = out / "statistics"
    paths = [path for path in sorted(folder.rglob("*.csv")) if not path.name.startswith(".")]
    if not paths:
        return None
    with atomic(out / "statistics.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        joined = csv.writer(file, lineterminator="\n")
        joined.writerow(("image", *COLUMNS))
        for path in paths:
            name = path.relative_to(folder).as_posix().removesuffix(".csv")
            joined.writerows((name, *row) for row in _lines(path))
    return out / "statistics.csv"


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise AtrousError(f"{path}: this table cannot be read ({error}). Remove it and predict again.") from error
    if tuple(head) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise AtrousError(
            f"{path}: a table of {', '.join(head)[:80]} came, and its columns must be {', '.join(COLUMNS)}. Remove it "
            "and predict again."
        )
    return rows
