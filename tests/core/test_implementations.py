"""Which kernels are used, and what is said where the compiled ones are missing."""

from __future__ import annotations

import logging
import sys

import pytest

from atrous._core import implementation, implementations


@pytest.fixture(autouse=True)
def _forget_the_choice() -> None:
    implementations._chosen.cache_clear()


@pytest.fixture
def _no_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atrous._core._kernels", None)
    monkeypatch.delattr("atrous._core._kernels", raising=False)
    monkeypatch.delenv("ATROUS_CORE", raising=False)


def test_numpy_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATROUS_CORE", "numpy")
    assert implementation() == "numpy"


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATROUS_CORE", "fortran")
    with pytest.raises(ValueError, match="ATROUS_CORE is 'fortran'; it may be compiled or numpy"):
        implementation()


@pytest.mark.usefixtures("_no_compiled_kernels")
def test_missing_kernels_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "atrous"):
        assert [implementation(), implementation()] == ["numpy", "numpy"]
    assert [record.getMessage() for record in caplog.records] == [
        "the compiled kernels are missing, so slower NumPy ones are used: "
        "install a C++17 compiler and then atrous again"
    ]


@pytest.mark.usefixtures("_no_compiled_kernels")
def test_missing_kernels_are_an_error_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATROUS_CORE", "compiled")
    with pytest.raises(ImportError, match="ATROUS_CORE asks for compiled kernels, but atrous was installed without"):
        implementation()


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0; give 1 or more"):
        implementations.available_threads(0)
