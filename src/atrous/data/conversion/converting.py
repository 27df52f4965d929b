"""The conversion as a whole: a new folder that is complete or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from atrous.contract import AtrousError
from atrous.data.census import Progress
from atrous.data.conversion import coco, coco_polygons, cvat, dicom_seg, geojson, masks, nifti, voc, yolo
from atrous.data.conversion.placing import named_alike
from atrous.data.dataset import Dataset
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic

FORMATS: dict[str, ModuleType] = {
    "masks": masks,
    "voc": voc,
    "cvat": cvat,
    "coco": coco,
    "coco-polygons": coco_polygons,
    "yolo": yolo,
    "geojson": geojson,
    "nifti": nifti,
    "dicom-seg": dicom_seg,
}
"""The formats by name."""


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote: the folder, how many files and images, and what there is to tell of them."""

    format: str
    out: Path
    files: int
    images: int
    notes: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Return a line of counts, and a line per note.

        >>> print(Converted("coco", Path("new"), 12, 10, ("a note",)).as_text())
        new: 10 images as coco, 12 files
          a note
        """
        head = f"{self.out}: {self.images:,} images as {self.format}, {self.files:,} files"
        return "\n".join([head, *(f"  {note}" for note in self.notes)])

    def as_json(self) -> dict[str, Any]:
        """Return plain words and numbers."""
        return {**asdict(self), "out": str(self.out), "notes": list(self.notes)}


def convert(
    source: Dataset, out: str | Path, *, to: str, values: bool = False, progress: Progress | None = None
) -> Converted:
    """Write the dataset into the new folder `out` in the format `to`, one of `FORMATS`, and say what it became.

    Splits, classes and labels stay; image files are copied byte by byte where the format's tools read them. What a
    format cannot hold is in the notes. The files are written beside `out`, which appears when all are there. `values`
    gives masks the numbers of the source instead of 0..n-1. `progress(done, total)` is called after each image.

    Raises `ValueError` for an unknown format, and for `out` that is, or lies in, the source, or is not empty;
    `AtrousError` for files that cannot be read, saying how many images were done.

    >>> import tempfile, numpy as np
    >>> from atrous.data import open_dataset, write_image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("images/a.png", "masks/a.png"):
    ...     write_image(root / "old" / name, np.eye(4, dtype=np.uint8))
    >>> convert(open_dataset(root / "old"), root / "new", to="voc").images
    1
    >>> open_dataset(root / "new").layout
    'voc'
    """
    out = Path(out)
    check_format(to)
    if values and to != "masks":
        raise ValueError(f"values came with {to!r}; only masks can hold the numbers of the source")
    check_out(source.root, out)
    if not any(source.splits.values()):
        raise ValueError(f"{source.root}: the dataset has no images. Nothing was written.")
    notes = _split_told(source, to)
    seen = _Seen(progress)
    options: dict[str, Any] = {"values": True} if values else {}
    with _complete(out, seen) as temporary:
        files = FORMATS[to].write(named_alike(source), temporary, progress=seen, say=notes.append, **options)
        if _is_whole(source, to):
            _say_whole(temporary / CLASSES_FILE, source)
    return Converted(to, out, len(files), seen.done, tuple(notes))


def _split_told(source: Dataset, to: str) -> list[str]:
    """Return a line where the copy has another split than the source's files, or will be given one."""
    if not getattr(FORMATS[to], "HOLDS_SPLIT", True):
        several = len([pairs for pairs in source.splits.values() if pairs]) > 1
        return [f"{to} holds no split: train, val and test are together"] if several and not source.made_split else []
    return ["the source has no split: one in five is val, by a hash of the name"] if source.made_split else []


def _is_whole(source: Dataset, to: str) -> bool:
    """Say whether a source has no val and is to have none, as one volume or patient has, where the format holds it."""
    several = len(source.splits.get("train", ())) > 1 and not source.splits.get("val")
    return several and not source.made_split and getattr(FORMATS[to], "HOLDS_SPLIT", True)


def _say_whole(path: Path, source: Dataset) -> None:
    """Say in the `classes.json` of a copy, which is made where there is none, that no val is to be taken out of it."""
    stored = json.loads(path.read_text("utf-8")) if path.is_file() else {"names": source.space.names}
    with atomic(path) as temporary:
        text = json.dumps({**stored, "divide": False}, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def check_format(to: str) -> None:
    """Raise `ValueError` for a format that is none of `FORMATS`."""
    if to not in FORMATS:
        raise ValueError(f"format {to!r} came; there are {', '.join(FORMATS)}")


def check_out(source: Path, out: Path) -> None:
    """Raise `ValueError` for a folder that is, or lies in, the source, is a file, or is not empty."""
    root, target = source.resolve(), out.resolve()
    if target == root or root in target.parents:
        raise ValueError(f"{out}: this is in the source, {source}, which stays as it is. Name a folder elsewhere.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: this is a file, and a new folder is wanted. Choose another name.")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out}: the folder is not empty, and nothing is overwritten. Name a new folder.")


class _Seen:
    """How far a conversion came, told on to `progress`."""

    def __init__(self, progress: Progress | None) -> None:
        self.done = self.total = 0
        self.progress = progress

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.progress is not None:
            self.progress(done, total)


@contextmanager
def _complete(out: Path, seen: _Seen) -> Iterator[Path]:
    """Yield a folder beside `out` that becomes it when the block ends well, and goes when it does not."""
    temporary = out.absolute().with_name(f".{out.absolute().name[:80]}-{uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.is_dir():
            out.rmdir()  # an empty folder is in the way of the rename on some systems
        temporary.replace(out)
    except AtrousError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and str(error).startswith(str(temporary)):
            raise _not_written(out, cause, seen) from error
        raise AtrousError(f"{error} {_how_far(seen)}; {out} was not made.", kind=error.kind) from error
    except OSError as error:
        raise _not_written(out, error, seen) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _not_written(out: Path, error: OSError, seen: _Seen) -> AtrousError:
    return AtrousError(
        f"{out}: could not be written ({error.strerror or error}). {_how_far(seen)}, and nothing of it was kept; free "
        "some space or choose another folder."
    )


def _how_far(seen: _Seen) -> str:
    return f"{seen.done:,} of {seen.total:,} images were done" if seen.total else "No image was done"
