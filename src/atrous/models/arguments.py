"""What every builder checks of its arguments, in the same words."""

from __future__ import annotations


def check_arguments(name: str, classes: int, in_channels: int, width: float) -> None:
    """Raise `ValueError` for fewer than 2 or more than 255 classes, no channel, or no width.

    >>> check_arguments("unet", 1, 3, 1.0)
    Traceback (most recent call last):
        ...
    ValueError: unet: 1 classes came; a segmentation has 2 to 255 (background and one more; a label is one byte)
    """
    if not 2 <= classes <= 255:
        raise ValueError(
            f"{name}: {classes} classes came; "
            "a segmentation has 2 to 255 (background and one more; a label is one byte)"
        )
    if in_channels < 1:
        raise ValueError(f"{name}: {in_channels} input channels came; 1 (grey), 3 (colour) or more are accepted")
    if not width > 0:
        raise ValueError(f"{name}: width {width} came; it is a share of the paper's channels, above 0")
