"""Files of `torch.save`, in the zip layout and the one before it: torch's own restricted reader first, then ours."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import torch

from atrous.contract import AtrousError
from atrous.foreign.pickles import REMEDY, Storage, unpickled

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of torch before 1.6 begins: its magic number, pickled."""

_DAMAGED = (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, RuntimeError, zlib.error)
"""What reading a damaged zip file raises; names, sizes and methods in it may be anything."""


def read_torch(path: Path) -> Any:
    """Return what a file of `torch.save` holds, on the CPU; nothing that it names is run.

    Raises `AtrousError` for damaged files, whole modules, TorchScript, and pickles that want more than data.
    """
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        _refuse_other_zips(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # refused or damaged: which of the two is found out by reading it ourselves
        return _read_zip(path) if is_zip else _read_legacy(path)


def _refuse_other_zips(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _DAMAGED as error:
        raise AtrousError(f"{path}: a damaged zip file ({error}); fetch it again") from error
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise AtrousError(f"{path}: a TorchScript program, whose code would run; refused. {REMEDY}")
    if any(name.endswith(".npy") for name in names):
        raise AtrousError(f"{path}: an archive of NumPy (.npz), which is not read; save its arrays as .safetensors")
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        raise AtrousError(f"{path}: a model of Keras 3 (.keras); unpack it and give its model.weights.h5")
    if not any(name.endswith("data.pkl") for name in names):
        raise AtrousError(f"{path}: a zip file without the data.pkl of torch.save; unpack it and give a file of it")


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
            content = _member(archive, f"{root}data.pkl", path)
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise AtrousError(
                    f"{path}: written on a big-endian machine, which is not read; save it again on another"
                )
            storages: dict[str, Storage] = {}

            def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
                if key not in storages:
                    data = _member(archive, f"{root}data/{key}", path)
                    storages[key] = Storage(dtype, count, _values(data, dtype, count))
                return storages[key]

            return unpickled(io.BytesIO(content), path, storage)
    except _DAMAGED as error:
        raise AtrousError(f"{path}: a damaged file of torch.save ({error}); fetch it again") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise AtrousError(f"{path}: {name} is compressed, as torch.save never does; save it again with torch.save")
    return archive.read(name)


def _values(data: bytes, dtype: torch.dtype, count: int) -> torch.Tensor:
    wanted = count * dtype.itemsize
    if len(data) < wanted:
        raise EOFError(f"{wanted} bytes of a tensor were announced and {len(data)} came")
    return torch.frombuffer(bytearray(data[:wanted]), dtype=dtype) if count else torch.empty(0, dtype=dtype)


def _read_legacy(path: Path) -> Any:
    storages: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        return storages.setdefault(key, Storage(dtype, count))

    with path.open("rb") as file:
        begins_as_torch = file.read(len(LEGACY)) == LEGACY
        file.seek(0)
        for _ in range(3 if begins_as_torch else 0):  # the magic number, the version, sizes of C's integers
            unpickled(file, path)
        content = unpickled(file, path, storage if begins_as_torch else None)
        try:
            for key in unpickled(file, path) if begins_as_torch else ():
                kept = storages[str(key)]
                count = int.from_bytes(file.read(8), "little")
                if count != kept.count:
                    raise EOFError(f"a storage of {kept.count} numbers was announced and {count} are there")
                kept.values = _values(_exactly(file, count * kept.dtype.itemsize), kept.dtype, count)
        except (EOFError, KeyError, TypeError) as error:
            raise AtrousError(f"{path}: a damaged file of torch.save ({error}); fetch it again") from error
    return content


def _exactly(file: IO[bytes], size: int) -> bytes:
    here = file.tell()
    left = file.seek(0, io.SEEK_END) - here
    file.seek(here)
    if size > left:
        raise EOFError(f"{size} bytes of a tensor were announced and {left} are left")
    return file.read(size)
