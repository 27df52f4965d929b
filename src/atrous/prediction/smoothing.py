"""Videos that flicker less: each frame's probabilities with a share of those before, moved along with what they show.

Without the motion, a mean over frames leaves a trail behind whatever moves, and costs more than it gains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMBNAIL = (32, 32)
_SMALLEST, _LONGEST = 32, 8
CUT = 40.0
"""How far two frames' thumbnails of 32 x 32 differ, in grey levels of 255 and on the mean, where a scene ends."""


def smoothed(previous: Any, current: Any, share: float) -> Any:
    """Return `current` with `share` of it replaced by `previous`: arrays of one shape, of NumPy or of torch.

    Handed its own result as `previous`, frame after frame, it is an exponential mean: a frame counts `share` ** k times
    as much k frames later. Probabilities that sum to one still do.

    Raises `ValueError` for shapes that differ, and a share that is not from 0 to below 1.

    >>> smoothed(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.25).tolist()
    [0.25, 0.75]
    """
    if not 0 <= share < 1:
        raise ValueError(f"share {share} came; a share from 0 to below 1 is accepted")
    if previous.shape != current.shape:
        raise ValueError(f"{tuple(previous.shape)} came before {tuple(current.shape)}; frames have one shape")
    return previous * share + current * (1 - share)


def is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Say whether a scene ends between two frames (h, w, 3) uint8: nothing of one can be told from the other.

    It does where the sizes differ, or the thumbnails of 32 x 32 differ by more than 40 of 255 on the mean. A camera
    that turns so fast counts as a cut too, since there the pixels before are of other things.

    >>> dark, bright = (np.full((9, 9, 3), level, np.uint8) for level in (20, 90))
    >>> is_cut(dark, dark), is_cut(dark, bright)
    (False, True)
    """
    return before.shape != after.shape or difference(before, after) > CUT


def difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Return the mean difference, 0 to 255, of two frames' thumbnails of 32 x 32."""
    small = [
        cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) for frame in (before, after)
    ]
    return float(np.abs(small[0] - small[1]).mean())


def followed(maps: NDArray[np.float32], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return maps (classes, h, w) of the frame before, moved to where the frame after shows the same things.

    Both frames are (h, w, 3) uint8. What comes in from outside has the values of the border. Frames with a side below
    32 pixels, or one more than eight times the other, are too small for the method: their maps come back as they are.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016, as OpenCV has it.
    """
    height, width = after.shape[:2]
    if min(height, width) < _SMALLEST or max(height, width) > _LONGEST * min(height, width):
        return maps  # OpenCV ends the process for some of these
    now, then = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (after, before))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    places = np.asarray(flow.calc(now, then, None), np.float32)
    places += np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    moved = [cv2.remap(each, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for each in maps]
    return np.stack(moved).astype(np.float32, copy=False)


def smoothing(share: float) -> Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function of a frame (h, w, 3) and its probabilities (classes, h, w) that returns them smoothed.

    It remembers the frame before, whose probabilities are moved along with what they show; the first frame, and the
    first after a cut, come back as they are.

    >>> steady = smoothing(0.5)
    >>> frame = np.zeros((1, 1, 3), np.uint8)
    >>> [steady(frame, np.full((1, 1, 1), level, np.float32)).item() for level in (0, 1, 1)]
    [0.0, 0.5, 0.75]
    """
    before: NDArray[np.uint8] | None = None
    memory: NDArray[np.float32] | None = None

    def steady(frame: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal before, memory
        if before is None or memory is None or is_cut(before, frame):
            memory = probabilities
        else:
            memory = smoothed(followed(memory, before, frame), probabilities, share)
        before = frame
        return memory

    return steady
