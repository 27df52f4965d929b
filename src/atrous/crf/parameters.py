"""The checks of a CRF's parameters: numbers within their limits, and compatibilities as tuples."""

from __future__ import annotations

import operator
from math import inf, isfinite
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

VAST = 1e12
"""Where weights end: their products with marginals and each other stay within float32."""
Compatibility = str | tuple[float, ...] | tuple[tuple[float, ...], ...]


def number(name: str, value: Any, *, least: float = 0.0, strictly: bool = False, below: float = inf) -> float:
    """Return `value` as a float of at least `least`, above it where `strictly`, and below `below`.

    Raises `TypeError` for what is no number, `ValueError` for one outside.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; a number is needed")
    value = float(value)
    if not isfinite(value) or value < least or (strictly and value == least) or value >= below:
        limits = f"{'above' if strictly else 'of at least'} {least:g}" + (
            f" and below {below:g}" if below < inf else ""
        )
        raise ValueError(f"{name} is {value:g}; a finite number {limits} is needed")
    return value


def whole(name: str, value: Any, least: int, *, most: int | None = None) -> int:
    """Return `value` as a whole number of at least `least` and at most `most`.

    Raises `TypeError` for what is no whole number, `ValueError` for less and for more.
    """
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; a whole number is needed") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; a whole number is needed")
    if result < least:
        raise ValueError(f"{name} is {result}; {least} or more is needed")
    if most is not None and result > most:
        raise ValueError(f"{name} is {result}; {most} or less is needed")
    return result


def switch(name: str, value: Any) -> bool:
    """Return `value`.

    Raises `TypeError` where it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; True or False is needed")
    return bool(value)


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value`.

    Raises `ValueError` where it is none of the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; {', '.join(choices[:-1])} or {choices[-1]} is accepted")
    return value


def compatibility(value: Any) -> Compatibility:
    """Return "potts", or an array (labels,) or (labels, labels) as tuples, which can be compared and written as JSON.

    Raises `ValueError` for another word or shape, and for numbers that are not finite.
    """
    if isinstance(value, str) and value == "potts":
        return value
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim not in (1, 2) or not array.size or (array.ndim == 2 and array.shape[0] != array.shape[1]):
        raise ValueError(
            f"compatibility is {value!r}; potts, a number per label (labels,), or a penalty per pair of labels "
            "(labels, labels) is accepted"
        )
    if not (np.abs(array) < VAST).all():  # NaN is not either
        raise ValueError(f"compatibility holds NaN, infinity or numbers above {VAST:g}; every number must be below it")
    return tuple(array.tolist()) if array.ndim == 1 else tuple(map(tuple, array.tolist()))


def compatibility_array(value: Compatibility, labels: int) -> NDArray[np.float32] | None:
    """Return the array of a compatibility, None for Potts.

    Raises `ValueError` where it is for another number of labels.
    """
    if value == "potts":
        return None
    array = np.asarray(value, np.float32)
    if len(array) != labels:
        raise ValueError(f"compatibility is for {len(array)} labels, and {labels} came; give a number for each")
    return array
