"""Weights of Keras in HDF5 files, as names and arrays; h5py is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from atrous.contract import AtrousError


def read_keras(path: Path) -> dict[str, NDArray[Any]]:
    """Return every array of an HDF5 file by its path in it.

    Raises `AtrousError` without h5py, and where the file is damaged or holds no numbers.
    """
    try:
        import h5py  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise AtrousError(
            f'{path}: an HDF5 file (Keras), and h5py is not installed: pip install "atrous[formats]"'
        ) from error
    arrays: dict[str, NDArray[Any]] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and not name.startswith("optimizer_weights/"):
            arrays[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except Exception as error:  # a damaged file can make h5py raise any of them
        raise AtrousError(f"{path}: a damaged HDF5 file ({error}); fetch it again") from error
    if not arrays:
        raise AtrousError(f"{path}: no array of numbers in this HDF5 file; give the one with the weights")
    return arrays
