"""Locks of files, by which processes wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def locked(file: Any, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes out of the block; the system lets go of the lock when a process dies.

    Raises `OSError` where another process is in its block and `wait` is False.
    """
    lock, unlock = _lock_functions(wait)
    lock(file)
    try:
        yield
    finally:
        file.flush()
        unlock(file)


def _lock_functions(wait: bool) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    if os.name == "nt":
        import msvcrt  # has no name to the type checker on other systems

        system: Any = msvcrt

        def change(file: Any, mode: int) -> None:
            file.seek(0)
            system.locking(file.fileno(), mode, 8)
            file.seek(0)

        taken = system.LK_LOCK if wait else system.LK_NBLCK
        return lambda file: change(file, taken), lambda file: change(file, system.LK_UNLCK)
    import fcntl

    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    return lambda file: fcntl.flock(file, how), lambda file: fcntl.flock(file, fcntl.LOCK_UN)
