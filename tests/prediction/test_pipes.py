"""Threads before and behind a loop."""

import threading
import time

import pytest

from atrous.prediction.pipes import behind, buffered


def test_buffered_keeps_the_order_and_runs_ahead_by_no_more_than_its_count():
    made = []

    def items():
        for item in range(20):
            made.append((item, threading.get_ident()))
            yield item

    found = []
    for item in buffered(items(), count=3):
        time.sleep(0.001)
        found.append(item)
        assert len(made) <= len(found) + 3
    assert found == list(range(20))
    assert {thread for _, thread in made} != {threading.get_ident()}


def test_buffered_raises_what_making_raises_where_it_was_raised():
    def items():
        yield 1
        raise OSError("the disk is gone")

    found = buffered(items(), count=2)
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_buffered_may_be_left():
    found = buffered(iter(range(1000)))
    assert next(found) == 0
    found.close()


def test_behind_hands_on_every_result_in_order():
    done = []
    with behind(done.append, threads=3, count=2) as later:
        for number in range(20):
            later(pow, number, 2)
            assert len(done) >= number - 2
    assert done == [number**2 for number in range(20)]


def test_behind_raises_what_work_raises():
    with pytest.raises(ZeroDivisionError), behind() as later:
        later(divmod, 1, 0)


def test_behind_waits_where_the_loop_fails():
    done = []

    def loop():
        with behind() as later:
            later(lambda: (time.sleep(0.02), done.append(1)))
            raise KeyError

    with pytest.raises(KeyError):
        loop()
    assert done == [1]
