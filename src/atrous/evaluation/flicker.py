"""Flicker: how many labels change from frame to frame where nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.evaluation.figures import figure, plain
from atrous.evaluation.overlaps import check_sizes

TOLERANCE = 8.0
"""How far a stored value may move in a pixel that hardly changes; of 8 bits about 3 %."""

FLICKER_DEFINITIONS = {
    "flicker": "share of the pixels with the same true class in both frames whose predicted class differs",
    "still_flicker": "share of the pixels whose image hardly changes whose predicted class differs",
    "changed": "share of all pixels whose predicted class differs",
    "truth_changed": "share of the pixels counted in both frames whose true class differs, for comparison",
    "protocol": "pixels at the same place in consecutive frames, nothing is tracked; sums over all pairs of frames; an "
    f"image hardly changes where no channel does by more than {TOLERANCE:g} stored values, or the tolerance that was "
    "given; ignored pixels of either frame are left out of what needs the truth",
}
_HEADINGS = (
    ("flicker", "flicker"),
    ("flicker of still pixels", "still_flicker"),
    ("labels changed", "changed"),
    ("truth changed", "truth_changed"),
)


class Frame(NamedTuple):
    """A frame of a sequence: predicted `labels` (h, w), the `truth` (h, w) and the `image` (h, w, c) where known."""

    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None = None
    image: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Flicker:
    """Flicker over pairs of frames, shares 0..1; NaN where no pixel is counted.

    Counts of pixels: `changed_true` of `same_true` with the same true class, `changed_still` of `still` whose image
    hardly changes, `changed_all` of `pixels`; `truth_moved` of `known` that are counted in the truth of both.

    >>> before, after = Frame(np.uint8([[0, 0, 1, 1]])), Frame(np.uint8([[0, 1, 1, 0]]))
    >>> Flicker.of(before, after).changed
    0.5
    """

    changed_true: int = 0
    same_true: int = 0
    changed_still: int = 0
    still: int = 0
    truth_moved: int = 0
    known: int = 0
    changed_all: int = 0
    pixels: int = 0
    pairs: int = 0

    @classmethod
    def of(cls, previous: Frame, current: Frame, *, tolerance: float = TOLERANCE) -> Flicker:
        """Return the flicker between two frames; what needs a truth or an image counts where both have it.

        Raises `ValueError` for labels or truths that are not (h, w) integers, for frames of two sizes, and a tolerance
        below 0.
        """
        _check(previous, current, tolerance)
        changed = previous.labels != current.labels
        counts = {"changed_all": _count(changed), "pixels": changed.size, "pairs": 1}
        if previous.truth is not None and current.truth is not None:
            known = (previous.truth != IGNORE) & (current.truth != IGNORE)
            same = known & (previous.truth == current.truth)
            counts |= {"changed_true": _count(changed & same), "same_true": _count(same)}
            counts |= {"truth_moved": _count(known & ~same), "known": _count(known)}
        if previous.image is not None and current.image is not None:
            still = _still(previous.image, current.image, tolerance)
            counts |= {"changed_still": _count(changed & still), "still": _count(still)}
        return cls(**counts)

    def __add__(self, other: Flicker) -> Flicker:
        """Return the flicker over the pairs of both."""
        return Flicker(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})

    @property
    def flicker(self) -> float:
        """How many labels change where the truth does not; NaN where no truth of two frames is known."""
        return _share(self.changed_true, self.same_true)

    @property
    def still_flicker(self) -> float:
        """How many labels change where the image hardly does; NaN where no images came."""
        return _share(self.changed_still, self.still)

    @property
    def changed(self) -> float:
        """How many labels change."""
        return _share(self.changed_all, self.pixels)

    @property
    def truth_changed(self) -> float:
        """How many true classes change."""
        return _share(self.truth_moved, self.known)

    def as_json(self) -> dict[str, Any]:
        """Return the shares as plain JSON values, the definitions included; NaN becomes None."""
        values = {field: plain(getattr(self, field)) for _, field in _HEADINGS}
        return {**values, "pairs": self.pairs, "definitions": FLICKER_DEFINITIONS}

    def as_text(self) -> str:
        """Return the shares in per cent, each beside its definition."""
        lines = [figure(title, getattr(self, field), FLICKER_DEFINITIONS[field]) for title, field in _HEADINGS]
        return "\n".join([*lines, f"({self.pairs} pairs of frames; {FLICKER_DEFINITIONS['protocol']})"])


def _still(previous: NDArray[Any], current: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    moved = np.abs(current.astype(np.float32) - previous.astype(np.float32)) <= tolerance
    return np.asarray(moved if moved.ndim == 2 else moved.all(2))


def _check(previous: Frame, current: Frame, tolerance: float) -> None:
    known = {f"{when} {name}": labels for when, frame in (("previous", previous), ("current", current))
             for name, labels in (("labels", frame.labels), ("truth", frame.truth)) if labels is not None}  # fmt: skip
    check_sizes(**known)
    images = [frame.image for frame in (previous, current) if frame.image is not None]
    if len({image.shape for image in images}) > 1 or any(
        image.ndim not in (2, 3) or image.shape[:2] != current.labels.shape for image in images
    ):
        sizes = " and ".join(str(image.shape) for image in images)
        raise ValueError(
            f"images are {sizes} and labels {current.labels.shape}; frames of one size, (h, w, channels), are compared"
        )
    if not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance} came; it is in stored values, 0 or more")


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
