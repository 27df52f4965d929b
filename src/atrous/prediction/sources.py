"""What to predict, as sources with the names their results will have: a file, a folder, a glob or a list of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from atrous.contract import AtrousError
from atrous.data.images import SUFFIXES, VOLUME_SUFFIXES
from atrous.data.lists import is_file
from atrous.prediction.dicom_sources import in_series
from atrous.prediction.result_names import Titled, result_names
from atrous.prediction.source_kinds import (
    RASTER_SUFFIXES,
    VIDEO_SUFFIXES,
    Kind,
    is_dicom_source,
    is_source,
    is_store,
    kind_of,
)
from atrous.prediction.source_lists import LIST_SUFFIXES, listed

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """Something to predict, and its results' path below the output folder, without suffix.

    `files` are the slices of a DICOM series; its `path` is their folder, or where several series share it the first
    slice. All other sources have none.
    """

    path: Path
    name: str
    kind: Kind = "image"
    files: tuple[Path, ...] = ()


def find(source: str | Path, *, apart_from: Collection[Path] = ()) -> list[Source]:
    """Return the sources that `source` means: a file, all below a folder, what a glob matches, or what a list names.

    Images, rasters (TIFF, JPEG 2000, Zarr), videos and volumes are found; a Zarr store and the DICOM files of a series
    are one source each. A list is a `.txt` file with a path per line or a `.csv` file with a column `image`, `path` or
    `file`. A result is named after its source's path below the folder (below the part of a glob that has no wildcard,
    below a list's folder), without its suffix; `result_names` says how names stay safe and different. What lies below a
    folder of `apart_from` is left out: results written into the source folder are not sources.

    Raises `AtrousError` where nothing is there, or nothing there is a source, or a file is itself a result.
    """
    text, path = str(source), Path(source)
    results = frozenset(folder.resolve() for folder in apart_from)
    if is_file(text) and path.suffix.lower() in LIST_SUFFIXES:
        base, paths, came = path.parent, list(_expanded(listed(path), results)), f"{path}: names nothing to predict"
    elif is_file(text) or is_store(path):
        if _is_result(path, results):
            raise AtrousError(f"{path}: lies where the results go; choose another folder for them")
        base, paths, came = path.parent, [path], ""
    elif os.path.isdir(text):  # noqa: PTH112  (Path.is_dir raises for a name that no folder can have)
        base, paths, came = path, list(paths_below(path, results)), f"{path}: no images in this folder"
    elif _MAGIC & set(text):
        base, paths, came = _plain_part(path), _matches(path), f"{text}: matches no images"
    else:
        raise AtrousError(
            f"{path}: no such file or folder; a file, a folder or a pattern like 'photos/*.jpg' is wanted"
        )
    found = named([each for each in paths if not _is_result(each, results)], base)
    if not found:
        raise AtrousError(f"{came}; {_accepted()}")
    return found


def _accepted() -> str:
    rasters, videos, volumes = (", ".join(suffixes) for suffixes in (RASTER_SUFFIXES, VIDEO_SUFFIXES, VOLUME_SUFFIXES))
    return f"images end in {', '.join(SUFFIXES)}, rasters in {rasters}, videos in {videos}, volumes in {volumes}"


def paths_below(folder: Path, results: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield all source files and Zarr stores below a folder, sorted by path; hidden ones are left out.

    Links to folders are followed, once each; folders of `results`, which are resolved, are not entered. A folder that
    cannot be read is said and left out.
    """
    found: list[Path] = []
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_say_unreadable):
        inside = [Path(place, name) for name in sorted(folders) if not name.startswith(".")]
        stores = {each for each in inside if is_store(each)}
        reals = {each: os.path.realpath(each) for each in inside}
        found += [each for each in inside if each in stores and Path(reals[each]) not in results]
        fresh = [each for each in inside if each not in stores and reals[each] not in entered]
        folders[:] = [each.name for each in fresh if Path(reals[each]) not in results]
        entered |= {reals[each] for each in fresh}
        found += [each for name in names if not name.startswith(".") and is_source(each := Path(place, name))]
    yield from sorted(found, key=lambda path: path.as_posix())


def _say_unreadable(error: OSError) -> None:
    logging.getLogger("atrous").warning("%s: the folder cannot be read (%s; skipped)", error.filename, error.strerror)


def _expanded(paths: Iterable[Path], results: frozenset[Path]) -> Iterator[Path]:
    """Yield the paths of a list, of a folder in it what is below."""
    for path in paths:
        if path.is_dir() and not is_store(path):
            yield from paths_below(path, results)
        else:
            yield path


def _is_result(path: Path, results: frozenset[Path]) -> bool:
    return bool(results) and not results.isdisjoint((real := path.resolve(), *real.parents))


def _matches(pattern: Path) -> list[Path]:
    """Return the files and stores that a pattern matches; what is hidden below its plain part is not meant."""
    base = _plain_part(pattern)
    inner = pattern.relative_to(base).as_posix()
    matches = sorted(found for found in base.glob(inner) if _shown(found.relative_to(base)))
    around = {parent for match in matches for parent in match.parents}
    stores = {each for each in {*matches, *around} if is_store(each)}
    wanted = (match for match in matches if match in stores or (match.is_file() and is_source(match)))
    return [match for match in wanted if stores.isdisjoint(match.parents)]


def _shown(below: PurePath) -> bool:
    return not any(part.startswith(".") for part in below.parts)


def _plain_part(pattern: Path) -> Path:
    parts = []
    for part in pattern.parts[:-1]:
        if _MAGIC & set(part):
            break
        parts.append(part)
    return Path(*parts)


def named(paths: Sequence[Path], base: Path) -> list[Source]:
    """Return the sources that paths are, each path once, named as they lie below `base`: DICOM files by series."""
    once = dict.fromkeys(paths)
    dicom = dict.fromkeys(path for path in once if is_dicom_source(path))
    series = {each.path: each.files for each in in_series(dicom)}
    found = sorted([*(path for path in once if path not in dicom), *series], key=lambda path: path.as_posix())
    kinds: list[Kind] = ["volume" if path in series else kind_of(path) for path in found]
    titles = [
        Titled(path, _title(path, base), opens=kind in ("video", "volume"))
        for path, kind in zip(found, kinds, strict=True)
    ]
    return [
        Source(path, name, kind, series.get(path, ()))
        for path, name, kind in zip(found, result_names(titles), kinds, strict=True)
    ]


def _title(path: Path, base: Path) -> PurePath:
    """Return how a path lies below `base`, else as it is; a folder that is the base itself is called by its name."""
    if path == base:
        return PurePath(path.absolute().name)
    for inner, outer in ((os.path.abspath(path), os.path.abspath(base)), (path, base)):  # noqa: PTH100  (without `..`)
        with suppress(ValueError):
            return PurePath(inner).relative_to(outer)
    return path
