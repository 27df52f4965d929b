"""The volumes that were read last, kept for the slices that follow: to unpack one again for every slice takes long."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError

MAX_BYTES = 512 * 2**20
"""How many bytes of volumes a process keeps; the last one is kept whatever its size."""

_KEPT = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.float32))
_Key = tuple[str, tuple[tuple[int, int], ...], bool]
_NAMED = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LONGEST = 2**16
_MOST_FILES = 10_000
_volumes: OrderedDict[_Key, NDArray[Any]] = OrderedDict()
_reading: dict[_Key, Lock] = {}
_lock = Lock()


def _after_fork() -> None:
    """Let go of what other threads held when a process was made of this one by a fork: they are not in the new one."""
    global _lock  # noqa: PLW0603 - a lock that nobody will release cannot be kept
    _lock = Lock()
    _reading.clear()


if hasattr(os, "register_at_fork"):  # which Windows has not
    os.register_at_fork(after_in_child=_after_fork)


def opened(path: Path, voxels: Callable[[Path], NDArray[Any]], *, labels: bool) -> NDArray[Any]:
    """Return the voxels of a file in a depth that images or labels have, not to be written to.

    A file that was changed is read again. Threads that want the same volume wait for the one that reads it.

    Raises `AtrousError` as `voxels` does, and for labels that are not whole.
    """
    key = _key(path, labels)
    with _lock:
        if key in _volumes:
            _volumes.move_to_end(key)
            return _volumes[key]
        reading = _reading.setdefault(key, Lock())
    with reading:
        with _lock:
            if key in _volumes:
                return _volumes[key]
        try:
            array = whole(path, voxels(path)) if labels else image_depth(voxels(path))
            with _lock:
                _volumes[key] = array
                _forget_oldest()
        finally:
            with _lock:
                _reading.pop(key, None)
    return array


def _key(path: Path, labels: bool) -> _Key:
    try:
        states = [file.stat() for file in (path, *(other for other in files_of(path)[1:] if other.is_file()))]
    except OSError as error:
        raise AtrousError(
            f"{path}: the file cannot be read ({error.strerror}). Check the path.", kind="unreadable-file"
        ) from error
    return str(path), tuple((state.st_size, state.st_mtime_ns) for state in states), labels


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a volume: its own, and those with the voxels that a header in `.mhd` or `.nhdr` names."""
    if path.suffix.lower() not in (".mhd", ".nhdr"):
        return (path,)
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST)
    except OSError:  # said when the volume is read
        return (path,)
    found = _NAMED.search(head)
    words = found[1].decode("utf-8", "replace").strip() if found else ""
    names = head[found.end() :].decode("utf-8", "replace").splitlines() if found else []
    if words.split()[:1] != ["LIST"]:
        names = _numbered(words)
    local = ("", "local")
    return (
        path,
        *(path.parent / name.strip().replace("\\", "/") for name in names if name.strip().lower() not in local),
    )


def _numbered(words: str) -> list[str]:
    """Return the names that NRRD's `slice%03d.raw 1 9 1` stands for; others are one name, whatever is in it."""
    pattern = re.fullmatch(r"(\S*%0?\d*d\S*) (-?\d+) (-?\d+) (-?\d+)(?: \d+)?", words)
    if pattern is None or int(pattern[4]) == 0:
        return [words]
    first, last, step = (int(pattern[group]) for group in (2, 3, 4))
    numbers = range(first, last + (1 if step > 0 else -1), step)[:_MOST_FILES]
    try:
        return [pattern[1] % number for number in numbers]
    except (TypeError, ValueError):  # another % in the name
        return [words]


def _forget_oldest() -> None:
    """Forget volumes until the rest are small enough; those that lie in their file take no memory."""
    while len(_volumes) > 1 and sum(_bytes(array) for array in _volumes.values()) > MAX_BYTES:
        _volumes.popitem(last=False)


def _bytes(array: NDArray[Any]) -> int:
    base: Any = array
    while base is not None:
        if isinstance(base, np.memmap):
            return 0
        base = getattr(base, "base", None)
    return array.nbytes


def image_depth(array: NDArray[Any]) -> NDArray[Any]:
    """Return an image in uint8, uint16, int16 or float32: the narrowest of int16 and uint16 that holds whole numbers.

    >>> image_depth(np.array([-1024, 3071], np.int32)).dtype, image_depth(np.array([70000])).dtype
    (dtype('int16'), dtype('float32'))
    """
    if array.dtype in _KEPT and array.dtype.isnative:
        return array
    if array.dtype.newbyteorder("=") in _KEPT:
        return array.astype(array.dtype.newbyteorder("="))
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        for depth in (np.int16, np.uint16):
            if np.iinfo(depth).min <= low and high <= np.iinfo(depth).max:
                return array.astype(depth)
    with np.errstate(all="ignore"):  # what float32 does not hold is infinite
        return array.astype(np.float32)


def whole(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Return labels as integers; raises `AtrousError` for fractions, which soft masks have, and for what is no number.

    >>> whole(Path("a.nii"), np.array([0.0, 2.0])).tolist()
    [0, 2]
    """
    if array.dtype.kind in "iu":
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if not np.isfinite(array).all():
        raise AtrousError(
            f"{path}: {int((~np.isfinite(array)).sum()):,} voxels of this mask are not numbers (NaN or infinite). "
            "Give them a label.",
            kind="label-outside",
        )
    outside = np.abs(array) >= 2**31
    fractions = (array != np.rint(array)) | outside
    if fractions.any():
        raise AtrousError(
            f"{path}: {int(fractions.sum()):,} voxels of this mask are not whole numbers (such as "
            f"{float(array[fractions][0]):g}; the values go from {float(array.min()):g} to {float(array.max()):g}). "
            "Round a soft mask at one half, and save 0 and 1.",
            kind="soft-mask",
        )
    return array.astype(np.int32)
