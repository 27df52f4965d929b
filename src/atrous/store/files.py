"""Files and folders that are written whole or not at all, and JSON that is refused in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.writers import atomic


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON of a file; raises `AtrousError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AtrousError(f"{path}: missing") from error
    except (OSError, ValueError) as error:
        raise AtrousError(f"{path}: not readable JSON ({error})") from error


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends well; else `folder` is untouched.

    A folder cannot be replaced in one step: the old one is moved aside first. A process killed between the two
    moves leaves it there, and `settled` brings it back.
    """
    temporary, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        settled(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(old, ignore_errors=True)  # left where a process was killed after the second move
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        settled(folder)
        if _disk_refused(error):
            raise AtrousError(
                f"{folder}: could not be written ({error}); what was there before is unchanged"
            ) from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _disk_refused(error: BaseException) -> bool:
    from safetensors import SafetensorError

    return isinstance(error, OSError | SafetensorError)


def readable(folder: Path) -> Path:
    """Return `folder`, or where a running training has just moved it aside: a reader moves nothing itself."""
    old = folder.with_name(folder.name + ".old")
    return old if old.is_dir() and not folder.exists() else folder


def settled(folder: Path) -> Path:
    """Return `folder`, brought back first where a replacement of it was cut off between two moves."""
    old = folder.with_name(folder.name + ".old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    return folder
