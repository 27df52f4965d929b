"""Which sides U-Nets take: the paper's overlap-tile arithmetic for any depth, and multiples where all is padded.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
"""

from __future__ import annotations

from torch import Tensor

from atrous.contract import Geometry


def valid_geometry(depth: int) -> Geometry:
    """Return the sides of a U-Net of `depth` pools without padding, and the margin that it loses on every side.

    A bottom of b pixels comes from sides of 2^depth (b + 8) - 4 and ends as 2^depth (b - 4) + 4; the least b here is 4.

    Source: U-Net, figure 1 (depth 4).

    >>> valid_geometry(4)
    Geometry(multiple=16, offset=12, minimum=188, margin=92, stride=1, align_corners=False)
    """
    cell = 2**depth
    return Geometry(multiple=cell, offset=-4 % cell, minimum=12 * cell - 4, margin=6 * cell - 4, stride=1)


def same_geometry(depth: int) -> Geometry:
    """Return the sides of a padded U-Net of `depth` pools; of the least the bottom has 2 x 2 values, for norms.

    >>> same_geometry(4)
    Geometry(multiple=16, offset=0, minimum=32, margin=0, stride=1, align_corners=False)
    """
    return Geometry(multiple=2**depth, minimum=2 ** (depth + 1), stride=1)


def check_sides(geometry: Geometry, images: Tensor) -> None:
    """Raise `ValueError` where a side of (n, c, h, w) images is not one that `geometry` takes.

    >>> import torch
    >>> check_sides(valid_geometry(4), torch.empty(1, 1, 188, 572))
    """
    height, width = images.shape[-2:]
    valid = geometry.valid(height), geometry.valid(width)
    if valid != (height, width):
        above = f"{geometry.offset} above a multiple" if geometry.offset else "multiples"
        raise ValueError(
            f"an image of {height} x {width} came; sides are {geometry.minimum} or more and "
            f"{above} of {geometry.multiple}: pad it to {valid[0]} x {valid[1]}, "
            "or use Segmenter, which pads and crops by itself"
        )
