"""Volumes as the images that they consist of: every slice is a pair, and slices of a volume stay together.

Every format is a module with two functions, which know nothing of slices and views:

- `header(path) -> VolumeHeader` reads no voxels where the format allows it; its shape, spacing and affine have the
  order (slices, rows, columns), slowest first;
- `voxels(path) -> array` returns (slices, rows, columns) or (slices, rows, columns, c) of that very shape, in the
  stored depth, scaled where the file says so.

Both raise `AtrousError` with the kind `unreadable-file` for a damaged file, another kind where one fits better, and
no kind where a library is missing. `grids` says how a volume is turned; here it is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.census import in_threads
from atrous.data.found import Found, Problem
from atrous.data.grids import Spacing, View, VolumeHeader, alike, displacement, plane, spacing, upright
from atrous.data.images import MAX_PIXELS, is_volume_name
from atrous.data.leaves import changed, leaves
from atrous.data.opened_volumes import files_of, opened
from atrous.data.pairs import Matched, Pair
from atrous.data.parts import Source, path_of

__all__ = ["Slice", "Spacing", "View", "VolumeHeader", "sliced", "volume_header", "volume_voxels"]

_MAX_VOXELS = 2**32
_AS_STORED = View()
_APART = 0.5  # voxels; affines of the same grid differ by rounding


def volume_header(path: Path) -> VolumeHeader:
    """Return what a volume's header says; raises `AtrousError` for a damaged, empty or enormous one."""
    header: VolumeHeader = _format(path).header(path)
    shape = " x ".join(map(str, header.shape))
    if min(*header.shape, header.channels) < 1:
        raise AtrousError(
            f"{path}: a volume of {shape} voxels with {header.channels} channels came, which is empty. Remove it, or "
            "copy it again from its source.",
            kind="unreadable-file",
        )
    slices, rows, columns = header.shape
    if slices * rows * columns * header.channels > _MAX_VOXELS or rows * columns > MAX_PIXELS:
        raise AtrousError(
            f"{path}: the header says {shape} voxels with {header.channels:,} channels, and up to {_MAX_VOXELS:,} "
            "numbers are read. Is the file damaged? If not, cut the volume.",
            kind="too-many-pixels",
        )
    return header


def volume_voxels(path: Path) -> NDArray[Any]:
    """Return the voxels (slices, rows, columns[, c]) as stored; raises `AtrousError` as `volume_header` does."""
    voxels: NDArray[Any] = _format(path).voxels(path)
    return voxels


def _format(path: Path) -> ModuleType:
    from atrous.data import metaimage, nifti, nrrd

    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return nifti
    if name.endswith((".nrrd", ".nhdr")):
        return nrrd
    if name.endswith((".mha", ".mhd")):
        return metaimage
    from atrous.data import dicom

    return dicom


@dataclass(frozen=True)
class Slice:
    """One slice of the volume in `path`: `index` counts in the order of the pictures that `view` makes of it.

    Of `labels` the numbers are kept whole. `place` has the spacing in mm and the affine.
    """

    path: Path
    index: int
    view: View = _AS_STORED
    place: Spacing | None = None
    labels: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold the volume: of .mhd and .nhdr those with the voxels too."""
        return files_of(self.path)

    def read(self) -> NDArray[Any]:
        """Return the image (h, w, c) as uint8, uint16, int16 or float32, or of labels (h, w) integers.

        Whole numbers of other depths become int16 or uint16 where all of the volume fit, else float32. What is not
        finite in an image becomes 0. Volumes are read whole, and the last ones kept for the slices that follow.

        Raises `AtrousError` for a damaged file, and for labels that are not whole numbers.
        """
        pictures = self.view.turned(opened(self.path, volume_voxels, labels=self.labels))
        if not 0 <= self.index < len(pictures):
            raise AtrousError(
                f"{self.path}: slice {self.index} is wanted and the volume has {len(pictures)}. Did the file change?"
            )
        picture = np.array(pictures[self.index])
        if self.labels:
            return picture
        if picture.dtype == np.float32:
            picture[~np.isfinite(picture)] = 0
        return picture if picture.ndim == 3 else picture[..., None]


def sliced(found: Found) -> Found:
    """Return what was found with every volume replaced by its slices; headers are read, and no voxels.

    A pair of volumes becomes a pair per slice, named `NAME/003` and of the group `NAME`; a volume of one slice stays
    one pair. DICOM files say whose they are: those of a patient are a group, or of a series where all are of one
    patient. Volumes that cannot be read, and those that do not fit their mask, become problems.
    """
    pairs = [pair for matched in found.splits.values() for pair in matched.pairs]
    paths = list(dict.fromkeys(path for pair in pairs for path in _volumes_of(pair)))
    if not paths:
        return found
    headers = dict(zip(paths, in_threads(_header_or_error, paths), strict=True))
    problems = list(found.problems)
    group = _grouping([header for header in headers.values() if isinstance(header, VolumeHeader)])
    splits = {name: _sliced_split(matched, headers, group, problems) for name, matched in found.splits.items()}
    notes = _planes([pair.image for matched in splits.values() for pair in matched.pairs])
    return replace(found, splits=splits, notes=(*found.notes, *notes), problems=tuple(problems))


def _grouping(headers: Sequence[VolumeHeader]) -> Callable[[VolumeHeader], str | None]:
    """Return what tells the group of a volume: its patient, or its series where no two patients can be told apart."""
    by_patient = len({header.patient for header in headers}) > 1
    return lambda header: (header.patient if by_patient else "") or header.series or None


def _planes(images: Sequence[Source]) -> list[str]:
    """Return a line that says into which slices volumes were cut, or none where nothing tells."""
    places = [getattr(image, "place", None) for image in images]
    planes = Counter(plane(place) for place in places if isinstance(place, Spacing) and place.affine is not None)
    if not planes:
        return []
    counts = ", ".join(f"{count:,} {name}" for name, count in planes.most_common())
    several = ". Volumes whose coarsest axes differ are cut across different planes" if len(planes) > 1 else ""
    return [f"slices: {counts}{several}"]


def _sliced_split(
    matched: Matched,
    headers: dict[Path, VolumeHeader | AtrousError],
    group: Callable[[VolumeHeader], str | None],
    problems: list[Problem],
) -> Matched:
    pairs: list[Pair] = []
    for pair in matched.pairs:
        try:
            volumes = {path: _sound(headers[path]) for path in _volumes_of(pair)}
            first = next(iter(volumes.values()), None)
            whose = pair.group or (None if first is None else group(first))
            pairs += _slices(replace(pair, group=whose), volumes)
        except AtrousError as error:
            if error.kind is None:  # a library is missing, which is no fault of the file's
                raise
            problems.append(_problem(pair, error, error.kind))
    return replace(matched, pairs=tuple(pairs))


def _problem(pair: Pair, error: AtrousError, kind: str) -> Problem:
    """Return what is wrong with one of a pair's files, which the message begins with."""
    message = str(error)
    paths = [path_of(leaf) for leaf in (*leaves(pair.image), *leaves(pair.mask))]
    path = next((path for path in paths if message.startswith(f"{path}: ")), paths[0])
    return Problem(kind, path, message.removeprefix(f"{path}: "))


def _header_or_error(path: Path) -> VolumeHeader | AtrousError:
    try:
        return volume_header(path)
    except AtrousError as error:
        return error


def _sound(header: VolumeHeader | AtrousError) -> VolumeHeader:
    if isinstance(header, AtrousError):
        raise header
    return header


def _volumes_of(pair: Pair) -> list[Path]:
    return [leaf for leaf in (*leaves(pair.image), *leaves(pair.mask)) if isinstance(leaf, Path) and _is_volume(leaf)]


def _is_volume(leaf: Source) -> bool:
    return isinstance(leaf, Path) and is_volume_name(leaf.name)


def _slices(pair: Pair, headers: dict[Path, VolumeHeader]) -> list[Pair]:
    """Return the pairs of a pair of volumes; raises `AtrousError` with a kind where its files do not fit."""
    if not headers:
        return [pair]
    first, header = next(iter(headers.items()))
    views = {first: upright(header)}
    for path, other in headers.items():
        views.setdefault(path, _fitted(path, other, first, header, views[first]))
    count = views[first].shape(header.shape)[0]
    _refuse_misfits(pair, headers, count)
    _refuse_turned(pair, views)
    places = {path: spacing(headers[path], view) for path, view in views.items()}
    digits = max(3, len(str(count - 1)))

    def cut(source: Source, index: int, *, labels: bool) -> Source:
        return changed(
            source, lambda path: Slice(path, index, views[path], places[path], labels) if path in views else path
        )

    return [
        Pair(
            pair.name if count == 1 else f"{pair.name}/{index:0{digits}d}",
            cut(pair.image, index, labels=False),
            None if pair.mask is None else cut(pair.mask, index, labels=True),
            pair.group if count == 1 else pair.group or pair.name,
        )
        for index in range(count)
    ]


def _fitted(path: Path, other: VolumeHeader, first: Path, header: VolumeHeader, view: View) -> View:
    """Return the view of a volume that lies as the first does; raises `AtrousError` where it lies elsewhere."""
    other_view = alike(header, view, other)
    wanted, came = view.shape(header.shape), other_view.shape(other.shape)
    sizes = f"{_sized(came)} voxels came and {first} has {_sized(wanted)} (slices x rows x columns)"
    if came != wanted and header.shape == other.shape:
        raise AtrousError(
            f"{path}: stored as {first} is, with axes that point elsewhere: {sizes}. If the voxels do belong together, "
            "copy the affine of the image.",
            kind="orientation-differs",
        )
    if came != wanted:
        swapped = sorted(came) == sorted(wanted)
        advice = "Its axes are swapped; transpose it" if swapped else "Resample one to the other, or check the pairing"
        raise AtrousError(f"{path}: {sizes}. {advice}.", kind="axes-swapped" if swapped else "size-differs")
    apart = displacement(header, view, other, other_view)
    if apart > _APART:
        raise AtrousError(
            f"{path}: by its affine it lies {apart:,.1f} voxels from where {first} lies, and has the same size. If the "
            "voxels do belong together, copy the affine of the image; if not, resample.",
            kind="orientation-differs",
        )
    return other_view


def _sized(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _refuse_misfits(pair: Pair, headers: dict[Path, VolumeHeader], count: int) -> None:
    """Raise `AtrousError` for masks with channels, and for pictures that belong to several slices."""
    for leaf in leaves(pair.mask):
        channels = headers[leaf].channels if isinstance(leaf, Path) and leaf in headers else 1
        if channels > 1:
            raise AtrousError(
                f"{leaf}: {channels:,} values per voxel came, and a mask has one label. Save one volume of labels.",
                kind="size-differs",
            )
    flat = next((leaf for leaf in (*leaves(pair.image), *leaves(pair.mask)) if not _is_volume(leaf)), None)
    if count > 1 and flat is not None:
        path = flat if isinstance(flat, Path) else flat.path
        raise AtrousError(
            f"{path}: this is one picture, and {next(iter(headers))} has {count:,} slices. Save a volume of both.",
            kind="size-differs",
        )


def _refuse_turned(pair: Pair, views: Mapping[Path, View]) -> None:
    """Raise `AtrousError` for a picture beside a volume that is turned to be upright: nothing tells how the picture is.

    `_refuse_misfits` comes first, so the volume has one slice.
    """
    turned = next((path for path, view in views.items() if view != _AS_STORED), None)
    flat = next((leaf for leaf in (*leaves(pair.image), *leaves(pair.mask)) if not _is_volume(leaf)), None)
    if turned is not None and flat is not None:
        raise AtrousError(
            f"{path_of(flat)}: a picture does not say which way is up, and {turned} does and is turned by it, so "
            "whether the two lie on each other cannot be told. Save both as volumes, or both as pictures.",
            kind="orientation-differs",
        )
