"""How large blocks are: found by trial, within the limit, refused with the smallest limit that holds."""

import re
from pathlib import Path

import numpy as np
import pytest

from atrous.contract import AtrousError, Geometry, LabelSpace
from atrous.prediction import block_sizes, memory
from atrous.prediction.block_sizes import Budget, block_side, side_within
from atrous.prediction.raster_readers import ArrayRaster
from atrous.prediction.wanted import Wanted

MB = 1_000_000
SPACE = LabelSpace(names=("dark", "light"))


def trials(fixed, per_pixel, sides):
    def trial(side):
        sides.append(side)
        return side * side, int(fixed + per_pixel * side * side)

    return trial


@pytest.fixture(autouse=True)
def at_100_mb(monkeypatch):
    monkeypatch.setattr(block_sizes.memory, "resident", lambda: 100 * MB)
    monkeypatch.setattr(block_sizes.memory, "peak", lambda: 100 * MB)


@pytest.mark.parametrize("per_pixel", [10, 200, 1500])
@pytest.mark.parametrize("limit", [400 * MB, 1000 * MB, 4000 * MB])
def test_the_side_keeps_to_the_limit_and_uses_it(per_pixel, limit):
    sides = []
    budget = Budget(limit=limit, fixed=10 * MB)
    side = side_within(budget, trials(130 * MB, per_pixel, sides), first=256, most=4096, path=Path("a"))
    assert 130 * MB + per_pixel * side**2 <= budget.left < limit
    assert side == 4096 or 130 * MB + per_pixel * (1.3 * side) ** 2 > budget.left
    assert len(sides) <= 7
    assert side % 64 == 0


def test_a_limit_that_cannot_hold_names_one_that_can():
    trial = trials(650 * MB, 200, [])
    with pytest.raises(
        AtrousError, match=r"a\.tif: --max-memory is 300MB, .* 256 x 256 .* needs at least \d+MB"
    ) as error:
        side_within(Budget(limit=300 * MB, fixed=0), trial, first=256, most=4096, path=Path("a.tif"))
    least = memory.as_bytes(re.search(r"at least (\d+MB)", str(error.value))[1])
    assert side_within(Budget(limit=least, fixed=0), trial, first=256, most=4096, path=Path("a")) == 256
    with pytest.raises(AtrousError):
        side_within(Budget(limit=least - 2 * MB, fixed=0), trial, first=256, most=4096, path=Path("a"))


def test_what_was_taken_before_counts(monkeypatch):
    monkeypatch.setattr(block_sizes.memory, "peak", lambda: 900 * MB)
    with pytest.raises(AtrousError, match=r"needs at least 963MB"):
        side_within(Budget(limit=800 * MB, fixed=0), trials(130 * MB, 20, []), first=256, most=4096, path=Path("a"))


class Counted:
    def __init__(self, geometry=None):
        self.sides = []
        self.geometry = geometry or Geometry()

    def labels(self, images):
        self.sides.append(images.shape[2])
        return images[:, 0]


def side_of(scorer, side=600, **wanted):
    return block_side(scorer, ArrayRaster(np.zeros((side, side, 3), np.uint8)), SPACE, Wanted(**wanted))


def test_small_images_without_a_limit_are_scored_whole_without_a_trial(monkeypatch):
    scorer = Counted()
    assert side_of(scorer) == 600
    assert not scorer.sides
    assert side_of(scorer, block=96) == 96
    monkeypatch.setattr(block_sizes, "_WITHOUT_TRIAL", 1000)
    assert side_of(scorer) == 600
    assert scorer.sides


def test_a_scorer_is_tried_once_for_images_of_a_kind(monkeypatch):
    scorer = Counted()
    monkeypatch.setattr(block_sizes.memory, "peak_during", lambda function: [function(), 900 * MB][1])
    assert side_of(scorer, max_memory=1000 * MB) == 256
    tried = len(scorer.sides)
    assert side_of(scorer, 700, max_memory=1000 * MB) == 256
    assert len(scorer.sides) == tried
    side_of(scorer, max_memory=1001 * MB)
    assert len(scorer.sides) > tried


def test_the_first_block_is_one_that_the_network_takes():  # it needs 16 pixels beside two margins
    scorer = Counted(Geometry(multiple=16, offset=12, minimum=188, margin=140))
    side_of(scorer, max_memory=10**12)
    assert scorer.sides[0] == 512
