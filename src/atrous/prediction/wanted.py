"""What is wanted of a prediction into files: which of them, and within which limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from atrous.data.images import MAX_PIXELS

KINDS = ("masks", "overlays", "probabilities", "polygons", "coco", "cutouts", "statistics")
"""What can be written of every image: each is a folder below the output folder."""

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which files are written of every source, and how.

    `save` are some of `KINDS`. `max_pixels` bounds what is decoded whole; rasters that are read in windows have no such
    limit. `max_memory` is the most resident memory, in bytes, that this process may ever take, libraries included.
    `smoothing` (0 to below 1) is the share of the frame before in the probabilities of a video's frame, `frames` how
    many are taken of a stream that does not end. `block` is the
    side, in pixels, of the parts that rasters are cut into, chosen to fit where it is None.

    Raises `ValueError` for a kind that is not known, and for limits out of range.
    """

    save: tuple[str, ...] = ("masks", "overlays")
    max_pixels: int = MAX_PIXELS
    max_memory: int | None = None
    smoothing: float = 0.0
    frames: int | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.save) - set(KINDS))
        if unknown:
            raise ValueError(f"save {unknown[0]!r} is not known; there are {', '.join(KINDS)}")
        if not self.save:
            raise ValueError(f"save is empty; there are {', '.join(KINDS)}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing {self.smoothing} came; a share from 0 to below 1 is accepted")
        for name in ("max_pixels", "max_memory", "frames", "block"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} came; 1 or more is accepted")

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**asdict(self), "save": sorted(self.save)}
