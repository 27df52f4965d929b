"""How large the blocks of a raster may be: found by trial, since no formula knows what a runtime takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from atrous.contract import AtrousError, LabelSpace, Scorer
from atrous.prediction import memory
from atrous.prediction.raster_blocks import Block, geometry_of, scored_block, suited
from atrous.prediction.raster_readers import Raster
from atrous.prediction.surroundings import takes_surroundings
from atrous.prediction.wanted import Wanted
from atrous.prediction.window_plan import Window, windows

_FIRST, _MOST, _STEP = 256, 4096, 64  # sides of blocks in pixels: the smallest, the largest, and between them
_WITHOUT_TRIAL = 4_000_000  # pixels that are scored whole without a look at the memory
_WHOLE = 16_800_000  # pixels that are scored whole where they fit: 4096 x 4096
_CAUTION, _AMPLE = 1.1, 3.0  # by how much a prediction may err; above the second, no further trial is needed
_FORESEEN = 16  # by how much more pixels than were tried a block may have
_LEAST = 24.0  # bytes of a pixel that are taken whatever the trials saw: of small blocks they see little
_RESERVE, _SHARE = 24_000_000, 0.04  # of the limit, left for what the trial does not see

Trial = Callable[[int], tuple[int, int]]
"""Scores a block of a side, and returns its pixels and the peak of memory that it came to."""

Also = Callable[[Block], object]
"""What is done with a block while it is held."""

_found: WeakKeyDictionary[Any, dict[tuple[Any, ...], tuple[int, int]]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much memory there is for scoring: `limit` in all, of which `fixed` is taken by what is written."""

    limit: int
    fixed: int
    words: str = field(default="--max-memory")

    @property
    def left(self) -> int:
        """What the process may take while it scores a block."""
        return int(self.limit * (1 - _SHARE)) - _RESERVE - self.fixed

    def needed(self, peak: int) -> int:
        """Return the limit under which a peak while scoring would be allowed."""
        return int((peak + self.fixed + _RESERVE) / (1 - _SHARE)) + 1


def block_side(
    scorer: Scorer, raster: Raster, space: LabelSpace, wanted: Wanted, *, fixed: int = 0, also: Also = bool
) -> int:
    """Return the side of the blocks in which a raster is scored; not below the raster's own sides where it is one.

    `Wanted.block` decides where it is given. Below a `max_memory` it is the largest side whose trial kept to that, with
    a reserve, up to 4096. Without one, a raster of up to 16 Mpixel is scored whole, and blocks of a larger one take at
    most half of the memory that is left. `fixed` are the bytes that are needed beside the scoring; `also` is what is
    done with each block while it is held.

    Raises `AtrousError` where the smallest block passes the limit, with the smallest limit that does not, and for a
    damaged part of the file.
    """
    pixels, whole = raster.height * raster.width, max(raster.height, raster.width)
    if wanted.block is not None:
        return wanted.block
    if wanted.max_memory is None and pixels <= _WITHOUT_TRIAL:
        return whole
    if wanted.max_memory is None:
        budget = Budget(limit=memory.resident() + memory.available() // 2, fixed=fixed, words="half of the memory left")
    else:
        memory.hoard_less()
        budget = Budget(limit=wanted.max_memory, fixed=fixed)
    most = whole if pixels <= _WHOLE else _MOST
    key = (wanted.max_memory, "probabilities" in wanted.save, raster.channels, raster.dtype)
    known = _found.setdefault(scorer, {}) if _can_be_known(scorer) else {}
    side, tried = known.get(key, (0, 0))
    # What was found may have been bounded by a smaller raster, or be of blocks that read the margin which is mirrored
    # around the whole of this one.
    margins = 2 * geometry_of(scorer).margin if takes_surroundings(scorer) else 0
    if not side or (side == tried < min(whole, most)) or side - margins < whole < side:
        trial = _trial(scorer, raster, space, also, probabilities="probabilities" in wanted.save)
        tried = min(whole, most)
        side = side_within(budget, trial, first=_first(scorer), most=tried, path=raster.path)
        known[key] = (side, tried)
    return side


def side_within(budget: Budget, trial: Trial, *, first: int, most: int, path: Path) -> int:
    """Return the largest side up to `most` whose trial keeps to a budget; sides grow as far as the trials before allow.

    Raises `AtrousError` where the first does not.
    """
    side = min(first, most)
    start = memory.resident()
    pixels, peak = trial(side)
    reached = max(peak, memory.peak())
    if reached > budget.left:
        raise AtrousError(
            f"{path}: {budget.words} is {memory.in_words(budget.limit)}, and the smallest block, of {side} x {side} "
            f"pixels, needs at least {memory.in_words(budget.needed(reached))}: libraries and the network are part of "
            "it. Raise the limit, or take a smaller network."
        )
    slope = max((peak - start) / pixels, _LEAST)
    while side < most:
        ratio = 1 + (budget.left - peak) / (slope * pixels)  # how many times the pixels would fit
        growth = (most / side) ** 2
        if growth <= _FORESEEN and ratio > _AMPLE * growth:
            return most
        following = min(int(side * min(ratio / _CAUTION, 4) ** 0.5) // _STEP * _STEP, most)
        if following < min(1.1 * side, most):
            break
        before, last = pixels, peak
        pixels, peak = trial(following)
        if peak > budget.left:
            break
        side = following
        slope = max((peak - last) / max(pixels - before, 1), 0.25 * slope, _LEAST)
    return side


def _trial(scorer: Scorer, raster: Raster, space: LabelSpace, also: Also, *, probabilities: bool) -> Trial:
    placed, judged = suited(scorer, raster), _AllValid(raster)

    def trial(side: int) -> tuple[int, int]:
        window, pixels = _largest(scorer, raster, side)
        peak = memory.peak_during(
            lambda: also(scored_block(placed, judged, window, space, probabilities=probabilities))  # type: ignore[arg-type]
        )
        memory.give_back()
        return pixels, peak

    return trial


def _largest(scorer: Scorer, raster: Raster, side: int) -> tuple[Window, int]:
    """Return the largest of the windows in which a raster is scored in blocks of a side, and its pixels."""
    geometry = geometry_of(scorer)
    if not takes_surroundings(scorer) or max(raster.height, raster.width) <= side:
        high, wide = min(side, raster.height), min(side, raster.width)
        (window,) = windows(high, wide, size=1 << 20, geometry=geometry)
        return window, high * wide
    high, wide = min(3 * side, raster.height), min(3 * side, raster.width)

    def pixels(window: Window) -> int:
        """Of the network's input, wherever they come from."""
        rows, columns = (each.stop - each.start + 2 * geometry.margin for each in window.inside)
        return rows * columns

    found = max(windows(high, wide, size=side, geometry=geometry, surrounded=True), key=pixels)
    return found, pixels(found)


class _AllValid:
    """A raster all of whose pixels are said to hold data, so that the network is asked wherever the trial reads."""

    def __init__(self, raster: Raster) -> None:
        self.path, self.read = raster.path, raster.read

    def valid(self, rows: slice, columns: slice) -> None:
        """Return None: all pixels hold data."""


def _first(scorer: Scorer) -> int:
    """Return the smallest side of a block for a network."""
    geometry, surrounded = geometry_of(scorer), takes_surroundings(scorer)
    side = _FIRST
    while True:
        try:
            windows(2 * side, 2 * side, size=side, geometry=geometry, surrounded=surrounded)
        except ValueError:
            side *= 2
        else:
            return side


def _can_be_known(scorer: Any) -> bool:
    try:
        hash(scorer)
        WeakKeyDictionary({scorer: 0})
    except TypeError:
        return False
    return True
