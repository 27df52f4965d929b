"""What every builder checks of its arguments, in the same words."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_arguments(
    name: str,
    classes: int,
    in_channels: int,
    width: float,
    dropout: float | None = None,
    output_stride: int | None = None,
) -> None:
    """Raise `ValueError` for fewer than 2 or more than 255 classes, no channel, no width, and values of other kinds.

    `dropout` and `output_stride` are checked where they are given: a share from 0 to below 1, and a whole number.

    >>> check_arguments("unet", 1, 3, 1.0)
    Traceback (most recent call last):
        ...
    ValueError: unet: 1 classes came; a segmentation has 2 to 255 (background and one more; a label is one byte)
    """
    check_whole(name, classes=classes, in_channels=in_channels)
    if not 2 <= classes <= 255:
        raise ValueError(
            f"{name}: {classes} classes came; "
            "a segmentation has 2 to 255 (background and one more; a label is one byte)"
        )
    if in_channels < 1:
        raise ValueError(f"{name}: {in_channels} input channels came; 1 (grey), 3 (colour) or more are accepted")
    if not is_number(width) or not width > 0:
        raise ValueError(f"{name}: width {width!r} came; it is a share of the paper's channels, above 0, such as 0.5")
    if dropout is not None:
        check_dropout(name, dropout)
    if output_stride is not None:
        check_whole(name, output_stride=output_stride)


def check_dropout(name: str, dropout: float) -> None:
    """Raise `ValueError` unless `dropout` is a number from 0 to below 1.

    >>> check_dropout("unet", 0.5)
    """
    if not is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"{name}: dropout {dropout!r} came; it is a share from 0 to below 1, such as 0.5")


def check_flags(name: str, **flags: object) -> None:
    """Raise `ValueError` for a flag that is neither True nor False.

    >>> check_flags("deeplab_v2", multiscale="no")
    Traceback (most recent call last):
        ...
    ValueError: deeplab_v2: multiscale 'no' came; True or False is accepted
    """
    for flag, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}: {flag} {value!r} came; True or False is accepted")


def check_whole(name: str, **numbers: object) -> None:
    """Raise `ValueError` for a number that is not whole, True, 2.0 and "2" included.

    >>> check_whole("unet", depth=2.0)
    Traceback (most recent call last):
        ...
    ValueError: unet: depth 2.0 came; a whole number is accepted, such as 8
    """
    for argument, value in numbers.items():
        if not is_whole(value):
            raise ValueError(f"{name}: {argument} {value!r} came; a whole number is accepted, such as 8")


def is_whole(value: object) -> bool:
    """Tell whether a value is an integer, numpy's included; True and False are none, nor is 2.0.

    >>> is_whole(2), is_whole(2.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite real number; True and False are none.

    >>> is_number(1 / 8), is_number(float("inf")), is_number("1")
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
