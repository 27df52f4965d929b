"""Ctrl-C, or a request to end, taken between two steps, so that none is cut in two."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ALONE = (signal.SIGINT, signal.SIGTERM)
"""What asks a run to end: Ctrl-C, and a machine that is taken away. A launcher ends its processes by the second one
when another of them has failed, and they must not wait for that one then."""
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
    numbers = _ALONE if os.environ.get("WORLD_SIZE", "1") == "1" else _ALONE[:1]
    before = {number: signal.getsignal(number) for number in numbers}

    def ask(number: int, frame: Any) -> None:
        times.append(time.monotonic())
        # A launcher passes on to its processes what they have had from the terminal already.
        if asked.is_set() and times[-1] - times[0] > _SECOND_AFTER:
            raise KeyboardInterrupt
        asked.set()

    for number in numbers:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
