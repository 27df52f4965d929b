"""The memory of this process: measured, said in words, and given back."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.prediction import memory

MB = 1_000_000
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")


@pytest.mark.parametrize(
    ("words", "amount"),
    [("1GB", 10**9), ("800 mb", 8 * 10**8), ("2GiB", 2**31), ("1.5kB", 1500), ("12", 12)],
)
def test_amounts_in_words(words, amount):
    assert memory.as_bytes(words) == amount


@pytest.mark.parametrize("words", ["", "lots", "-1GB", "0", "1 parsec", "1e9"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match=r"an amount of memory such as 800MB, 1GB or 2GiB is wanted"):
        memory.as_bytes(words)


def touched(megabytes):
    # Pages of its own: what a long test run has freed may be held by the process, and would be used again.
    with mmap.mmap(-1, megabytes * MB) as pages:
        np.frombuffer(pages, np.uint8)[:] = 1


@LINUX
@pytest.mark.parametrize("permitted", [True, False])
def test_the_peak_of_a_function_is_seen_and_that_of_the_process_is_not_forgotten(monkeypatch, permitted):
    if not permitted:
        monkeypatch.setattr(memory, "_CLEAR", Path("/nowhere/clear_refs"))
    touched(200)
    highest, before = memory.peak(), memory.resident()
    assert highest > before
    peak = memory.peak_during(lambda: [touched(80) for _ in range(5)])
    assert before + 50 * MB < peak < before + 150 * MB
    assert memory.peak() >= highest


def test_what_is_available_is_no_more_than_the_machine_has(tmp_path, monkeypatch):
    assert 0 < memory.available() < 2**50
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "current").write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory.available() == 3000
    (tmp_path / "max").write_text("max\n")
    assert memory.available() > 3000


def test_giving_back_changes_nothing_that_is_held():
    held = np.arange(10**6)
    memory.hoard_less()
    memory.give_back()
    assert held[-1] == 10**6 - 1


def test_windows_cannot_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(AtrousError, match=r"cannot be measured on Windows; leave --max-memory out, or give --block"):
        memory.peak()


def test_other_systems_are_asked_in_their_units(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", "darwin")
    in_bytes = memory.peak()
    monkeypatch.setattr(sys, "platform", "freebsd")
    assert memory.peak() == pytest.approx(in_bytes * 1024, rel=0.1)
