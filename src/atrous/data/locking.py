"""Locks of files, by which processes wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def locked(file: Any) -> Iterator[None]:
    """Keep other processes out of the block; the system lets go of the lock when a process dies."""
    lock, unlock = _lock_functions()
    lock(file)
    try:
        yield
    finally:
        file.flush()
        unlock(file)


def _lock_functions() -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    if os.name == "nt":
        import msvcrt  # has no name to the type checker on other systems

        system: Any = msvcrt

        def change(file: Any, mode: int) -> None:
            file.seek(0)
            system.locking(file.fileno(), mode, 8)
            file.seek(0)

        return lambda file: change(file, system.LK_LOCK), lambda file: change(file, system.LK_UNLCK)
    import fcntl

    return lambda file: fcntl.flock(file, fcntl.LOCK_EX), lambda file: fcntl.flock(file, fcntl.LOCK_UN)
