"""Runs a test with the compiled kernels and with their NumPy twins."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


@pytest.fixture(params=["compiled", "numpy"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one implementation and return its name."""
    if request.param == "compiled" and find_spec("atrous._core._kernels") is None:
        pytest.skip("atrous was installed without a compiler")
    monkeypatch.setenv("ATROUS_CORE", request.param)
    return str(request.param)
