"""Which images are taken for frames that follow one another, by their names."""

import pytest

from atrous.evaluation.dependence import frames_note
from atrous.evaluation.sequences import in_one_folder, numbered_on


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ()),
        (["a_1"], (False,)),
        (["a_1", "a_2", "a_3"], (False, True, True)),
        (["a_07", "a_09", "a_11", "a_21", "a_23"], (False, True, True, False, True)),  # a gap begins another clip
        (["x/a_1_left", "x/a_2_left", "x/b_1_left", "x/b_2_left", "x/b_3_left"], (False, True, False, True, True)),
        (["a_1", "a_2", "c", "d", "e"], (False,) * 5),  # most are no frames
        (["a_3", "a_2", "a_1"], (False,) * 3),
        (["a_1", "a_1", "a_1"], (False,) * 3),
        (["v1/f", "v2/f", "v3/f"], (False, True, True)),
    ],
)
def test_numbers_that_go_on(names, expected):
    assert numbered_on(names) == expected


def test_folders():
    assert in_one_folder([]) == ()
    assert in_one_folder(["a/x", "a/y", "b/x", "x"]) == (False, True, False, False)


def test_the_note_is_of_single_draws_of_frames():
    frames = [f"f{index}" for index in range(9)]
    assert "--block N" in frames_note(frames, 1)
    assert frames_note(frames, 3) is None
    assert frames_note(["cat", "dog", "horse"], 1) is None
