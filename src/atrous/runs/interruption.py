"""Ctrl-C taken between two steps, so that none is cut in two."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECOND_AFTER = 0.5
"""Seconds after which another Ctrl-C is a second one."""


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, so that a step is never cut in two; the second one interrupts."""
    asked = threading.Event()
    times: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        times.append(time.monotonic())
        # A launcher passes on to its processes what they have had from the terminal already.
        if asked.is_set() and times[-1] - times[0] > _SECOND_AFTER:
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
