"""What kind of source a path is: by its suffix, and by its first bytes where the suffix lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from atrous.data.decoders import is_tiff
from atrous.data.images import SUFFIXES, VOLUME_SUFFIXES

Kind = Literal["image", "raster", "video", "volume"]

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k", ".zarr")
"""The suffixes of pictures that are read in windows; `.zarr` is a folder."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
"""The suffixes of films."""

KNOWN_SUFFIXES = tuple(dict.fromkeys((*SUFFIXES, *RASTER_SUFFIXES, *VIDEO_SUFFIXES, *VOLUME_SUFFIXES)))
"""All suffixes of files that are sources, in small letters."""

_STORE_FILES = ("zarr.json", ".zarray", ".zgroup")
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"P5", b"P6")
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def kind_of(path: Path) -> Kind:
    """Return the kind of a file or folder; what nothing tells is an image, whose reader will say what is wrong.

    A TIFF, a JPEG 2000 or a DICOM file of another name is taken for what it is, and so is a PNG or JPEG that is called
    `.tif`.

    >>> kind_of(Path("street.mp4")), kind_of(Path("spleen.nii.gz")), kind_of(Path("map.TIF")), kind_of(Path("a.png"))
    ('video', 'volume', 'raster', 'image')
    """
    name = path.name.lower()
    if name.endswith(VIDEO_SUFFIXES):
        return "video"
    if name.endswith(VOLUME_SUFFIXES):
        return "volume"
    if is_store(path):
        return "raster"
    data = _beginning(path)
    if is_tiff(data) or data.startswith(_JPEG_2000):
        return "raster"
    if data[128:132] == b"DICM":
        return "volume"
    return "raster" if name.endswith(RASTER_SUFFIXES) and not data.startswith(_PICTURES) else "image"


def is_store(path: Path) -> bool:
    """Say whether a path is a Zarr store: a folder of that suffix, or one that holds Zarr's own files."""
    if not os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises for a name that no folder can have)
        return False
    return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _STORE_FILES)


def is_source(path: Path) -> bool:
    """Say whether a file found in a folder is a source: by its suffix, or by DICOM's letters where it may be one."""
    name = path.name.lower()
    return name.endswith(KNOWN_SUFFIXES) or (_may_be_dicom(name) and _beginning(path)[128:132] == b"DICM")


def is_dicom_source(path: Path) -> bool:
    """Say whether a file is a slice of a DICOM series: by its suffix, else by its first bytes."""
    name = path.name.lower()
    if name.endswith(".dcm"):
        return True
    return not name.endswith(KNOWN_SUFFIXES) and _beginning(path)[128:132] == b"DICM"


def _may_be_dicom(name: str) -> bool:
    """Say whether a name has a suffix of DICOM, or none, or digits as one: such names are made of numbers and dots."""
    _, dot, suffix = name.rpartition(".")
    return name != "dicomdir" and (not dot or suffix.isdigit() or name.endswith(_DICOM_SUFFIXES))


def _beginning(path: Path) -> bytes:
    """Return the first bytes of a file, none where it cannot be opened: who reads it will say why."""
    if not os.path.isfile(path):  # noqa: PTH113  (as above; a pipe would be waited for)
        return b""
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(132)
    except (OSError, ValueError):
        return b""
