"""Work in threads: in order, a little at a time, and never in the way of an interrupt."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from atrous.data import census
from atrous.data.census import in_threads, workers


def test_answers_come_in_order_whatever_takes_longest():
    told = []

    def slow_at_first(number):
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert in_threads(slow_at_first, range(200), lambda *step: told.append(step)) == [n * n for n in range(200)]
    assert told == [(done, 200) for done in range(1, 201)]
    assert in_threads(slow_at_first, []) == []
    assert in_threads(slow_at_first, [3]) == [9]
    assert in_threads(lambda item: item, [None, 0, None]) == [None, 0, None]


def test_the_first_error_in_order_ends_it_and_no_thread_stays():
    before, begun = threading.active_count(), []

    def function(number):
        begun.append(number)
        if number in (5, 9):
            raise ValueError(f"number {number}")
        return number

    with pytest.raises(ValueError, match="number 5"):
        in_threads(function, range(100_000))
    assert len(begun) < 1000
    assert threading.active_count() == before


def test_what_is_under_way_is_done_when_an_error_comes():
    ended = []

    def function(number):
        if number == 0:
            raise ValueError("no")
        time.sleep(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match="no"):
        in_threads(function, range(50))
    count = len(ended)
    time.sleep(0.1)
    assert len(ended) == count


def test_an_interrupt_does_not_wait_for_what_takes_long(monkeypatch):
    monkeypatch.setattr(census, "_PATIENCE", 0.05)
    hold = threading.Event()

    def stop(done, total):
        raise KeyboardInterrupt

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            in_threads(lambda number: number and hold.wait(30), range(100), stop)
        assert time.monotonic() - began < 10
    finally:
        hold.set()


STUCK = """
import sys, time
from atrous.data.census import in_threads
print("ready", flush=True)
in_threads(lambda number: time.sleep(30), range(10))
"""


LOCKED = """
import threading, time
from atrous.data.census import in_threads

enter, calls, limit = threading.Condition.__enter__, 0, 0

def interrupted(condition):
    global calls
    entered = enter(condition)
    if threading.get_ident() == threading.main_thread().ident:
        calls += 1
        if calls == limit:
            raise KeyboardInterrupt  # when the lock is taken, and nobody knows yet that it must be given back
    return entered

threading.Condition.__enter__ = interrupted
for limit in range(1, 40):
    calls = 0
    try:
        in_threads(lambda number: time.sleep(0.001), range(20))
    except KeyboardInterrupt:
        pass
print("ended")
"""


def test_an_interrupt_between_two_locks_does_not_hang():
    done = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, timeout=15, check=False)
    assert done.stdout == b"ended\n"


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to one process")
def test_an_interrupt_ends_the_process():
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=15)
    assert b"KeyboardInterrupt" in said
    assert workers() >= 1
