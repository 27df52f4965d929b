"""How much memory this process takes, took at most, and may take: the resident kind, libraries included."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from atrous.contract import AtrousError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # names of glibc's mallopt
_OWN_MAPPING = 1 << 20  # bytes from which an allocation is given back to the system as soon as it is freed
_highest = 0  # what the kernel forgot when its own mark was reset


def as_bytes(words: str) -> int:
    """Return an amount of memory such as "1GB", "800 MB" or "2GiB" in bytes; kB to TB count in thousands.

    Raises `ValueError` for anything else.

    >>> as_bytes("1GB"), as_bytes("1.5 MiB")
    (1000000000, 1572864)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", words.lower())
    if match is None or match[2] not in _UNITS or float(match[1]) <= 0:
        raise ValueError(f"{words!r} came; an amount of memory such as 800MB, 1GB or 2GiB is wanted")
    return int(float(match[1]) * _UNITS[match[2]])


def in_words(amount: float) -> str:
    """Return an amount of memory in words, rounded up.

    >>> in_words(712_300_000), in_words(20_000_000_000)
    ('713MB', '20.0GB')
    """
    return f"{amount / 1e9:.1f}GB" if amount >= 1e10 else f"{-int(-amount // 1_000_000)}MB"


def peak() -> int:
    """Return the most resident memory, in bytes, that this process took since it began.

    Raises `AtrousError` on Windows, where it cannot be measured.
    """
    if _STATUS.is_file():
        return max(_status("VmHWM"), _highest)
    if sys.platform == "win32":
        raise AtrousError("the peak of memory cannot be measured on Windows; leave --max-memory out, or give --block")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def resident() -> int:
    """Return the resident memory, in bytes, that this process takes now; its peak where the system tells no more."""
    return _status("VmRSS") if _STATUS.is_file() else peak()


def peak_during(function: Callable[[], object]) -> int:
    """Return the most resident memory, in bytes, while `function` ran.

    The kernel's own mark is reset for it where that is permitted; elsewhere a thread looks a thousand times a second.
    """
    global _highest  # noqa: PLW0603 (the kernel has one mark for the process, and so there is one here)
    before = peak()
    try:
        _CLEAR.write_text("5")
    except OSError:
        return _sampled(function)
    _highest = max(_highest, before)
    function()
    return _status("VmHWM")


def available() -> int:
    """Return how many bytes this process may still take: what the machine has left, or its container if less."""
    left = [limit - used for limit, used in map(_cgroup, _CGROUPS) if limit is not None and used is not None]
    with suppress(OSError):
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        left += [int(match[1]) * 1024] if match else []
    return max(min(left, default=4 * 10**9), 0)


def hoard_less() -> None:
    """Tell glibc to give freed memory back and to keep it in few places; other C libraries are left alone.

    Its default is an arena per thread, and blocks of up to 32 MB that stay with the process for the next one.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_ARENA_MAX, 2)
        libc.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING)
        libc.mallopt(_TRIM_THRESHOLD, _OWN_MAPPING)


def give_back() -> None:
    """Return to the system what glibc holds of freed memory; other C libraries are left alone."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    return int(match[1]) * 1024 if match else 0


def _cgroup(files: tuple[Path, Path]) -> tuple[int | None, int | None]:
    try:
        limit, used = (path.read_text().strip() for path in files)
    except OSError:
        return None, None
    return (int(limit), int(used)) if limit.isdigit() and used.isdigit() else (None, None)


def _sampled(function: Callable[[], object]) -> int:
    most, done = resident(), threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.001):
            most = max(most, resident())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return max(most, resident())
