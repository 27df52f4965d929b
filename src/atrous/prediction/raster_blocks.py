"""Rasters of any size scored block by block, each read with context around what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, Geometry, LabelSpace, Sample, Scorer
from atrous.prediction.arrays import beside, from_numpy
from atrous.prediction.images import predicted
from atrous.prediction.raster_readers import Raster
from atrous.prediction.surroundings import takes_surroundings, told
from atrous.prediction.window_plan import Window, windows

_CONTEXT = 256  # pixels that neighbouring blocks share, where a network has no margin of its own
_LOOKED_AT, _LOOK = 16, 128  # windows, and their side, by which the range of a raster's values is told


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """A part of a raster: `image` (h, w, c) and `labels` (h, w) uint8 of what was read, and which of it is its own.

    Pixels without data are labelled 255. `probabilities` (classes, h, w) are there where they were asked for; they are
    0 where there is no data. Where the window has a context, that has the labels of the nearest pixel inside, and
    probabilities of 0.
    """

    window: Window
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None

    @property
    def own(self) -> NDArray[np.uint8]:
        """The labels that no other block gives."""
        return self.labels[self.window.within(self.window.own)]

    @property
    def corner(self) -> tuple[int, int]:
        """The row and column of the first of them in the raster."""
        return self.window.rows.own_start, self.window.columns.own_start


def plan(raster: Raster, scorer: Scorer, size: int) -> tuple[Window, ...]:
    """Return the windows in which a raster is scored; one for all of it where it is no larger than `size`.

    Where the scorer takes surroundings, `size` is otherwise the side of the network's input, the margin included.

    Raises `ValueError` for a size below what the network needs.
    """
    geometry = geometry_of(scorer)
    if max(raster.height, raster.width) <= size:
        return windows(raster.height, raster.width, size=max(size, 1 << 20), geometry=geometry)
    return windows(
        raster.height,
        raster.width,
        size=size,
        overlap=min(0.25, _CONTEXT / size),
        geometry=geometry,
        surrounded=takes_surroundings(scorer),
    )


def geometry_of(scorer: Any) -> Geometry:
    """Return a scorer's geometry, that of a pointwise network where it has none."""
    found = getattr(scorer, "geometry", None)
    return found if isinstance(found, Geometry) else Geometry()


def labels_in_blocks(
    scorer: Scorer, raster: Raster, space: LabelSpace, *, size: int, probabilities: bool = False
) -> Iterator[Block]:
    """Yield the labels of a raster in blocks of up to `size` x `size` pixels, from top to bottom and left to right.

    What blocks call their own covers each pixel once. Blocks of a network with a margin are exact: together they are
    what it says of the whole raster. Others share 256 pixels, or a quarter where they are small, of which half is kept
    on either side; a network that sees further says near the seams what it would say of the block alone. A raster that
    is not larger than a block is scored whole. Where all of a block is without data, the network is not asked.

    Raises `AtrousError` for a damaged part of the file and for values that the scorer refuses, `ValueError` for a size
    below what the network needs.

    >>> from atrous.prediction.raster_readers import ArrayRaster
    >>> bright = lambda images: np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255
    >>> raster = ArrayRaster(np.array([[[0], [250]]], np.uint8))
    >>> [block.own.tolist() for block in labels_in_blocks(bright, raster, LabelSpace(names=("a", "b")), size=64)]
    [[[0, 1]]]
    """
    placed = suited(scorer, raster)
    for window in plan(raster, scorer, size):
        yield scored_block(placed, raster, window, space, probabilities=probabilities)


def scored_block(
    scorer: Scorer, raster: Raster, window: Window, space: LabelSpace, *, probabilities: bool = False
) -> Block:
    """Read and score one window of a raster; raises as `labels_in_blocks` does."""
    image = raster.read(*window.read)
    valid = raster.valid(*window.read)
    if valid is not None and not valid[window.within(window.own)].any():
        nothing = np.zeros((len(space), *image.shape[:2]), np.float32) if probabilities else None
        labels = np.full(image.shape[:2], IGNORE, np.uint8)
        return Block(window=window, image=image, labels=labels, probabilities=nothing)
    try:
        found = predicted(told(scorer, window), Sample(image=image), space, probabilities=probabilities)
    except ValueError as error:
        raise AtrousError(f"{raster.path}: {error}") from error
    labels, scores = found.labels, found.probabilities
    if valid is not None and not valid.all():
        labels = np.where(valid, labels, np.uint8(IGNORE))
        scores = None if scores is None else scores * valid
    return Block(window=window, image=image, labels=labels, probabilities=scores)


def suited(scorer: Scorer, raster: Raster) -> Scorer:
    """Return the scorer, for floats one that has judged the range of values by the raster and not by each block.

    Raises `AtrousError` where it refuses them.
    """
    if raster.dtype.kind != "f":
        return scorer
    image = looked_at(raster)
    try:
        like = from_numpy(scorer, np.ascontiguousarray(image.transpose(2, 0, 1))[None])
    except ValueError as error:
        raise AtrousError(f"{raster.path}: {error}") from error
    placed = _Placed(scorer, like[:, :, :1, :1])
    if hasattr(scorer, "labels"):
        placed.labels = scorer.labels
    if hasattr(scorer, "surrounded"):
        placed.surrounded = scorer.surrounded
    return placed


def looked_at(raster: Raster) -> NDArray[Any]:
    """Return windows from all over a raster, one below the other: (16 windows x 128, 128, c) or all there is."""
    high, wide = min(raster.height, _LOOK), min(raster.width, _LOOK)
    places = np.linspace(0, 1, _LOOKED_AT)
    tops = (places * (raster.height - high)).astype(int).tolist()
    lefts = ((places * 5 % 1) * (raster.width - wide)).astype(int).tolist()
    corners = dict.fromkeys(zip(tops, lefts, strict=True))
    return np.concatenate([raster.read(slice(top, top + high), slice(left, left + wide)) for top, left in corners])


@dataclass
class _Placed:
    """A scorer that takes images as they are; `labels` and `surrounded` are there where the inner scorer has them."""

    scorer: Any
    like: Any
    labels: Any = field(init=False)
    surrounded: Any = field(init=False)

    def __call__(self, images: Any, /) -> Any:
        return self.scorer(images)

    def from_numpy(self, images: NDArray[Any]) -> Any:
        return beside(np.require(images, np.float32, ["C", "W"]), self.like)
