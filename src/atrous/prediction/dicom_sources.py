"""DICOM files of a folder as sources: one for each series, whatever else lies beside it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.dicom_files import SEGMENTATIONS, sniffed
from atrous.data.dicom_headers import DicomHeader, header_of
from atrous.data.dicom_series import Stack, stacks


@dataclass(frozen=True)
class Series:
    """The files of a stack of slices; `path` stands for them: their folder, or a file where the folder has more."""

    path: Path
    files: tuple[Path, ...]


def in_series(paths: Iterable[Path]) -> list[Series]:
    """Return the series that DICOM files make, folder by folder; slices turned in several ways are a series each.

    A single file is a series as it is. A file that cannot be read is one too, so that its reader says why; objects
    that are no images, such as reports and segmentations, are said and left out. Where pydicom is missing all files of
    a folder are one series.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    if sum(map(len, folders.values())) == 1:
        return [Series(path, (path,)) for files in folders.values() for path in files]
    return [series for folder, files in folders.items() for series in _in_folder(folder, files)]


def _in_folder(folder: Path, files: list[Path]) -> list[Series]:
    headers: list[DicomHeader] = []
    broken: list[Series] = []
    for path in files:
        try:
            if sniffed(path) in SEGMENTATIONS:
                _say_left_out(path, "a segmentation, not an image")
            else:
                headers.append(header_of(path))
        except AtrousError as error:
            if error.kind is None:  # pydicom is missing
                return [Series(folder, tuple(files))]
            if error.kind == "dicom-without-pixels":
                _say_left_out(path, "no image, such as a report or a plan")
            else:
                broken.append(Series(path, (path,)))
    found, problems = stacks(headers)
    for problem in problems:
        _say_left_out(problem.path, problem.detail)
    return [*(_series(folder, stack, only=len(found) == 1) for stack in found), *broken]


def _series(folder: Path, stack: Stack, *, only: bool) -> Series:
    files = tuple(dict.fromkeys(each.image.path for each in stack.slices))
    return Series(folder if only and len(files) > 1 else files[0], files)


def _say_left_out(path: Path, why: str) -> None:
    logging.getLogger("atrous").warning("%s: %s; left out", path, why.removesuffix("; it is left out"))
