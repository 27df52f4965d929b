"""Which series a DICOM segmentation was drawn on, and which of its frames lies on which slice.

A frame belongs to the image that it names, or else to the slice at its place. A segmentation that names images which
are not there, as after anonymisation or conversion to many frames, is taken to a series of its frame of reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atrous.data.dicom_headers import heights
from atrous.data.dicom_segments import Segmentation, SegmentFrame
from atrous.data.dicom_series import Stack
from atrous.data.found import Problem

_TURNED = 0.02  # the largest difference of two directions' cosines that is rounding


@dataclass(frozen=True)
class Alignment:
    """The frames of one segmentation on the slices of a stack, by the slice's number; `lost` lie on none."""

    segmentation: Segmentation
    frames: dict[int, tuple[SegmentFrame, ...]]
    lost: int


def stack_of(segmentation: Segmentation, stacks: Sequence[Stack]) -> Stack | None:
    """Return the stack that a segmentation was drawn on, None where there is none.

    The one with most of its images counts, then one of its series, then, where the frame of reference is the same, one
    of the same size with the most slices at the places of its frames.
    """
    named = [sum(each.image.instance in segmentation.instances for each in stack.slices) for stack in stacks]
    if any(named):
        return stacks[int(np.argmax(named))]
    for stack in stacks:
        if stack.first.series in segmentation.series and stack.first.space == segmentation.space:
            return stack
    met = [_met(segmentation, stack) for stack in stacks]
    return stacks[int(np.argmax(met))] if any(met) else None


def _met(segmentation: Segmentation, stack: Stack) -> int:
    """Return how many frames lie on slices of a stack of the same frame of reference and size."""
    if not segmentation.space or stack.first.space != segmentation.space or stack.first.size != segmentation.size:
        return 0
    if misfit(segmentation, stack) is not None:
        return 0
    return sum(place is not None for place in _by_place(segmentation, stack))


def misfit(segmentation: Segmentation, stack: Stack) -> Problem | None:
    """Return the problem of a segmentation whose frames do not lie in the slices of its stack, pixel by pixel."""
    size, wanted = segmentation.size, stack.first.size
    if size != wanted:
        detail = (
            f"{size[0]} x {size[1]} (height x width), and the images of its series, such as {stack.first.path}, are "
            f"{wanted[0]} x {wanted[1]}; it is left out"
        )
        return Problem("axes-swapped" if size == wanted[::-1] else "size-differs", segmentation.path, detail)
    if segmentation.orientation is None or stack.first.orientation is None:
        return None
    turned = np.abs(np.subtract(segmentation.orientation, stack.first.orientation)).max()
    if turned > _TURNED:
        detail = f"its frames are turned against the slices of its series, such as {stack.first.path}; it is left out"
        return Problem("orientation-differs", segmentation.path, detail)
    return None


def aligned(segmentation: Segmentation, stack: Stack) -> Alignment:
    """Return which frames of a segmentation lie on which slice of a stack that it fits."""
    by_name: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for number, each in enumerate(stack.slices):
        by_name[each.image.instance, None].append(number)
        by_name[each.image.instance, each.frame].append(number)
    found: dict[int, list[SegmentFrame]] = defaultdict(list)
    lost = 0
    for frame, near in zip(segmentation.frames, _by_place(segmentation, stack), strict=True):
        named = {number for source in frame.sources for number in by_name.get(source, ())}
        # A frame that names several images was drawn in between, or across: its place tells.
        place = named.pop() if len(named) == 1 else near
        if place is None:
            lost += 1
        else:
            found[place].append(frame)
    return Alignment(segmentation, {number: tuple(frames) for number, frames in found.items()}, lost)


def _by_place(segmentation: Segmentation, stack: Stack) -> list[int | None]:
    """Return for every frame the slice that lies where it does, None where there is none.

    Heights may differ by less than half the distance of slices, and the first pixels by less than one pixel.
    """
    along, first = stack.heights(), stack.first
    if along is None:
        return [None] * len(segmentation.frames)
    places = np.array(along)
    directions: NDArray[np.float64] = np.reshape(np.array(first.orientation), (2, 3))
    corners = np.array([each.position for each in stack.slices])
    rows, columns = first.spacing or (1.0, 1.0)
    limit = stack.between / 2
    found: list[int | None] = []
    for frame in segmentation.frames:
        height = heights([frame.position], first.orientation)
        if height is None:
            found.append(None)
            continue
        number = int(np.abs(places - height[0]).argmin())
        offset = directions @ (np.array(frame.position) - corners[number])
        near = abs(places[number] - height[0]) < limit
        beside = bool((np.abs(offset) < (columns, rows)).all())
        found.append(number if near and beside else None)
    return found
