"""Masks in MATLAB's files of version 5 and of version 7.3, which is HDF5 and is read through h5py.

Known are `GTcls.Segmentation` and `GTinst.Segmentation` (the classes and the objects of SBD) and `LabelMap` (the
context labels of VOC). In other files the mask is the only matrix of whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import check_pixels, damaged, file_bytes
from atrous.data.matlab5 import is_version_5, matrices

SUFFIX = ".mat"

_KNOWN = ("GTcls.Segmentation", "GTinst.Segmentation", "LabelMap")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FEWEST = 2  # rows and columns of a matrix: less is a number or a list


def read_matlab(path: Path, *, max_pixels: int) -> NDArray[Any]:
    """Return the mask (h, w) in a file, as stored: integers, or floats where MATLAB's default was kept.

    Raises `AtrousError` for a file that is missing, damaged or no MATLAB file, that holds no matrix of whole numbers
    or several that are not known, for more than `max_pixels` pixels, and where h5py is missing.
    """
    data = file_bytes(path)
    try:
        if data[:8] == _HDF5 or data[512:520] == _HDF5:
            found = _of_version_7(path, data, max_pixels)
        elif is_version_5(data):
            found = matrices(path, data, max_pixels=max_pixels)
        else:
            raise AtrousError(f"{path}: this is no MATLAB file of version 5 or 7.3. Save it again with -v7.")
    except AtrousError:
        raise
    except ImportError as error:
        raise AtrousError(f'{path}: MATLAB 7.3 files need h5py: pip install "atrous[formats]"') from error
    except Exception as error:  # h5py raises whatever its parser met
        raise damaged(path, error) from error
    mask = _chosen({name: array for name, array in found.items() if _is_matrix(array.shape)}, path)
    check_pixels(path, *mask.shape, max_pixels=max_pixels)
    return np.array(mask, order="C")


def _chosen(found: Mapping[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    for name in _KNOWN:
        if name in found:
            return found[name]
    integers = {name: array for name, array in found.items() if array.dtype.kind in "bui"}
    candidates = integers or {name: array for name, array in found.items() if _whole(array)}
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    if candidates:
        listed = ", ".join(
            f"{name} ({array.shape[0]} x {array.shape[1]} {array.dtype})" for name, array in sorted(candidates.items())
        )
        raise AtrousError(
            f"{path}: {len(candidates)} matrices could be the mask: {listed}. Save the right one as PNG or alone."
        )
    came = ", ".join(f"{name} {array.shape}" for name, array in sorted(found.items())) or "no matrix of numbers"
    raise AtrousError(f"{path}: {came} came, and a matrix of whole numbers is wanted, a label per pixel.")


def _whole(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array).all() and (array == np.round(array)).all())


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and min(shape) >= _FEWEST


def _of_version_7(path: Path, data: bytes, max_pixels: int) -> dict[str, NDArray[Any]]:
    import h5py

    with h5py.File(BytesIO(data), "r") as file:
        found = {name.replace("/", "."): item for name, item in _datasets(file, h5py)}
        found = {name: found[name] for name in _KNOWN if name in found} or found
        for item in found.values():
            check_pixels(path, item.shape[1], item.shape[0], max_pixels=max_pixels)
        check_pixels(path, sum(item.size for item in found.values()), 1, max_pixels=max_pixels)
        return {name: item[()].T for name, item in found.items()}  # MATLAB's columns are HDF5's rows


def _datasets(group: Any, h5py: Any, below: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the matrices of numbers that lie in this file: links to other files are not followed."""
    for name in group:
        if name.startswith("#") or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            if below.count("/") < 3:
                yield from _datasets(item, h5py, f"{below}{name}/")
        elif _is_matrix(item.shape or ()) and item.dtype.kind in "buif" and not (item.external or item.is_virtual):
            yield below + name, item
