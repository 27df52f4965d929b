"""Medical volumes, slice by slice: one file of labels that lies where the volume does, and pictures of the slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.draw import displayed
from atrous.prediction import memory
from atrous.prediction.images import predicted
from atrous.prediction.outputs import SCORED, write_prediction
from atrous.prediction.sources import Source
from atrous.prediction.statistics import write_statistics
from atrous.prediction.tallies import volume_statistics
from atrous.prediction.volume_files import Volume, slice_name, volume_of
from atrous.prediction.wanted import Progress, Wanted

_OF_THE_VOLUME = frozenset({"masks", "statistics"})
_LABELS, _PROBABILITIES = 2, 8  # bytes of a voxel, turned while they are written, and of a class in a pixel
_LOOKED_AT = 16  # slices that decide which values are black and white
_DARK, _BRIGHT = 0.5, 99.5  # per cent


def predict_volume(
    source: Source,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    *,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what is wanted of a volume below `out`, and return the files.

    `masks/NAME.nii.gz` has the labels in the order of the voxels of a NIfTI, NRRD or MetaImage file, with its affine;
    `masks/NAME.dcm` is a segmentation that refers to the images of a DICOM series, or where these lack what it needs,
    `masks/NAME/000.png` a mask for each of them. `statistics/NAME.csv` has the sizes in ml. All other kinds are those
    of images, for every slice: `overlays/NAME/000.jpg`, numbered as slices are in a dataset, or `overlays/NAME.jpg` of
    a volume of one slice. Overlays show the slices of a volume alike. `progress` counts slices.

    Raises `AtrousError` for a volume that is damaged or too large, that the scorer cannot take, and where the disk
    refuses.
    """
    volume = volume_of(source.path, source.files)
    _refuse_large(source, volume, space, wanted)
    labels = np.zeros((volume.count, *volume.size), np.uint8)
    files: list[Path] = []
    for index, (prediction, pictures) in enumerate(_predictions(source, volume, scorer, space, out, wanted)):
        labels[index] = prediction.labels
        files += pictures
        if progress is not None:
            progress(index + 1, volume.count)
    if "masks" in wanted.save:
        files += volume.save(out / "masks", source.name, labels, space)
    if "statistics" in wanted.save:
        files.append(out / "statistics" / f"{source.name}.csv")
        write_statistics(files[-1], volume_statistics(labels, space, place=volume.place), space)
    return files


def _refuse_large(source: Source, volume: Volume, space: LabelSpace, wanted: Wanted) -> None:
    """Raise `AtrousError` for slices of too many pixels, and where a limit cannot hold all labels and one slice."""
    height, width = volume.size
    if height * width > wanted.max_pixels:
        raise AtrousError(
            f"{source.path}: slices of {height} x {width} (height x width) are more than {wanted.max_pixels:,} pixels; "
            "raise --max-pixels if they are meant to be so"
        )
    needed = memory.resident() + height * width * (_LABELS * volume.count + _PROBABILITIES * len(space))
    if wanted.max_memory is not None and needed > wanted.max_memory:
        raise AtrousError(
            f"{source.path}: a limit of {memory.in_words(wanted.max_memory)} cannot hold a volume of {volume.count} "
            f"slices of {height} x {width} pixels and {len(space)} classes: {memory.in_words(needed)} are needed"
        )


def _predictions(
    source: Source, volume: Volume, scorer: Scorer, space: LabelSpace, out: Path, wanted: Wanted
) -> Iterator[tuple[Prediction, list[Path]]]:
    """Yield the prediction of every slice, and the files of it alone."""
    save = [kind for kind in wanted.save if kind not in _OF_THE_VOLUME]
    limits = _limits(volume) if {"overlays", "cutouts"} & set(save) else None
    for index in range(volume.count):
        sample = Sample(image=volume.read(index), path=source.path, place=volume.place)
        prediction = _predicted(scorer, sample, space, index, scored=bool(SCORED & set(save)))
        shown = replace(sample, image=displayed(sample.image, limits=limits)) if save else sample
        name = slice_name(source.name, index, volume.count)
        yield prediction, write_prediction(out, name, prediction, shown, save=save)


def _predicted(scorer: Scorer, sample: Sample, space: LabelSpace, index: int, *, scored: bool) -> Prediction:
    """Return the prediction of a slice; raises `AtrousError` where the scorer does not take it."""
    try:
        return predicted(scorer, sample, space, probabilities=scored)
    except ValueError as error:
        raise AtrousError(f"{sample.path}: slice {index}: {error}") from error


def _limits(volume: Volume) -> tuple[float, float] | None:
    """Return the values that are black and white in all slices; None for bytes, which are shown as they are."""
    shown = np.unique(np.linspace(0, volume.count - 1, _LOOKED_AT).round().astype(int)).tolist()
    slices = [volume.read(index) for index in shown]
    if all(image.dtype == np.uint8 for image in slices):
        return None
    values = np.concatenate([image[..., :3].ravel() for image in slices]).astype(np.float32)
    inside = values[values > values.min()]  # around a CT lies a value far below air
    if not inside.size:
        return None
    low, high = np.percentile(inside, (_DARK, _BRIGHT))
    return (float(low), float(high)) if low < high else None
