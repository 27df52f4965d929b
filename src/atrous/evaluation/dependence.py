"""What speaks against an interval over images: too few of them, or neighbours that are alike, as frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atrous.evaluation.sequences import numbered_on

_LIKE = 0.3
"""From this correlation of neighbours on images are said to depend on each other."""


_FEW = 20
"""Below so many images a percentile bootstrap is clearly too narrow."""


def note_on(scores: NDArray[np.float64], block: int) -> str | None:
    """Return what a reader of an interval over images with these scores (images,) must know; None where nothing.

    >>> note_on(np.array([0.5, 0.6]), 1)
    'Of so few images (2) the interval is too narrow; take it as a hint.'
    """
    few = f"Of so few images ({len(scores)}) the interval is too narrow; take it as a hint."
    notes = [few if len(scores) < _FEW else None, dependence_note(scores, block)]
    return " ".join(note for note in notes if note is not None) or None


def dependence(scores: NDArray[np.float64], *, lag: int = 1) -> float:
    """Return the correlation of scores (images,) with those `lag` images later, -1..1; 0 where there is none to tell.

    NaN scores are left out with their neighbours.

    >>> dependence(np.sin(np.arange(100) / 10)) > 0.9
    True
    """
    if not 0 < lag < len(scores) - 2:
        return 0.0
    pairs = np.stack([scores[:-lag], scores[lag:]])
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    pairs = pairs - pairs.mean(1, keepdims=True) if pairs.size else pairs
    whole = float(np.sqrt(np.square(pairs).sum(1).prod())) if pairs.size else 0.0
    return float((pairs[0] * pairs[1]).sum() / whole) if whole > 1e-12 else 0.0


def dependence_note(scores: NDArray[np.float64], block: int) -> str | None:
    """Return what to say of an interval over images whose scores (images,) go with their neighbours'; else None.

    It is said where the correlation of neighbours is 0.3 and more than chance, in blocks too short to hold it.

    >>> dependence_note(np.random.default_rng(0).random(100), 1) is None
    True
    """
    near = dependence(scores)
    if near < max(_LIKE, 2 / np.sqrt(max(len(scores), 1))):
        return None
    reach = next((lag for lag in range(2, len(scores)) if dependence(scores, lag=lag) < _LIKE), len(scores))
    needed = max(2, min(reach, len(scores) // 4))
    if block >= needed:
        return None
    return (
        f"Neighbouring images are alike (their mean IoU correlates by {near:.2f}), as frames of a clip are: the "
        f"interval is too narrow, since they are not {len(scores)} independent images. Draw them in blocks of {needed} "
        "or more."
    )


def frames_note(names: Sequence[str], block: int) -> str | None:
    """Return what to say of an interval over images whose names are numbered as those of frames are; else None.

    >>> frames_note(["street", "field", "wood"], 1) is None
    True
    """
    frames = sum(numbered_on(names))
    if block > 1 or not frames:
        return None
    return (
        "The images are numbered one after the other, and drawn as if they were independent. Where they are frames of "
        "a clip or slices of a volume the interval is too narrow: --block N draws N neighbours together."
    )
