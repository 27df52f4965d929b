"""Files of probabilities: read with their names, and written back in the same form."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace
from atrous.data import atomic, write_mask
from atrous.data.decoders import file_bytes

SUFFIXES = (".npz", ".npy")
_BEGINNINGS = (b"\x93NUMPY", b"PK")
_UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, KeyError, SyntaxError, OverflowError, RuntimeError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)  # a RuntimeError is a password that is wanted, or a compression that is not known
_TOLERANCE = 0.02  # of a pixel's sum: what float16 and eight bits may lose


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityFile:
    """`probabilities` (classes, h, w) float32 that sum to 1, the number type of the file, and the classes' names."""

    probabilities: NDArray[np.float32]
    dtype: np.dtype[Any]
    names: tuple[str, ...] | None = None

    @property
    def space(self) -> LabelSpace:
        """The classes: as the file names them, else numbered."""
        return LabelSpace(names=self.names or tuple(str(label) for label in range(len(self.probabilities))))

    def write(self, path: str | Path, probabilities: NDArray[np.float32]) -> None:
        """Write probabilities as .npz, with the names, or .npy; or as .png the index mask of the likeliest class.

        Raises `ValueError` for another suffix, `AtrousError` where the disk refuses.
        """
        path = Path(path)
        check_suffix(path)
        if path.suffix.lower() == ".png":
            write_mask(path, probabilities.argmax(0), self.space)
            return
        stored = probabilities.astype(self.dtype)
        with atomic(path) as temporary, temporary.open("wb") as file:
            if path.suffix.lower() == ".npy":
                np.save(file, stored)
            else:
                np.savez_compressed(file, probabilities=stored, names=np.array(self.space.names))


def check_suffix(path: Path) -> None:
    """Raise `ValueError` for a file that probabilities are not written to."""
    if path.suffix.lower() not in (*SUFFIXES, ".png"):
        raise ValueError(f"{path}: refined probabilities are written as .npz, .npy, or .png for the likeliest class")


def read_probabilities(path: str | Path) -> ProbabilityFile:
    """Return the probabilities of a .npz file, as `predict` writes them, or of a .npy file: (classes, h, w).

    A .npz holds them as `probabilities`, or as its only array of three axes. Nothing in the file is run.

    Raises `AtrousError` for a file that is missing, damaged, holds something else, values that are not finite or
    negative, or pixels whose sum is not 1.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "p.npy"
    >>> np.save(path, np.full((2, 1, 3), 0.5, np.float16))
    >>> read_probabilities(path).probabilities.shape
    (2, 1, 3)
    """
    path = Path(path)
    if not file_bytes(path).startswith(_BEGINNINGS):  # what is missing or empty is told in the words of all files
        raise AtrousError(f"{path}: this is no file of NumPy, as numpy.save and numpy.savez write them")
    try:
        stored, names = _stored(path)
    except MemoryError as error:
        raise AtrousError(
            f"{path}: its header says that it needs more memory than there is. Is it damaged? Save it again with NumPy."
        ) from error
    except _UNREADABLE as error:
        words = "it holds Python objects, which are not read" if "allow_pickle" in str(error) else error
        raise AtrousError(f"{path}: the array cannot be read ({words}). Save it again with NumPy.") from error
    if stored.ndim != 3 or stored.dtype.kind != "f" or not stored.size or len(stored) > 255:
        raise AtrousError(
            f"{path}: an array of {stored.dtype} and shape {stored.shape} came; probabilities are floating-point "
            "numbers (classes, h, w), of up to 255 classes."
        )
    if names is not None and (len(names) != len(stored) or len(set(names)) < len(names)):
        raise AtrousError(
            f"{path}: {len(names)} names, {len(set(names))} of them distinct, came for {len(stored)} classes. Give "
            "each class its own."
        )
    return ProbabilityFile(probabilities=_checked(stored, path), dtype=stored.dtype, names=names)


def _stored(path: Path) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content, None
    with content:
        held = {name: content[name] for name in content.files}
    arrays = {name: array for name, array in held.items() if isinstance(array, np.ndarray)}  # others are plain bytes
    if "names" in arrays and (arrays["names"].ndim != 1 or arrays["names"].dtype.kind not in "US"):
        form = f"{arrays['names'].dtype} of shape {arrays['names'].shape}"
        raise ValueError(f"its names are {form}, and not a row of texts")
    names = tuple(str(name) for name in arrays["names"].astype(str)) if "names" in arrays else None
    maps = [array for name, array in arrays.items() if name == "probabilities" or array.ndim == 3]
    if "probabilities" not in arrays and len(maps) != 1:
        raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}, and no array 'probabilities'")
    return arrays["probabilities"] if "probabilities" in arrays else maps[0], names


def _checked(stored: NDArray[Any], path: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told below
        values = stored.astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0:
        raise AtrousError(
            f"{path}: values that are negative, infinite or NaN came. Are these logits? Save their softmax."
        )
    sums = values.sum(0)
    if np.abs(sums - 1).max() > _TOLERANCE:
        raise AtrousError(
            f"{path}: a pixel's probabilities sum to {sums.flat[np.abs(sums - 1).argmax()]:.4g}, and must to 1. Are "
            "the axes (classes, h, w)?"
        )
    return values / sums
