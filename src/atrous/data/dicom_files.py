"""DICOM files opened: which files are, and what is said of those that are broken or hold no image.

A file is one by the letters DICM at byte 128, whatever its name.
"""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""The classes of objects that hold segments, and that hold label maps."""

_SNIFFED = 1024
_quiet_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a worker that is forked while another thread holds the lock would wait for ever
    os.register_at_fork(
        before=_quiet_lock.acquire, after_in_parent=_quiet_lock.release, after_in_child=_quiet_lock.release
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Turn off warnings while the block runs: pydicom warns of every value that is not as the standard wants it.

    One thread at a time is let in, since the filters of warnings are those of the whole process.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn into `AtrousError` whatever pydicom raises in the block, which is many kinds, and its warnings off.

    A value is parsed when it is first asked for, so not only the opening of a file raises.
    """
    try:
        with quietly():
            yield
    except AtrousError:
        raise
    except Exception as error:
        raise broken(path, error) from error


def is_dicom(path: Path) -> bool:
    """Say whether a file begins as DICOM does: the letters DICM at byte 128; False for one that cannot be opened."""
    return b"DICM" in _beginning(path, 132)[128:]


def _beginning(path: Path, count: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(count)
    except OSError:
        return b""


def sniffed(path: Path) -> str | None:
    """Return the class of the object in a file from its first bytes, "" where they do not tell, None for no DICOM."""
    data = _beginning(path, _SNIFFED)
    if data[128:132] != b"DICM":
        return None
    place = 132
    while place + 8 <= len(data):
        group, element, kind, length = struct.unpack_from("<HH2sH", data, place)
        if group != 2:
            return ""
        place += 8
        if kind in (b"OB", b"UN"):
            (length,) = struct.unpack_from("<I", data.ljust(place + 4), place)
            place += 4
        if element == 2:
            return data[place : place + length].decode("ascii", "replace").rstrip("\0 ")
        place += length
    return ""


def opened(path: Path, tags: Sequence[str] | None = None) -> Any:
    """Return the pydicom data set of a file without its pixels, or only the `tags` of it.

    Raises `AtrousError` where pydicom is missing, and for a file that is missing, no DICOM or broken.
    """
    pydicom = imported(path)
    with parsing(path):
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=None if tags is None else list(tags))
        except FileNotFoundError as error:
            raise AtrousError(f"{path}: no such file. Check the path.", kind="unreadable-file") from error
        except pydicom.errors.InvalidDicomError as error:
            raise AtrousError(
                f"{path}: this is no DICOM file: the letters DICM are not at byte 128. Check the file, or copy it "
                "again.",
                kind="unreadable-file",
            ) from error


def imported(path: Path) -> Any:
    """Return the module pydicom; raises `AtrousError`, with the file that needs it, where it is missing."""
    try:
        import pydicom
        import pydicom.errors
        import pydicom.pixels
    except ImportError as error:
        raise AtrousError(f'{path}: DICOM needs pydicom: pip install "atrous[medical]"') from error
    return pydicom


def broken(path: Path, error: Exception) -> AtrousError:
    """Return the error for a file that ends early or holds what no DICOM file holds."""
    cause = " ".join(str(error).split())[:200] or type(error).__name__
    return AtrousError(
        f"{path}: this DICOM file is truncated or broken ({cause}). Copy it again from its source.",
        kind="unreadable-file",
    )


def without_pixels(path: Path, dataset: Any) -> AtrousError:
    """Return the error for an object without pixels, such as a report, a plan or outlines."""
    name = getattr(dataset.get("SOPClassUID"), "name", "") or dataset.get("Modality") or "an unknown object"
    return AtrousError(
        f"{path}: this DICOM file has no pixels; it is {name}. Remove it from the images, or export the images again.",
        kind="dicom-without-pixels",
    )
