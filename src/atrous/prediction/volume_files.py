"""Volumes as the slices that a network was trained on, and their labels as files that lie on the volumes.

NIfTI, NRRD and MetaImage are turned and cut as for training, and their labels are NIfTI in the order of the file, with
its affine. DICOM images are slices as they are stored, in order of place, and their labels a segmentation (SEG) that
refers to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace, distinct_colours
from atrous.data.conversion import nifti
from atrous.data.conversion.dicom_seg import write_segmentation
from atrous.data.dicom import read_frame
from atrous.data.dicom_files import SEGMENTATIONS, is_dicom, sniffed
from atrous.data.dicom_headers import header_of, place_of
from atrous.data.dicom_series import Stack, at_one_place, stacks
from atrous.data.grids import Spacing, spacing, upright
from atrous.data.volumes import Slice, volume_header
from atrous.data.writers import write_mask
from atrous.draw import background

_UNPLACED = Spacing((1.0, 1.0), 1.0)  # what a header without lengths counts as
_SEGMENTS = 254  # beside the background


@dataclass(frozen=True)
class Volume:
    """The slices of a volume, and how labels of them are saved.

    `read(index)` returns (h, w, c); `size` is (h, w). `place` has the mm between pixels and slices, None where they are
    not known. `save(folder, name, labels, space)` writes labels (count, h, w) below a folder, and returns the files.
    """

    count: int
    size: tuple[int, int]
    place: Spacing | None
    read: Callable[[int], NDArray[Any]]
    save: Callable[[Path, str, NDArray[np.uint8], LabelSpace], list[Path]]


def slice_name(name: str, index: int, count: int) -> str:
    """Return what results of one of `count` slices are called: as the slice is in a dataset, from 000.

    >>> slice_name("ct", 1, 300), slice_name("ct", 0, 1)
    ('ct/001', 'ct')
    """
    return name if count == 1 else f"{name}/{index:0{max(3, len(str(count - 1)))}d}"


def volume_of(path: Path, files: Sequence[Path] = ()) -> Volume:
    """Return the volume in a file, or in the DICOM `files` of a series; those of a folder, where none are named.

    Raises `AtrousError` for what is damaged, empty, enormous, or no volume of images.
    """
    if files or path.is_dir() or is_dicom(path):
        return _of_series(path, files or (_dicom_below(path) if path.is_dir() else (path,)))
    return _of_grid(path)


def _of_grid(path: Path) -> Volume:
    header = volume_header(path)
    view = upright(header)
    count, height, width = view.shape(header.shape)
    place = spacing(header, view)

    def save(folder: Path, name: str, labels: NDArray[np.uint8], space: LabelSpace) -> list[Path]:
        target = folder / f"{name}.nii.gz"
        nifti.write_labels(target, view.stored(labels), path)
        return [target]

    return Volume(
        count=count,
        size=(height, width),
        place=None if place == _UNPLACED else place,
        read=lambda index: Slice(path, index, view, place).read(),
        save=save,
    )


def _dicom_below(folder: Path) -> list[Path]:
    """Return the DICOM files of a folder that are not segmentations."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    files = [path for path in paths if is_dicom(path) and sniffed(path) not in SEGMENTATIONS]
    if not files:
        raise AtrousError(f"{folder}: no DICOM images in this folder. Name a volume, or a folder of slices.")
    return files


def _of_series(path: Path, files: Sequence[Path]) -> Volume:
    stack = _stack(path, files)
    first = stack.first
    same_place = at_one_place(stack, set())[1]

    def save(folder: Path, name: str, labels: NDArray[np.uint8], space: LabelSpace) -> list[Path]:
        return _save_segmentation(folder, name, stack, labels, space)

    return Volume(
        count=len(stack.slices),
        size=first.size,
        place=None if same_place else place_of(first, stack.between, stack.slices[0].frame),
        read=lambda index: read_frame(stack.slices[index].image.path, stack.slices[index].frame),
        save=save,
    )


def _stack(path: Path, files: Sequence[Path]) -> Stack:
    """Return the slices in order of place; raises `AtrousError` where the files are not one series of images."""
    segmentation = next((file for file in files if sniffed(file) in SEGMENTATIONS), None)
    if segmentation is not None:
        raise AtrousError(
            f"{segmentation}: this is a segmentation, and images are predicted. Name the images that it was drawn on."
        )
    made, problems = stacks([header_of(file) for file in files])
    if problems:
        raise AtrousError(f"{problems[0].path}: {problems[0].detail.removesuffix('; it is left out')}. Move it away.")
    if len(made) != 1:
        raise AtrousError(
            f"{path}: {len(made)} series of DICOM images came, such as that of {made[1].first.path}, and one is "
            "predicted at a time. Put each into a folder of its own."
        )
    return made[0]


def _save_segmentation(
    folder: Path, name: str, stack: Stack, labels: NDArray[np.uint8], space: LabelSpace
) -> list[Path]:
    """Write a segmentation, or where the images lack what it needs, a mask for every slice."""
    frames = [(each.image.path, each.frame) for each in stack.slices]
    segments, table = _segments(space)
    target = folder / f"{name}.dcm"
    try:
        write_segmentation(target, stack, frames, table[labels], segments, automatic=True)
        return [target]
    except AtrousError as error:
        if error.kind != "no-segmentation":
            raise
        logging.getLogger("atrous").warning("%s. Masks are written as PNG, a file per slice", error)
    targets = [folder / f"{slice_name(name, index, len(labels))}.png" for index in range(len(labels))]
    for path, picture in zip(targets, labels, strict=True):
        write_mask(path, picture, space)
    return targets


def _segments(space: LabelSpace) -> tuple[LabelSpace, NDArray[np.uint8]]:
    """Return the classes with the background first, one more where there is none, and each label's new number."""
    empty = background(space)
    if empty is None and len(space) > _SEGMENTS:
        raise AtrousError(f"{len(space)} classes came, none called background; a segmentation has {_SEGMENTS} at most.")
    order = [label for label in range(len(space)) if label != empty]
    table = np.zeros(IGNORE + 1, np.uint8)
    table[order] = np.arange(1, len(order) + 1)
    names = ("background", *(space.names[label] for label in order))
    colours = (distinct_colours(1)[0], *(space.colours[label] for label in order))
    return LabelSpace(names=names, colours=colours), table
