"""A thread gets its stack for signals back, whatever a library did to it."""

from __future__ import annotations

import ctypes
import sys

import pytest

from atrous.prediction.signal_stacks import _Stack, kept_signal_stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there a stack for signals is looked at")


def stack_of_this_thread() -> tuple[int | None, int]:
    found = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.place, found.size


def test_a_stack_that_was_set_within_is_taken_away() -> None:
    before = stack_of_this_thread()
    room = ctypes.create_string_buffer(1 << 16)
    with kept_signal_stack():
        given = _Stack(ctypes.addressof(room), 0, len(room))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(given), None) == 0
        assert stack_of_this_thread() == (ctypes.addressof(room), len(room))
    assert stack_of_this_thread() == before
