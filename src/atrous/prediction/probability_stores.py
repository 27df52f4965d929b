"""Probabilities too large for memory: a Zarr array (classes, h, w) of float16 that is filled block by block."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.data.places import Georeference

Put = Callable[[NDArray[Any], int, int], None]
"""Takes probabilities (classes, h, w) of a block, and the row and column where it begins."""


@contextmanager
def probability_store(
    path: Path, space: LabelSpace, size: tuple[int, int], *, block: int = 512, place: Any = None
) -> Iterator[Put]:
    """Yield a function that puts blocks into a Zarr array of this (height, width), which is `path` in the end.

    Chunks hold all classes of `block` x `block` pixels; blocks that begin at multiples of it are written once. What is
    never put is 0. The attributes have `names` and `colours`, and `crs` and `transform` where `place` has them. What
    `path` was before is replaced at the end, and stays when the block of code raises.

    Raises `AtrousError` where zarr is missing, where `path` is a file, and where the disk refuses.
    """
    if path.exists() and not path.is_dir():
        raise AtrousError(f"{path}: this is a file, and a folder of Zarr is to be written. Remove it.")
    temporary = path.with_name(f".{path.stem[:80]}-{uuid4().hex}{path.suffix}")
    try:
        array = _array(path, temporary, space, size, block, place)
        height, width = size

        def put(probabilities: NDArray[Any], top: int, left: int) -> None:
            bottom, right = top + probabilities.shape[1], left + probabilities.shape[2]
            if len(probabilities) != len(space) or top < 0 or left < 0 or bottom > height or right > width:
                raise ValueError(
                    f"a block of {probabilities.shape} at row {top} and column {left} came; the array is "
                    f"({len(space)}, {height}, {width})"
                )
            array[:, top:bottom, left:right] = np.asarray(probabilities).astype(np.float16)

        yield put
        _replace(temporary, path)
    except OSError as error:
        raise AtrousError(
            f"{path}: could not be written ({error.strerror or error}). What was there before is unchanged; free some "
            "space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _array(path: Path, temporary: Path, space: LabelSpace, size: tuple[int, int], block: int, place: Any) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise AtrousError(f'{path}: probabilities of rasters are written by zarr: pip install "atrous[geo]"') from error
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"crs": place.crs, "transform": list(place.transform)} if isinstance(place, Georeference) else {}
    return zarr.create_array(
        temporary,
        shape=(len(space), *size),
        chunks=(len(space), min(block, size[0]), min(block, size[1])),
        dtype=np.float16,
        fill_value=0,
        dimension_names=("class", "row", "column"),
        attributes={"names": list(space.names), "colours": [list(colour) for colour in space.colours], **where},
    )


def _replace(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another, which is removed after it."""
    if not path.exists():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.stem[:80]}-{uuid4().hex}{path.suffix}")
    path.replace(old)
    temporary.replace(path)
    shutil.rmtree(old, ignore_errors=True)
