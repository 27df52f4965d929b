"""The DICOM files of a folder and all below it: which are images, and which are segmentations."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from atrous.contract import AtrousError
from atrous.data.dicom_files import SEGMENTATIONS, is_dicom, sniffed
from atrous.data.dicom_headers import DicomHeader, header_of
from atrous.data.dicom_segments import Segmentation, read_segmentation
from atrous.data.found import Problem
from atrous.data.pairs import files_below

_SUFFIXES = (".dcm", ".dicom", ".ima", ".seg", ".img", "")
_LOOKED_AT = 64  # files without DICM after which a tree is another's
_FOLDERS = 10_000  # folders without such files after which it is

Read = TypeVar("Read", DicomHeader, Segmentation)


@dataclass
class DicomTree:
    """What the headers of a tree's files say; `problems` are files that cannot be read, `notes` what was left out."""

    root: Path
    segmentations: list[Segmentation] = field(default_factory=list)
    images: list[DicomHeader] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, paths: Sequence[Path], said: str) -> None:
        """Note what is said of files, by the first and their number; nothing where there are none."""
        if paths:
            more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
            self.notes.append(f"{paths[0].relative_to(self.root).as_posix()}{more}: {said}")


def dicom_tree(root: Path) -> DicomTree | None:
    """Return the DICOM files below a folder, None where there are no images or no segmentations.

    A tree of other files is given up soon; of DICOM files the first bytes are read, and where there are segmentations
    the headers.
    """
    if not _has_dicom(root):
        return None
    kinds = {path: kind for path in files_below(root, _may_be_dicom) if (kind := sniffed(path)) is not None}
    masks = [path for path, kind in kinds.items() if kind in SEGMENTATIONS]
    if not masks or len(masks) == len(kinds):
        return None
    tree = DicomTree(root)
    tree.segmentations = _all_read(tree, masks, read_segmentation)
    tree.images = _all_read(tree, [path for path, kind in kinds.items() if kind not in SEGMENTATIONS], header_of)
    return tree if tree.images else None


def _has_dicom(root: Path) -> bool:
    """Say whether one of the first files that may be DICOM is."""
    missed = 0
    for count, (place, inner, names) in enumerate(os.walk(root, followlinks=True)):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in [name for name in names if _may_be_dicom(name)][:_LOOKED_AT]:
            if is_dicom(Path(place, name)):
                return True
            missed += 1
        if missed >= _LOOKED_AT or count >= _FOLDERS:
            return False
    return False


def _may_be_dicom(name: str) -> bool:
    """Say whether a name has a suffix of DICOM, or none, or one of digits, as names made of numbers and dots have."""
    _, dot, suffix = name.rpartition(".")
    suffix = suffix.lower()
    return (
        not name.startswith(".")
        and name != "DICOMDIR"
        and (f"{dot}{suffix}" in _SUFFIXES or not dot or suffix.isdigit())
    )


def _all_read(tree: DicomTree, paths: list[Path], read: Callable[[Path], Read]) -> list[Read]:
    """Return the headers of files, one for each SOP instance UID; tell the tree of all others."""
    found: dict[str, Read] = {}
    without, twins = [], []
    for path in paths:
        try:
            header = read(path)
        except AtrousError as error:
            if error.kind is None:  # a library is missing, which is no fault of the file's
                raise
            if error.kind == "dicom-without-pixels":
                without.append(path)
            else:
                tree.problems.append(Problem(error.kind, path, str(error).removeprefix(f"{path}: ")))
            continue
        if found.setdefault(header.instance or path.as_posix(), header) is not header:
            twins.append(path)
    tree.tell(without, "no image, such as a report or a plan; left out")
    tree.tell(twins, "there twice by its SOP instance UID; left out")
    return list(found.values())
