"""The labels of a dataset as NIfTI: a volume of labels for every volume of images, exactly where the image lies.

```
labels/imagesTr/spleen_2.nii.gz   labels/pictures/a.nii.gz   classes.json
```
A file holds 0..n-1, and 255 where a voxel is ignored or its slice has no mask. Beside a NIfTI image it has the order of
voxels and the header of that image, so that both open on top of each other; beside other formats the affine that
their header tells. A picture is a volume of one slice with 1 mm between pixels, placed as ITK places pictures.
Images are not written.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError
from atrous.data.census import Progress
from atrous.data.conversion.masks import write_classes
from atrous.data.conversion.series import apart, series_names, series_of
from atrous.data.dataset import Dataset
from atrous.data.dicom import DicomSlice
from atrous.data.grids import Spacing
from atrous.data.nifti import stored_header
from atrous.data.pairs import Pair
from atrous.data.parts import Channels, Source
from atrous.data.samples import read_sample
from atrous.data.volumes import Slice, volume_header
from atrous.data.wishes import CLASSES_FILE
from atrous.data.writers import atomic

HOLDS_SPLIT = False

_NIFTI = (".nii", ".nii.gz")
_PICTURE = np.diag((1.0, -1.0, -1.0, 1.0))[[2, 1, 0, 3]]  # (slice, row, column) to RAS: rows to the back, columns left


def write(
    dataset: Dataset, out: Path, *, progress: Progress | None = None, say: Callable[[str], None] | None = None
) -> list[Path]:
    """Write `labels/NAME.nii.gz` for every volume and picture that has masks, and `classes.json`; return their paths.

    `progress(done, total)` counts slices. Raises `AtrousError` for files that cannot be read, and where nibabel is
    missing.
    """
    volumes = _volumes(dataset)
    total, done = sum(len(members) for _, members in volumes), 0
    written, without = [], 0
    for name, members in volumes:
        if any(pair.mask is not None for pair in members):
            written.append(_written(dataset, out / "labels" / f"{name}.nii.gz", members))
        else:
            without += 1
        done += len(members)
        if progress is not None:
            progress(done, total)
    if without and say is not None:
        say(f"{without:,} volumes or pictures have no mask and were left out")
    write_classes(out / CLASSES_FILE, dataset.space)
    return [*written, out / CLASSES_FILE]


def _volumes(dataset: Dataset) -> list[tuple[str, list[Pair]]]:
    """Return the slices of every volume, and a name that no other has."""
    pairs = list(chain.from_iterable(dataset.splits.values()))
    series = series_of([pair for pair in pairs if isinstance(_first(pair.image), DicomSlice)])
    of_series = zip(series_names(series, dataset.root), (list(each.pairs.values()) for each in series), strict=True)
    others = (pair for pair in pairs if not isinstance(_first(pair.image), DicomSlice))
    ordered = sorted(others, key=lambda pair: (_volume_name(pair), pair.name))
    named = [(name, list(members)) for name, members in groupby(ordered, key=_volume_name)]
    found = sorted((*named, *of_series), key=itemgetter(0))
    return list(zip(apart(name for name, _ in found), (members for _, members in found), strict=True))


def _volume_name(pair: Pair) -> str:
    """Return the name of the volume that a pair is a slice of: its own name where it is all there is."""
    image = _first(pair.image)
    return pair.name.rpartition("/")[0] if isinstance(image, Slice) and _is_numbered(pair, image) else pair.name


def _is_numbered(pair: Pair, image: Slice) -> bool:
    last = pair.name.rpartition("/")[2]
    return len(last) >= 3 and last.isascii() and last.isdigit() and int(last) == image.index


def _first(source: Source) -> Source:
    return _first(source.sources[0]) if isinstance(source, Channels) else source


def _written(dataset: Dataset, path: Path, pairs: list[Pair]) -> Path:
    image = _first(pairs[0].image)
    labels = {pair.name: read_sample(pair, dataset.space).labels for pair in pairs if pair.mask is not None}
    if isinstance(image, Slice):
        write_labels(path, _stored(image, pairs, labels), image.path)
        return path
    places = [getattr(_first(pair.image), "place", None) for pair in pairs]
    order = _order(places)
    shape = next(iter(labels.values())).shape  # type: ignore[union-attr]
    pictures = np.full((max(order) + 1, *shape), IGNORE, np.uint8)
    for index, pair in zip(order, pairs, strict=True):
        if pair.name in labels:
            pictures[index] = labels[pair.name]
    write_labels(path, pictures, None, places[order.index(0)])
    return path


def _order(places: Sequence[Any]) -> list[int]:
    """Return the position of every slice of a stack by where it lies; as they come where that does not tell."""
    as_they_come = list(range(len(places)))
    affines = [place.affine for place in places if isinstance(place, Spacing) and place.affine is not None]
    if len(affines) < len(places) or len(places) < 2:
        return as_they_come
    origins = np.asarray(affines)[:, :3, 3]
    step = np.asarray(affines[0])[:3, 0]
    heights = (origins - origins[0]) @ step / (step @ step)
    order = np.rint(heights - heights.min()).astype(int).tolist()
    close = len(set(order)) == len(order) and max(order) < 4 * len(order)
    return order if close else np.argsort(np.argsort(heights, kind="stable")).tolist()


def _stored(image: Slice, pairs: Iterable[Pair], labels: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the labels of a volume (slices, rows, columns) in the order of its file; 255 where there are none."""
    pictures = np.full(image.view.shape(volume_header(image.path).shape), IGNORE, np.uint8)
    for pair in pairs:
        cut = _first(pair.image)
        if isinstance(cut, Slice) and pair.name in labels:
            pictures[cut.index] = labels[pair.name]
    return image.view.stored(pictures)


def write_labels(path: Path, labels: NDArray[np.uint8], source: Path | None, place: Any = None) -> None:
    """Write labels (slices, rows, columns) with the header of a NIfTI `source`, else with the affine that is known.

    Without `source`, `place` is that of the first slice. Raises `AtrousError` where nibabel is missing, or the disk
    refuses.
    """
    array = labels.transpose(2, 1, 0)
    if source is not None and source.name.lower().endswith(_NIFTI):
        image = _like(stored_header(source), array)
    else:
        image = _placed(path, array, source, place)
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def _like(header: Any, array: NDArray[np.uint8]) -> Any:
    """Return nibabel's image of labels with the geometry of a header."""
    from nibabel import Nifti1Image, Nifti2Header, Nifti2Image

    header["cal_max"] = header["cal_min"] = 0
    header.set_data_shape(array.shape)
    header.set_data_dtype(np.uint8)
    return (Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image)(array, None, header)


def _placed(path: Path, array: NDArray[np.uint8], source: Path | None, place: Any) -> Any:
    """Return nibabel's image of labels with the affine of a volume, or of a stack's first slice, or of a picture."""
    try:
        from nibabel import Nifti1Image
    except ImportError as error:
        raise AtrousError(f'{path}: NIfTI needs nibabel: pip install "atrous[medical]"') from error
    affine: Any = _PICTURE
    if source is not None:
        known = volume_header(source)
        affine, spacing = known.affine, known.spacing
    elif isinstance(place, Spacing):
        affine, spacing = place.affine, (place.slice, *place.pixel)
    if affine is not None:
        return Nifti1Image(array, np.asarray(affine)[:, [2, 1, 0, 3]])
    image = Nifti1Image(array, None)
    image.header.set_zooms(spacing[::-1])
    return image
