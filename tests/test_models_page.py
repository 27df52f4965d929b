"""The page of models is what its program writes: every count, cost and field on it is computed anew."""

import importlib.util
import sys
from pathlib import Path

import pytest

from atrous.models import TABLE

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_models", DOCS / "make_models.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks its annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_network_is_on_the_page(program):
    assert {row.name for row in program.ROWS} == set(TABLE)


@pytest.mark.parametrize("index", range(25))
def test_the_page_is_true(program, index, monkeypatch):
    assert len(program.ROWS) == 25
    monkeypatch.setattr(program, "ROWS", program.ROWS[index : index + 1])
    (line,) = program.lines()
    assert line in (DOCS / "models.md").read_text("utf-8")


def test_the_rest_of_the_page_is_the_program_s(program):
    page = (DOCS / "models.md").read_text("utf-8")
    assert page.startswith(program.HEAD)
    assert page.endswith(program.TAIL)
    assert page.count("\n| `") == len(program.ROWS)
