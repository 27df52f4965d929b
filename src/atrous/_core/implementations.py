"""Which implementation of the kernels is used: the compiled one, or the NumPy twins where there is none."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any, Literal

_CHOICES = ("compiled", "numpy")


def implementation() -> Literal["compiled", "numpy"]:
    """Return which kernels are in use, `"compiled"` or `"numpy"`.

    The environment variable `ATROUS_CORE` forces one of the two; it is read at every call.

    Raises `ValueError` for another value of it, and `ImportError` when it asks for compiled kernels that are absent.

    >>> implementation() in ("compiled", "numpy")
    True
    """
    name, _ = _chosen(os.environ.get("ATROUS_CORE", ""))
    return name


def kernels() -> Any:
    """Return the module that holds the kernels in use: `_kernels` (compiled) or `twins` (NumPy)."""
    return _chosen(os.environ.get("ATROUS_CORE", ""))[1]


def available_threads(threads: int | None) -> int:
    """Return `threads`, or how many processors this process may use where it is None.

    Raises `ValueError` below one.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"threads is {threads}; give 1 or more, or None for one per processor")
    return threads


@functools.cache
def _chosen(wanted: str) -> tuple[Literal["compiled", "numpy"], Any]:
    if wanted not in ("", *_CHOICES):
        raise ValueError(f"ATROUS_CORE is {wanted!r}; it may be compiled or numpy, or be left unset")
    if wanted != "numpy":
        try:
            from atrous._core import _kernels

            return "compiled", _kernels
        except ImportError as error:
            if wanted == "compiled":
                raise ImportError(
                    "ATROUS_CORE asks for compiled kernels, but atrous was installed without them: "
                    "install a C++17 compiler and then atrous again, or unset ATROUS_CORE"
                ) from error
            logging.getLogger("atrous").warning(
                "the compiled kernels are missing, so slower NumPy ones are used: "
                "install a C++17 compiler and then atrous again"
            )
    from atrous._core import twins

    return "numpy", twins
