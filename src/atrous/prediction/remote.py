"""Files of object stores, such as s3:// and gs://, through pyarrow's file systems."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.prediction.source_kinds import is_source
from atrous.prediction.sources import Source, named

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_remote(text: str | Path) -> bool:
    """Say whether a text is the address of a file or folder in a store, and not a path.

    >>> is_remote("s3://bucket/photos"), is_remote("C:/photos")
    (True, False)
    """
    return _SCHEME.match(str(text)) is not None


@dataclass(frozen=True)
class Store:
    """A folder of an object store, or of any file system that pyarrow opens. Raises `AtrousError` for what it cannot.

    It holds nothing open, so that it travels to other processes.
    """

    address: str

    def sources(self) -> list[Source]:
        """Return the images below the folder; their paths are those below it, as `fetched` takes them."""
        from pyarrow import fs

        system, root = self._opened()
        try:
            found = system.get_file_info(fs.FileSelector(root, recursive=True))
        except OSError as error:
            raise AtrousError(f"{self.address}: {_line(error)}") from error
        paths = sorted(each.path for each in found if each.type == fs.FileType.File)
        below = [Path(path[len(root) :].lstrip("/")) for path in paths]
        sources = named([path for path in below if is_source(path) and not _hidden(path)], Path())
        if not sources:
            raise AtrousError(f"{self.address}: no images in this folder")
        return sources

    def fetched(self, path: Path, target: Path) -> Path:
        """Copy a file of the folder to `target` on this machine, and return that."""
        system, root = self._opened()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with system.open_input_stream(f"{root}/{path.as_posix()}") as remote, target.open("wb") as local:
                shutil.copyfileobj(remote, local)
        except OSError as error:
            raise AtrousError(f"{self.address}/{path.as_posix()}: {_line(error)}") from error
        return target

    def called(self, source: Source) -> str:
        """Return the address of a source."""
        return f"{self.address.rstrip('/')}/{source.path.as_posix()}"

    def state(self, source: Source) -> tuple[int | None, int | None]:
        """Return the size of a file of the folder, and when it last changed in ns; None of what is not there."""
        found = self._info(source.path.as_posix())
        return found.size, found.mtime_ns

    def there(self, file: str) -> bool:
        """Return whether the folder has such a file."""
        return bool(self._info(file).type)

    def remove(self, file: str) -> None:
        """Take a file of the folder away."""
        system, root = self._opened()
        if self.there(file):
            system.delete_file(f"{root}/{file}")

    def _info(self, name: str) -> Any:
        system, root = self._opened()
        return system.get_file_info(f"{root}/{name}")

    def put(self, files: Sequence[Path], below: Path) -> None:
        """Copy files, and the folders among them, to the same places in the store as they have below a folder."""
        system, root = self._opened()
        whole = [each for file in files for each in (sorted(file.rglob("*")) if file.is_dir() else [file])]
        for file in (each for each in whole if each.is_file()):
            target = f"{root}/{file.relative_to(below).as_posix()}"
            folder, _, name = target.rpartition("/")
            try:
                system.create_dir(folder, recursive=True)
                # A store shows an object once it is whole; a file system shows it as it grows.
                with file.open("rb") as local, system.open_output_stream(f"{folder}/.{name}") as remote:
                    shutil.copyfileobj(local, remote)
                system.move(f"{folder}/.{name}", target)
            except OSError as error:
                raise AtrousError(f"{self.address}: could not be written ({_line(error)})") from error

    def _opened(self) -> tuple[Any, str]:
        try:
            from pyarrow import ArrowInvalid, fs
        except ImportError as error:
            raise AtrousError(
                f'{self.address}: pyarrow is not installed, and stores need it: pip install "atrous[cluster]"'
            ) from error
        try:
            system, root = fs.FileSystem.from_uri(self.address.rstrip("/"))
        except (ArrowInvalid, OSError) as error:
            raise AtrousError(f"{self.address}: no store that can be opened ({_line(error)})") from error
        return system, root.rstrip("/")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
